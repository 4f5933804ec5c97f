"""Networks by name, with what programs and checkpoints need to know of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ARCHITECTURES",
    "AT_ONCE_SCALES",
    "BACKBONES",
    "FC_WIDTH",
    "PAPER_MEAN",
    "PAPER_PADDING",
    "PARTS",
    "RESNET_DEPTHS",
    "RESNET_WIDTH",
    "SKIP_INITS",
    "TUTORIAL",
    "UPSAMPLE_INITS",
    "VGG_WIDTHS",
    "Architecture",
    "Dimensions",
    "PaperDimensions",
    "ResNetDimensions",
    "VggDimensions",
    "architecture_of",
    "multiple_of",
    "recognise",
]

_Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network that can be trained and used here.

    Attributes:
        class_name: name of its class in `fcn8s_ms.model`; checkpoints are named after it.
        title: its name in the literature.
        family: networks of a family share their layers, the reading of their sizes from a
            checkpoint, and their ONNX graph.
        marks: parameters that together tell its checkpoints from those of the others.
        parts: prefixes of parameter names, by the names of the parts for `--freeze` and
            `--lr-factor`.
        options: options of the training program that are for some architectures only, and that
            this one takes.
        multiple: height and width of an input are multiples of it; 1 for any size.
        has_auxiliary: whether it can be trained with an auxiliary head.
    """

    class_name: str
    title: str
    family: str
    marks: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    options: tuple[str, ...] = ()
    multiple: int = 32
    has_auxiliary: bool = False

    def takes(self, option: str) -> bool:
        """Whether an option of the training program is for this architecture, too."""
        special = {name for one in ARCHITECTURES.values() for name in one.options}
        return option in self.options or option not in special

    def part_of(self, parameter: str) -> str | None:
        """Part that a parameter belongs to, by its name; None for none."""
        return next(
            (part for part, prefixes in self.parts.items() if parameter.startswith(prefixes)), None
        )


def _vgg(class_name: str, title: str, last_layer: str) -> Architecture:
    return Architecture(
        class_name=class_name,
        title=title,
        family="vgg",
        marks=(f"{last_layer}.weight", "conv1.0.weight"),
        parts={
            "backbone": ("conv1.", "conv2.", "conv3.", "conv4.", "conv5."),
            "fc": ("conv6.", "conv7."),
            "head": ("score_",),
            "upsampling": ("upscore",),
        },
        options=("backbone", "widths", "fc_width", "upsample_init", "skip_init"),
    )


def _resnet(class_name: str, title: str, last_block: str) -> Architecture:
    return Architecture(
        class_name=class_name,
        title=title,
        family="resnet",
        marks=("classifier.4.weight", f"backbone.{last_block}.conv3.weight"),
        parts={
            "backbone": ("backbone.",),
            "head": ("classifier.",),
            "aux": ("aux_classifier.",),
        },
        options=("resnet_width", "aux_weight"),
        multiple=1,
        has_auxiliary=True,
    )


def _paper(class_name: str, title: str, last_layer: str, options: tuple[str, ...]) -> Architecture:
    return Architecture(
        class_name=class_name,
        title=title,
        family="paper",
        marks=(f"{last_layer}.weight", "conv1_1.weight"),
        parts={
            "backbone": ("conv",),
            "fc": ("fc6.", "fc7."),
            "head": ("score_",),
            "upsampling": ("upscore",),
        },
        options=("widths", "fc_width", "train_upsampling", *options),
        multiple=1,
    )


ARCHITECTURES = {
    "fcn32s": _vgg("FCN32s", "FCN-32s", "upscore32"),
    "fcn16s": _vgg("FCN16s", "FCN-16s", "upscore16"),
    "fcn8s": _vgg("FCN8s", "FCN-8s", "upscore8"),
    "fcn_resnet50": _resnet("FCNResNet50", "FCN-ResNet50", "layer3.5"),
    "fcn_resnet101": _resnet("FCNResNet101", "FCN-ResNet101", "layer3.22"),
    "fcn32s_paper": _paper("FCN32sPaper", "FCN-32s of the paper", "upscore", ()),
    "fcn16s_paper": _paper("FCN16sPaper", "FCN-16s of the paper", "upscore16", ("at_once",)),
    "fcn8s_paper": _paper("FCN8sPaper", "FCN-8s of the paper", "upscore8", ("at_once",)),
}
"""By the names that `--arch` takes."""

PARTS = tuple(dict.fromkeys(part for one in ARCHITECTURES.values() for part in one.parts))
"""Parts of the networks; each network has some of them."""

