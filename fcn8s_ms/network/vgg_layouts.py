"""Layouts of VGG-16 and VGG-19 in files of other frameworks, recognised by parameter names.

- torchvision's `vgg16`, `vgg16_bn`, `vgg19`, `vgg19_bn`: `features.N` and `classifier.N`; timm's of
  the same names, whose fully connected layers are `pre_logits.fc1` and `pre_logits.fc2`.
- MindSpore's model zoo (`official/cv/VGG`): `layers.N` and `classifier.N`; and as its CTPN trains
  it: `vgg16_feature_extractor.convK_J` and `classifier.fcN`. MindCV: `features.N`.
- Keras's `vgg16` and `vgg19`: `blockK_convJ` and `fcN` in HDF5 files of any version. In a
  `.weights.h5` of Keras 3 layers also are numbered, `conv2d_N` and `dense_N`, within the network or
  within each block of it.
- The original network in Caffe: `convK_J` and `fcN`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..errors import InputError, listing
from .architectures import BACKBONES
from .converted import AGAIN, NORM_NAMES

__all__ = ["DEPTHS", "Layer", "Source", "recognise"]

DEPTHS = {depths: name for name, depths in BACKBONES.items()}
"""Names of the networks by the convolutions before their pools."""

_Arrays: TypeAlias = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A convolution or fully connected layer: the names of its arrays in the source."""

    name: str
    weight: str
    bias: str | None = None
    norm: dict[str, str] | None = None  # gamma, beta, moving_mean, moving_variance

    def names(self) -> Iterator[str]:
        """Names of its arrays."""
        yield self.weight
        if self.bias is not None:
            yield self.bias
        if self.norm is not None:
            yield from self.norm.values()


@dataclass(frozen=True)
class Source:
    """A network in a source: its layers, stage by stage, and what its arrays are like."""

    layout: str
    preprocessing: str
    stages: list[list[Layer]]
    fc: list[Layer]
    channels_last: bool = False


_MINDSPORE_NORM = {name: name for name in NORM_NAMES}

# Layers by the numbers of their stage and within it.
_Stages: TypeAlias = dict[int, dict[int, Layer]]

_SEQUENTIAL = re.compile(r"(features\.|layers\.)(\d+)\.weight")
_CTPN = re.compile(r"(vgg16_feature_extractor\.conv(\d)_(\d))\.0\.weight")
_KERAS = re.compile(
    r"(?:.+/)?(block(\d)_conv(\d)|fc1|fc2)/(?:.+/)?(?:\w+_)?(kernel|W|bias|b|vars/[01])(?:_1)?(?::0)?"
)
_KERAS_BLOCKS = re.compile(r"((?:.+/)?block(\d)/(?:.+/)?conv2d(?:_(\d+))?)/vars/([01])")
_CAFFE = re.compile(r"(conv(\d)_(\d))\.weight")
_KERAS_3 = re.compile(r"(?:.+/)?(conv2d|dense)(?:_(\d+))?/vars/([01])")


def recognise(arrays: _Arrays) -> Source:
    """Finds the layers of a VGG in one of the layouts above.

    Raises:
        InputError: names belong to no layout, or a layer is missing.
    """
    for read in (_sequential, _ctpn, _keras, _keras_blocks, _keras_3, _caffe):
        source = read(arrays)
        if source is not None:
            return source
    if "conv1.0.weight" in arrays:
        raise InputError(
            "it has this network's parameter names already; pass it to --pretrained unchanged"
        )
    raise InputError(
        (f"its names ({listing(arrays, 3)})" if arrays else "it has no arrays: its names")
        + " belong to no layout known here; take VGG-16, VGG-19, ResNet-50, ResNet-101 or an "
        "FCN on one of them in a layout of the table in tools/README.md"
    )


def _sequential(arrays: _Arrays) -> Source | None:
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
    norm_names = _MINDSPORE_NORM if mindspore else NORM_NAMES
    batch_norm = any(f"{prefix}{number + 1}.{norm_names['gamma']}" in arrays for number in numbers)
    has_bias = any(f"{prefix}{number}.bias" in arrays for number in numbers)
    step = 3 if batch_norm else 2
    stages: list[list[Layer]] = [[]]
    for before, number in zip([-step, *numbers], numbers):
        if number - before == step + 1:
            stages.append([])
        elif number - before != step:
            raise InputError(f"before {prefix}{number} a convolution of VGG is missing; {AGAIN}")
        norm = None
        if batch_norm:
            norm = {ours: f"{prefix}{number + 1}.{norm_names[ours]}" for ours in norm_names}
        bias = f"{prefix}{number}.bias" if has_bias else None
        stages[-1].append(Layer(f"{prefix}{number}", f"{prefix}{number}.weight", bias, norm))
    layout = "torchvision"
    if prefix == "layers.":
        layout = "MindSpore model zoo (layers.N)"
    elif mindspore or not has_bias:
        layout = "MindCV (features.N)"
    fc = _fully_connected_layers(arrays, ["classifier.0", "classifier.3"])
    if not fc:
        fc = _fully_connected_layers(arrays, ["pre_logits.fc1", "pre_logits.fc2"])
        layout = "timm" if fc else layout
    return Source(layout, "torchvision", stages, fc)


