"""Parser of the programs, and groups of options: frozen dataclasses whose fields are its flags.

A field made by `option` holds everything about its flag, so that each is described once:

    @dataclass(frozen=True, kw_only=True)
    class Config:
        batch_size: int = option(1, help="images per batch (default: %(default)s)")

    add_options(parser, Config)
    config = take_options(Config, vars(parser.parse_args()))
"""

import argparse
import contextlib
import contextvars
import dataclasses
import difflib
import itertools
import os
import re
import sys
import typing
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, Protocol, TypeVar

from .errors import InputError, flag

__all__ = [
    "ArgumentContainer",
    "Parser",
    "add_option",
    "add_options",
    "errors_raised",
    "option",
    "take_options",
    "tidy",
    "value_types",
]

_Group = TypeVar("_Group")


# Flags as other programs spell them, and what they may be here: the first that a program has.
_ELSEWHERE = {
    "lr": ("--base-lr",),
    "lr0": ("--base-lr",),
    "learning-rate": ("--base-lr",),
    "lrf": ("--min-lr",),
    "lr-scheduler": ("--schedule",),
    "lr-policy": ("--schedule",),
    "b": ("--batch-size",),
    "config": ("--arguments",),
    "cfg": ("--arguments",),
    "args": ("--arguments",),
    "bs": ("--batch-size",),
    "batchsize": ("--batch-size",),
    "n-epochs": ("--epochs",),
    "num-epochs": ("--epochs",),
    "max-epochs": ("--epochs",),
    "num-steps": ("--steps",),
    "max-steps": ("--steps",),
    "iters": ("--steps",),
    "max-iters": ("--steps",),
    "iterations": ("--steps",),
    "img": ("--crop-size", "--size"),
    "imgsz": ("--crop-size", "--size"),
    "img-size": ("--crop-size", "--size"),
    "image-size": ("--crop-size", "--size"),
    "size": ("--crop-size", "--resize"),
    "weights": ("--checkpoint", "--pretrained"),
    "checkpoint": ("--pretrained", "--resume"),
    "ckpt": ("--checkpoint", "--pretrained"),
    "load-from": ("--checkpoint", "--pretrained"),
    "finetune": ("--pretrained",),
    "init-from": ("--pretrained",),
    "resume-from": ("--resume",),
    "model": ("--arch", "--checkpoint"),
    "net": ("--arch", "--checkpoint"),
    "network": ("--arch", "--checkpoint"),
    "encoder": ("--backbone",),
    "nc": ("--num-classes", "--classes"),
    "classes": ("--num-classes",),
    "solver": ("--optimizer",),
    "wd": ("--weight-decay",),
    "criterion": ("--loss",),
    "loss-function": ("--loss",),
    "j": ("--workers",),
    "num-workers": ("--workers",),
    "threads": ("--workers",),
    "gradient-accumulation-steps": ("--accumulate",),
    "accumulation-steps": ("--accumulate",),
    "grad-clip": ("--clip-norm",),
    "clip-grad": ("--clip-norm",),
    "max-grad-norm": ("--clip-norm",),
    "early-stopping": ("--patience",),
    "warmup-iters": ("--warmup-steps",),
    "half": ("--amp", "--fp16"),
    "fp16": ("--amp",),
    "precision": ("--amp", "--fp16"),
    "gpu": ("--device", "--device-id"),
    "gpus": ("--device", "--device-id"),
    "dataset": ("--data",),
    "data-path": ("--data",),
    "train-data": ("--data",),
    "val": ("--val-data",),
    "valid": ("--val-data",),
    "val-dataset": ("--val-data",),
    "masks": ("--labels",),
    "mask-dir": ("--labels",),
    "image-dir": ("--images",),
    "o": ("--output",),
    "out-dir": ("--output",),
    "outdir": ("--output",),
    "output-dir": ("--output",),
    "save-dir": ("--output",),
    "work-dir": ("--output",),
    "project": ("--output",),
    "name": ("--output",),
    "save-freq": ("--save-every",),
    "save-period": ("--save-every",),
    "eval-freq": ("--val-every",),
    "f": ("--overwrite",),
    "force": ("--overwrite",),
    "tta": ("--flip",),
    "alpha": ("--opacity",),
}


