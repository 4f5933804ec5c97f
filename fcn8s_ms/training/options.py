"""Options of a training, in groups; each is documented once, at its field.

The flags of the training program follow from the fields: name, type, default, choices and help.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..device import AMP_LEVELS, CONV_ALGORITHMS, FLAGS, model_arguments
from ..distributed.ranks import LAUNCH
from ..errors import InputError, flag, program
from ..formats import checkpoints
from ..network.architectures import PARTS
from .option_group import Options, option
from .schedule import MAX_STEPS

__all__ = [
    "LOSSES",
    "PROGRAM",
    "DeviceOptions",
    "OptimizerOptions",
    "RunOptions",
]

PROGRAM = program("train")

LOSSES = ("ce", "focal", "ohem", "dice", "lovasz")
"""Names of the losses that `--loss` adds up."""

_BASE_LR = {"momentum": 0.05, "adamw": 0.001}


@dataclass(frozen=True)
class OptimizerOptions(Options):
    """Length, batches, loss, learning rates and optimizer of a training.

    Without a value, `base_lr` becomes the optimizer's default and `min_lr` a hundredth of it.
    """

    HEADING: ClassVar[str] = "training"

    epochs: int = option(
        1,
        positive=True,
        may_change=True,
        help="Pass over the data this many times (default: %(default)s).",
    )
    steps: int | None = option(
        None,
        positive=True,
        at_most=MAX_STEPS,
        may_change=True,
        excludes="epochs",
        help="Train this many steps in total, instead of --epochs.",
    )
    batch_size: int = option(
        4, positive=True, help="Put this many images into a batch (default: %(default)s)."
    )
    accumulate: int = option(
        1,
        positive=True,
        metavar="N",
        help="Use the mean gradient of N batches per step, computed one after the other; "
        "BatchNorm normalises each batch on its own (default: %(default)s).",
    )
    optimizer: str = option(
        "momentum",
        choices=_BASE_LR,
        help="Train with momentum, as in the tutorial, or with AdamW (default: %(default)s).",
    )
    schedule: str = option(
        "cosine",
        choices=("cosine", "polynomial", "constant"),
        help="Take the learning rate from --base-lr to --min-lr on this course; constant stays at "
        "--base-lr (default: %(default)s).",
    )
    base_lr: float = option(
        None,
        positive=True,
        help="Start with this learning rate after the warm-up (default: 0.05; AdamW: 0.001).",
    )
    min_lr: float = option(
        None, at_least=0, help="End with this learning rate (default: --base-lr / 100)."
    )
    lr_factor: list[str] = option(
        [],
        nargs="+",
        metavar="PART=F",
        help="Multiply the learning rate of parts, such as backbone=0.1 head=10; parts are those "
        f"of --freeze ({', '.join(PARTS)}), and bias: all biases, on top of their part's factor.",
    )
    power: float = option(
        0.9,
        positive=True,
        help="Give the polynomial schedule this exponent (default: %(default)s).",
    )
    warmup_steps: int = option(
        0,
        at_least=0,
        help="Raise the learning rate to --base-lr in this many steps first (default: "
        "%(default)s).",
    )
    momentum: float = option(
        0.9, at_least=0, help="Give the optimizer momentum this coefficient (default: %(default)s)."
    )
    weight_decay: float = option(
        1e-4,
        at_least=0,
        help="Penalise all weights by this factor (L2); with AdamW it is the decay per step, "
        "times the learning rate (default: %(default)s).",
    )
    bias_decay: bool = option(
        True,
        help="Apply weight decay to biases too, and with AdamW to the gamma and beta of "
        "BatchNorm; momentum leaves those alone (default: yes).",
    )
    clip_norm: float | None = option(
        None, positive=True, help="Limit the norm of the gradient of all weights together to this."
    )
    ema: float | None = option(
        None,
        positive=True,
        metavar="DECAY",
        help="Keep a moving average of the weights with this decay, such as 0.999; it is what is "
        "validated and what checkpoints are to be used with (default: none).",
    )
    patience: int | None = option(
        None,
        positive=True,
        may_change=True,
        help="Stop after this many validations without a better mean IoU.",
    )
    loss: str = option(
        "ce",
        metavar="LOSS",
        help="Minimise ce (cross-entropy), focal, ohem (ce of the hard pixels), dice, lovasz, or "
        "a sum of them with factors, such as ce+0.5*dice (default: ce).",
    )
    label_smoothing: float = option(
        0.0,
        at_least=0,
        metavar="SHARE",
        help="Spread this share of the target of ce and ohem over all classes (default: 0).",
    )
    class_weights: str = option(
        "none",
        metavar="none|auto|FILE",
        help="Weigh the classes in the loss: none, auto (median frequency balancing, from the "
        "pixel counts next to the data), or by a JSON file with a weight for every class "
        "(default: none).",
    )
    loss_reduction: str = option(
        "mean",
        choices=("mean", "sum"),
        help="Take as loss of a batch the mean over its labelled pixels, or the sum over those of "
        "an image, averaged over images, as in the FCN paper; it needs learning rates 10^5 times "
        "smaller (default: %(default)s).",
    )
    seed: int = option(
        1,
        at_least=0,
        at_most=2**32 - 1,
        help="Draw weights, order and crops with this seed (default: %(default)s).",
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
        self.lr_factors()
        names = [name for _, name in self.loss_terms()]
        if self.ema is not None and self.ema >= 1:
            raise InputError(f"--ema is {self.ema}; it must be below 1")
        if self.loss_reduction == "sum" and (names != ["ce"] or self.label_smoothing):
            raise InputError(
                "--loss-reduction sum is for --loss ce without --label-smoothing; leave it out"
            )
        if self.label_smoothing >= 1:
            raise InputError(f"--label-smoothing is {self.label_smoothing}; it must be below 1")
        if self.label_smoothing and not {"ce", "ohem"} & set(names):
            raise InputError(f"--label-smoothing is for ce and ohem, not for --loss {self.loss}")

    def loss_terms(self) -> list[tuple[float, str]]:
        """Returns factor and name of each term of `--loss`.

        Raises:
            InputError: a term is not of the form NAME or F*NAME, or comes twice.
        """
        terms: list[tuple[float, str]] = []
        for one in self.loss.split("+"):
            factor, times, name = one.strip().rpartition("*")
            try:
                weight = float(factor) if times else 1.0
            except ValueError:
                weight = math.nan
            if name not in LOSSES or not 0 < weight < math.inf:
                raise InputError(
                    f"--loss {self.loss}: {one.strip()!r} is not a loss; choose from "
                    f"{', '.join(LOSSES)}, and add them up with positive factors: ce+0.5*dice"
                )
            if name in (other for _, other in terms):
                raise InputError(f"--loss {self.loss} has {name} twice")
            terms.append((weight, name))
        return terms

    def lr_factors(self) -> dict[str, float]:
        """Returns the factors of `--lr-factor` by part.

        Raises:
            InputError: one is not of the form PART=F, or F is not a positive number.
        """
        factors: dict[str, float] = {}
        for one in self.lr_factor:
            part, _, text = one.partition("=")
            try:
                factor = float(text)
            except ValueError:
                raise InputError(f"--lr-factor {one}: write PART=F, such as head=10") from None
            if part in factors:
                raise InputError(f"--lr-factor has {part} twice")
            if not 0 < factor < math.inf:
                unchanged = f"; to keep it unchanged: --freeze {part}" if factor == 0 else ""
                raise InputError(f"--lr-factor {one}: F must be positive and finite{unchanged}")
            factors[part] = factor
        return factors


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
        help="Compute in float32 (O0), or in float16 with BatchNorm in float32, for GPU and "
        "Ascend (O2) (default: O2 on Ascend, else O0).",
    )
    loss_scale: float = option(
        2.0**16,
        at_least=1,
        help="Start with this loss scale, where the loss is scaled: on Ascend, and with O2 "
        "(default: %(default)g).",
    )
    loss_scale_factor: int = option(
        2,
        positive=True,
        help="Divide the loss scale by this after an overflow, and multiply it after a window "
        "without one (default: %(default)s).",
    )
    loss_scale_window: int = option(
        2000,
        positive=True,
        help="Raise the loss scale after this many steps without an overflow (default: "
        "%(default)s).",
    )
    max_overflows: int = option(
        20,
        positive=True,
        may_change=True,
        help="Stop after this many overflows in a row (default: %(default)s).",
    )
    conv_algo: str | None = option(
        None,
        choices=CONV_ALGORITHMS,
        may_change=True,
        help="Let cuDNN compute float32 convolutions on a GPU in this way: least-memory, "
        "performance (tries all for every new shape) or normal (a guess from the shape; "
        "MindSpore's default).",
    )
    allow_tf32: bool | None = option(
        None,
        help="Let convolutions on a GPU round to 10 bits of mantissa (MindSpore: yes).",
    )
    distributed: bool = option(
        False,
        heading=_SEVERAL_DEVICES,
        help=f"Be one of the processes of {LAUNCH} {PROGRAM} --distributed …; each takes "
        "--batch-size images per step.",
    )
    scale_lr: bool = option(
        False,
        heading=_SEVERAL_DEVICES,
        help="Multiply --base-lr and --min-lr by the number of processes (linear scaling rule).",
    )
    sync_bn: bool = option(
        False,
        heading=_SEVERAL_DEVICES,
        help="Normalise with the batch of all processes together in BatchNorm, on Ascend only.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale_lr", "sync_bn"):
            if getattr(self, name) and not self.distributed:
                raise InputError(f"{flag(name)} is for several devices; pass --distributed too")

    def lr_scale(self, ranks: int) -> int:
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

    output: Path | None = option(
        None, metavar="DIR", help="Write the results into this folder (default: runs/<date-time>)."
    )
    resume: Path | None = option(
        None,
        metavar="RUN_DIR",
        help="Resume the run in this folder, with its arguments, from its last checkpoint.",
    )
    preview: Path | None = option(
        None,
        metavar="FILE",
        may_change=True,
        help="Draw the first samples, as the network would get them, to this PNG, and do not "
        "train.",
    )
    save_every: int | None = option(
        None,
        positive=True,
        may_change=True,
        help="Save a checkpoint every so many steps (default: one epoch).",
    )
    checkpoint_format: str = option(
        "ckpt",
        choices=checkpoints.FORMATS,
        help="Write checkpoints of MindSpore with a JSON next to each, or safetensors with the "
        "metadata inside (default: %(default)s).",
    )
    keep: int = option(
        5,
        positive=True,
        may_change=True,
        help="Keep this many of the newest checkpoints, in addition to the best and the last "
        "(default: %(default)s).",
    )
    val_every: int = option(
        1,
        positive=True,
        may_change=True,
        help="Validate every so many epochs (default: %(default)s).",
    )
    num_pictures: int = option(
        6,
        positive=True,
        at_most=100,
        may_change=True,
        help="Draw this many images in predictions.png (default: %(default)s).",
    )
    train_scores: bool | None = option(
        None,
        may_change=True,
        help="Score the crops that are trained on, from the predictions of the steps themselves "
        "(default: on a CPU).",
    )
    tensorboard: bool = option(
        False, may_change=True, help="Write scalars and pictures for TensorBoard."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preview is not None and self.preview.suffix.lower() != ".png":
            raise InputError(f"--preview {self.preview} does not end in .png; it is a PNG file")
