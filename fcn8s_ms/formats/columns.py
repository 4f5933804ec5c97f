"""Rows as columns of a text, for a terminal."""

from collections.abc import Sequence

__all__ = ["columns"]


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows below one another, each column as wide as its widest cell.

    Args:
        rows: cells of each row, equally many; the first row is the heading.
        left: columns that are flush left; the others are flush right.
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )
