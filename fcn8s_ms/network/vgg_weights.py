"""VGG-16 and VGG-19 of other frameworks, as the backbone of this package's VGG networks.

They are converted so that in evaluation mode an image has the source's features:

- conv1_1 takes this package's input: BGR, normalised by `voc.IMAGE_MEAN` and `voc.IMAGE_STD`. With
  (p - mean) / std as the source's input and p = x * IMAGE_STD + IMAGE_MEAN, its weights are
  multiplied by IMAGE_STD / std, in BGR order, and (IMAGE_MEAN - mean) / std through its kernels is
  added to its bias. Sources with torchvision's preprocessing have this package's mean and std, so
  only the order changes, and every feature is exact. Keras's mean differs by up to half a gray
  level: the zeros around a normalised image then stand for our mean colour, not for Keras's.
  Features that see only the image are exact; those that see its border deviate by that half gray
  level of padding.
- A bias before BatchNorm is subtracted from the moving mean. That is exact, and in training it has
  no effect, as in the source, because BatchNorm removes any constant. The moving statistics are the
  source's.
- A convolution or fully connected layer without BatchNorm gets one that only adds the bias: gamma
  1, beta the bias, moving mean 0, moving variance 1 - epsilon, so that it divides by 1. The bias
  thus remains a parameter; and the correction for epsilon is in a statistic, not in gamma, where it
  would outlast the first steps of training. All this holds while the moving statistics are used
  (`--freeze-bn`): training with the statistics of the batch normalises where the source did not,
  unless `calibration` has given the layers statistics of the user's own data.
- fc6 and fc7 become conv6 and conv7, a 7x7 and a 1x1 convolution: the flattened features are in the
  order channel, row, column; Keras's in the order row, column, channel.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .. import voc
from ..errors import InputError, listing
from .architectures import PAPER_MEAN
from .converted import AGAIN, Conversion, array_of
from .vgg_layouts import DEPTHS, Layer, recognise

__all__ = [
    "BATCH_NORM_EPSILON",
    "PREPROCESSING",
    "Preprocessing",
    "VggConversion",
    "convert",
    "for_paper",
]

BATCH_NORM_EPSILON = 1e-5
"""Term that BatchNorm adds to the variance: here, in PyTorch and in MindSpore's model zoo."""

_FC6_SIDE = 7

_Arrays: TypeAlias = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Preprocessing:
    """Input of a source: (p - mean) / std for pixels p of 0…255, in the order of `channels`."""

    channels: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


