"""Base of the groups of options of a training, and how an option declares its rules."""

import argparse
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .. import options
from ..errors import InputError, flag
from ..formats import paths

__all__ = ["Options", "option"]


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
    if isinstance(default, bool):
        # Whatever the default: a file of arguments may say yes where the command line says no.
        parsing.setdefault("action", argparse.BooleanOptionalAction)
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
