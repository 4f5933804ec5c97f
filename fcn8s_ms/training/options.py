"""Options of a training, in groups; each is documented once, at its field.

The flags of the training program follow from the fields: name, type, default, choices and help.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .. import fetch, options, threads
from ..device import AMP_LEVELS, CONV_ALGORITHMS, FLAGS, model_arguments
from ..distributed.ranks import LAUNCH
from ..errors import InputError, flag, program
from ..formats import paths
from ..images import reader
from ..network.architectures import (
    ARCHITECTURES,
    BACKBONES,
    FC_WIDTH,
    SKIP_INITS,
    UPSAMPLE_INITS,
    VGG_WIDTHS,
)
from ..transforms import LONGEST_SIDE
from .schedule import MAX_STEPS

__all__ = [
    "PROGRAM",
    "DataOptions",
    "DeviceOptions",
    "NetworkOptions",
    "OptimizerOptions",
    "Options",
    "RunOptions",
    "option",
]

PROGRAM = program("train")

_MAX_WIDTH, _MAX_FC_WIDTH = 4096, 16384  # wider networks have tens of gigabytes of weights
_BASE_LR = {"momentum": 0.05, "adamw": 0.001}


def option(
    default: Any,
    *,
    help: str,
    heading: str | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    positive: bool = False,
    excludes: str | None = None,
    may_change: bool = False,
    **parsing: Any,
) -> Any:
    """Declares an option of the training program, as `fcn8s_ms.options.option` with some rules.

    Args:
        default: value where the flag is not given.
        help: explanation in `--help`.
        heading: heading in `--help`, where it differs from that of the group.
        at_least: smallest number that is allowed, 0 or 1.
        at_most: largest number that is allowed, of all numbers if there are several.
        positive: whether only numbers above 0 are allowed.
        excludes: name of the option that cannot be given together with this one.
        may_change: whether a resumed run may change it. None of these change the steps still to
            come, except their number, which moves the learning rates, and the device, which moves
            the last bits.
        parsing: further arguments of `add_argument`.
    """
    rules = {
        "heading": heading,
        "at_least": at_least,
        "at_most": at_most,
        "positive": positive,
        "excludes": excludes,
        "may_change": may_change,
    }
    return options.option(default, help=help, rules=rules, **parsing)


@dataclass(frozen=True)
class Options:
    """Base of the groups; checks the ranges of their numbers.

    Attributes:
        HEADING: heading of the group in `--help`.

    Raises:
        InputError: a value is out of range.
    """

    HEADING: ClassVar[str]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if isinstance(value, Path):
                paths.check_utf8(value)
            at_least = field.metadata["at_least"]
            # Written so that NaN is refused too.
            if field.metadata["positive"] and not value > 0:
                raise InputError(f"{flag(field.name)} is {value}; it must be positive")
            if at_least is not None and not value >= at_least:
                limit = f"be at least {at_least}" if at_least else "not be negative"
                raise InputError(f"{flag(field.name)} is {value}; it must {limit}")
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{flag(field.name)} is {value}; it must be finite")
            largest = math.inf if isinstance(value, float) else 2**63 - 1
            at_most = field.metadata["at_most"] or largest
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, (int, float)) and one > at_most:
                    raise InputError(f"{flag(field.name)} is {one}; it must be at most {at_most:,}")


@dataclass(frozen=True)
class DataOptions(Options):
    """Data to train and validate on, and how crops are made of them."""

    HEADING: ClassVar[str] = "data"

    data: Path = option(
        fetch.DATA_FILE,
        help="MindRecord file to train on (default: %(default)s)",
        may_change=True,
    )
    val_data: Path | None = option(
        None, help="MindRecord file to validate on, with whole images", may_change=True
    )
    sample: bool = option(False, help="draw a small dataset and train on it with a preset")
    download: str | None = option(
        None,
        nargs="?",
        const=fetch.BASE_URL,
        metavar="URL",
        help="fetch the tutorial's VOC+SBD records and VGG-16 weights first (URL: from a mirror)",
    )
    num_classes: int | None = option(
        None, help="number of classes, where the data do not tell (default: VOC's 21)"
    )
    crop_size: int = option(
        512,
        positive=True,
        at_most=LONGEST_SIDE,
        help="side of the training crops, in pixels (default: %(default)s)",
    )
    min_scale: float = option(0.5, help="smallest random scale (default: %(default)s)")
    max_scale: float = option(2.0, at_most=8, help="largest random scale (default: %(default)s)")
    workers: int = option(
        min(4, threads.available_cpus()),
        positive=True,
        may_change=True,
        help="threads that prepare samples (default: %(default)s)",
    )
    max_pixels: int = option(reader.MAX_PIXELS, at_least=0, may_change=True, **reader.FLAG)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes is not None and not 2 <= self.num_classes <= 255:
            raise InputError(f"--num-classes is {self.num_classes}; choose 2…255")


@dataclass(frozen=True)
class NetworkOptions(Options):
    """Network to train, its initial weights, and the parts that stay unchanged."""

    HEADING: ClassVar[str] = "network"

    arch: str = option(
        "fcn8s",
        choices=ARCHITECTURES,
        help="source of the scores: conv7 only; also pool4; also pool3 (default: %(default)s)",
    )
    backbone: str = option(
        "vgg16",
        choices=BACKBONES,
        help="VGG with 16 or 19 layers, and BatchNorm (default: %(default)s)",
    )
    widths: list[int] | None = option(
        None,
        nargs=5,
        at_most=_MAX_WIDTH,
        metavar=("W1", "W2", "W3", "W4", "W5"),
        help=f"channels of conv1 to conv5 (default: VGG's, {' '.join(map(str, VGG_WIDTHS))})",
    )
    fc_width: int = option(
        FC_WIDTH,
        positive=True,
        at_most=_MAX_FC_WIDTH,
        metavar="N",
        help="channels of conv6 and conv7 (default: %(default)s)",
    )
    pretrained: Path | None = option(
        None, help="checkpoint to start from; parameters whose name and shape agree are loaded"
    )
    upsample_init: str = option(
        "xavier_uniform",
        choices=UPSAMPLE_INITS,
        help="initial weights of the transposed convolutions: as in the tutorial's code, or as in "
        "the paper (default: %(default)s)",
    )
    skip_init: str = option(
        "xavier_uniform",
        choices=SKIP_INITS,
        help="initial weights of the scores of pool3 and pool4: as in the tutorial's code, or as "
        "in the paper, where each network starts from the one with a skip less "
        "(default: %(default)s)",
    )
    freeze: list[str] = option(
        [],
        nargs="+",
        choices=("backbone", "upsampling"),
        help="parts to keep unchanged; backbone: conv1 to conv5, including the statistics of their "
        "BatchNorms; upsampling: the transposed convolutions",
    )
    freeze_bn: bool = option(
        False,
        help="keep every BatchNorm unchanged, weights and statistics, and normalise with its "
        "stored statistics",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        architecture = ARCHITECTURES[self.arch]
        for name in sorted({name for one in ARCHITECTURES.values() for name in one.options}):
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default and name not in architecture.options:
                raise InputError(f"{flag(name)} is not for --arch {self.arch}; leave it out")
        if self.widths is not None and not (len(self.widths) == 5 and min(self.widths) > 0):
            given = " ".join(map(str, self.widths))
            raise InputError(
                f"--widths is {given}; give five positive numbers, the channels of conv1 to conv5"
            )


@dataclass(frozen=True)
class OptimizerOptions(Options):
    """Length, batches, loss, learning rates and optimizer of a training.

    Without a value, `base_lr` becomes the optimizer's default and `min_lr` a hundredth of it.
    """

    HEADING: ClassVar[str] = "training"

    epochs: int = option(
        1, positive=True, may_change=True, help="passes over the data (default: %(default)s)"
    )
    steps: int | None = option(
        None,
        positive=True,
        at_most=MAX_STEPS,
        may_change=True,
        excludes="epochs",
        help="total number of steps, instead of --epochs",
    )
    batch_size: int = option(4, positive=True, help="images per batch (default: %(default)s)")
    accumulate: int = option(
        1,
        positive=True,
        metavar="N",
        help="use the mean gradient of N batches per step, computed one after the other; BatchNorm "
        "normalises each batch on its own (default: %(default)s)",
    )
    optimizer: str = option(
        "momentum",
        choices=_BASE_LR,
        help="momentum as in the tutorial, or AdamW (default: %(default)s)",
    )
    schedule: str = option(
        "cosine",
        choices=("cosine", "polynomial", "constant"),
        help="course of the learning rate from --base-lr to --min-lr; constant stays at --base-lr "
        "(default: %(default)s)",
    )
    base_lr: float = option(
        None, positive=True, help="learning rate after the warm-up (default: 0.05; AdamW: 0.001)"
    )
    min_lr: float = option(
        None, at_least=0, help="learning rate of the last step (default: --base-lr / 100)"
    )
    power: float = option(
        0.9, positive=True, help="exponent of the polynomial schedule (default: %(default)s)"
    )
    warmup_steps: int = option(
        0, at_least=0, help="steps of linear rise to --base-lr (default: %(default)s)"
    )
    momentum: float = option(
        0.9, at_least=0, help="coefficient of the optimizer momentum (default: %(default)s)"
    )
    weight_decay: float = option(
        1e-4,
        at_least=0,
        help="L2 penalty on all weights; AdamW: decay per step, times the learning rate "
        "(default: %(default)s)",
    )
    clip_norm: float | None = option(
        None, positive=True, help="upper limit for the norm of the gradient of all weights together"
    )
    patience: int | None = option(
        None,
        positive=True,
        may_change=True,
        help="stop after this many validations without a better mean IoU",
    )
    class_weights: str = option(
        "none",
        metavar="none|auto|FILE",
        help="weights of the classes in the loss: none, auto (median frequency balancing, from the "
        "pixel counts next to the data), or a JSON file with one for every class (default: none)",
    )
    seed: int = option(
        1,
        at_least=0,
        at_most=2**32 - 1,
        help="seed of weights, order and crops (default: %(default)s)",
    )

    def __post_init__(self) -> None:
        # A frozen dataclass can be completed in no other way.
        if self.base_lr is None:
            object.__setattr__(self, "base_lr", _BASE_LR[self.optimizer])
        if self.min_lr is None:
            object.__setattr__(self, "min_lr", self.base_lr / 100)
        super().__post_init__()
        if self.momentum >= 1:
            raise InputError(f"--momentum is {self.momentum}; it must be below 1")
        if self.min_lr > self.base_lr:
            raise InputError(f"--min-lr {self.min_lr} is above --base-lr {self.base_lr}")


_SEVERAL_DEVICES = "several devices"


@dataclass(frozen=True)
class DeviceOptions(Options):
    """Devices to train on, and the precision of the arithmetic."""

    HEADING: ClassVar[str] = "device"

    device: str = option(**FLAGS["device"], may_change=True)
    device_id: int = option(**FLAGS["device_id"], at_least=0, may_change=True)
    mode: str = option(**FLAGS["mode"], may_change=True)
    amp: str | None = option(
        None,
        choices=AMP_LEVELS,
        help="O0: float32; O2: float16 with BatchNorm in float32, for GPU and Ascend "
        "(default: O2 on Ascend, else O0)",
    )
    loss_scale: float = option(
        2.0**16,
        at_least=1,
        help="initial loss scale, where the loss is scaled: on Ascend, and with O2 "
        "(default: %(default)g)",
    )
    loss_scale_factor: int = option(
        2,
        positive=True,
        help="divides the loss scale after an overflow, multiplies it after a window without one "
        "(default: %(default)s)",
    )
    loss_scale_window: int = option(
        2000, positive=True, help="length of the window in steps (default: %(default)s)"
    )
    max_overflows: int = option(
        20,
        positive=True,
        may_change=True,
        help="stop after this many overflows in a row (default: %(default)s)",
    )
    conv_algo: str | None = option(
        None,
        choices=CONV_ALGORITHMS,
        may_change=True,
        help="how cuDNN computes float32 convolutions on a GPU: least-memory, performance (tries "
        "all for every new shape) or normal (a guess from the shape; MindSpore's default)",
    )
    allow_tf32: bool | None = option(
        None,
        help="whether convolutions on a GPU may round to 10 bits of mantissa (MindSpore: yes)",
    )
    distributed: bool = option(
        False,
        heading=_SEVERAL_DEVICES,
        help=f"be one of the processes of {LAUNCH} {PROGRAM} --distributed …; each takes "
        "--batch-size images per step",
    )
    scale_lr: bool = option(
        False,
        heading=_SEVERAL_DEVICES,
        help="multiply --base-lr and --min-lr by the number of processes (linear scaling rule)",
    )
    sync_bn: bool = option(
        False,
        heading=_SEVERAL_DEVICES,
        help="normalise with the batch of all processes together in BatchNorm; on Ascend only",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale_lr", "sync_bn"):
            if getattr(self, name) and not self.distributed:
                raise InputError(f"{flag(name)} is for several devices; pass --distributed too")

    def lr_factor(self, ranks: int) -> int:
        """Returns the factor on all learning rates for a number of processes."""
        return ranks if self.scale_lr else 1

    def precision(self, target: str) -> dict[str, Any]:
        """Returns the precision arguments of `mindspore.train.Model` on a device target."""
        return model_arguments(
            target,
            self.amp,
            loss_scale=self.loss_scale,
            loss_scale_factor=self.loss_scale_factor,
            loss_scale_window=self.loss_scale_window,
        )


@dataclass(frozen=True)
class RunOptions(Options):
    """Results of a run: where, and how often they are written."""

    HEADING: ClassVar[str] = "results"

    output: Path | None = option(None, help="folder for the results (default: runs/<date-time>)")
    resume: Path | None = option(
        None,
        metavar="RUN_DIR",
        help="resume the run in this folder, with its arguments, from its last checkpoint",
    )
    save_every: int | None = option(
        None, positive=True, may_change=True, help="steps between checkpoints (default: one epoch)"
    )
    keep: int = option(
        5,
        positive=True,
        may_change=True,
        help="number of the newest checkpoints to keep, in addition to the best and the last "
        "(default: %(default)s)",
    )
    val_every: int = option(
        1, positive=True, may_change=True, help="epochs between validations (default: %(default)s)"
    )
    tensorboard: bool = option(
        False, may_change=True, help="write scalars and pictures for TensorBoard"
    )
