"""Options of the network that is trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..errors import InputError, flag
from ..network.architectures import (
    ARCHITECTURES,
    BACKBONES,
    FC_WIDTH,
    PARTS,
    RESNET_WIDTH,
    SKIP_INITS,
    UPSAMPLE_INITS,
    VGG_WIDTHS,
)
from .option_group import Options, option

__all__ = ["AUX_WEIGHT", "NetworkOptions"]

AUX_WEIGHT = 0.5
"""Weight of the auxiliary loss that torchvision trains with."""

_MAX_WIDTH, _MAX_FC_WIDTH = 4096, 16384  # wider networks have tens of gigabytes of weights


@dataclass(frozen=True)
class NetworkOptions(Options):
    """Network to train, its initial weights, and the parts that stay unchanged."""

    HEADING: ClassVar[str] = "network"

    arch: str = option(
        "fcn8s",
        choices=ARCHITECTURES,
        metavar="NAME",
        help="Train this network. fcn32s, fcn16s, fcn8s: VGG with BatchNorm, scores from conv7 "
        "only, also from pool4, also from pool3; fcn_resnet50, fcn_resnet101: torchvision's "
        "networks on a dilated ResNet; fcn32s_paper, fcn16s_paper, fcn8s_paper: the networks of "
        "the paper's authors (default: %(default)s).",
    )
    backbone: str = option(
        "vgg16",
        choices=BACKBONES,
        help="Build on VGG with 16 or 19 layers, and BatchNorm (default: %(default)s).",
    )
    widths: list[int] | None = option(
        None,
        nargs=5,
        at_most=_MAX_WIDTH,
        metavar=("W1", "W2", "W3", "W4", "W5"),
        help="Give conv1 to conv5 these numbers of channels (default: VGG's, "
        f"{' '.join(map(str, VGG_WIDTHS))}).",
    )
    fc_width: int = option(
        FC_WIDTH,
        positive=True,
        at_most=_MAX_FC_WIDTH,
        metavar="N",
        help="Give conv6 and conv7 this many channels (default: %(default)s).",
    )
    resnet_width: int = option(
        RESNET_WIDTH,
        positive=True,
        at_most=_MAX_WIDTH // 32,
        metavar="N",
        help="Give a ResNet's stem this many channels (default: %(default)s).",
    )
    dropout: float | None = option(
        None,
        at_least=0,
        metavar="P",
        help="Zero this share of the numbers in training, after conv6 and conv7, or before the "
        "last layer of a ResNet's heads (default: 0; ResNet: 0.1; the authors' networks: 0.5).",
    )
    aux_weight: float | None = option(
        None,
        at_least=0,
        at_most=100,
        metavar="W",
        help="Weigh the loss of a ResNet's auxiliary head by this; 0 trains without that head "
        f"(default: {AUX_WEIGHT}).",
    )
    pretrained: Path | None = option(
        None,
        help="Start from this checkpoint, or the best one of a run's folder: parameters whose "
        "name and shape agree are loaded.",
    )
    upsample_init: str = option(
        "xavier_uniform",
        choices=UPSAMPLE_INITS,
        help="Start the transposed convolutions as in the tutorial's code, or as in the paper "
        "(default: %(default)s).",
    )
    skip_init: str = option(
        "xavier_uniform",
        choices=SKIP_INITS,
        help="Start the scores of pool3 and pool4 as in the tutorial's code, or as in the paper, "
        "where each network starts from the one with a skip less (default: %(default)s).",
    )
    at_once: bool = option(
        False,
        help="Multiply pool4 by 0.01 and pool3 by 0.0001 before they are scored, to train "
        "fcn16s_paper or fcn8s_paper at once instead of in stages.",
    )
    train_upsampling: bool = option(
        False,
        help="Train the transposed convolutions of the authors' networks, which stay bilinear "
        "otherwise.",
    )
    freeze: list[str] = option(
        [],
        nargs="+",
        choices=PARTS,
        metavar="PART",
        help="Keep parts unchanged, including the statistics of their BatchNorms, as far as "
        "--arch has them. backbone: conv1 to conv5, or the ResNet; fc: conv6 and conv7; head: the "
        "layers that score; upsampling: the transposed convolutions; aux: the auxiliary head.",
    )
    freeze_bn: bool = option(
        False,
        help="Keep every BatchNorm unchanged, weights and statistics, and normalise with its "
        "stored statistics.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        architecture = ARCHITECTURES[self.arch]
        for name, field in type(self).__dataclass_fields__.items():
            if not architecture.takes(name) and getattr(self, name) != field.default:
                raise InputError(f"{flag(name)} is not for --arch {self.arch}; leave it out")
        if self.dropout is not None and self.dropout >= 1:
            raise InputError(f"--dropout is {self.dropout}; it must be below 1")
        for part in self.freeze:
            if part not in architecture.parts:
                raise InputError(
                    f"--freeze {part}: --arch {self.arch} has no such part; choose from "
                    f"{', '.join(architecture.parts)}"
                )
        if self.widths is not None and not (len(self.widths) == 5 and min(self.widths) > 0):
            given = " ".join(map(str, self.widths))
            raise InputError(
                f"--widths is {given}; give five positive numbers, the channels of conv1 to conv5"
            )

    @property
    def loss_weight_of_auxiliary(self) -> float:
        """Weight of the auxiliary head's loss; 0 if there is no such head."""
        if not ARCHITECTURES[self.arch].has_auxiliary:
            return 0
        return AUX_WEIGHT if self.aux_weight is None else self.aux_weight
