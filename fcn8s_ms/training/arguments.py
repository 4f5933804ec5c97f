"""Arguments of a training: its flags, their defaults, and what a resumed run may change."""

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from .. import device, fetch, threads
from ..distributed.ranks import LAUNCH
from ..errors import InputError, flag, program
from ..network.architectures import ARCHITECTURES, BACKBONES, SKIP_INITS, UPSAMPLE_INITS
from ..records import demo
from ..transforms import STRIDE, next_multiple
from .run_folder import RunFolder

__all__ = ["PROGRAM", "Config", "command", "get_parser", "parse"]

PROGRAM = program("train")

OPTIMIZERS = ("momentum", "adamw")
FREEZABLE = ("backbone", "upsampling")
SCHEDULES = ("cosine", "polynomial", "constant")
_BASE_LR = {"momentum": 0.05, "adamw": 0.001}

# What a run may change when it goes on. None of it changes the steps still to come, but for
# their number, which moves the learning rates, and the device, which moves the last bits.
_MAY_CHANGE = {
    *("data", "val_data", "workers", "device", "device_id", "mode", "conv_algo", "epochs", "steps"),
    *("save_every", "keep", "val_every", "patience", "max_overflows", "tensorboard"),
}


@dataclass(frozen=True)
class Config:
    """Arguments of one training; every field is a flag of `get_parser`, explained there."""

    data: Path
    val_data: Path | None
    sample: bool
    download: str | None
    num_classes: int | None
    arch: str
    backbone: str
    widths: list[int] | None
    fc_width: int
    crop_size: int
    min_scale: float
    max_scale: float
    workers: int
    epochs: int
    steps: int | None
    batch_size: int
    accumulate: int
    optimizer: str
    schedule: str
    base_lr: float
    min_lr: float
    power: float
    warmup_steps: int
    momentum: float
    weight_decay: float
    class_weights: str
    clip_norm: float | None
    patience: int | None
    pretrained: Path | None
    freeze: list[str]
    freeze_bn: bool
    upsample_init: str
    skip_init: str
    seed: int
    device: str
    device_id: int
    mode: str
    amp: str | None
    loss_scale: float
    loss_scale_factor: int
    loss_scale_window: int
    max_overflows: int
    conv_algo: str | None
    allow_tf32: bool | None
    distributed: bool
    scale_lr: bool
    sync_bn: bool
    output: Path | None
    resume: Path | None
    save_every: int | None
    keep: int
    val_every: int
    tensorboard: bool

    def __post_init__(self):
        positive = ("epochs", "steps", "batch_size", "accumulate", "crop_size", "base_lr", "power")
        counts = ("workers", "save_every", "keep", "val_every", "patience", "max_overflows")
        others = ("fc_width", "clip_norm", "loss_scale_factor", "loss_scale_window")
        for name in (*positive, *counts, *others):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{flag(name)} is {value}; it must be positive")
        for name in ("min_lr", "warmup_steps", "momentum", "weight_decay", "seed", "device_id"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{flag(name)} is {getattr(self, name)}; it must not be negative")
        if self.momentum >= 1:
            raise InputError(f"--momentum is {self.momentum}; it must be below 1")
        if not self.loss_scale >= 1:
            raise InputError(f"--loss-scale is {self.loss_scale}; it must be at least 1")
        if self.min_lr > self.base_lr:
            raise InputError(f"--min-lr {self.min_lr} is above --base-lr {self.base_lr}")
        if self.num_classes is not None and not 2 <= self.num_classes <= 255:
            raise InputError(f"--num-classes is {self.num_classes}; choose 2…255")
        if self.crop_size % STRIDE:
            raise InputError(
                f"--crop-size {self.crop_size} is not a multiple of {STRIDE}; "
                f"take {next_multiple(self.crop_size)}"
            )
        if self.widths is not None and not (len(self.widths) == 5 and min(self.widths) > 0):
            given = " ".join(map(str, self.widths))
            raise InputError(
                f"--widths is {given}; give five positive numbers, the channels of conv1 to conv5"
            )
        for name in ("scale_lr", "sync_bn"):
            if getattr(self, name) and not self.distributed:
                raise InputError(f"{flag(name)} is for several devices; pass --distributed too")
        if self.patience is not None and self.val_data is None and not self.sample:
            raise InputError("--patience counts validations; pass --val-data FILE too")


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.train`."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Train FCN-8s, FCN-16s or FCN-32s on MindRecord data.",
        epilog=f"Try it: {PROGRAM} --sample",
    )
    add = parser.add_argument_group("data").add_argument
    add(
        "--data",
        type=Path,
        default=fetch.DATA_FILE,
        help="MindRecord file to train on (default: %(default)s)",
    )
    add("--val-data", type=Path, help="MindRecord file to validate on, with whole images")
    add("--sample", action="store_true", help="draw a small dataset, train on it with a preset")
    add(
        "--download",
        nargs="?",
        const=fetch.BASE_URL,
        metavar="URL",
        help="fetch the tutorial's VOC+SBD records and VGG-16 weights first (from a mirror: URL)",
    )
    add("--num-classes", type=int, help="number of classes, where the data do not say (21: VOC)")
    add(
        "--crop-size",
        type=int,
        default=512,
        help="side of the training crops, in pixels (default: %(default)s)",
    )
    add("--min-scale", type=float, default=0.5, help="least random scale (default: %(default)s)")
    add("--max-scale", type=float, default=2.0, help="largest random scale (default: %(default)s)")
    add(
        "--workers",
        type=int,
        default=min(4, threads.available_cpus()),
        help="threads preparing samples (default: %(default)s)",
    )

    add = parser.add_argument_group("network").add_argument
    add(
        "--arch",
        choices=tuple(ARCHITECTURES),
        default="fcn8s",
        help="which feature maps give scores: conv7; also pool4; also pool3 (default: %(default)s)",
    )
    add(
        "--backbone",
        choices=tuple(BACKBONES),
        default="vgg16",
        help="16 or 19 layers, all with BatchNorm (default: %(default)s)",
    )
    add(
        "--widths",
        nargs=5,
        type=int,
        metavar=("W1", "W2", "W3", "W4", "W5"),
        help="channels of conv1 to conv5 (default: VGG's, 64 128 256 512 512)",
    )
    add(
        "--fc-width",
        type=int,
        default=4096,
        metavar="N",
        help="channels of conv6 and conv7 (default: %(default)s)",
    )
    add("--pretrained", type=Path, help="checkpoint to start from, as far as names and shapes fit")
    add(
        "--upsample-init",
        choices=UPSAMPLE_INITS,
        default="xavier_uniform",
        help="how the transposed convolutions start: as in the tutorial's code, or the paper "
        "(default: %(default)s)",
    )
    add(
        "--skip-init",
        choices=SKIP_INITS,
        default="xavier_uniform",
        help="how the scores of pool3 and pool4 start: as in the tutorial's code, or the paper, "
        "whose networks go on from one with a skip less (default: %(default)s)",
    )
    add(
        "--freeze",
        nargs="+",
        choices=FREEZABLE,
        default=[],
        help="parts that stay as they are; backbone: conv1 to conv5, with the statistics of their "
        "BatchNorms; upsampling: the transposed convolutions",
    )
    add(
        "--freeze-bn",
        action="store_true",
        help="keep every BatchNorm as it is: weights, and statistics, which then normalise",
    )

    group = parser.add_argument_group("training")
    add = group.add_argument
    length = group.add_mutually_exclusive_group().add_argument
    length("--epochs", type=int, default=1, help="passes over the data (default: %(default)s)")
    length("--steps", type=int, help="steps in all, instead of --epochs")
    add("--batch-size", type=int, default=4, help="images a batch (default: %(default)s)")
    add(
        "--accumulate",
        type=int,
        default=1,
        metavar="N",
        help="a step takes the mean gradient of N batches, one after the other; BatchNorm sees "
        "each alone (default: %(default)s)",
    )
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        default="momentum",
        help="momentum as in the tutorial, or AdamW (default: %(default)s)",
    )
    add(
        "--schedule",
        choices=SCHEDULES,
        default="cosine",
        help="how the learning rate goes from --base-lr to --min-lr; constant stays "
        "(default: %(default)s)",
    )
    add(
        "--base-lr",
        type=float,
        help="learning rate after the warm-up (default: 0.05; AdamW: 0.001)",
    )
    add("--min-lr", type=float, help="learning rate of the last step (default: --base-lr / 100)")
    add("--power", type=float, default=0.9, help="of the polynomial (default: %(default)s)")
    add(
        "--warmup-steps",
        type=int,
        default=0,
        help="steps of linear rise to --base-lr (default: %(default)s)",
    )
    add(
        "--momentum",
        type=float,
        default=0.9,
        help="of the optimizer momentum (default: %(default)s)",
    )
    add(
        "--weight-decay",
        type=float,
        default=1e-4,
        help="L2 penalty on all weights; AdamW: decay a step, times the learning rate "
        "(default: %(default)s)",
    )
    add("--clip-norm", type=float, help="largest norm of the gradient of all weights together")
    add("--patience", type=int, help="stop after so many validations without a better mean IoU")
    add(
        "--class-weights",
        default="none",
        metavar="none|auto|FILE",
        help="weights of the classes in the loss: none, auto (median frequency balancing, from the "
        "pixel counts beside the data), or a JSON file with one for every class (default: none)",
    )
    add("--seed", type=int, default=1, help="of weights, order and crops (default: %(default)s)")

    group = parser.add_argument_group("device")
    device.add_arguments(group)
    add = group.add_argument
    add(
        "--amp",
        choices=device.AMP_LEVELS,
        help="O0: float32; O2: float16 with BatchNorm in float32, for GPU and Ascend "
        "(default: O2 on Ascend, else O0)",
    )
    add(
        "--loss-scale",
        type=float,
        default=2.0**16,
        help="factor on the loss to begin with, where it is scaled: on Ascend, and with O2 "
        "(default: %(default)g)",
    )
    add(
        "--loss-scale-factor",
        type=int,
        default=2,
        help="divides it after an overflow, multiplies it after a window without (default: 2)",
    )
    add("--loss-scale-window", type=int, default=2000, help="steps (default: %(default)s)")
    add(
        "--max-overflows",
        type=int,
        default=20,
        help="stop after so many overflows in a row (default: %(default)s)",
    )
    add(
        "--conv-algo",
        choices=tuple(device.CONV_ALGORITHMS),
        help="how cuDNN computes float32 convolutions on a GPU: least-memory, performance (tries "
        "all for every new shape) or normal (a guess from the shape; MindSpore's default)",
    )
    add(
        "--allow-tf32",
        action=argparse.BooleanOptionalAction,
        help="whether convolutions on a GPU may round to 10 bits of mantissa (MindSpore: yes)",
    )

    add = parser.add_argument_group("several devices").add_argument
    add(
        "--distributed",
        action="store_true",
        help=f"be one of the processes of {LAUNCH} {PROGRAM} --distributed …; each takes "
        "--batch-size images a step",
    )
    add(
        "--scale-lr",
        action="store_true",
        help="multiply --base-lr and --min-lr by the number of processes (linear scaling rule)",
    )
    add(
        "--sync-bn",
        action="store_true",
        help="BatchNorm normalises with the batch of all processes together; on Ascend only",
    )

    add = parser.add_argument_group("results").add_argument
    add("--output", type=Path, help="folder for the results (default: runs/<date-time>)")
    add(
        "--resume",
        type=Path,
        metavar="RUN_DIR",
        help="go on with the run in this folder, with its arguments, from its last checkpoint",
    )
    add("--save-every", type=int, help="steps between checkpoints (default: one an epoch)")
    add(
        "--keep",
        type=int,
        default=5,
        help="how many of the newest checkpoints stay, beside the best and the last "
        "(default: %(default)s)",
    )
    add(
        "--val-every", type=int, default=1, help="epochs between validations (default: %(default)s)"
    )
    add("--tensorboard", action="store_true", help="write scalars and pictures for TensorBoard")
    return parser


class _Absent:
    """Stands in for what the command line does not give."""


def _given(parser, argv) -> dict:
    names = [field.name for field in dataclasses.fields(Config)]
    # A default never replaces what the namespace holds already.
    found = parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(names, _Absent)))
    return {name: value for name, value in vars(found).items() if value is not _Absent}


def parse(argv=None) -> Config:
    """The command line as a `Config`.

    A flag beats the sample's preset, which beats the defaults. With `--resume` the run's own
    arguments stand in for the defaults.

    Raises:
        InputError: a value is out of range, or may not change within a run.
        SystemExit: of argparse.
    """
    parser = get_parser()
    arguments = parser.parse_args(argv)
    if arguments.resume is not None:
        return _resumed(parser, _given(parser, argv))
    if arguments.sample:
        parser.set_defaults(**demo.PRESET)
        arguments = parser.parse_args(argv)
    return Config(**_completed(vars(arguments)))


def _completed(arguments: dict) -> dict:
    """The arguments with the defaults that depend on others."""
    if arguments["base_lr"] is None:
        arguments["base_lr"] = _BASE_LR[arguments["optimizer"]]
    if arguments["min_lr"] is None:
        arguments["min_lr"] = arguments["base_lr"] / 100
    return arguments


def _resumed(parser, given: dict) -> Config:
    """The arguments of an earlier run, with what may change taken from the command line."""
    folder = given.pop("resume")
    stored = RunFolder(folder).read_arguments()
    for name in ("sample", "download"):  # done before the run began
        given.pop(name, None)
    if given.pop("output", folder).absolute() != folder.absolute():
        raise InputError(f"--resume {folder} goes on in that folder; leave out --output")
    arguments = vars(parser.parse_args([]))
    for name in arguments:
        if name in stored:
            is_path = name in ("data", "val_data", "pretrained", "output")
            value = stored[name]
            arguments[name] = Path(value) if is_path and value is not None else value
    arguments = _completed(arguments)
    for name, value in given.items():
        same = arguments[name] == value
        if isinstance(value, Path) and arguments[name] is not None:
            same = arguments[name].absolute() == value.absolute()
        if not same and name not in _MAY_CHANGE:
            raise InputError(
                f"{flag(name)} {value} is not the run's ({arguments[name]}) and cannot change "
                f"within it; start another run, from its weights if you like: --pretrained "
                f"{RunFolder(folder, arguments['arch']).best} --output NEW"
            )
    if "epochs" in given:
        arguments["steps"] = None
    return Config(**{**arguments, **given, "output": folder, "resume": folder})


def command(config: Config, keep=()) -> list[str]:
    """The flags that give this `Config`, without those of a default value.

    Args:
        config: of `parse`.
        keep: fields to name whatever their value.
    """
    defaults = _completed(vars(get_parser().parse_args([])))
    flags = []
    for name, value in dataclasses.asdict(config).items():
        if value is None or (value == defaults[name] and name not in keep):
            continue
        if isinstance(value, bool):
            flags.append(flag(name) if value else flag("no_" + name))
        elif isinstance(value, list):
            flags += [flag(name), *map(str, value)]
        else:
            flags += [flag(name), str(value)]
    return flags