def tidy(path: Path) -> Path:
    """A path without the way up and down that `..` is, where it leads to the same place."""
    if ".." not in path.parts:
        return path
    plain = os.path.normpath(path)
    if plain.startswith(".."):
        plain = os.path.abspath(path)
    try:
        is_same = os.path.realpath(plain) == os.path.realpath(path)
    except (OSError, ValueError):  # a loop of links, a NUL
        return path
    return Path(plain) if is_same else path


_raises = contextvars.ContextVar("raises", default=False)


@contextlib.contextmanager
def errors_raised() -> Iterator[None]:
    """Has parsers raise `InputError` within a `with` block, for callers that are not programs."""
    before = _raises.set(True)
    try:
        yield
    finally:
        _raises.reset(before)


def _plain(name: str) -> str:
    """Name of a flag without leading dashes, in the spelling of a command line."""
    return name.lstrip("-").replace("_", "-").lower()


class _HelpFormatter(argparse.HelpFormatter):
    """Leaves examples as they are written, and names values by their types."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        names: dict[Any, str] = {int: "N", float: "X", Path: "FILE"}
        return names.get(action.type) or super()._get_default_metavar_for_optional(action)


class Parser(argparse.ArgumentParser):
    """Parser of a program: a command line it does not understand ends in one line.

    That line names the flags that an unknown one may stand for: what the flag of another program is
    called here, or the nearest by spelling.

    Args:
        parsing: as of `argparse.ArgumentParser`. An epilog of several lines is shown as it is.
    """

    def __init__(self, **parsing: Any):
        super().__init__(**{"formatter_class": _HelpFormatter, **parsing, "add_help": False})
        self.add_argument("-h", "--help", action="help", help="Show this text.")
        self._given: list[str] = []

    def parse_args(  # type: ignore[override]  # the overloads of argparse
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parses as argparse does, once no flag is spelled as in other programs."""
        given = self._given = sys.argv[1:] if args is None else list(args)
        for one in given[: given.index("--")] if "--" in given else given:
            if re.match(r"--?[A-Za-z]", one):
                self._check_flag(one.partition("=")[0])
        found = super().parse_args(args, namespace)
        for name, value in vars(found).items():
            if isinstance(value, Path):
                setattr(found, name, tidy(value))
            elif isinstance(value, list):
                setattr(found, name, [tidy(one) if isinstance(one, Path) else one for one in value])
        return found

    def _check_flag(self, name: str) -> None:
        """Ends the program if no flag has this name, nor begins with it."""
        known = self._option_string_actions
        if name in known:
            return
        meant = self._as_elsewhere(name)
        completions = [one for one in known if name.startswith("--") and one.startswith(name)]
        if completions and meant in (None, *completions):
            return  # argparse completes it, or says that it is ambiguous
        found = self.meant_by(name)
        asked = f"; did you mean {' or '.join(found)}?" if found else ""
        self.error(f"there is no flag {name}{asked}")

    def meant_by(self, name: str) -> list[str]:
        """Flags that an unknown one may stand for, at most two, the likeliest first.

        Args:
            name: the unknown one, with or without dashes.
        """
        meant = self._as_elsewhere(name)
        return [meant] if meant else self._nearest(f"--{_plain(name)}")

    def _as_elsewhere(self, name: str) -> str | None:
        """Flag that another program's stands for; None for none of theirs."""
        known = self._option_string_actions
        return next((one for one in _ELSEWHERE.get(_plain(name), ()) if one in known), None)

    def _nearest(self, name: str) -> list[str]:
        """Flags whose spelling is close to a name, the closest first, at most two."""
        flags = [one for one in self._option_string_actions if one.startswith("--")]
        return [name] if name in flags else difflib.get_close_matches(name, flags, 2, 0.75)

    def _with_commas(self) -> str:
        """What was meant by words after a flag that takes names joined by commas; else nothing."""
        for place, name in enumerate(self._given):
            taken = getattr(self._option_string_actions.get(name), "metavar", None)
            words = list(itertools.takewhile(_is_word, self._given[place + 1 :]))
            if isinstance(taken, str) and "," in taken and len(words) > 1:
                return f"; did you mean {name} {','.join(word.strip(',') for word in words)}?"
        return ""

    def error(self, message: str) -> NoReturn:
        """Ends the program with status 2 and one line, without the flags that `--help` lists.

        Raises:
            InputError: within `errors_raised`, instead of ending the program.
        """
        if message.startswith("unrecognized arguments"):
            message += self._with_commas()
        if _raises.get():
            raise InputError(message)
        self.exit(2, f"{self.prog}: error: {message} (--help lists all flags)\n")