def _ctpn(arrays: _Arrays) -> Source | None:
    """The model zoo's VGG-16 as its CTPN trains it: one cell (convolution, BatchNorm) per layer."""
    stages: _Stages = {}
    for name in arrays:
        match = _CTPN.fullmatch(name)
        if match:
            norm = {ours: f"{match[1]}.1.{ours}" for ours in _MINDSPORE_NORM}
            layer = Layer(match[1], name, None, norm)
            stages.setdefault(int(match[2]), {})[int(match[3])] = layer
    if not stages:
        return None
    fc = _fully_connected_layers(arrays, ["classifier.fc1", "classifier.fc2"])
    layout = "MindSpore model zoo (vgg16_feature_extractor)"
    return Source(layout, "torchvision", _in_order(stages), fc)


def _keras(arrays: _Arrays) -> Source | None:
    """Keras's `blockK_convJ` and `fcN`."""
    layers: dict[tuple[int, int] | str, dict[str, str]] = {}
    for name in arrays:
        match = _KERAS.fullmatch(name)
        if match and not name.startswith(("optimizer_weights/", "optimizer/")):
            kind = "weight" if match[4] in ("kernel", "W", "vars/0") else "bias"
            place = (int(match[2]), int(match[3])) if match[2] else str(match[1])
            layers.setdefault(place, {"name": match[1]})[kind] = name
    stages: _Stages = {}
    for place, found in layers.items():
        if isinstance(place, tuple):
            stages.setdefault(place[0], {})[place[1]] = _keras_layer(**found)
    if not stages:
        return None
    fc = [_keras_layer(**layers[name]) for name in ("fc1", "fc2") if name in layers]
    return Source("Keras", "caffe", _in_order(stages), fc, channels_last=True)


def _keras_blocks(arrays: _Arrays) -> Source | None:
    """Keras 3's `blockK` with `conv2d_N`, numbered in each block."""
    found: dict[tuple[int, int], dict[str, str]] = {}
    for name in arrays:
        match = _KERAS_BLOCKS.fullmatch(name)
        if match and not name.startswith("optimizer/"):
            layer = found.setdefault((int(match[2]), int(match[3] or 0) + 1), {"name": match[1]})
            layer["weight" if match[4] == "0" else "bias"] = name
    stages: _Stages = {}
    for (stage, place), layer in found.items():
        stages.setdefault(stage, {})[place] = _keras_layer(**layer)
    if not stages:
        return None
    layout = "Keras 3 (.weights.h5, blockK)"
    return Source(layout, "caffe", _in_order(stages), [], channels_last=True)


def _caffe(arrays: _Arrays) -> Source | None:
    """The original network's `convK_J` and `fcN`."""
    stages: _Stages = {}
    for name in arrays:
        match = _CAFFE.fullmatch(name)
        if match:
            layer = Layer(match[1], name, f"{match[1]}.bias")
            stages.setdefault(int(match[2]), {})[int(match[3])] = layer
    if not stages:
        return None
    return Source(
        "Caffe", "caffe", _in_order(stages), _fully_connected_layers(arrays, ["fc6", "fc7"])
    )


def _keras_3(arrays: _Arrays) -> Source | None:
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
        (known for known in DEPTHS if sum(known) == len(numbers)), (len(numbers),)
    )
    layers = iter(_keras_layer(**found["conv2d"][number]) for number in numbers)
    stages = [[next(layers) for _ in range(depth)] for depth in depths]
    fc = [_keras_layer(**found["dense"][number]) for number in sorted(found["dense"])[:2]]
    if len(fc) == 1:  # a classifier of one layer
        fc = []
    return Source("Keras 3 (.weights.h5)", "caffe", stages, fc, channels_last=True)


def _keras_layer(name: str, weight: str | None = None, bias: str | None = None) -> Layer:
    if weight is None or bias is None:
        missing = "kernel" if weight is None else "bias"
        raise InputError(f"the {missing} of {name} is missing; {AGAIN}")
    return Layer(name, weight, bias)


def _in_order(stages: _Stages) -> list[list[Layer]]:
    """Stages and layers in the order of their numbers, which start at 1 and have no gaps."""
    for number in range(1, max(stages) + 1):
        layers = stages.get(number, {})
        for position in range(1, max(layers, default=1) + 1):
            if position not in layers:
                raise InputError(f"convolution {position} of block {number} is missing; {AGAIN}")
    return [[stages[number][one] for one in sorted(stages[number])] for number in sorted(stages)]


def _fully_connected_layers(arrays: _Arrays, names: Sequence[str]) -> list[Layer]:
    """fc6 and fc7 under these names, as far as they are there."""
    return [
        Layer(name, f"{name}.weight", f"{name}.bias")
        for name in names
        if f"{name}.weight" in arrays
    ]
