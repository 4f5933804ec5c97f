"""Description of `arguments.json`, which follows from the fields of the options."""

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from .. import options
from ..errors import flag
from ..files import PathLike
from ..formats import paths, schema
from .data_options import DataOptions
from .network_options import NetworkOptions
from .option_group import Options
from .options import DeviceOptions, OptimizerOptions, RunOptions

__all__ = ["ARGUMENTS", "GROUPS", "NOT_STORED", "in_file", "is_path", "located", "value_types"]

GROUPS: tuple[type[Options], ...] = (
    DataOptions,
    NetworkOptions,
    OptimizerOptions,
    DeviceOptions,
    RunOptions,
)
"""Groups of options; their fields are the names in the file."""

NOT_STORED = ("resume", "preview")
"""Options that say what to do now, not what a training is."""

_LARGEST_LIST = 1000


def value_types() -> dict[str, type]:
    """Returns the type of each option's value: without None, and of a list that of its items."""
    return {name: kind for group in GROUPS for name, kind in options.value_types(group).items()}


def _path() -> schema.Description:
    need = schema.text()

    def describe(value: Any, path: str) -> None:
        need(value, path)
        if "\0" in value:
            raise schema.Mismatch(f"{path} has a NUL character; need a path")

    return describe


def _description(option: "dataclasses.Field[Any]", hint: Any, kind: type) -> schema.Description:
    """Returns what the file may hold for an option: its type, its choices and its null."""
    given = option.metadata["parsing"]
    least = 1 if option.metadata["positive"] else option.metadata["at_least"]
    if "choices" in given:
        item = schema.choice(given["choices"])
    elif kind is bool:
        item = schema.truth()
    elif kind is int:
        item = schema.whole_number(-(2**63) if least is None else int(least))
    elif kind is float:
        item = schema.number()
    else:
        item = _path() if kind is Path else schema.text()
    if any(typing.get_origin(one) is list for one in (hint, *typing.get_args(hint))):
        count = given["nargs"] if isinstance(given["nargs"], int) else None
        item = schema.array(item, count or 0, count or _LARGEST_LIST)
    may_be_null = NoneType in typing.get_args(hint) or option.default is None
    return schema.optional(item) if may_be_null else item


def _fields() -> Iterator[tuple[str, schema.Description]]:
    types = value_types()
    for group in GROUPS:
        hints = typing.get_type_hints(group)
        for option in dataclasses.fields(group):
            name = option.name
            if name in NOT_STORED:
                continue
            yield name, _description(option, hints[name], types[name])


ARGUMENTS = schema.fields({}, {**dict(_fields()), "ranks": schema.whole_number(1, 10**6)})
"""What `arguments.json` must hold; a missing name has its default."""


def in_file(message: str) -> str:
    """Returns a message about flags as one about the fields of `arguments.json`."""
    names = {flag(one.name): one.name for group in GROUPS for one in dataclasses.fields(group)}
    return re.sub(r"--[a-z-]+", lambda found: names.get(found[0], found[0]), message)


def is_path(name: str, value: Any) -> bool:
    """Returns whether an option's value is the path of a file or folder."""
    if name == "class_weights":
        return value not in ("none", "auto")
    return isinstance(value, Path)


def located(values: Mapping[str, Any], folder: PathLike) -> dict[str, Any]:
    """Returns the values of a file in a folder, with the paths that they stand for there."""
    types, found = value_types(), dict(values)
    for name, value in values.items():
        if types.get(name) is Path and value is not None:
            found[name] = paths.in_folder(value, folder)
        elif name == "class_weights" and is_path(name, value):
            found[name] = str(paths.in_folder(value, folder))
    return found
