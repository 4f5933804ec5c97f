"""FCN-32s, FCN-16s and FCN-8s on a VGG backbone with BatchNorm.

Long, Shelhamer, Darrell: "Fully Convolutional Networks for Semantic Segmentation",
https://arxiv.org/abs/1411.4038. Parameter names, order and shapes of FCN-8s are those of
MindSpore's FCN-8s tutorial, so its published checkpoints load by name; what the three networks
share has the same names in all of them.

The layers are plain ones on every device. `fcn8s_ms.network.cpu.accelerate` puts faster ones in
their place for training on a CPU.
"""

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from .network.architectures import BACKBONES, FC_WIDTH, SKIP_INITS, UPSAMPLE_INITS, VGG_WIDTHS
from .network.dropout import Dropout
from .network.paper import FCN8sPaper, FCN16sPaper, FCN32sPaper
from .network.resnet import FCNResNet50, FCNResNet101
from .network.upsampling import bilinear_kernel
from .transforms import STRIDE

__all__ = [
    "BACKBONES",
    "FCN16s",
    "FCN16sPaper",
    "FCN32s",
    "FCN32sPaper",
    "FCN8s",
    "FCN8sPaper",
    "FCNResNet50",
    "FCNResNet101",
    "NETWORKS",
    "bilinear_kernel",
]


def _conv(
    in_channels: int, out_channels: int, kernel_size: int, weight_init: str = "xavier_uniform"
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        stride=1,
        pad_mode="same",
        has_bias=False,
        weight_init=weight_init,
    )


def _conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, depth: int = 1
) -> nn.SequentialCell:
    """(Convolution, BatchNorm, ReLU) `depth` times."""
    layers: list[nn.Cell] = []
    for _ in range(depth):
        layers += [
            _conv(in_channels, out_channels, kernel_size),
            nn.BatchNorm2d(num_features=out_channels, momentum=0.9),
            nn.ReLU(),
        ]
        in_channels = out_channels
    return nn.SequentialCell(layers)


def _fully_connected(
    in_channels: int, out_channels: int, kernel_size: int, dropout: float, seed: int
) -> nn.SequentialCell:
    """conv6 or conv7: convolution, BatchNorm, ReLU, and dropout if there is any."""
    stage = _conv_bn_relu(in_channels, out_channels, kernel_size)
    if dropout != 0:
        stage.append(Dropout(dropout, seed))
    return stage


def _max_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=2, stride=2, pad_mode="valid")


def _upscore(n_class: int, stride: int, upsample_init: str) -> nn.Conv2dTranspose:
    kernel_size = 2 * stride
    is_bilinear = upsample_init == "bilinear"
    return nn.Conv2dTranspose(
        in_channels=n_class,
        out_channels=n_class,
        kernel_size=kernel_size,
        stride=stride,
        pad_mode="same",
        has_bias=False,
        weight_init=Tensor(bilinear_kernel(n_class, kernel_size)) if is_bilinear else upsample_init,
    )


class _FCN(nn.Cell):
    """Common part of the three: arguments as of `FCN8s`, backbone, and the scores of conv7."""

    def __init__(
        self,
        n_class: int,
        *,
        depths: Sequence[int] = BACKBONES["vgg16"],
        widths: Sequence[int] = VGG_WIDTHS,
        fc_width: int = FC_WIDTH,
        upsample_init: str = "xavier_uniform",
        skip_init: str = "xavier_uniform",
        dropout: float = 0.0,
    ):
        super().__init__()
        _check_arguments(n_class, depths, widths, upsample_init, skip_init)
        self.n_class = n_class
        self.upsample_init = upsample_init
        self.skip_init = skip_init
        self.conv1 = _conv_bn_relu(3, widths[0], depth=depths[0])
        self.pool1 = _max_pool()
        self.conv2 = _conv_bn_relu(widths[0], widths[1], depth=depths[1])
        self.pool2 = _max_pool()
        self.conv3 = _conv_bn_relu(widths[1], widths[2], depth=depths[2])
        self.pool3 = _max_pool()
        self.conv4 = _conv_bn_relu(widths[2], widths[3], depth=depths[3])
        self.pool4 = _max_pool()
        self.conv5 = _conv_bn_relu(widths[3], widths[4], depth=depths[4])
        self.pool5 = _max_pool()
        self.conv6 = _fully_connected(widths[4], fc_width, 7, dropout, 0)
        self.conv7 = _fully_connected(fc_width, fc_width, 1, dropout, 1)
        self.score_fr = _conv(fc_width, n_class, kernel_size=1)
        self.add_head()

    def add_head(self) -> None:
        """Adds the layers after score_fr."""
        raise NotImplementedError

    def skip(self, stage: nn.SequentialCell) -> nn.Conv2d:
        """Class scores of a stage."""
        return _conv(stage[0].out_channels, self.n_class, 1, weight_init=self.skip_init)

    def upscore(self, stride: int) -> nn.Conv2dTranspose:
        """Upsampling of class scores by a stride."""
        return _upscore(self.n_class, stride, self.upsample_init)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """pool3, pool4 and conv7 of an image, at 1/8, 1/16 and 1/32 of its size."""
        height, width = x.shape[2], x.shape[3]
        # Sizes are not known while a graph for any size is compiled, such as an exported file.
        is_known = ops.isconstant(height) and ops.isconstant(width)
        if is_known and (height % STRIDE != 0 or width % STRIDE != 0):
            raise ValueError(
                f"input of height {height} and width {width}: both must be multiples of 32; "
                "pad the image with fcn8s_ms.transforms.pad_to_multiple and crop the logits back"
            )
        pool1 = self.pool1(self.conv1(x))  # 1/2
        pool2 = self.pool2(self.conv2(pool1))  # 1/4
        pool3 = self.pool3(self.conv3(pool2))  # 1/8
        pool4 = self.pool4(self.conv4(pool3))  # 1/16
        pool5 = self.pool5(self.conv5(pool4))  # 1/32
        conv7 = self.conv7(self.conv6(pool5))  # 1/32
        return pool3, pool4, conv7


