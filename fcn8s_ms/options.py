"""Groups of options: frozen dataclasses whose fields are the flags of a program.

A field made by `option` holds everything about its flag, so that each is described once:

    @dataclass(frozen=True, kw_only=True)
    class Config:
        batch_size: int = option(1, help="images per batch (default: %(default)s)")

    add_options(parser, Config)
    config = take_options(Config, vars(parser.parse_args()))
"""

import argparse
import dataclasses
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .errors import flag

__all__ = ["ArgumentContainer", "add_options", "option", "take_options"]

_Group = TypeVar("_Group")


class ArgumentContainer(Protocol):
    """A parser or an argument group of argparse."""

    def add_argument(self, *names: str, **parsing: Any) -> argparse.Action: ...


def option(default: Any = dataclasses.MISSING, *, help: str, **parsing: Any) -> Any:
    """Declares a field of a dataclass that is also a flag.

    Args:
        default: value of the field and of the flag; without one the flag is required.
        help: description of the option, as `--help` shows it.
        parsing: further arguments of `add_argument`. A switch needs none, nor does an int, float
            or path need its `type`: they follow from the field's annotation.

    Returns:
        The field; its type is Any so that an annotation of the option's own type fits.
    """
    return dataclasses.field(default=default, metadata={"help": help, **parsing})


def add_options(parser: ArgumentContainer, group: type) -> None:
    """Adds a flag for every field of a dataclass that was made by `option`.

    Args:
        parser: parser or argument group.
        group: dataclass.
    """
    for field in dataclasses.fields(group):
        if not field.metadata:  # not an option: added in another way
            continue
        parsing = dict(field.metadata)
        if field.type is bool:
            parsing.setdefault(
                "action", argparse.BooleanOptionalAction if field.default else "store_true"
            )
        for converter in (int, float, Path):
            if field.type in (converter, converter | None):
                parsing.setdefault("type", converter)
        if field.default is dataclasses.MISSING:
            parsing["required"] = True
        else:
            parsing["default"] = field.default
        parser.add_argument(flag(field.name), **parsing)


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
