"""Command line of a training, and the arguments that a run keeps for `--resume`."""

import argparse
import dataclasses
import os
import re
import shlex
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, flag
from ..formats import paths
from ..network.architectures import ARCHITECTURES
from ..options import Parser, add_option
from ..records import demo
from ..transforms import MAX_BATCH_PIXELS, check_crops, next_multiple
from .argument_file import argument_file, read_argument_file
from .data_options import DataOptions, replaced
from .network_options import NetworkOptions
from .option_group import Options
from .options import PROGRAM, DeviceOptions, OptimizerOptions, RunOptions
from .run_folder import RunFolder
from .stored import NOT_STORED, in_file, is_path, located, value_types

__all__ = ["PROGRAM", "Config", "command", "get_parser", "parse"]


_EXAMPLES = f"""examples:
  the small dataset that the program draws:
    {PROGRAM} --sample
  your own records, from the weights of a VGG-16:
    {PROGRAM} --data dataset/train.mindrecord \\
        --val-data dataset/val.mindrecord --pretrained vgg16.ckpt \\
        --epochs 50 --output runs/mine
"""


@dataclass(frozen=True)
class Config:
    """Options of one training; every field of its groups is a flag of `get_parser`.

    Raises:
        InputError: options of different groups contradict each other.
    """

    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    device: DeviceOptions = field(default_factory=DeviceOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        has_validation = self.data.val_data is not None or self.data.sample
        if self.optimizer.patience is not None and not has_validation:
            raise InputError("--patience counts validations; pass --val-data FILE too")
        if self.run.preview is not None and self.device.distributed:
            raise InputError("--preview is drawn by one process; leave out --distributed")
        architecture = ARCHITECTURES[self.network.arch]
        for part in self.optimizer.lr_factors():
            if part not in (*architecture.parts, "bias"):
                raise InputError(
                    f"--lr-factor {part}: --arch {self.network.arch} has no such part; choose from "
                    f"{', '.join(architecture.parts)}, bias"
                )
        size, multiple = self.data.sample_size, architecture.multiple
        if any(side % multiple for side in size):
            given = size if self.data.resize_to else size[:1]
            raise InputError(
                f"{self.data.sample_flag} {' '.join(map(str, given))} is not a multiple of "
                f"{multiple}; take {' '.join(str(next_multiple(one, multiple)) for one in given)}"
            )
        batch, flag_ = self.optimizer.batch_size, self.data.sample_flag
        check_crops(batch, size, f"--batch-size and {flag_}")
        # The crops of a step are held together; the network sees a batch at a time.
        held = batch * self.optimizer.accumulate
        flags = f"--batch-size, --accumulate and {flag_}"
        check_crops(held, size, flags, 10 * MAX_BATCH_PIXELS)

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "Config":
        """Returns the configuration of one dict over all groups; unknown names are ignored."""
        groups: dict[str, Any] = {}
        for name, group in _groups():
            names = [one.name for one in dataclasses.fields(group)]
            groups[name] = group(**{one: values[one] for one in names if one in values})
        return cls(**groups)

    def flat(self) -> dict[str, Any]:
        """Returns the options of all groups in one dict."""
        return {
            name: value
            for group in dataclasses.asdict(self).values()
            for name, value in group.items()
        }

    def stored(self, ranks: int, folder: Path | None = None) -> dict[str, Any]:
        """Returns the arguments as files keep them.

        Args:
            ranks: number of processes that train together.
            folder: folder of the run, to which the paths are to be relative, so that they can be
                found again; None for paths that travel, see `formats.paths.portable`.

        Returns:
            All options except those of `NOT_STORED`, without what would tell of the machine, and
            `ranks`.
        """
        flat = self.flat().items()
        arguments = {name: value for name, value in flat if name not in NOT_STORED}
        arguments["ranks"] = ranks
        for name, value in arguments.items():
            if is_path(name, value):
                arguments[name] = (
                    paths.portable(value) if folder is None else paths.from_folder(value, folder)
                )
        if self.data.download is not None:  # without user and password
            arguments["download"] = re.sub(r"//[^/]*@", "//", self.data.download)
        return arguments


def _groups() -> Iterator[tuple[str, type[Options]]]:
    """Yields name and class of the groups of a `Config`."""
    for one in dataclasses.fields(Config):
        yield one.name, typing.cast("type[Options]", one.type)


def get_parser() -> argparse.ArgumentParser:
    """Returns the command line of the training program."""
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s [flags]",
        description="Train a fully convolutional network on MindRecord data.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--arguments",
        type=Path,
        metavar="FILE",
        help="Take arguments from the arguments.json of another run, or from a TOML file with the "
        "same names; flags beat them, and the output folder is not taken.",
    )
    types = value_types()
    headings: dict[str, Any] = {}
    for _, group in _groups():
        fields = dataclasses.fields(group)
        exclusive = {one.metadata["excludes"]: one.name for one in fields}
        for one in fields:
            heading = one.metadata["heading"] or group.HEADING
            if heading not in headings:
                headings[heading] = parser.add_argument_group(heading)
            container = headings[heading]
            if one.name in exclusive:
                container = either = container.add_mutually_exclusive_group()
            elif one.metadata["excludes"]:
                container = either
            add_option(container, one, types[one.name])
    return parser


