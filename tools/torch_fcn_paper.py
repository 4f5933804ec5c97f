"""The FCN of the paper's authors in PyTorch, for comparisons; parameters by the authors' names."""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["FCNPaper", "from_mindspore"]

# Blue, green, red: what the programs normalise with, and what the authors subtract.
_MEAN, _STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
_AUTHORS_MEAN = (104.00698793, 116.66876762, 122.67891434)

_PLAN = (("1", 2), ("2", 2), ("3", 3), ("4", 3), ("5", 3))


def _window(x, first, size):
    """Rows and columns from `first` on, as many as `size` says."""
    return x.narrow(2, first, size[0]).narrow(3, first, size[1])


class FCNPaper(nn.Module):
    """The networks of `fcn8s_ms.network.paper`: same arguments, inputs and outputs."""

    def __init__(self, arch, n_class, widths=(64, 128, 256, 512, 512), fc_width=4096, dropout=0.5):
        super().__init__()
        self.skips = {"fcn32s_paper": 0, "fcn16s_paper": 1, "fcn8s_paper": 2}[arch]
        entering = 3
        for (stage, depth), width in zip(_PLAN, widths):
            for place in range(1, depth + 1):
                padding = 100 if (stage, place) == ("1", 1) else 1
                layer = nn.Conv2d(entering, width, 3, padding=padding)
                self.add_module(f"conv{stage}_{place}", layer)
                entering = width
        self.fc6 = nn.Conv2d(entering, fc_width, 7)
        self.fc7 = nn.Conv2d(fc_width, fc_width, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.score_fr = nn.Conv2d(fc_width, n_class, 1)

        def upscore(stride):
            return nn.ConvTranspose2d(n_class, n_class, 2 * stride, stride, bias=False)

        if self.skips == 0:
            self.upscore = upscore(32)
            return
        self.register_buffer("scales", torch.ones(2))
        self.upscore2 = upscore(2)
        self.score_pool4 = nn.Conv2d(widths[3], n_class, 1)
        if self.skips == 1:
            self.upscore16 = upscore(16)
            return
        self.upscore_pool4 = upscore(2)
        self.score_pool3 = nn.Conv2d(widths[2], n_class, 1)
        self.upscore8 = upscore(8)

    def forward(self, x):
        size = x.shape[-2:]
        columns = [torch.tensor(one, dtype=torch.float64) for one in (_MEAN, _STD, _AUTHORS_MEAN)]
        mean, std, subtracted = (one.view(1, 3, 1, 1) for one in columns)
        x = (x.double() * std + mean - subtracted).to(x.dtype)
        pools = {}
        for stage, depth in _PLAN:
            for place in range(1, depth + 1):
                x = functional.relu(getattr(self, f"conv{stage}_{place}")(x))
            x = pools[stage] = functional.max_pool2d(x, 2, ceil_mode=True)
        x = self.dropout(functional.relu(self.fc6(x)))
        x = self.score_fr(self.dropout(functional.relu(self.fc7(x))))
        if self.skips == 0:
            return _window(self.upscore(x), 19, size)
        x = self.upscore2(x)
        x = x + _window(self.score_pool4(pools["4"] * self.scales[0]), 5, x.shape[-2:])
        if self.skips == 1:
            return _window(self.upscore16(x), 27, size)
        x = self.upscore_pool4(x)
        x = x + _window(self.score_pool3(pools["3"] * self.scales[1]), 9, x.shape[-2:])
        return _window(self.upscore8(x), 31, size)


def from_mindspore(network, arrays) -> None:
    """Gives the network the parameters of `fcn8s_ms`.

    Args:
        network: a `FCNPaper`.
        arrays: MindSpore's parameter names to arrays; every one of the network.
    """
    network.load_state_dict({name: torch.from_numpy(one.copy()) for name, one in arrays.items()})
