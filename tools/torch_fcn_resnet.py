"""FCN on a dilated ResNet in PyTorch, for comparisons; parameters by torchvision's names."""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DEPTHS", "FCNResNet", "from_mindspore"]

DEPTHS = {"fcn_resnet50": (3, 4, 6, 3), "fcn_resnet101": (3, 4, 23, 3)}


class _Block(nn.Module):
    def __init__(self, entering, planes, stride, dilation):
        super().__init__()
        leaving = 4 * planes
        self.conv1 = nn.Conv2d(entering, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(
            planes, planes, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, leaving, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(leaving)
        self.downsample = None
        if stride > 1 or entering != leaving:
            self.downsample = nn.Sequential(
                nn.Conv2d(entering, leaving, 1, stride, bias=False), nn.BatchNorm2d(leaving)
            )

    def forward(self, x):
        residual = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = functional.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(residual + shortcut, inplace=True)


class _Backbone(nn.Module):
    def __init__(self, depths, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        entering = width
        # (stride of the first block, its dilation, that of the others)
        plans = ((1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4))
        for number, (depth, (stride, first, others)) in enumerate(zip(depths, plans), 1):
            planes = width << (number - 1)
            blocks = [_Block(entering, planes, stride, first)]
            blocks += [_Block(4 * planes, planes, 1, others) for _ in range(1, depth)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            entering = 4 * planes

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.max_pool2d(x, 3, 2, 1)
        third = self.layer3(self.layer2(self.layer1(x)))
        return third, self.layer4(third)


def _head(entering, n_class, dropout):
    return nn.Sequential(
        nn.Conv2d(entering, entering // 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(entering // 4),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Conv2d(entering // 4, n_class, 1),
    )


class FCNResNet(nn.Module):
    """The networks of `fcn8s_ms.network.resnet`: same arguments, inputs and outputs."""

    def __init__(self, arch, n_class, width=64, dropout=0.1, auxiliary=False):
        super().__init__()
        self.backbone = _Backbone(DEPTHS[arch], width)
        self.classifier = _head(32 * width, n_class, dropout)
        self.aux_classifier = _head(16 * width, n_class, dropout) if auxiliary else None

    def forward(self, x):
        size = x.shape[-2:]
        third, fourth = self.backbone(x)

        def resized(scores):
            return functional.interpolate(scores, size, mode="bilinear", align_corners=False)

        logits = resized(self.classifier(fourth))
        if self.training and self.aux_classifier is not None:
            return logits, resized(self.aux_classifier(third))
        return logits


_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def from_mindspore(network, arrays) -> None:
    """Gives the network the parameters of `fcn8s_ms`, which sees BGR as this one does then.

    Args:
        network: a `FCNResNet`.
        arrays: MindSpore's parameter names to arrays; every one of the network.
    """
    state = {}
    for name, array in arrays.items():
        head, tail = name.rsplit(".", 1)
        state[f"{head}.{_BATCH_NORM.get(tail, tail)}"] = torch.from_numpy(array.copy())
    report = network.load_state_dict(state, strict=False)
    left = [name for name in report.missing_keys if not name.endswith("num_batches_tracked")]
    if left or report.unexpected_keys:
        raise ValueError(f"parameters do not agree: {left}, {report.unexpected_keys}")
