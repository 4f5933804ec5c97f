"""VGG-16 and VGG-19 of other frameworks, as the backbone of this network.

Layouts, recognised by their parameter names:

- torchvision's `vgg16`, `vgg16_bn`, `vgg19`, `vgg19_bn`: `features.N` and `classifier.N`; timm's of
  the same names, whose fully connected layers are `pre_logits.fc1` and `pre_logits.fc2`.
- MindSpore's model zoo (`official/cv/VGG`): `layers.N` and `classifier.N`; and as its CTPN trains
  it: `vgg16_feature_extractor.convK_J` and `classifier.fcN`. MindCV: `features.N`.
- Keras's `vgg16` and `vgg19`: `blockK_convJ` and `fcN` in HDF5 files of any version, or numbered
  `conv2d_N` and `dense_N` in a `.weights.h5` of Keras 3.

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
  (`--freeze-bn`): training with the statistics of the batch normalises where the source did not.
- fc6 and fc7 become conv6 and conv7, a 7x7 and a 1x1 convolution: the flattened features are in the
  order channel, row, column; Keras's in the order row, column, channel.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .. import voc
from ..errors import InputError, listing

__all__ = ["BATCH_NORM_EPSILON", "PREPROCESSING", "Conversion", "Preprocessing", "convert"]

BATCH_NORM_EPSILON = 1e-5
"""Term that BatchNorm adds to the variance: here, in PyTorch and in MindSpore's model zoo."""

_BACKBONES = {(2, 2, 3, 3, 3): "vgg16", (2, 2, 4, 4, 4): "vgg19"}
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
class Conversion:
    """A backbone under this network's names.

    Attributes:
        parameters: float32 arrays by name, in the order of the network.
        layout: description of the source.
        backbone: `'vgg16'` or `'vgg19'`.
        preprocessing: name in `PREPROCESSING` of the source's input.
        batch_norm: whether the source's convolutions have BatchNorm.
        fc: whether conv6 and conv7 are among the parameters.
        left: names in the source that are not used, such as the classifier of 1000 classes.
    """

    parameters: dict[str, np.ndarray]
    layout: str
    backbone: str
    preprocessing: str
    batch_norm: bool
    fc: bool
    left: tuple[str, ...]


@dataclass(frozen=True)
class _Layer:
    """A convolution or fully connected layer: the names of its arrays in the source."""

    name: str
    weight: str
    bias: str | None = None
    norm: dict[str, str] | None = None  # gamma, beta, moving_mean, moving_variance

    def names(self) -> Iterator[str]:
        yield self.weight
        if self.bias is not None:
            yield self.bias
        if self.norm is not None:
            yield from self.norm.values()


@dataclass(frozen=True)
class _Source:
    layout: str
    preprocessing: str
    stages: list[list[_Layer]]
    fc: list[_Layer]
    channels_last: bool = False


