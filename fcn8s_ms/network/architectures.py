"""Networks of the family by name, with what programs and checkpoints need to know of them."""

from dataclasses import dataclass

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "FC_WIDTH",
    "SKIP_INITS",
    "UPSAMPLE_INITS",
    "VGG_WIDTHS",
    "Architecture",
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