def _check_arguments(
    n_class: int,
    depths: Sequence[int],
    widths: Sequence[int],
    upsample_init: str,
    skip_init: str,
) -> None:
    if n_class < 2:
        raise ValueError(f"n_class is {n_class}; segmentation needs at least 2 classes")
    for name, values in (("widths", widths), ("depths", depths)):
        if len(values) != 5:
            raise ValueError(f"{name} has {len(values)} values; give one for each of conv1…conv5")
    for name, value, known in (
        ("upsample_init", upsample_init, UPSAMPLE_INITS),
        ("skip_init", skip_init, SKIP_INITS),
    ):
        if value not in known:
            choices = " or ".join(repr(choice) for choice in known)
            raise ValueError(f"{name} is {value!r}; choose {choices}")


class FCN32s(_FCN):
    """FCN-32s: class scores from conv7 (1/32) alone.

    Arguments, inputs, outputs and errors as `FCN8s`; without a skip, `skip_init` has no effect.

    Source: https://arxiv.org/abs/1411.4038, figure 3.
    """

    def add_head(self) -> None:
        self.upscore32 = self.upscore(32)  # 1/32 -> 1

    def construct(self, x: Tensor) -> Tensor:
        """Logits (N, n_class, H, W) of normalised images (N, 3, H, W)."""
        conv7 = self.features(x)[2]
        return self.upscore32(self.score_fr(conv7))


class FCN16s(_FCN):
    """FCN-16s: class scores from pool4 (1/16) and conv7 (1/32), added up.

    Arguments, inputs, outputs and errors as `FCN8s`.

    Source: https://arxiv.org/abs/1411.4038, figure 3.
    """

    def add_head(self) -> None:
        self.upscore2 = self.upscore(2)  # 1/32 -> 1/16
        self.score_pool4 = self.skip(self.conv4)
        self.upscore16 = self.upscore(16)  # 1/16 -> 1

    def construct(self, x: Tensor) -> Tensor:
        """Logits (N, n_class, H, W) of normalised images (N, 3, H, W)."""
        pool4, conv7 = self.features(x)[1:]
        scores = self.upscore2(self.score_fr(conv7))  # 1/16
        return self.upscore16(scores + self.score_pool4(pool4))


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
        dropout: share of the numbers after conv6 and conv7 that training zeros.

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

    def add_head(self) -> None:
        self.upscore2 = self.upscore(2)  # 1/32 -> 1/16
        self.score_pool4 = self.skip(self.conv4)
        self.upscore_pool4 = self.upscore(2)  # 1/16 -> 1/8
        self.score_pool3 = self.skip(self.conv3)
        self.upscore8 = self.upscore(8)  # 1/8 -> 1

    def construct(self, x: Tensor) -> Tensor:
        """Logits (N, n_class, H, W) of normalised images (N, 3, H, W)."""
        pool3, pool4, conv7 = self.features(x)
        scores = self.upscore2(self.score_fr(conv7))  # 1/16
        scores = self.upscore_pool4(scores + self.score_pool4(pool4))  # 1/8
        return self.upscore8(scores + self.score_pool3(pool3))


NETWORKS: dict[str, type[nn.Cell]] = {
    "fcn32s": FCN32s,
    "fcn16s": FCN16s,
    "fcn8s": FCN8s,
    "fcn_resnet50": FCNResNet50,
    "fcn_resnet101": FCNResNet101,
    "fcn32s_paper": FCN32sPaper,
    "fcn16s_paper": FCN16sPaper,
    "fcn8s_paper": FCN8sPaper,
}
"""By their names in `network.architectures.ARCHITECTURES`."""
