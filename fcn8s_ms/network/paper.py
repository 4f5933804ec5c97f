"""FCN-32s, FCN-16s and FCN-8s as the paper's authors trained and published them.

Layers have biases and no BatchNorm, and the names of the authors' files: `conv3_2`, `fc6`,
`score_pool4`. The first convolution pads the image by 100 pixels; pooling rounds sizes up, `fc6`
does not pad, and what the scores have too much at the borders is cut off where they meet. So an
image of any size goes through, even one smaller than the stride.

Sources: Long, Shelhamer, Darrell, https://arxiv.org/abs/1411.4038, and the authors' network
definitions (fcn.berkeleyvision.org).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal

from .. import voc
from .architectures import AT_ONCE_SCALES, FC_WIDTH, PAPER_MEAN, PAPER_PADDING, VGG_WIDTHS
from .dropout import Dropout
from .upsampling import bilinear_kernel

__all__ = [
    "OFFSETS",
    "OFFSET_POOL3",
    "OFFSET_POOL4",
    "FCN16sPaper",
    "FCN32sPaper",
    "FCN8sPaper",
]

OFFSET_POOL4 = 5
"""Row and column of pool4's scores that those of fc7 begin at."""

OFFSET_POOL3 = 9
"""Row and column of pool3's scores that those of pool4 begin at."""

OFFSETS = {32: 19, 16: 27, 8: 31}
"""Row and column of the upsampled scores that the image begins at, by the last stride."""


def _conv(in_channels: int, out_channels: int, kernel_size: int, **padding: Any) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        stride=1,
        has_bias=True,
        weight_init=HeNormal(mode="fan_in", nonlinearity="relu"),
        bias_init="zeros",
        **padding,
    )


def _conv3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return _conv(in_channels, out_channels, 3, pad_mode="same")


class _FCNPaper(nn.Cell):
    """Common part of the three: arguments as of `FCN8sPaper`, backbone, and the scores of fc7."""

    def __init__(
        self,
        n_class: int,
        *,
        widths: Sequence[int] = VGG_WIDTHS,
        fc_width: int = FC_WIDTH,
        dropout: float = 0.5,
        train_upsampling: bool = False,
    ):
        super().__init__()
        if n_class < 2:
            raise ValueError(f"n_class is {n_class}; segmentation needs at least 2 classes")
        if len(widths) != 5:
            raise ValueError(f"widths has {len(widths)} values; give one for each of conv1…conv5")
        self.n_class = n_class
        self.train_upsampling = train_upsampling
        # From the normalised pixels that all networks here take to the authors' numbers. Not part
        # of conv1_1: what it pads is 0 after the mean is subtracted.
        mean, std = (np.asarray(one, np.float64) for one in (voc.IMAGE_MEAN, voc.IMAGE_STD))
        self.factor = Tensor(std.astype(np.float32).reshape(1, 3, 1, 1))
        self.shift = Tensor((mean - PAPER_MEAN).astype(np.float32).reshape(1, 3, 1, 1))
        self.relu = nn.ReLU()
        # Two by two; 'same' pads an odd side by one that never is the largest: sizes round up.
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2, pad_mode="same")
        one, two, three, four, five = widths
        self.conv1_1 = _conv(3, one, 3, pad_mode="pad", padding=PAPER_PADDING)
        self.conv1_2 = _conv3(one, one)
        self.conv2_1 = _conv3(one, two)
        self.conv2_2 = _conv3(two, two)
        self.conv3_1 = _conv3(two, three)
        self.conv3_2 = _conv3(three, three)
        self.conv3_3 = _conv3(three, three)
        self.conv4_1 = _conv3(three, four)
        self.conv4_2 = _conv3(four, four)
        self.conv4_3 = _conv3(four, four)
        self.conv5_1 = _conv3(four, five)
        self.conv5_2 = _conv3(five, five)
        self.conv5_3 = _conv3(five, five)
        self.fc6 = _conv(five, fc_width, 7, pad_mode="valid")
        self.drop6 = Dropout(dropout, 0)
        self.fc7 = _conv(fc_width, fc_width, 1, pad_mode="valid")
        self.drop7 = Dropout(dropout, 1)
        self.score_fr = self.new_score(fc_width)

    def new_score(self, in_channels: int) -> nn.Conv2d:
        """Class scores of a layer; they start at zero."""
        return nn.Conv2d(
            in_channels=in_channels,
            out_channels=self.n_class,
            kernel_size=1,
            stride=1,
            pad_mode="valid",
            has_bias=True,
            weight_init="zeros",
            bias_init="zeros",
        )

    def new_upscore(self, stride: int) -> nn.Conv2dTranspose:
        """Bilinear upsampling of class scores by a stride, with the borders it adds."""
        kernel_size = 2 * stride
        layer = nn.Conv2dTranspose(
            in_channels=self.n_class,
            out_channels=self.n_class,
            kernel_size=kernel_size,
            stride=stride,
            pad_mode="valid",
            has_bias=False,
            weight_init=Tensor(bilinear_kernel(self.n_class, kernel_size)),
        )
        layer.weight.requires_grad = self.train_upsampling
        return layer

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """pool3, pool4 and fc7 of an image, at 1/8, 1/16 and 1/32 of its padded size."""
        x = x * self.factor + self.shift
        x = self.relu(self.conv1_1(x))
        x = self.pool(self.relu(self.conv1_2(x)))  # 1/2
        x = self.relu(self.conv2_1(x))
        x = self.pool(self.relu(self.conv2_2(x)))  # 1/4
        x = self.relu(self.conv3_1(x))
        x = self.relu(self.conv3_2(x))
        pool3 = self.pool(self.relu(self.conv3_3(x)))  # 1/8
        x = self.relu(self.conv4_1(pool3))
        x = self.relu(self.conv4_2(x))
        pool4 = self.pool(self.relu(self.conv4_3(x)))  # 1/16
        x = self.relu(self.conv5_1(pool4))
        x = self.relu(self.conv5_2(x))
        x = self.pool(self.relu(self.conv5_3(x)))  # 1/32
        x = self.drop6(self.relu(self.fc6(x)))
        return pool3, pool4, self.drop7(self.relu(self.fc7(x)))


