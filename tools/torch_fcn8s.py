"""The FCNs in PyTorch, for comparisons; parameters by the names of `fcn8s_ms.model`."""

import torch
from torch import nn

__all__ = ["ARCHITECTURES", "FCN16s", "FCN32s", "FCN8s", "load_mindspore"]

_DEPTHS, _WIDTHS = (2, 2, 3, 3, 3), (64, 128, 256, 512, 512)  # VGG-16


def _stage(in_channels, out_channels, depth, kernel_size=3):
    layers = []
    for _ in range(depth):
        layers += [
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),  # momentum 0.1 here is 0.9 in MindSpore
            nn.ReLU(inplace=True),
        ]
        in_channels = out_channels
    return nn.Sequential(*layers)


def _upscore(n_class, stride):
    return nn.ConvTranspose2d(n_class, n_class, 2 * stride, stride, stride // 2, bias=False)


class _FCN(nn.Module):
    """conv1 to conv7 and the score of conv7, which the three architectures share."""

    def __init__(self, n_class, depths, widths, fc_width):
        super().__init__()
        inputs = (3, *widths)
        for number, depth in enumerate(depths, 1):
            stage = _stage(inputs[number - 1], inputs[number], depth)
            self.add_module(f"conv{number}", stage)
        self.pool = nn.MaxPool2d(2)
        self.conv6 = _stage(widths[4], fc_width, 1, kernel_size=7)
        self.conv7 = _stage(fc_width, fc_width, 1, kernel_size=1)
        self.score_fr = nn.Conv2d(fc_width, n_class, 1, bias=False)

    def features(self, x):
        """pool3, pool4 and the scores of conv7."""
        pools = []
        for number in range(1, 6):
            x = self.pool(getattr(self, f"conv{number}")(x))
            pools.append(x)
        return pools[2], pools[3], self.score_fr(self.conv7(self.conv6(x)))


class FCN32s(_FCN):
    """The network of `fcn8s_ms.model.FCN32s`: same arguments, inputs and outputs."""

    def __init__(self, n_class, depths=_DEPTHS, widths=_WIDTHS, fc_width=4096):
        super().__init__(n_class, depths, widths, fc_width)
        self.upscore32 = _upscore(n_class, 32)

    def forward(self, x):
        return self.upscore32(self.features(x)[2])


class FCN16s(_FCN):
    """The network of `fcn8s_ms.model.FCN16s`: same arguments, inputs and outputs."""

    def __init__(self, n_class, depths=_DEPTHS, widths=_WIDTHS, fc_width=4096):
        super().__init__(n_class, depths, widths, fc_width)
        self.score_pool4 = nn.Conv2d(widths[3], n_class, 1, bias=False)
        self.upscore2, self.upscore16 = _upscore(n_class, 2), _upscore(n_class, 16)

    def forward(self, x):
        _, pool4, scores = self.features(x)
        return self.upscore16(self.upscore2(scores) + self.score_pool4(pool4))


class FCN8s(_FCN):
    """The network of `fcn8s_ms.model.FCN8s`: same arguments, inputs and outputs."""

    def __init__(self, n_class, depths=_DEPTHS, widths=_WIDTHS, fc_width=4096):
        super().__init__(n_class, depths, widths, fc_width)
        self.score_pool4 = nn.Conv2d(widths[3], n_class, 1, bias=False)
        self.score_pool3 = nn.Conv2d(widths[2], n_class, 1, bias=False)
        self.upscore2, self.upscore_pool4 = _upscore(n_class, 2), _upscore(n_class, 2)
        self.upscore8 = _upscore(n_class, 8)

    def forward(self, x):
        pool3, pool4, scores = self.features(x)
        scores = self.upscore_pool4(self.upscore2(scores) + self.score_pool4(pool4))
        return self.upscore8(scores + self.score_pool3(pool3))


ARCHITECTURES = {"fcn32s": FCN32s, "fcn16s": FCN16s, "fcn8s": FCN8s}

_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def load_mindspore(network, arrays) -> None:
    """Gives the network the parameters of a MindSpore checkpoint.

    Args:
        network: one of `ARCHITECTURES`.
        arrays: MindSpore's parameter names to arrays; every one of the network.
    """
    state = {}
    for name in arrays:
        head, tail = name.rsplit(".", 1)
        state[f"{head}.{_BATCH_NORM.get(tail, tail)}"] = torch.from_numpy(arrays[name].copy())
    report = network.load_state_dict(state, strict=False)
    left = [name for name in report.missing_keys if not name.endswith("num_batches_tracked")]
    if left or report.unexpected_keys:
        raise ValueError(f"parameters do not agree: {left}, {report.unexpected_keys}")