def convert(
    arrays: Mapping[str, np.ndarray], *, with_fc: bool = True, preprocessing: str | None = None
) -> Conversion:
    """Converts the arrays of a VGG-16 or VGG-19 in one of the layouts above.

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
    source = _recognise(arrays)
    depths = tuple(len(stage) for stage in source.stages)
    if depths not in _BACKBONES:
        raise InputError(
            f"it has {listing(depths)} convolutions before its pools; VGG-16 has 2, 2, 3, 3, 3 and "
            "VGG-19 2, 2, 4, 4, 4: take one of these, complete"
        )
    preprocessing = preprocessing or source.preprocessing
    fc = source.fc if with_fc else []
    if len(fc) == 1:
        raise InputError(
            f"of fc6 and fc7 only {fc[0].name} is there; {_AGAIN}, or leave both out with "
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
    return Conversion(
        parameters=parameters,
        layout=source.layout,
        backbone=_BACKBONES[depths],
        preprocessing=preprocessing,
        batch_norm=source.stages[0][0].norm is not None,
        fc=bool(fc),
        left=tuple(name for name in arrays if name not in used),
    )


# --- layouts ----------------------------------------------------------------------------------

_AGAIN = "fetch or save it again, complete"

_TORCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_MINDSPORE_NORM = {name: name for name in _TORCH_NORM}

# Layers by the numbers of their stage and within it.
_Stages: TypeAlias = dict[int, dict[int, _Layer]]

_SEQUENTIAL = re.compile(r"(features\.|layers\.)(\d+)\.weight")
_CTPN = re.compile(r"(vgg16_feature_extractor\.conv(\d)_(\d))\.0\.weight")
_KERAS = re.compile(
    r"(?:.+/)?(block(\d)_conv(\d)|fc1|fc2)/(?:.+/)?(?:\w+_)?(kernel|W|bias|b)(?:_1)?(?::0)?"
)
_KERAS_3 = re.compile(r"(?:.+/)?(conv2d|dense)(?:_(\d+))?/vars/([01])")


def _recognise(arrays: _Arrays) -> _Source:
    for read in (_sequential, _ctpn, _keras, _keras_3):
        source = read(arrays)
        if source is not None:
            return source
    if "conv1.0.weight" in arrays:
        raise InputError(
            "it has this network's parameter names already; pass it to --pretrained unchanged"
        )
    raise InputError(
        (f"its names ({listing(arrays, 3)})" if arrays else "it has no arrays: its names")
        + " belong to no layout known here; take VGG-16 or VGG-19 of torchvision, timm, Keras, "
        "MindSpore's model zoo or MindCV"
    )


def _sequential(arrays: _Arrays) -> _Source | None:
    """torchvision, timm, MindCV (`features.N`) and the model zoo (`layers.N`).

    Convolutions, BatchNorms, activations and pools are numbered consecutively: the distance between
    two convolutions shows whether there is a pool between them.
    """
    found = {}
    for name in arrays:
        match = _SEQUENTIAL.fullmatch(name)
        if match and np.ndim(arrays[name]) == 4:
            found[int(match[2])] = match[1]
    if not found:
        return None
    numbers, prefix = sorted(found), next(iter(found.values()))
    mindspore = any(name.startswith(prefix) and name.endswith(".gamma") for name in arrays)
    norm_names = _MINDSPORE_NORM if mindspore else _TORCH_NORM
    batch_norm = any(f"{prefix}{number + 1}.{norm_names['gamma']}" in arrays for number in numbers)
    has_bias = any(f"{prefix}{number}.bias" in arrays for number in numbers)
    step = 3 if batch_norm else 2
    stages: list[list[_Layer]] = [[]]
    for before, number in zip([-step, *numbers], numbers):
        if number - before == step + 1:
            stages.append([])
        elif number - before != step:
            raise InputError(f"before {prefix}{number} a convolution of VGG is missing; {_AGAIN}")
        norm = None
        if batch_norm:
            norm = {ours: f"{prefix}{number + 1}.{norm_names[ours]}" for ours in norm_names}
        bias = f"{prefix}{number}.bias" if has_bias else None
        stages[-1].append(_Layer(f"{prefix}{number}", f"{prefix}{number}.weight", bias, norm))
    layout = "torchvision"
    if prefix == "layers.":
        layout = "MindSpore model zoo (layers.N)"
    elif mindspore or not has_bias:
        layout = "MindCV (features.N)"
    fc = _fully_connected_layers(arrays, ["classifier.0", "classifier.3"])
    if not fc:
        fc = _fully_connected_layers(arrays, ["pre_logits.fc1", "pre_logits.fc2"])
        layout = "timm" if fc else layout
    return _Source(layout, "torchvision", stages, fc)


def _ctpn(arrays: _Arrays) -> _Source | None:
    """The model zoo's VGG-16 as its CTPN trains it: one cell (convolution, BatchNorm) per layer."""
    stages: _Stages = {}
    for name in arrays:
        match = _CTPN.fullmatch(name)
        if match:
            norm = {ours: f"{match[1]}.1.{ours}" for ours in _MINDSPORE_NORM}
            layer = _Layer(match[1], name, None, norm)
            stages.setdefault(int(match[2]), {})[int(match[3])] = layer
    if not stages:
        return None
    fc = _fully_connected_layers(arrays, ["classifier.fc1", "classifier.fc2"])
    layout = "MindSpore model zoo (vgg16_feature_extractor)"
    return _Source(layout, "torchvision", _in_order(stages), fc)


