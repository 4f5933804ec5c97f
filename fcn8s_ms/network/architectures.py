"""Networks of the family by name, with what programs and checkpoints need to know of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "FC_WIDTH",
    "SKIP_INITS",
    "UPSAMPLE_INITS",
    "VGG_WIDTHS",
    "Architecture",
    "Dimensions",
    "recognise",
]


@dataclass(frozen=True)
class Architecture:
    """A network of the family.

    Attributes:
        class_name: name of its class in `fcn8s_ms.model`; checkpoints are named after it.
        title: its name in the paper.
        last_layer: upsampling layer that returns the logits; it tells checkpoints apart.
    """

    class_name: str
    title: str
    last_layer: str


ARCHITECTURES = {
    "fcn32s": Architecture("FCN32s", "FCN-32s", "upscore32"),
    "fcn16s": Architecture("FCN16s", "FCN-16s", "upscore16"),
    "fcn8s": Architecture("FCN8s", "FCN-8s", "upscore8"),
}
"""By the names that `--arch` takes."""

BACKBONES = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Number of convolutions in conv1…conv5. Source: https://arxiv.org/abs/1409.1556, table 1."""

VGG_WIDTHS = (64, 128, 256, 512, 512)
"""Channels of conv1…conv5. Source: as `BACKBONES`."""

FC_WIDTH = 4096
"""Channels of conv6 and conv7, VGG's fully connected layers."""

UPSAMPLE_INITS = ("xavier_uniform", "bilinear")
"""Initial weights of the transposed convolutions: the tutorial's code, and the paper."""

SKIP_INITS = ("xavier_uniform", "zeros")
"""Initial weights of the scores of pool3 and pool4: the tutorial's code, and the paper."""


@dataclass(frozen=True)
class Dimensions:
    """A network of the family and its sizes, as its weights show them.

    Attributes:
        arch: name in `ARCHITECTURES`.
        num_classes: number of classes.
        depths: convolutions in conv1…conv5.
        widths: channels of conv1…conv5.
        fc_width: channels of conv6 and conv7.
    """

    arch: str
    num_classes: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    fc_width: int

    @property
    def backbone(self) -> str | None:
        """Name in `BACKBONES`; None for other numbers of convolutions."""
        return next((name for name, one in BACKBONES.items() if one == self.depths), None)


def recognise(shapes: Mapping[str, Sequence[int]]) -> Dimensions:
    """Finds out the network that parameters belong to.

    Args:
        shapes: name to shape of the parameters; there may be others, such as an optimizer's.

    Raises:
        ValueError: a parameter that tells the network is missing or has another shape.
    """
    arch = next((name for name, one in ARCHITECTURES.items() if _last(one) in shapes), None)
    if arch is None:
        names = ", ".join(f"'{_last(one)}'" for one in ARCHITECTURES.values())
        raise ValueError(f"it has none of the parameters {names}")

    def channels(name: str) -> int:
        if name not in shapes:
            raise ValueError(f"parameter '{name}' is missing")
        if len(shapes[name]) != 4:
            raise ValueError(f"parameter '{name}' has shape {tuple(shapes[name])}")
        return shapes[name][0]

    num_classes = channels("score_fr.weight")
    if num_classes < 2:
        raise ValueError(f"it has {num_classes} classes; segmentation needs at least 2")
    return Dimensions(
        arch=arch,
        num_classes=num_classes,
        depths=tuple(_depth(shapes, f"conv{stage}") for stage in range(1, 6)),
        widths=tuple(channels(f"conv{stage}.0.weight") for stage in range(1, 6)),
        fc_width=channels("conv6.0.weight"),
    )


def _last(architecture: Architecture) -> str:
    return f"{architecture.last_layer}.weight"


def _depth(shapes: Mapping[str, Sequence[int]], stage: str) -> int:
    """Number of convolutions of a stage: every third layer is one, after it BatchNorm and ReLU."""
    return sum(len(one) == 4 for name, one in shapes.items() if name.startswith(f"{stage}."))
