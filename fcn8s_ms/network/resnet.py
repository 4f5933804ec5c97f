"""FCN on a dilated ResNet, as torchvision publishes it with trained weights.

Names follow torchvision's, so that a layer here is found there: `backbone.layer3.5.conv2` is the
3x3 convolution of the sixth block of the third stage. Stages 3 and 4 keep the size of stage 2, 1/8
of the image, and space the taps of their 3x3 convolutions apart instead (dilation).

Sources: Long, Shelhamer, Darrell, https://arxiv.org/abs/1411.4038 (fully convolutional networks);
He, Zhang, Ren, Sun, https://arxiv.org/abs/1512.03385 (residual networks); Yu, Koltun,
https://arxiv.org/abs/1511.07122 (dilation).
"""

import math
from typing import ClassVar

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import HeNormal, HeUniform, Initializer, Uniform

from .architectures import RESNET_DEPTHS, RESNET_WIDTH
from .dropout import Dropout

__all__ = ["DILATIONS", "STRIDES", "Bottleneck", "FCNResNet50", "FCNResNet101", "ResNet"]

STRIDES = (1, 2, 1, 1)
"""Stride of the first block of each stage."""

DILATIONS = ((1, 1), (1, 1), (1, 2), (2, 4))
"""Dilation of each stage's first block, and of its others."""

_EXPANSION = 4  # a block's output has four times the channels of its 3x3 convolution


def _conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    weight_init: Initializer | None = None,
    bias: bool = False,
) -> nn.Conv2d:
    """Convolution that keeps the size, up to its stride."""
    return nn.Conv2d(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        stride=stride,
        pad_mode="pad",
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        has_bias=bias,
        weight_init=weight_init or HeNormal(mode="fan_out", nonlinearity="relu"),
        bias_init=Uniform(1 / math.sqrt(in_channels * kernel_size**2)) if bias else "zeros",
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(num_features=channels, momentum=0.9)


class Bottleneck(nn.Cell):
    """Residual block: 1x1, 3x3 and 1x1 convolutions, added to the input.

    Args:
        in_channels: channels of the input.
        width: channels of the 3x3 convolution; the output has four times as many.
        stride: stride of the 3x3 convolution.
        dilation: dilation of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int):
        super().__init__()
        out_channels = _EXPANSION * width
        self.conv1 = _conv(in_channels, width, 1)
        self.bn1 = _norm(width)
        self.conv2 = _conv(width, width, 3, stride=stride, dilation=dilation)
        self.bn2 = _norm(width)
        self.conv3 = _conv(width, out_channels, 1)
        self.bn3 = _norm(out_channels)
        self.relu = nn.ReLU()
        self.has_downsample = stride != 1 or in_channels != out_channels
        if self.has_downsample:
            self.downsample = nn.SequentialCell(
                [_conv(in_channels, out_channels, 1, stride=stride), _norm(out_channels)]
            )

    def construct(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        if self.has_downsample:
            x = self.downsample(x)
        return self.relu(y + x)


class ResNet(nn.Cell):
    """Dilated ResNet without its classification layer.

    Args:
        depths: blocks in each of the four stages.
        width: channels of the stem, and of the 3x3 convolutions of the first stage; doubled from
            stage to stage.

    Inputs:
        x: float32 Tensor (N, 3, H, W).

    Outputs:
        Features of stages 3 and 4, both at 1/8 of the size, rounded up.
    """

    def __init__(self, depths: tuple[int, ...], width: int):
        super().__init__()
        self.conv1 = _conv(3, width, 7, stride=2)
        self.bn1 = _norm(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="pad", padding=1)
        channels = width
        for stage, depth in enumerate(depths):
            wide = width * 2**stage
            blocks = []
            for place in range(depth):
                stride = STRIDES[stage] if place == 0 else 1
                dilation = DILATIONS[stage][min(place, 1)]
                blocks.append(Bottleneck(channels, wide, stride, dilation))
                channels = _EXPANSION * wide
            self.insert_child_to_cell(f"layer{stage + 1}", nn.SequentialCell(blocks))

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # 1/4
        x = self.layer2(self.layer1(x))  # 1/8
        stage3 = self.layer3(x)  # 1/8
        return stage3, self.layer4(stage3)  # 1/8


def _head(in_channels: int, n_class: int, dropout: float, seed: int) -> nn.SequentialCell:
    between = in_channels // 4
    as_torch = HeUniform(math.sqrt(5))
    return nn.SequentialCell(
        [
            _conv(in_channels, between, 3, weight_init=as_torch),
            _norm(between),
            nn.ReLU(),
            Dropout(dropout, seed),
            _conv(between, n_class, 1, weight_init=as_torch, bias=True),
        ]
    )


class _FCNResNet(nn.Cell):
    """FCN on a ResNet; the classes below set its depth."""

    DEPTHS: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        n_class: int,
        *,
        width: int = RESNET_WIDTH,
        dropout: float = 0.1,
        auxiliary: bool = False,
    ):
        super().__init__()
        if n_class < 2:
            raise ValueError(f"n_class is {n_class}; segmentation needs at least 2 classes")
        self.n_class = n_class
        self.has_auxiliary = auxiliary
        self.backbone = ResNet(self.DEPTHS, width)
        self.classifier = _head(32 * width, n_class, dropout, 0)
        if auxiliary:
            self.aux_classifier = _head(16 * width, n_class, dropout, 1)
        self.resize = ops.ResizeBilinearV2(align_corners=False, half_pixel_centers=True)

    def construct(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        size = x.shape[2], x.shape[3]
        stage3, stage4 = self.backbone(x)
        logits = self.resize(self.classifier(stage4), size)
        if self.has_auxiliary and self.training:
            return logits, self.resize(self.aux_classifier(stage3), size)
        return logits


class FCNResNet50(_FCNResNet):
    """FCN on ResNet-50: class scores at 1/8, resized bilinearly to the size of the image.

    Args:
        n_class: number of classes.
        width: channels of the stem; 64 in the published network.
        dropout: share of the numbers that training zeros before the last layer of each head.
        auxiliary: whether there is a second head on stage 3, which helps in training.

    Inputs:
        x: float32 Tensor (N, 3, H, W), normalised BGR, of any size.

    Outputs:
        float32 Tensor (N, n_class, H, W): logits. In training with the auxiliary head a tuple of
        two such Tensors, the logits and those of the auxiliary head.

    Raises:
        ValueError: there are fewer than 2 classes.

    Source: `fcn_resnet50` of torchvision.
    """

    DEPTHS = RESNET_DEPTHS["fcn_resnet50"]


class FCNResNet101(_FCNResNet):
    """FCN on ResNet-101; arguments, inputs, outputs and errors as `FCNResNet50`.

    Source: `fcn_resnet101` of torchvision.
    """

    DEPTHS = RESNET_DEPTHS["fcn_resnet101"]