PREPROCESSING = {
    "torchvision": Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Preprocessing("BGR", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "caffe-rgb": Preprocessing("RGB", (123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
}
"""torchvision's (whose 0…1 are 0…255 here), also timm's, MindSpore's and MindCV's; that of the
original Caffe network, also Keras's; and that of torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`,
the original network in RGB."""


@dataclass(frozen=True)
class VggConversion(Conversion):
    """A backbone under this network's names, in the order of the network.

    Attributes:
        backbone: `'vgg16'` or `'vgg19'`.
        preprocessing: name in `PREPROCESSING` of the source's input.
        batch_norm: whether the source's convolutions have BatchNorm.
        fc: whether conv6 and conv7 are among the parameters.
        calibration: crops that gave the BatchNorms their statistics, for the JSON next to the
            checkpoint; None if they are the source's.
        paper: whether names and input are those of the paper's networks, without BatchNorm.
    """

    backbone: str
    preprocessing: str
    batch_norm: bool
    fc: bool
    calibration: Mapping[str, str | int] | None = None
    paper: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for the JSON next to the checkpoint."""
        facts = {
            "backbone": self.backbone,
            "preprocessing": self.preprocessing,
            "batch_norm": self.batch_norm,
            "paper": self.paper,
        }
        return facts if self.calibration is None else {**facts, "calibration": self.calibration}

    @property
    def lines(self) -> list[str]:
        """What was found, in words."""
        if self.paper:
            last = "fc7" if self.fc else "conv5_3; fc6 and fc7 start from random weights"
            return [
                f"{self.layout}, {self.backbone}, for the paper's networks",
                f"layers: conv1_1 to {last}",
            ]
        names = [name for name in self.parameters if name.endswith(".weight")]
        count = len(names) - 2 * self.fc
        kind = "BatchNorm and its moving statistics" if self.batch_norm else "no BatchNorm"
        last = "conv1 to conv7"
        if not self.fc:
            last = "conv1 to conv5; conv6 and conv7 are not there and start from random weights"
        lines = [
            f"{self.layout}, {self.backbone}: {count} convolutions with {kind}",
            f"layers: {last}",
            f"input of the source: {self.preprocessing}; of the result: this package's",
        ]
        if self.calibration is not None:
            lines.append(
                "BatchNorm: statistics of {crops} crops of {record}".format_map(self.calibration)
            )
        elif not self.batch_norm:
            lines.append(
                "The source has no BatchNorm: its features are kept only with --freeze-bn; or give "
                "it statistics of your data with --calibrate RECORD"
            )
        return lines

    @property
    def flags(self) -> str:
        """Flags of the training program for a network that takes these weights."""
        if self.paper:
            return "--arch fcn32s_paper"
        flags = [] if self.backbone == "vgg16" else ["--backbone", self.backbone]
        keeps = self.batch_norm or self.calibration is not None
        return " ".join(flags if keeps else [*flags, "--freeze-bn"])


def convert(
    arrays: Mapping[str, np.ndarray], *, with_fc: bool = True, preprocessing: str | None = None
) -> VggConversion:
    """Converts the arrays of a VGG-16 or VGG-19 in a layout of `vgg_layouts`.

    Args:
        arrays: the source's arrays by name; by path for an HDF5 file.
        with_fc: whether to convert fc6 and fc7, if the source has them.
        preprocessing: name in `PREPROCESSING`; by default the layout's usual one.

    Returns:
        The backbone under this network's names.

    Raises:
        InputError: names or shapes belong to no known layout, or numbers are not finite. The
            message does not name the file.
    """
    source = recognise(arrays)
    depths = tuple(len(stage) for stage in source.stages)
    if depths not in DEPTHS:
        raise InputError(
            f"it has {listing(depths)} convolutions before its pools; VGG-16 has 2, 2, 3, 3, 3 and "
            "VGG-19 2, 2, 4, 4, 4: take one of these, complete"
        )
    preprocessing = preprocessing or source.preprocessing
    fc = source.fc if with_fc else []
    if len(fc) == 1:
        raise InputError(
            f"of fc6 and fc7 only {fc[0].name} is there; {AGAIN}, or leave both out with "
            "--without-fc"
        )
    parameters: dict[str, np.ndarray] = {}
    channels = 3
    for number, stage in enumerate(source.stages, 1):
        width = None
        for position, layer in enumerate(stage):
            weight = _convolution(arrays, layer, channels, width, source.channels_last)
            shift: float | np.ndarray = 0.0
            if number == 1 and position == 0:
                weight, shift = _for_our_input(weight, PREPROCESSING[preprocessing])
            parameters.update(_renamed(f"conv{number}", 3 * position, arrays, layer, weight, shift))
            channels = width = len(weight)
    for number, (layer, side) in enumerate(zip(fc, (_FC6_SIDE, 1)), 6):
        weight = _fully_connected(arrays, layer, channels, side, source.channels_last)
        if number == 7 and len(weight) != channels:
            raise InputError(
                f"{layer.weight} has {len(weight)} outputs and {fc[0].weight} {channels}; conv6 "
                "and conv7 have the same width: leave them out with --without-fc"
            )
        parameters.update(_renamed(f"conv{number}", 0, arrays, layer, weight))
        channels = len(weight)
    used = {name for stage in (*source.stages, fc) for layer in stage for name in layer.names()}
    return VggConversion(
        parameters=parameters,
        layout=source.layout,
        backbone=DEPTHS[depths],
        preprocessing=preprocessing,
        batch_norm=source.stages[0][0].norm is not None,
        fc=bool(fc),
        left=tuple(name for name in arrays if name not in used),
    )


# --- arrays -----------------------------------------------------------------------------------


def _array(arrays: _Arrays, name: str) -> np.ndarray:
    """An array of the source as float32."""
    try:
        return array_of(arrays, name)
    except InputError as error:
        if "finite" not in str(error) or "features" in name:
            raise
        raise InputError(f"{error}, or leave fc6 and fc7 out with --without-fc") from None


def _convolution(
    arrays: _Arrays, layer: Layer, channels: int, width: int | None, channels_last: bool
) -> np.ndarray:
    """Weight of a convolution, (out, in, 3, 3), from `channels` to `width` (if known) channels."""
    weight = _array(arrays, layer.weight)
    shape = weight.shape
    if channels_last and weight.ndim == 4:
        weight = weight.transpose(3, 2, 0, 1)
    if weight.shape[1:] != (channels, 3, 3) or width not in (None, len(weight)):
        outputs = "N" if width is None else width
        expected = (3, 3, channels, outputs) if channels_last else (outputs, channels, 3, 3)
        raise InputError(
            f"{layer.weight} has shape {shape}, VGG's is ({listing(expected)}); take VGG-16 or "
            "VGG-19" + (", in TensorFlow's order of dimensions" if channels_last else "")
        )
    return weight


def _fully_connected(
    arrays: _Arrays, layer: Layer, channels: int, side: int, channels_last: bool
) -> np.ndarray:
    """Weight of a fully connected layer, as a convolution's: (out, in, side, side)."""
    weight = _array(arrays, layer.weight)
    inputs = channels * side * side
    if channels_last and weight.shape[:-1] == (inputs,):
        return weight.T.reshape(-1, side, side, channels).transpose(0, 3, 1, 2)
    if not channels_last and weight.shape[1:] in ((inputs,), (channels, side, side)):
        return weight.reshape(-1, channels, side, side)
    raise InputError(
        f"{layer.weight} has shape {weight.shape}; conv6 and conv7 need the {inputs} inputs of a "
        "network for 224x224 pixels: leave it out with --without-fc"
    )


def _for_our_input(
    weight: np.ndarray, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """conv1_1's weight for this package's input, and the term to add to its bias."""
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    if preprocessing.channels == "RGB":
        weight, mean, std = weight[:, ::-1], mean[::-1], std[::-1]
    scale = np.array(voc.IMAGE_STD) / std
    offset = (np.array(voc.IMAGE_MEAN) - mean) / std
    weight = weight.astype(np.float64)
    return weight * scale[:, np.newaxis, np.newaxis], weight.sum(axis=(2, 3)) @ offset


def _renamed(
    stage: str,
    index: int,
    arrays: _Arrays,
    layer: Layer,
    weight: np.ndarray,
    shift: float | np.ndarray = 0.0,
) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of a layer by this network's names, with a BatchNorm even if the source has none."""
    channels = len(weight)

    def vector(name: str) -> np.ndarray:
        array = _array(arrays, name).astype(np.float64)
        if array.shape != (channels,):
            raise InputError(
                f"{name} has shape {array.shape} and {layer.weight} {channels} outputs; fetch or "
                "save it again"
            )
        return array

    bias = np.zeros(channels) + shift
    if layer.bias is not None:
        bias += vector(layer.bias)
    if layer.norm is not None:
        norm = {ours: vector(name) for ours, name in layer.norm.items()}
        norm["moving_mean"] = norm["moving_mean"] - bias
    else:
        norm = {
            "gamma": np.ones(channels),
            "beta": bias,
            "moving_mean": np.zeros(channels),
            "moving_variance": np.full(channels, 1 - BATCH_NORM_EPSILON),
        }
    norm = {name: norm[name] for name in ("moving_mean", "moving_variance", "gamma", "beta")}
    yield f"{stage}.{index}.weight", np.ascontiguousarray(weight, np.float32)
    for name, array in norm.items():
        yield f"{stage}.{index + 1}.{name}", array.astype(np.float32)


def for_paper(found: VggConversion) -> VggConversion:
    """Gives a converted backbone the names and the input of the paper's networks.

    These have biases and no BatchNorm, and subtract the authors' mean themselves without a
    division. Away from the border the features are the source's.

    Args:
        found: as `convert` returns it, not calibrated.

    Raises:
        InputError: the source has BatchNorm, or is a VGG-19. The message does not name the file.
    """
    if found.batch_norm or found.backbone != "vgg16":
        raise InputError(
            f"it is a {found.backbone} with{'' if found.batch_norm else 'out'} BatchNorm; the "
            "paper's networks are VGG-16 without BatchNorm: leave out --paper"
        )
    parameters: dict[str, np.ndarray] = {}
    for name, weight in found.parameters.items():
        layer, _, kind = name.rpartition(".")
        if kind != "weight":
            continue
        stage, _, place = layer.partition(".")
        bias = found.parameters[f"{stage}.{int(place) + 1}.beta"]
        if name == "conv1.0.weight":
            exact = weight / np.array(voc.IMAGE_STD)[:, np.newaxis, np.newaxis]
            shift = np.array(PAPER_MEAN) - voc.IMAGE_MEAN
            bias = (bias + exact.sum(axis=(2, 3)) @ shift).astype(np.float32)
            weight = exact.astype(np.float32)
        own = {"conv6": "fc6", "conv7": "fc7"}.get(stage, f"{stage}_{int(place) // 3 + 1}")
        parameters |= {f"{own}.weight": weight, f"{own}.bias": bias}
    return dataclasses.replace(found, parameters=parameters, paper=True)