class _Absent:
    """Marks what the command line does not contain."""


def _given(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> dict[str, Any]:
    """Returns the options that the command line contains, even those with a default value."""
    # A default never replaces what the namespace holds already.
    absent = argparse.Namespace(**dict.fromkeys([*Config().flat(), "arguments"], _Absent))
    found = vars(parser.parse_args(argv, absent))
    return {name: value for name, value in found.items() if value is not _Absent}


def parse(argv: Sequence[str] | None = None) -> Config:
    """Returns the configuration that a command line asks for.

    A flag beats the file of `--arguments`, which beats the sample's preset, which beats the
    defaults. With `--resume`, the run's own arguments take the place of the defaults.

    Args:
        argv: command line without the program's name; None for that of this process.

    Raises:
        InputError: a value is out of range, may not change within a run, or comes from a file that
            is missing or broken.
        SystemExit: argparse has refused the command line or printed the help.
    """
    parser = get_parser()
    given = _given(parser, argv)
    file = given.pop("arguments", None)
    if given.get("resume") is not None:
        if file is not None:
            raise InputError("--resume takes the arguments of its run; leave out --arguments")
        return _resumed(parser, given)
    beaten = replaced(given)
    filed: dict[str, Any] = {}
    if file is not None:
        file = argument_file(file)
        filed = read_argument_file(file)
    filed = {name: value for name, value in filed.items() if name not in beaten}
    defaults = vars(parser.parse_args([]))
    values = {**filed, **given}
    if values.get("sample"):
        takes = ARCHITECTURES[values.get("arch", defaults["arch"])].takes
        others = replaced([name for name, value in values.items() if value is not None])
        preset = {one: value for one, value in demo.PRESET.items() if takes(one)}
        defaults.update({one: preset[one] for one in preset if one not in others})
    try:
        return Config.from_flat({**defaults, **values})
    except InputError as error:
        if file is None or _fault({**defaults, **given}) == str(error):
            raise
        raise InputError(
            f"{file.absolute()}: {in_file(str(error))}: correct the file, or give flags"
        ) from None


def _fault(values: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with values of all groups; None if nothing is."""
    try:
        Config.from_flat(values)
    except InputError as error:
        return str(error)
    return None


def _resumed(parser: argparse.ArgumentParser, given: dict[str, Any]) -> Config:
    """Returns the configuration of an earlier run, changed where the command line may change it."""
    folder = given.pop("resume")
    for name in ("sample", "download"):  # done before the run began
        given.pop(name, None)
    if given.pop("output", folder).absolute() != folder.absolute():
        raise InputError(f"--resume {folder} writes to that folder; leave out --output")
    run = RunFolder(folder)
    stored = {name: value for name, value in run.read_arguments().items() if name not in NOT_STORED}
    stored = located(stored, folder)
    # What came before the first step is history: nothing is fetched or drawn again.
    stored.update(sample=False, download=None)
    try:
        own = Config.from_flat({**vars(parser.parse_args([])), **stored}).flat()
    except InputError as error:
        raise InputError(f"{run.arguments}: {in_file(str(error))}: correct the file") from None
    may_change = {
        one.name
        for _, group in _groups()
        for one in dataclasses.fields(group)
        if one.metadata["may_change"]
    }
    for name, value in given.items():
        same = own[name] == value
        if is_path(name, value) and own[name] is not None:
            same = os.path.abspath(own[name]) == os.path.abspath(value)
        if not same and name not in may_change:
            raise InputError(
                f"{flag(name)} {value} is not the run's ({own[name]}) and cannot change within a "
                "run; start another run, perhaps from its weights: --pretrained "
                f"{shlex.quote(str(RunFolder.of(folder).best))} --output NEW"
            )
    if "epochs" in given:
        own["steps"] = None
    return Config.from_flat({**own, **given, "output": folder, "resume": folder})


def command(config: Config, keep: Collection[str] = ()) -> list[str]:
    """Returns the flags that make this configuration, without those of a default value.

    Args:
        config: configuration as `parse` returns it.
        keep: options to include whatever their value.
    """
    defaults = Config.from_flat(vars(get_parser().parse_args([]))).flat()
    flags: list[str] = []
    takes = ARCHITECTURES[config.network.arch].takes
    for name, value in config.flat().items():
        if value is None or (value == defaults[name] and (name not in keep or not takes(name))):
            continue
        if isinstance(value, bool):
            flags.append(flag(name) if value else flag("no_" + name))
        elif isinstance(value, list):
            flags += [flag(name), *map(str, value)]
        else:
            flags += [flag(name), str(value)]
    return flags
