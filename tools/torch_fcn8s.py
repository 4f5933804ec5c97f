"""FCN-8s in PyTorch, for comparisons; parameters by the names of `fcn8s_ms.model`."""

import torch
from torch import nn

__all__ = ["FCN8s", "load_mindspore"]

_DEPTHS = (2, 2, 3, 3, 3)


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


class FCN8s(nn.Module):
    """The network of `fcn8s_ms.model.FCN8s`: same arguments, inputs and outputs."""

    def __init__(self, n_class, widths=(64, 128, 256, 512, 512), fc_width=4096):
        super().__init__()
        inputs = (3, *widths)
        for number, depth in enumerate(_DEPTHS, 1):
            stage = _stage(inputs[number - 1], inputs[number], depth)
            self.add_module(f"conv{number}", stage)
        self.pool = nn.MaxPool2d(2)
        self.conv6 = _stage(widths[4], fc_width, 1, kernel_size=7)
        self.conv7 = _stage(fc_width, fc_width, 1, kernel_size=1)
        self.score_fr = nn.Conv2d(fc_width, n_class, 1, bias=False)
        self.score_pool4 = nn.Conv2d(widths[3], n_class, 1, bias=False)
        self.score_pool3 = nn.Conv2d(widths[2], n_class, 1, bias=False)
        self.upscore2, self.upscore_pool4 = _upscore(n_class, 2), _upscore(n_class, 2)
        self.upscore8 = _upscore(n_class, 8)

    def forward(self, x):
        pools = []
        for number in range(1, 6):
            x = self.pool(getattr(self, f"conv{number}")(x))
            pools.append(x)
        x = self.upscore2(self.score_fr(self.conv7(self.conv6(x))))
        x = self.upscore_pool4(x + self.score_pool4(pools[3]))
        return self.upscore8(x + self.score_pool3(pools[2]))


_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def load_mindspore(network, arrays) -> None:
    """Gives the network the parameters of a MindSpore checkpoint.

    Args:
        network: `FCN8s`.
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
