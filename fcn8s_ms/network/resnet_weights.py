"""FCN on a ResNet, and ResNet-50 and ResNet-101 as its backbone, of other frameworks.

Layouts, recognised by their parameter names:

- torchvision's `fcn_resnet50` and `fcn_resnet101`, with or without auxiliary head, with any number
  of classes: `backbone.…`, `classifier.N`, `aux_classifier.N`.
- torchvision's and timm's `resnet50` and `resnet101`: the same names without `backbone.`, and `fc`.
- MindCV's `resnet50` and `resnet101`: MindSpore's names of a BatchNorm, `down_sample` and
  `classifier`.

All of them take RGB, normalised by the mean and standard deviation that this package has, too: the
first convolution's channels are turned round to BGR, and every number is the source's.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, listing
from .architectures import RESNET_DEPTHS
from .converted import AGAIN, NORM_NAMES, Conversion, array_of

__all__ = ["ResNetConversion", "convert", "fits"]

_EXPANSION = 4
_OF_BACKBONE = re.compile(r"(backbone\.)?(conv1|bn1|layer\d+)\.")
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class ResNetConversion(Conversion):
    """A ResNet, or an FCN on one, under this package's names.

    Attributes:
        arch: name in `ARCHITECTURES`.
        num_classes: number of classes; None for a backbone alone.
        auxiliary: whether the auxiliary head is among the parameters.
    """

    arch: str
    num_classes: int | None
    auxiliary: bool

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for the JSON next to the checkpoint."""
        facts: dict[str, Any] = {"arch": self.arch}
        if self.num_classes is not None:
            facts |= {"num_classes": self.num_classes, "auxiliary": self.auxiliary}
        return facts

    @property
    def lines(self) -> list[str]:
        """What was found, in words."""
        found = f"{self.layout}, for --arch {self.arch}"
        if self.num_classes is None:
            return [f"{found}: a backbone; classifier and aux_classifier start from random weights"]
        heads = "with auxiliary head" if self.auxiliary else "without auxiliary head"
        return [f"{found}: {self.num_classes} classes, {heads}"]

    @property
    def flags(self) -> str:
        """Flags of the training program for a network that takes these weights."""
        return f"--arch {self.arch}"

    @property
    def segments(self) -> bool:
        """Whether it is a whole network, which can predict without training."""
        return self.num_classes is not None