def _keras(arrays: _Arrays) -> _Source | None:
    """Keras's `blockK_convJ` and `fcN`."""
    layers: dict[tuple[int, int] | str, dict[str, str]] = {}
    for name in arrays:
        match = _KERAS.fullmatch(name)
        if match and not name.startswith("optimizer_weights/"):
            kind = "weight" if match[4] in ("kernel", "W") else "bias"
            place = (int(match[2]), int(match[3])) if match[2] else str(match[1])
            layers.setdefault(place, {"name": match[1]})[kind] = name
    stages: _Stages = {}
    for place, found in layers.items():
        if isinstance(place, tuple):
            stages.setdefault(place[0], {})[place[1]] = _keras_layer(**found)
    if not stages:
        return None
    fc = [_keras_layer(**layers[name]) for name in ("fc1", "fc2") if name in layers]
    return _Source("Keras", "caffe", _in_order(stages), fc, channels_last=True)


def _keras_3(arrays: _Arrays) -> _Source | None:
    """Keras 3's `conv2d_N` and `dense_N`: layers of a kind are numbered, whatever their names."""
    found: dict[str, dict[int, dict[str, str]]] = {"conv2d": {}, "dense": {}}
    for name in arrays:
        match = _KERAS_3.fullmatch(name)
        if match:
            layer = found[match[1]].setdefault(int(match[2] or 0), {"name": name.split("/vars")[0]})
            layer["weight" if match[3] == "0" else "bias"] = name
    numbers = sorted(found["conv2d"])
    if not numbers:
        return None
    depths: tuple[int, ...] = next(
        (known for known in _BACKBONES if sum(known) == len(numbers)), (len(numbers),)
    )
    layers = iter(_keras_layer(**found["conv2d"][number]) for number in numbers)
    stages = [[next(layers) for _ in range(depth)] for depth in depths]
    fc = [_keras_layer(**found["dense"][number]) for number in sorted(found["dense"])[:2]]
    if len(fc) == 1:  # a classifier of one layer
        fc = []
    return _Source("Keras 3 (.weights.h5)", "caffe", stages, fc, channels_last=True)


def _keras_layer(name: str, weight: str | None = None, bias: str | None = None) -> _Layer:
    if weight is None or bias is None:
        missing = "kernel" if weight is None else "bias"
        raise InputError(f"the {missing} of {name} is missing; {_AGAIN}")
    return _Layer(name, weight, bias)


def _in_order(stages: _Stages) -> list[list[_Layer]]:
    """Stages and layers in the order of their numbers, which start at 1 and have no gaps."""
    for number in range(1, max(stages) + 1):
        layers = stages.get(number, {})
        for position in range(1, max(layers, default=1) + 1):
            if position not in layers:
                raise InputError(f"convolution {position} of block {number} is missing; {_AGAIN}")
    return [[stages[number][one] for one in sorted(stages[number])] for number in sorted(stages)]


def _fully_connected_layers(arrays: _Arrays, names: Sequence[str]) -> list[_Layer]:
    """fc6 and fc7 under these names, as far as they are there."""
    return [
        _Layer(name, f"{name}.weight", f"{name}.bias")
        for name in names
        if f"{name}.weight" in arrays
    ]


# --- arrays -----------------------------------------------------------------------------------


def _array(arrays: _Arrays, name: str) -> np.ndarray:
    """An array of the source as float32."""
    if name not in arrays:
        raise InputError(f"{name} is missing; {_AGAIN}")
    array = np.asarray(arrays[name], np.float32)
    if not np.isfinite(array).all():
        raise InputError(
            f"{name} has numbers that are not finite; fetch or save it again"
            + ("" if "features" in name else ", or leave fc6 and fc7 out with --without-fc")
        )
    return array


def _convolution(
    arrays: _Arrays, layer: _Layer, channels: int, width: int | None, channels_last: bool
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
    arrays: _Arrays, layer: _Layer, channels: int, side: int, channels_last: bool
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
    layer: _Layer,
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
