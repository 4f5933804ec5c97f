"""FCN-32s, FCN-16s and FCN-8s as the paper's authors trained them.

Names and arrays are the same in the authors' `.caffemodel` files (`LAYER.weight`, `LAYER.bias`) and
in pytorch-fcn's `fcn32s_from_caffe.pth`, `fcn16s_…`, `fcn8s_…` and `fcn8s-atonce_…`, and are kept:
input, padding and cutting are the network's own affair. What a `.pth` does not tell are the factors
0.01 and 0.0001 on pool4 and pool3 in the network that was trained at once instead of in stages; a
`.caffemodel` has them as layers of their own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError, listing
from .architectures import AT_ONCE_SCALES, BACKBONES
from .converted import Conversion, array_of

__all__ = ["PaperConversion", "convert", "fits"]

_SCALE_LAYERS = ("scale_pool4.weight", "scale_pool3.weight")
_KERNELS = {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16, "upscore16": 32, "upscore": 64}
_SCORES = {"score_pool4": "conv4_3", "score_pool3": "conv3_3"}
# Score and upsampling layers by architecture, which its last layer marks.
_LAYERS = {
    "fcn8s_paper": ("score_pool4", "score_pool3", "upscore2", "upscore_pool4", "upscore8"),
    "fcn16s_paper": ("score_pool4", "upscore2", "upscore16"),
    "fcn32s_paper": ("upscore",),
}

_Named: TypeAlias = Iterator[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class PaperConversion(Conversion):
    """A network of the authors.

    Attributes:
        arch: name in `ARCHITECTURES`.
        num_classes: number of classes.
        scales: factors on pool4 and pool3; None in FCN-32s, which has no skips.
        scales_told: whether the source tells the factors.
    """

    arch: str
    num_classes: int
    scales: tuple[float, float] | None
    scales_told: bool

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for the JSON next to the checkpoint."""
        facts: dict[str, Any] = {"arch": self.arch, "num_classes": self.num_classes}
        return facts | ({"scales": list(self.scales)} if self.scales else {})

    @property
    def lines(self) -> list[str]:
        """What was found, in words."""
        lines = [f"{self.layout}, for --arch {self.arch}: {self.num_classes} classes"]
        if self.scales is not None:
            factors = " and ".join(f"{factor:g}" for factor in self.scales)
            lines.append(f"factors on pool4 and pool3: {factors}")
            if not self.scales_told:
                lines[-1] += "; the file does not tell, --scales marks networks trained at once"
        return lines

    @property
    def flags(self) -> str:
        """Flags of the training program for a network that takes these weights."""
        return f"--arch {self.arch}"

    @property
    def segments(self) -> bool:
        """Whether it is a whole network, which can predict without training."""
        return True


def fits(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether names are those of one of the authors' networks."""
    return "conv1_1.weight" in arrays and "score_fr.weight" in arrays


def convert(arrays: Mapping[str, np.ndarray], *, at_once: bool = False) -> PaperConversion:
    """Converts the arrays of one of the authors' networks.

    Args:
        arrays: the source's arrays by name.
        at_once: whether the network was trained at once; only for sources that do not tell.

    Raises:
        InputError: an array is missing, has another shape or is not finite, or `at_once`
            contradicts the source. The message does not name the file.
    """
    if "scales" in arrays:
        raise InputError(
            "it has this package's parameter names already; use it as a checkpoint unchanged"
        )
    arch = next(
        (name for name, layers in _LAYERS.items() if f"{layers[-1]}.weight" in arrays), None
    )
    if arch is None:
        raise InputError(
            "of upscore, upscore16 and upscore8 none is there; take the authors' FCN-32s, FCN-16s "
            "or FCN-8s, complete"
        )
    scales, told = _scales(arrays, arch, at_once)
    num_classes = len(array_of(arrays, "score_fr.weight"))
    if num_classes < 2:
        raise InputError(f"it has {num_classes} classes; segmentation needs at least 2")
    parameters = dict(_parameters(arrays, arch, num_classes))
    if scales is not None:
        parameters["scales"] = np.array(scales, np.float32)
    left = tuple(name for name in arrays if name not in (*parameters, *_SCALE_LAYERS))
    strange = [name for name in left if name.startswith(("conv", "fc", "score_", "upscore"))]
    if strange:
        raise InputError(
            f"it has {listing(strange, 3)} too, and so is another network; take the authors' "
            "FCN-32s, FCN-16s or FCN-8s"
        )
    layout = "the authors' FCN"
    return PaperConversion(parameters, layout, left, arch, num_classes, scales, told)


def _scales(
    arrays: Mapping[str, np.ndarray], arch: str, at_once: bool
) -> tuple[tuple[float, float] | None, bool]:
    """Factors on pool4 and pool3, and whether the source tells them."""
    if arch == "fcn32s_paper":
        if at_once:
            raise InputError("it is an FCN-32s, which has no skips to scale; leave out --scales")
        return None, True
    if not any(name in arrays for name in _SCALE_LAYERS):
        return (AT_ONCE_SCALES if at_once else (1.0, 1.0)), at_once
    factors = [1.0, 1.0]
    for place, name in enumerate(_SCALE_LAYERS):
        if name in arrays:
            layer = array_of(arrays, name)
            if layer.size == 0 or (layer != layer.flat[0]).any():
                raise InputError(f"{name} has more than one factor; take the authors' networks")
            factors[place] = float(layer.flat[0])
    return (factors[0], factors[1]), True


def _parameters(arrays: Mapping[str, np.ndarray], arch: str, num_classes: int) -> _Named:
    widths: dict[str, int] = {}

    def layer(name: str, entering: int, side: int, leaving: int | None = None) -> _Named:
        leaving = leaving or len(array_of(arrays, f"{name}.weight"))
        widths[name] = leaving
        weight = array_of(arrays, f"{name}.weight")
        if weight.shape == (leaving, entering * side * side):  # a fully connected layer
            weight = weight.reshape(leaving, entering, side, side)
        shaped = {f"{name}.weight": weight}
        yield f"{name}.weight", array_of(shaped, f"{name}.weight", (leaving, entering, side, side))
        yield f"{name}.bias", array_of(arrays, f"{name}.bias", (leaving,))

    channels = 3
    for stage, depth in enumerate(BACKBONES["vgg16"], 1):
        width = None
        for place in range(1, depth + 1):
            yield from layer(f"conv{stage}_{place}", channels, 3, width)
            channels = width = widths[f"conv{stage}_{place}"]
    yield from layer("fc6", channels, 7)
    yield from layer("fc7", widths["fc6"], 1, widths["fc6"])
    yield from layer("score_fr", widths["fc7"], 1, num_classes)
    for name in _LAYERS[arch]:
        if name in _SCORES:
            yield from layer(name, widths[_SCORES[name]], 1, num_classes)
        else:
            yield f"{name}.weight", _upsampling(arrays, name, num_classes)


def _upsampling(arrays: Mapping[str, np.ndarray], name: str, num_classes: int) -> np.ndarray:
    """Weight of a transposed convolution, (classes, classes, side, side)."""
    side = _KERNELS[name]
    weight = array_of(arrays, f"{name}.weight")
    if weight.shape == (num_classes, 1, side, side):  # a group per class
        full = np.zeros((num_classes, num_classes, side, side), np.float32)
        full[range(num_classes), range(num_classes)] = weight[:, 0]
        return full
    return array_of(arrays, f"{name}.weight", (num_classes, num_classes, side, side))