def _is_word(given: str) -> bool:
    return not given.startswith("-")


class ArgumentContainer(Protocol):
    """A parser or an argument group of argparse."""

    def add_argument(self, *names: str, **parsing: Any) -> argparse.Action: ...


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    rules: Mapping[str, Any] | None = None,
    **parsing: Any,
) -> Any:
    """Declares a field of a dataclass that is also a flag.

    Args:
        default: value of the field and of the flag, a list is copied; without one the flag is
            required.
        help: description of the option, as `--help` shows it; `%(default)s` stands for the default.
        rules: further facts about the option, for the field's metadata.
        parsing: further arguments of `add_argument`. `type` and `action` follow from the field's
            annotation unless they are given.

    Returns:
        The field; its type is Any so that an annotation of the option's own type fits.
    """
    metadata = {**(rules or {}), "parsing": {"help": help, **parsing}}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def value_types(group: type) -> dict[str, type]:
    """Types of a group's values by name: without None, and of a list that of its items."""
    types = {}
    for name, hint in typing.get_type_hints(group).items():
        kind = next((one for one in typing.get_args(hint) if one is not NoneType), hint)
        types[name] = next(iter(typing.get_args(kind)), kind)
    return types


def add_option(
    container: ArgumentContainer, field: "dataclasses.Field[Any]", value_type: type
) -> None:
    """Adds the flag of a field that was made by `option`.

    Args:
        container: parser or argument group.
        field: field of the dataclass.
        value_type: type of its value, as `value_types` returns it.
    """
    parsing = dict(field.metadata["parsing"])
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    if default is dataclasses.MISSING:
        parsing["required"] = True
    else:
        parsing["default"] = default
    if value_type is not bool:
        parsing.setdefault("type", value_type)
    else:
        parsing.setdefault(
            "action", "store_true" if default is False else argparse.BooleanOptionalAction
        )
    container.add_argument(flag(field.name), **parsing)


def add_options(container: ArgumentContainer, group: type) -> None:
    """Adds a flag for every field of a dataclass that was made by `option`.

    Args:
        container: parser or argument group.
        group: dataclass.
    """
    types = value_types(group)
    for field in dataclasses.fields(group):
        if field.metadata:  # other fields are added in another way
            add_option(container, field, types[field.name])


def take_options(group: type[_Group], arguments: MutableMapping[str, Any]) -> _Group:
    """Builds a group from parsed arguments.

    Args:
        group: dataclass.
        arguments: values by name; those of the group's fields are removed.

    Raises:
        InputError: a value is out of range, where the group checks it.
    """
    names = [field.name for field in dataclasses.fields(group)]  # type: ignore[arg-type]  # any class that is a dataclass
    return group(**{name: arguments.pop(name) for name in names if name in arguments})
