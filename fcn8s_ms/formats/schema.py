"""Descriptions of JSON that comes from files, and one check for all of them.

A description is a function of (value, path of the value in the file) that raises `Mismatch`. What a
file must hold stands in one place, next to the code that reads it:

    >>> ANIMAL = fields({"name": text(), "legs": whole_number(0, 9)})
    >>> check({"name": "cat", "legs": -4}, ANIMAL, "cat.json", "mend it")
    Traceback (most recent call last):
    fcn8s_ms.errors.InputError: cat.json: legs is -4; need a whole number from 0 to 9: mend it
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from ..errors import InputError, listing

__all__ = [
    "Description",
    "COLOUR",
    "Mismatch",
    "anything",
    "array",
    "as_many",
    "check",
    "choice",
    "fields",
    "mapping",
    "number",
    "optional",
    "text",
    "truth",
    "whole_number",
]

_LONGEST_SHOWN = 40


class Mismatch(ValueError):
    """A value that its description does not allow; the message says where and what is needed."""


Description: TypeAlias = Callable[[Any, str], None]


def _shown(value: Any) -> str:
    try:
        found = repr(value)
    except RecursionError:
        found = "nested too deeply"
    return found if len(found) <= _LONGEST_SHOWN else found[: _LONGEST_SHOWN - 1] + "…"


def _fail(value: Any, path: str, need: str) -> None:
    raise Mismatch(f"{path or 'its content'} is {_shown(value)}; need {need}")


def anything() -> Description:
    """Any value."""
    return lambda value, path: None


def text(longest: int = 10_000) -> Description:
    """A string of at most `longest` characters, which UTF-8 can encode."""

    def describe(value: Any, path: str) -> None:
        if not isinstance(value, str) or len(value) > longest:
            _fail(value, path, f"a text of at most {longest:,} characters")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            _fail(value, path, "a text without lone surrogates")

    return describe


def truth() -> Description:
    """true or false."""

    def describe(value: Any, path: str) -> None:
        if not isinstance(value, bool):
            _fail(value, path, "true or false")

    return describe


def whole_number(least: int, largest: int = 2**63 - 1) -> Description:
    """An integer in a range, both ends included."""
    need = f"a whole number from {least} to {largest}"
    if largest == 2**63 - 1:
        need = f"a whole number of at least {least}"

    def describe(value: Any, path: str) -> None:
        if type(value) is not int or not least <= value <= largest:
            _fail(value, path, need)

    return describe


def number(least: float = -math.inf, largest: float = math.inf) -> Description:
    """A finite number in a range, both ends included."""
    need = "a finite number"
    if least > -math.inf or largest < math.inf:
        need += f" from {least:g} to {largest:g}" if largest < math.inf else f" from {least:g} on"

    def describe(value: Any, path: str) -> None:
        is_number = type(value) in (int, float) and abs(value) <= 1.7e308
        if not (is_number and least <= value <= largest):
            _fail(value, path, need)

    return describe


def choice(values: Collection[Any]) -> Description:
    """One of some values, of the same type."""

    def describe(value: Any, path: str) -> None:
        if not any(type(value) is type(one) and value == one for one in values):
            _fail(value, path, f"one of {listing(values)}")

    return describe


def optional(description: Description) -> Description:
    """null, or what the description says."""

    def describe(value: Any, path: str) -> None:
        if value is not None:
            description(value, path)

    return describe


def array(item: Description, least: int = 0, largest: int = 10**9) -> Description:
    """A list whose items all fit a description; `least` to `largest` of them."""
    count = f"{least}" if least == largest else f"{least} to {largest:,}"
    if largest == 10**9:
        count = f"at least {least}"

    def describe(value: Any, path: str) -> None:
        if not isinstance(value, (list, tuple)):
            _fail(value, path, "a list")
        if not least <= len(value) <= largest:
            raise Mismatch(f"{path or 'its content'} has {len(value)} items; need {count}")
        for place, one in enumerate(value):
            item(one, f"{path}[{place}]")

    return describe


def mapping(item: Description) -> Description:
    """An object with any names, whose values all fit a description."""

    def describe(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            _fail(value, path, "an object")
        for name, one in value.items():
            item(one, f"{path}.{name}" if path else str(name))

    return describe


def fields(
    required: Mapping[str, Description],
    others: Mapping[str, Description] | None = None,
    *,
    closed: bool = False,
) -> Description:
    """An object with fields of given names.

    Args:
        required: names that must be there, and what their values are.
        others: names that may be there.
        closed: whether further names are an error; otherwise they are not looked at.
    """
    known = {**required, **(others or {})}

    def describe(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            _fail(value, path, "an object with named fields")
        missing = [name for name in required if name not in value]
        if missing:
            raise Mismatch(f"{path or 'its content'} lacks {listing(missing)}")
        unknown = [name for name in value if name not in known] if closed else []
        if unknown:
            raise Mismatch(f"{path or 'its content'} has {listing(unknown, 4)}, unknown here")
        for name, description in known.items():
            if name in value:
                description(value[name], f"{path}.{name}" if path else name)

    return describe


def as_many(name: str, other: str) -> Description:
    """An object one of whose lists, if it is there and not empty, is as long as another one."""

    def describe(value: Any, path: str) -> None:
        found, expected = value.get(name), value.get(other)
        if found and expected is not None and len(found) != len(expected):
            raise Mismatch(f"{name} has {len(found)} items; need {len(expected)}, as {other}")

    return describe


COLOUR = array(whole_number(0, 255), 3, 3)
"""RGB."""


def check(value: Any, description: Description, source: object, remedy: str) -> None:
    """Holds a value against its description.

    Args:
        value: as `json.loads` returns it.
        description: what it must be.
        source: what the message names: the file.
        remedy: what the message tells the user to do.

    Raises:
        InputError: it is something else; one line that names the file, the field and the remedy.
    """
    try:
        description(value, "")
    except Mismatch as error:
        raise InputError(f"{source}: {error}: {remedy}") from None
