"""Layers of a network by their sizes alone: outputs, parameters, and multiplications.

For what can be said of a checkpoint without building its network.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .architectures import (
    BACKBONES,
    PAPER_PADDING,
    Dimensions,
    PaperDimensions,
    ResNetDimensions,
    VggDimensions,
)

__all__ = ["BACKBONE", "Layer", "layers", "parameters"]

BACKBONE = ("conv1", "conv2", "conv3", "conv4", "conv5")
"""Stages of the backbone, each followed by a pooling that halves the sides."""

_OF_BATCH_NORM = ("moving_mean", "moving_variance", "gamma", "beta")


@dataclass(frozen=True)
class Layer:
    """A convolution with the BatchNorm and ReLU after it, or a transposed convolution.

    Attributes:
        name: name of the layer in the network.
        kernel: side of its kernel.
        enlarges: factor by which a transposed convolution enlarges; 1 for a convolution.
        weight: shape of its weight.
        channels: channels of its output.
        height: height of its output.
        width: width of its output.
        batch_norm: name of the BatchNorm after it; None without one.
        has_bias: whether it adds a bias.
        border: rows and columns by which the output of a transposed convolution exceeds `enlarges`
            times its input.
    """

    name: str
    kernel: int
    enlarges: int
    weight: tuple[int, int, int, int]
    channels: int
    height: int
    width: int
    batch_norm: str | None = None
    has_bias: bool = False
    border: int = 0

    @property
    def parameters(self) -> int:
        """Numbers in its weight, its bias and the four vectors of its BatchNorm."""
        first, second, height, width = self.weight
        vectors = self.has_bias + (len(_OF_BATCH_NORM) if self.batch_norm else 0)
        return first * second * height * width + vectors * self.channels

    @property
    def macs(self) -> int:
        """Multiplications with an addition each, for one image.

        A convolution takes the whole kernel for every pixel of its output, a transposed convolution
        for every pixel of its input, padding included.
        """
        first, second, height, width = self.weight
        entering = ((side - self.border) // self.enlarges for side in (self.height, self.width))
        pixels = math.prod(entering)
        return first * second * height * width * pixels


def layers(network: Dimensions, height: int, width: int) -> list[Layer]:
    """Layers of a network in the order of its parameters.

    Args:
        network: its sizes.
        height: height of the image, a multiple of what the network takes.
        width: width of the image, likewise.
    """
    return list(_layers(network, height, width))


def parameters(network: Dimensions) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's parameters, in their order."""
    found: dict[str, tuple[int, ...]] = {}
    if isinstance(network, PaperDimensions) and network.has_skips:
        found["scales"] = (2,)
    for layer in _layers(network, 32, 32):
        found[f"{layer.name}.weight"] = layer.weight
        if layer.has_bias:
            found[f"{layer.name}.bias"] = (layer.channels,)
        if layer.batch_norm:
            found.update({f"{layer.batch_norm}.{one}": (layer.channels,) for one in _OF_BATCH_NORM})
    return found


def _layers(network: Dimensions, height: int, width: int) -> Iterator[Layer]:
    if isinstance(network, VggDimensions):
        yield from _vgg(network, height, width)
    elif isinstance(network, ResNetDimensions):
        yield from _resnet(network, height, width)
    elif isinstance(network, PaperDimensions):
        yield from _paper(network, height, width)


