"""FCN-32s, FCN-16s and FCN-8s on a VGG backbone with BatchNorm.

Long, Shelhamer, Darrell: "Fully Convolutional Networks for Semantic Segmentation",
https://arxiv.org/abs/1411.4038. Parameter names, order and shapes of FCN-8s are those of
MindSpore's FCN-8s tutorial, so its published checkpoints load by name; what the three share has
the same names in all of them.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from .network.architectures import BACKBONES, FC_WIDTH, SKIP_INITS, UPSAMPLE_INITS, VGG_WIDTHS
from .network.cpu import CpuConv2d, CpuMaxPool2d, CpuStage, MatMulConv2d
from .transforms import STRIDE

__all__ = ["BACKBONES", "FCN16s", "FCN32s", "FCN8s", "NETWORKS", "bilinear_kernel"]


def bilinear_kernel(channels: int, kernel_size: int) -> np.ndarray:
    """Weight of a transposed convolution that interpolates each channel bilinearly.

    Args:
        channels: input and output channels of the layer.
        kernel_size: side of the kernel, twice the stride.

    Returns:
        float32 array (channels, channels, kernel_size, kernel_size): the triangle filter where
        input and output channel agree, else 0.

    Source: section 3.3 of the paper (initialisation of the upsampling layers).
    """
    centre = (kernel_size - 1) / 2
    factor = (kernel_size + 1) // 2
    line = 1 - np.abs(np.arange(kernel_size) - centre) / factor
    weight = np.zeros((channels, channels, kernel_size, kernel_size), np.float32)
    diagonal = np.arange(channels)
    weight[diagonal, diagonal] = np.outer(line, line)
    return weight


def _on_cpu():
    return ms.get_context("device_target") == "CPU"


def _conv_bn_relu(in_channels, out_channels, kernel_size):
    conv_class = nn.Conv2d
    if _on_cpu():
        conv_class = CpuConv2d if kernel_size == 3 else MatMulConv2d
    return [
        conv_class(
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=1,
            pad_mode="same",
            has_bias=False,
            weight_init="xavier_uniform",
        ),
        nn.BatchNorm2d(num_features=out_channels, momentum=0.9),
        nn.ReLU(),
    ]


def _stage(in_channels, out_channels, depth):
    layers = []
    for _ in range(depth):
        layers += _conv_bn_relu(in_channels, out_channels, kernel_size=3)
        in_channels = out_channels
    pool_class, stage_class = (
        (CpuMaxPool2d, CpuStage) if _on_cpu() else (nn.MaxPool2d, nn.SequentialCell)
    )
    layers.append(pool_class(kernel_size=2, stride=2, pad_mode="valid"))
    return stage_class(layers)


def _score(in_channels, n_class, weight_init="xavier_uniform"):
    return nn.Conv2d(
        in_channels=in_channels,
        out_channels=n_class,
        kernel_size=1,
        stride=1,
        pad_mode="same",
        has_bias=False,
        weight_init=weight_init,
    )


def _upscore(n_class, stride, upsample_init):
    kernel_size = 2 * stride
    if upsample_init == "bilinear":
        weight_init = Tensor(bilinear_kernel(n_class, kernel_size))
    else:
        weight_init = upsample_init
    return nn.Conv2dTranspose(
        in_channels=n_class,
        out_channels=n_class,
        kernel_size=kernel_size,
        stride=stride,
        pad_mode="same",
        has_bias=False,
        weight_init=weight_init,
    )


class _FCN(nn.Cell):
    """What the three have in common: arguments, as of `FCN8s`, backbone, and its last scores."""

    def __init__(
        self,
        n_class: int,
        *,
        depths=BACKBONES["vgg16"],
        widths=VGG_WIDTHS,
        fc_width: int = FC_WIDTH,
        upsample_init: str = "xavier_uniform",
        skip_init: str = "xavier_uniform",
    ):
        super().__init__()
        if n_class < 2:
            raise ValueError(f"n_class is {n_class}; segmentation needs at least 2 classes")
        for name, values in (("widths", widths), ("depths", depths)):
            if len(values) != 5:
                raise ValueError(
                    f"{name} has {len(values)} values; give one for each of conv1…conv5"
                )
        for name, value, known in (
            ("upsample_init", upsample_init, UPSAMPLE_INITS),
            ("skip_init", skip_init, SKIP_INITS),
        ):
            if value not in known:
                choices = " or ".join(repr(choice) for choice in known)
                raise ValueError(f"{name} is {value!r}; choose {choices}")
        self.n_class = n_class
        self.upsample_init = upsample_init
        self.skip_init = skip_init
        # Exported files cannot raise errors.
        self.checks_size = True

        self.conv1 = _stage(3, widths[0], depths[0])  # 1/2
        self.conv2 = _stage(widths[0], widths[1], depths[1])  # 1/4
        self.conv3 = _stage(widths[1], widths[2], depths[2])  # 1/8
        self.conv4 = _stage(widths[2], widths[3], depths[3])  # 1/16
        self.conv5 = _stage(widths[3], widths[4], depths[4])  # 1/32
        self.conv6 = nn.SequentialCell(_conv_bn_relu(widths[4], fc_width, kernel_size=7))
        self.conv7 = nn.SequentialCell(_conv_bn_relu(fc_width, fc_width, kernel_size=1))
        self.score_fr = _score(fc_width, n_class)

    def skip(self, stage):
        """The scores of what a stage gives."""
        return _score(stage[0].out_channels, self.n_class, self.skip_init)

    def upscore(self, stride):
        """Scores enlarged by a stride."""
        return _upscore(self.n_class, stride, self.upsample_init)

    def to_pool3(self, x):
        height, width = x.shape[2], x.shape[3]
        if self.checks_size and (height % STRIDE != 0 or width % STRIDE != 0):
            raise ValueError(
                f"input of height {height} and width {width}: both must be multiples of 32; "
                "pad the image with fcn8s_ms.transforms.pad_to_multiple and crop the logits back"
            )
        pool1 = self.conv1(x)  # 1/2
        pool2 = self.conv2(pool1)  # 1/4
        return self.conv3(pool2)  # 1/8

    def to_conv7(self, pool4):
        pool5 = self.conv5(pool4)  # 1/32
        return self.conv7(self.conv6(pool5))  # 1/32


class FCN32s(_FCN):
    """FCN-32s: class scores from conv7 (1/32) alone.

    Arguments, inputs, outputs and errors as `FCN8s`; without a skip, `skip_init` has no effect.

    Source: https://arxiv.org/abs/1411.4038, figure 3.
    """

    def __init__(self, n_class: int, **arguments):
        super().__init__(n_class, **arguments)
        self.upscore32 = self.upscore(32)  # 1/32 -> 1

    def construct(self, x):
        pool3 = self.to_pool3(x)  # 1/8
        pool4 = self.conv4(pool3)  # 1/16
        conv7 = self.to_conv7(pool4)  # 1/32
        return self.upscore32(self.score_fr(conv7))


class FCN16s(_FCN):
    """FCN-16s: class scores from pool4 (1/16) and conv7 (1/32), added up.

    Arguments, inputs, outputs and errors as `FCN8s`.

    Source: https://arxiv.org/abs/1411.4038, figure 3.
    """

    def __init__(self, n_class: int, **arguments):
        super().__init__(n_class, **arguments)
        self.upscore2 = self.upscore(2)  # 1/32 -> 1/16
        self.score_pool4 = self.skip(self.conv4)
        self.upscore16 = self.upscore(16)  # 1/16 -> 1

    def construct(self, x):
        pool3 = self.to_pool3(x)  # 1/8
        pool4 = self.conv4(pool3)  # 1/16
        conv7 = self.to_conv7(pool4)  # 1/32
        fused = self.upscore2(self.score_fr(conv7))  # 1/16
        return self.upscore16(fused + self.score_pool4(pool4))


class FCN8s(_FCN):
    """FCN-8s: class scores from pool3 (1/8), pool4 (1/16) and conv7 (1/32), added up.

    Args:
        n_class: number of classes.
        depths: convolutions in each of conv1…conv5; `BACKBONES` has VGG-16's and VGG-19's.
        widths: channels of conv1…conv5.
        fc_width: channels of conv6 and conv7.
        upsample_init: `'xavier_uniform'` (the tutorial's code) or `'bilinear'` (the paper) for the
            transposed convolutions.
        skip_init: `'xavier_uniform'` (the tutorial's code) or `'zeros'` (the paper, where a network
            starts from the weights of the one with a skip less) for the scores of pool3 and pool4.

    Inputs:
        x: float32 Tensor (N, 3, H, W), normalised BGR. H and W are multiples of 32;
        `fcn8s_ms.transforms.pad_to_multiple` pads an image of another size.

    Outputs:
        float32 Tensor (N, n_class, H, W): logits.

    Raises:
        ValueError: an argument is out of range, or H or W is not a multiple of 32.

    Source: https://arxiv.org/abs/1411.4038, figure 3. The backbone is VGG with BatchNorm; conv6 and
    conv7 are its fully connected layers as convolutions.
    """

    def __init__(self, n_class: int, **arguments):
        super().__init__(n_class, **arguments)
        self.upscore2 = self.upscore(2)  # 1/32 -> 1/16
        self.score_pool4 = self.skip(self.conv4)
        self.upscore_pool4 = self.upscore(2)  # 1/16 -> 1/8
        self.score_pool3 = self.skip(self.conv3)
        self.upscore8 = self.upscore(8)  # 1/8 -> 1

    def construct(self, x):
        pool3 = self.to_pool3(x)  # 1/8
        pool4 = self.conv4(pool3)  # 1/16
        conv7 = self.to_conv7(pool4)  # 1/32
        fused = self.upscore2(self.score_fr(conv7))  # 1/16
        fused = self.upscore_pool4(fused + self.score_pool4(pool4))  # 1/8
        return self.upscore8(fused + self.score_pool3(pool3))


NETWORKS = {network.__name__.lower(): network for network in (FCN32s, FCN16s, FCN8s)}
"""The three by their names in `network.architectures.ARCHITECTURES`."""