def _cut(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """Part of `x` that starts at `offset` and has the height and width of `like`."""
    height, width = like.shape[2], like.shape[3]
    return x[:, :, offset : offset + height, offset : offset + width]


class _WithSkips(_FCNPaper):
    """Adds the scores of pool4 to the common part."""

    def __init__(self, n_class: int, *, at_once: bool = False, **arguments: Any):
        super().__init__(n_class, **arguments)
        scales = AT_ONCE_SCALES if at_once else (1.0, 1.0)
        self.scales = Parameter(
            Tensor(np.asarray(scales, np.float32)), name="scales", requires_grad=False
        )
        self.upscore2 = self.new_upscore(2)  # 1/32 -> 1/16
        self.score_pool4 = self.new_score(self.conv4_3.out_channels)

    def scale(self, place: int) -> Tensor:
        """Factor on pool4 (0) or pool3 (1)."""
        return ops.slice(self.scales, (place,), (1,))

    def scores_of_pool4(self, pool4: Tensor, fc7: Tensor) -> Tensor:
        """Scores of fc7 and pool4, added up at 1/16."""
        scores = self.upscore2(self.score_fr(fc7))
        return scores + _cut(self.score_pool4(pool4 * self.scale(0)), OFFSET_POOL4, scores)


class FCN32sPaper(_FCNPaper):
    """The authors' FCN-32s: class scores from fc7 (1/32) alone.

    Arguments, inputs, outputs and errors as `FCN8sPaper`; without a skip there is no `at_once`.

    Source: `voc-fcn32s` of the authors.
    """

    def __init__(self, n_class: int, **arguments: Any):
        super().__init__(n_class, **arguments)
        self.upscore = self.new_upscore(32)  # 1/32 -> 1

    def construct(self, x: Tensor) -> Tensor:
        return _cut(self.upscore(self.score_fr(self.features(x)[2])), OFFSETS[32], x)


class FCN16sPaper(_WithSkips):
    """The authors' FCN-16s: class scores from pool4 (1/16) and fc7 (1/32), added up.

    Arguments, inputs, outputs and errors as `FCN8sPaper`.

    Source: `voc-fcn16s` of the authors.
    """

    def __init__(self, n_class: int, **arguments: Any):
        super().__init__(n_class, **arguments)
        self.upscore16 = self.new_upscore(16)  # 1/16 -> 1

    def construct(self, x: Tensor) -> Tensor:
        pool4, fc7 = self.features(x)[1:]
        return _cut(self.upscore16(self.scores_of_pool4(pool4, fc7)), OFFSETS[16], x)


class FCN8sPaper(_WithSkips):
    """The authors' FCN-8s: class scores from pool3 (1/8), pool4 (1/16) and fc7 (1/32), added up.

    Args:
        n_class: number of classes.
        widths: channels of conv1…conv5.
        fc_width: channels of fc6 and fc7.
        dropout: share of the numbers after fc6 and fc7 that training zeros.
        train_upsampling: train the transposed convolutions; they stay bilinear otherwise.
        at_once: multiply pool4 by 0.01 and pool3 by 0.0001 before they are scored, as in the
            authors' networks that are trained at once instead of in stages. The factors are a
            parameter, `scales`, so that a checkpoint tells.

    Inputs:
        x: float32 Tensor (N, 3, H, W), normalised BGR, of any size.

    Outputs:
        float32 Tensor (N, n_class, H, W): logits.

    Raises:
        ValueError: an argument is out of range.

    Source: `voc-fcn8s` and `voc-fcn8s-atonce` of the authors.
    """

    def __init__(self, n_class: int, **arguments: Any):
        super().__init__(n_class, **arguments)
        self.upscore_pool4 = self.new_upscore(2)  # 1/16 -> 1/8
        self.score_pool3 = self.new_score(self.conv3_3.out_channels)
        self.upscore8 = self.new_upscore(8)  # 1/8 -> 1

    def construct(self, x: Tensor) -> Tensor:
        pool3, pool4, fc7 = self.features(x)
        scores = self.upscore_pool4(self.scores_of_pool4(pool4, fc7))  # 1/8
        skip = self.score_pool3(pool3 * self.scale(1))
        return _cut(self.upscore8(scores + _cut(skip, OFFSET_POOL3, scores)), OFFSETS[8], x)