TUTORIAL = ("fcn32s", "fcn16s", "fcn8s")
"""Those of the tutorial and the paper's figure, from the coarsest to the finest."""

BACKBONES = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Number of convolutions in conv1…conv5. Source: https://arxiv.org/abs/1409.1556, table 1."""

VGG_WIDTHS = (64, 128, 256, 512, 512)
"""Channels of conv1…conv5. Source: as `BACKBONES`."""

RESNET_DEPTHS = {"fcn_resnet50": (3, 4, 6, 3), "fcn_resnet101": (3, 4, 23, 3)}
"""Blocks in the four stages. Source: https://arxiv.org/abs/1512.03385, table 1."""

RESNET_WIDTH = 64
"""Channels of a ResNet's stem. Source: as `RESNET_DEPTHS`."""

FC_WIDTH = 4096
"""Channels of conv6 and conv7, VGG's fully connected layers."""

PAPER_PADDING = 100
"""Pixels of padding around the image in the authors' networks."""

PAPER_MEAN = (104.00698793, 116.66876762, 122.67891434)
"""Mean of the channels that the authors' networks subtract, BGR, 0…255."""

AT_ONCE_SCALES = (0.01, 0.0001)
"""Factors on pool4 and pool3 in the authors' networks that are trained at once, not in stages."""

UPSAMPLE_INITS = ("xavier_uniform", "bilinear")
"""Initial weights of the transposed convolutions: the tutorial's code, and the paper."""

SKIP_INITS = ("xavier_uniform", "zeros")
"""Initial weights of the scores of pool3 and pool4: the tutorial's code, and the paper."""


@dataclass(frozen=True)
class Dimensions:
    """A network and its sizes, as its weights show them; each family adds its own.

    Attributes:
        arch: name in `ARCHITECTURES`.
        num_classes: number of classes.
    """

    arch: str
    num_classes: int

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the network's class, besides the number of classes."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes by name, for a report."""
        raise NotImplementedError

    @property
    def description(self) -> str:
        """Backbone and sizes in words."""
        raise NotImplementedError

    @property
    def architecture(self) -> Architecture:
        """Entry in `ARCHITECTURES`."""
        return ARCHITECTURES[self.arch]