def _vgg(network: VggDimensions, height: int, width: int) -> Iterator[Layer]:
    def conv(name: str, entering: int, leaving: int, side: int, at: int, norm: bool) -> Layer:
        stage, _, place = name.partition(".")
        return Layer(
            name,
            side,
            1,
            (leaving, entering, side, side),
            leaving,
            height // at,
            width // at,
            f"{stage}.{int(place) + 1}" if norm else None,
        )

    def upscore(name: str, stride: int, at: int) -> Layer:
        side, classes = 2 * stride, network.num_classes
        weight = (classes, classes, side, side)
        return Layer(name, side, stride, weight, classes, height // at, width // at)

    channels = 3
    for stage, (depth, wide) in enumerate(zip(network.depths, network.widths)):
        for place in range(depth):
            yield conv(f"{BACKBONE[stage]}.{3 * place}", channels, wide, 3, 2**stage, True)
            channels = wide
    yield conv("conv6.0", channels, network.fc_width, 7, 32, True)
    yield conv("conv7.0", network.fc_width, network.fc_width, 1, 32, True)
    yield conv("score_fr", network.fc_width, network.num_classes, 1, 32, False)
    if network.arch == "fcn32s":
        yield upscore("upscore32", 32, 1)
        return
    yield upscore("upscore2", 2, 16)
    yield conv("score_pool4", network.widths[3], network.num_classes, 1, 16, False)
    if network.arch == "fcn16s":
        yield upscore("upscore16", 16, 1)
        return
    yield upscore("upscore_pool4", 2, 8)
    yield conv("score_pool3", network.widths[2], network.num_classes, 1, 8, False)
    yield upscore("upscore8", 8, 1)


def _halved(side: int) -> int:
    """Side of the output of a padded kernel of stride 2."""
    return (side - 1) // 2 + 1


def _resnet(network: ResNetDimensions, height: int, width: int) -> Iterator[Layer]:
    def conv(name: str, entering: int, leaving: int, kernel: int, norm: str | None) -> Layer:
        weight = (leaving, entering, kernel, kernel)
        return Layer(name, kernel, 1, weight, leaving, height, width, norm, norm is None)

    def head(name: str, entering: int) -> Iterator[Layer]:
        between = entering // 4
        yield conv(f"{name}.0", entering, between, 3, f"{name}.1")
        yield conv(f"{name}.4", between, network.num_classes, 1, None)

    height, width = _halved(height), _halved(width)
    yield conv("backbone.conv1", 3, network.width, 7, "backbone.bn1")
    height, width = _halved(height), _halved(width)
    entering = network.width
    for stage, depth in enumerate(network.depths):
        planes = network.width * 2**stage
        for place in range(depth):
            name = f"backbone.layer{stage + 1}.{place}"
            yield conv(f"{name}.conv1", entering, planes, 1, f"{name}.bn1")
            if stage == 1 and place == 0:
                height, width = _halved(height), _halved(width)
            yield conv(f"{name}.conv2", planes, planes, 3, f"{name}.bn2")
            yield conv(f"{name}.conv3", planes, 4 * planes, 1, f"{name}.bn3")
            if place == 0:
                shortcut = f"{name}.downsample"
                yield conv(f"{shortcut}.0", entering, 4 * planes, 1, f"{shortcut}.1")
            entering = 4 * planes
    yield from head("classifier", entering)
    if network.has_auxiliary:
        yield from head("aux_classifier", entering // 2)


def _paper(network: PaperDimensions, height: int, width: int) -> Iterator[Layer]:
    classes = network.num_classes

    def conv(name: str, entering: int, leaving: int, kernel: int, size: tuple[int, int]) -> Layer:
        return Layer(
            name, kernel, 1, (leaving, entering, kernel, kernel), leaving, *size, None, True
        )

    def upscore(name: str, stride: int, size: tuple[int, int]) -> Layer:
        kernel = 2 * stride
        high, wide = ((side + 1) * stride for side in size)
        weight = (classes, classes, kernel, kernel)
        return Layer(name, kernel, stride, weight, classes, high, wide, border=stride)

    added = 2 * PAPER_PADDING - 2
    size, entering = (height + added, width + added), 3
    pools = []
    for stage, (depth, leaving) in enumerate(zip(BACKBONES["vgg16"], network.widths), 1):
        for place in range(1, depth + 1):
            yield conv(f"conv{stage}_{place}", entering, leaving, 3, size)
            entering = leaving
        size = _halved(size[0]), _halved(size[1])
        pools.append(size)
    size = size[0] - 6, size[1] - 6
    yield conv("fc6", entering, network.fc_width, 7, size)
    yield conv("fc7", network.fc_width, network.fc_width, 1, size)
    yield conv("score_fr", network.fc_width, classes, 1, size)
    if not network.has_skips:
        yield upscore("upscore", 32, size)
        return
    upscore2 = upscore("upscore2", 2, size)
    yield upscore2
    yield conv("score_pool4", network.widths[3], classes, 1, pools[3])
    size = upscore2.height, upscore2.width
    if network.arch == "fcn16s_paper":
        yield upscore("upscore16", 16, size)
        return
    upscore_pool4 = upscore("upscore_pool4", 2, size)
    yield upscore_pool4
    yield conv("score_pool3", network.widths[2], classes, 1, pools[2])
    yield upscore("upscore8", 8, (upscore_pool4.height, upscore_pool4.width))