def fits(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether names are those of a ResNet, which `convert` then takes or explains."""
    return any(
        name in arrays
        for prefix in ("", "backbone.")
        for name in (f"{prefix}layer1.0.conv1.weight", f"{prefix}layer1.0.bn1.weight")
    )


def convert(arrays: Mapping[str, np.ndarray]) -> ResNetConversion:
    """Converts the arrays of a ResNet or an FCN on one, in one of the layouts above.

    Raises:
        InputError: an array is missing, has another shape, is not finite, or belongs to a variant
            of the network. The message does not name the file.
    """
    prefix = "backbone." if any(name.startswith("backbone.") for name in arrays) else ""
    mindspore = f"{prefix}bn1.gamma" in arrays
    if prefix and mindspore:
        raise InputError(
            "it has this package's parameter names already; use it as a checkpoint unchanged"
        )
    if f"{prefix}conv1.weight" not in arrays and f"{prefix}conv1.0.weight" in arrays:
        raise InputError(
            "its stem has several convolutions (a variant such as ResNet-50d); take the plain "
            "resnet50 or resnet101"
        )
    arch = _arch(arrays, prefix)
    names = _Names(mindspore)
    width = len(array_of(arrays, f"{prefix}conv1.weight"))
    wanted = dict(_backbone(RESNET_DEPTHS[arch], width))
    num_classes, auxiliary = None, False
    if prefix:
        auxiliary = any(name.startswith("aux_classifier.") for name in arrays)
        for head, channels in (("classifier", 32 * width), ("aux_classifier", 16 * width)):
            if head == "classifier" or auxiliary:
                classes = len(array_of(arrays, f"{head}.4.weight"))
                num_classes = num_classes or classes
                wanted |= dict(_head(head, channels, num_classes))
        if num_classes is not None and num_classes < 2:
            raise InputError(f"it has {num_classes} classes; segmentation needs at least 2")
    parameters, used = {}, set()
    for ours, shape in wanted.items():
        theirs = names.of(ours if prefix else ours.removeprefix("backbone."))
        parameters[ours] = np.ascontiguousarray(array_of(arrays, theirs, shape))
        used.add(theirs)
    first = "backbone.conv1.weight"
    parameters[first] = np.ascontiguousarray(parameters[first][:, ::-1])
    left = tuple(name for name in arrays if name not in used)
    strange = [name for name in left if _OF_BACKBONE.match(name) and not name.endswith(_COUNTER)]
    if strange:
        raise InputError(
            f"it has {listing(strange, 3)} too, and so is a variant of the network; take the plain "
            "resnet50 or resnet101"
        )
    depth = arch.removeprefix("fcn_")
    if prefix:
        layout = f"torchvision's {arch}"
    else:
        layout = f"MindCV's {depth}" if mindspore else f"{depth} of torchvision or timm"
    return ResNetConversion(parameters, layout, left, arch, num_classes, auxiliary)


def _arch(arrays: Mapping[str, np.ndarray], prefix: str) -> str:
    """Architecture by the number of blocks of each stage."""
    depths = tuple(
        len(
            {
                name[len(prefix) :].split(".")[1]
                for name in arrays
                if name.startswith(f"{prefix}layer{stage}.")
            }
        )
        for stage in range(1, 5)
    )
    arch = next((name for name, known in RESNET_DEPTHS.items() if known == depths), None)
    if arch is None or f"{prefix}layer1.0.conv3.weight" not in arrays:
        raise InputError(
            f"it has {listing(depths)} blocks in its stages, or blocks of two convolutions; "
            f"ResNet-50 has 3, 4, 6, 3 and ResNet-101 3, 4, 23, 3: take one of these, or {AGAIN}"
        )
    return arch


class _Names:
    """Names of a source, by this package's."""

    def __init__(self, mindspore: bool):
        self._mindspore = mindspore

    def of(self, name: str) -> str:
        if self._mindspore:
            return name.replace(".downsample.", ".down_sample.")
        layer, _, kind = name.rpartition(".")
        return f"{layer}.{NORM_NAMES.get(kind, kind)}"


_Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _norm(name: str, channels: int) -> _Shapes:
    for kind in NORM_NAMES:
        yield f"{name}.{kind}", (channels,)


def _backbone(depths: tuple[int, ...], width: int) -> _Shapes:
    """Parameters of the backbone, with their shapes."""
    yield "backbone.conv1.weight", (width, 3, 7, 7)
    yield from _norm("backbone.bn1", width)
    channels = width
    for stage, depth in enumerate(depths):
        wide = width * 2**stage
        for place in range(depth):
            block = f"backbone.layer{stage + 1}.{place}"
            sides = ((wide, channels, 1), (wide, wide, 3), (_EXPANSION * wide, wide, 1))
            for number, (leaving, entering, side) in enumerate(sides, 1):
                yield f"{block}.conv{number}.weight", (leaving, entering, side, side)
                yield from _norm(f"{block}.bn{number}", leaving)
            if place == 0:
                yield f"{block}.downsample.0.weight", (_EXPANSION * wide, channels, 1, 1)
                yield from _norm(f"{block}.downsample.1", _EXPANSION * wide)
            channels = _EXPANSION * wide


def _head(name: str, channels: int, num_classes: int) -> _Shapes:
    """Parameters of a head, with their shapes."""
    between = channels // 4
    yield f"{name}.0.weight", (between, channels, 3, 3)
    yield from _norm(f"{name}.1", between)
    yield f"{name}.4.weight", (num_classes, between, 1, 1)
    yield f"{name}.4.bias", (num_classes,)