@dataclass(frozen=True)
class VggDimensions(Dimensions):
    """Sizes of an FCN-32s, FCN-16s or FCN-8s.

    Attributes:
        depths: convolutions in conv1…conv5.
        widths: channels of conv1…conv5.
        fc_width: channels of conv6 and conv7.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    fc_width: int

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the network's class, besides the number of classes."""
        return {"depths": self.depths, "widths": self.widths, "fc_width": self.fc_width}

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes by name, for a report."""
        return {"backbone": self.backbone, **self.arguments}

    @property
    def description(self) -> str:
        """Backbone and sizes in words."""
        text = f"backbone {self.backbone or f'of {_spaced(self.depths)} convolutions'}"
        if (self.widths, self.fc_width) != (VGG_WIDTHS, FC_WIDTH):
            text += f", --widths {_spaced(self.widths)} --fc-width {self.fc_width}"
        return text

    @property
    def backbone(self) -> str | None:
        """Name in `BACKBONES`; None for other numbers of convolutions."""
        return next((name for name, one in BACKBONES.items() if one == self.depths), None)


@dataclass(frozen=True)
class ResNetDimensions(Dimensions):
    """Sizes of an FCN on a ResNet.

    Attributes:
        depths: blocks in the four stages.
        width: channels of the stem.
        has_auxiliary: whether the weights have an auxiliary head; inference does without.
    """

    depths: tuple[int, ...]
    width: int
    has_auxiliary: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the network's class for inference, besides the number of classes."""
        return {"width": self.width}

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes by name, for a report."""
        return {"depths": self.depths, "width": self.width, "auxiliary": self.has_auxiliary}

    @property
    def description(self) -> str:
        """Backbone and sizes in words."""
        text = "with an auxiliary head" if self.has_auxiliary else "without an auxiliary head"
        return text if self.width == RESNET_WIDTH else f"{text}, --resnet-width {self.width}"


@dataclass(frozen=True)
class PaperDimensions(Dimensions):
    """Sizes of one of the authors' networks.

    Attributes:
        widths: channels of conv1…conv5.
        fc_width: channels of fc6 and fc7.
    """

    widths: tuple[int, ...]
    fc_width: int

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the network's class, besides the number of classes."""
        return {"widths": self.widths, "fc_width": self.fc_width}

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes by name, for a report."""
        return {"backbone": "vgg16", **self.arguments}

    @property
    def has_skips(self) -> bool:
        """Whether it scores pool4, perhaps pool3 too, and has the factors on them."""
        return self.arch != "fcn32s_paper"

    @property
    def description(self) -> str:
        """Backbone and sizes in words."""
        text = "backbone vgg16 without BatchNorm"
        if (self.widths, self.fc_width) != (VGG_WIDTHS, FC_WIDTH):
            text += f", --widths {_spaced(self.widths)} --fc-width {self.fc_width}"
        return text


def recognise(shapes: _Shapes) -> Dimensions:
    """Finds out the network that parameters belong to.

    Args:
        shapes: name to shape of the parameters; there may be others, such as an optimizer's.

    Raises:
        ValueError: a parameter that tells the network is missing or has another shape.
    """
    found = [name for name, one in ARCHITECTURES.items() if shapes.keys() >= {*one.marks}]
    if not found:
        marks = dict.fromkeys(one.marks[0] for one in ARCHITECTURES.values())
        names = ", ".join(f"'{one}'" for one in marks)
        raise ValueError(f"it has none of the parameters {names}")
    arch = found[-1]  # of networks that contain one another, the largest
    return _RECOGNISE[ARCHITECTURES[arch].family](arch, shapes)


def architecture_of(network: object) -> Architecture | None:
    """Entry in `ARCHITECTURES` of a network by its class; None for any other Cell."""
    name = type(network).__name__
    return next((one for one in ARCHITECTURES.values() if one.class_name == name), None)


def multiple_of(network: object) -> int:
    """Height and width of the network's inputs are multiples of this number.

    Args:
        network: Cell of a class in `ARCHITECTURES`; for any other, 32 is assumed.
    """
    architecture = architecture_of(network)
    return 32 if architecture is None else architecture.multiple


def _channels(shapes: _Shapes, name: str) -> int:
    """Output channels of a convolution."""
    if name not in shapes:
        raise ValueError(f"parameter '{name}' is missing")
    if len(shapes[name]) != 4:
        raise ValueError(f"parameter '{name}' has shape {tuple(shapes[name])}")
    return shapes[name][0]


def _classes(shapes: _Shapes, name: str) -> int:
    """Number of classes that a convolution scores."""
    num_classes = _channels(shapes, name)
    if num_classes < 2:
        raise ValueError(f"it has {num_classes} classes; segmentation needs at least 2")
    return num_classes


def _recognise_vgg(arch: str, shapes: _Shapes) -> Dimensions:
    return VggDimensions(
        arch=arch,
        num_classes=_classes(shapes, "score_fr.weight"),
        depths=tuple(_depth(shapes, f"conv{stage}") for stage in range(1, 6)),
        widths=tuple(_channels(shapes, f"conv{stage}.0.weight") for stage in range(1, 6)),
        fc_width=_channels(shapes, "conv6.0.weight"),
    )


def _spaced(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def _recognise_resnet(arch: str, shapes: _Shapes) -> Dimensions:
    return ResNetDimensions(
        arch=arch,
        num_classes=_classes(shapes, "classifier.4.weight"),
        depths=RESNET_DEPTHS[arch],
        width=_channels(shapes, "backbone.conv1.weight"),
        has_auxiliary="aux_classifier.4.weight" in shapes,
    )


def _recognise_paper(arch: str, shapes: _Shapes) -> Dimensions:
    found = PaperDimensions(
        arch=arch,
        num_classes=_classes(shapes, "score_fr.weight"),
        widths=tuple(_channels(shapes, f"conv{stage}_1.weight") for stage in range(1, 6)),
        fc_width=_channels(shapes, "fc6.weight"),
    )
    if found.has_skips and "scales" not in shapes:
        raise ValueError(
            "parameter 'scales' is missing, the factors on pool4 and pool3: 1 and 1, or 0.01 and "
            "0.0001 in a network trained at once; convert the weights again"
        )
    return found


_RECOGNISE: dict[str, Callable[[str, _Shapes], Dimensions]] = {
    "vgg": _recognise_vgg,
    "resnet": _recognise_resnet,
    "paper": _recognise_paper,
}
"""By family."""


def _depth(shapes: _Shapes, stage: str) -> int:
    """Number of convolutions of a stage: every third layer is one, after it BatchNorm and ReLU."""
    return sum(len(one) == 4 for name, one in shapes.items() if name.startswith(f"{stage}."))
