"""Facts of a file: what all kinds of files have in common, and how they read as text."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..formats.columns import columns
from ..formats.sealing import WITHOUT

__all__ = ["MISMATCH", "NONE", "VERIFIED", "Facts", "names", "table"]

VERIFIED, MISMATCH, NONE = "verified", "mismatch", "none"
"""States of a checksum."""

_INDENT, _WIDTH = 16, 100


@dataclass
class Facts:
    """Facts known of a file.

    Attributes:
        path: the file.
        kind: kind of the file.
        size: bytes of the file.
        checksum: one of `VERIFIED`, `MISMATCH` and `NONE`.
        note: how the checksum was compared, or what was found instead.
        values: further facts, as they go into JSON.
        lines: the facts as text: a heading each, and its text.
        tables: text after them.
    """

    path: Path
    kind: str
    size: int
    checksum: str = NONE
    note: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """The facts as one object."""
        return {
            "file": str(self.path),
            "kind": self.kind,
            "bytes": self.size,
            "checksum": {"state": self.checksum, "note": self.note or WITHOUT},
            **self.values,
        }

    def text(self) -> str:
        """The facts as lines for a terminal."""
        state = WITHOUT if self.checksum == NONE else f"{self.checksum}: {self.note}"
        if self.checksum == NONE and self.note:
            state += f" ({self.note})"
        lines = [f"{self.path}: {self.kind}, {self.size / 1e6:,.1f} MB"]
        for heading, text in (("checksum", state), *self.lines):
            wrapped = textwrap.wrap(text, _WIDTH - _INDENT, break_on_hyphens=False) or [""]
            lines.append(f"  {heading:<{_INDENT - 2}}{wrapped[0]}")
            lines += [" " * _INDENT + rest for rest in wrapped[1:]]
        return "\n".join(lines + ["\n" + one for one in self.tables])


def names(values: Sequence[object]) -> str:
    """Number of some names, and the names."""
    return f"{len(values)}: {', '.join(map(str, values))}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows in columns, indented; all but the first two are flush right."""
    return textwrap.indent(columns([head, *rows], left=2), "  ")
