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
import typing
from collections.abc import Mapping, MutableMapping
from types import NoneType
from typing import Any, Protocol, TypeVar

from .errors import flag

__all__ = [
    "ArgumentContainer",
    "add_option",
    "add_options",
    "option",
    "take_options",
    "value_types",
]

_Group = TypeVar("_Group")


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
