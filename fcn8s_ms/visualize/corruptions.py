"""Mean IoU over the strength of corruptions: how far a network still understands worse images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .. import files
from .canvas import PRINT, new_figure, save_figure

__all__ = ["corruption_curves"]

# Told apart by the colour-blind too, and by their markers in print without colours.
_STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#7A5C00", "v"),
)
_GAP = 0.042  # between names, as a share of the axis' height


def corruption_curves(
    path: files.PathLike,
    corruptions: Mapping[str, Sequence[Mapping[str, Any]]],
    clean: float,
    title: str = "",
) -> None:
    """Writes a line for each kind of corruption: mean IoU over strength.

    Args:
        path: PNG file to write.
        corruptions: as of `fcn8s_ms.evaluation.score_corrupted`.
        clean: mean IoU of the unchanged images.
        title: text above the lines.
    """
    figure = new_figure(6.4, 4.2, PRINT)
    axis = figure.subplots()
    ends: list[tuple[float, str, str]] = []
    last = 0
    for (kind, rows), (colour, marker) in zip(corruptions.items(), _STYLES):
        strengths = [row["strength"] for row in rows]
        values = [row["mean IoU"] for row in rows]
        axis.plot([0, strengths[0]], [clean, values[0]], "--", color=colour, linewidth=1)
        axis.plot(strengths, values, color=colour, marker=marker, markersize=5, linewidth=1.6)
        last = max(last, strengths[-1])
        if not math.isnan(values[-1]):
            ends.append((values[-1], kind, colour))
    axis.plot([0], [clean], "o", color="black", markersize=5)
    top = max([clean, *(row["mean IoU"] for rows in corruptions.values() for row in rows)])
    top = 1.0 if math.isnan(top) else min(1.12 * top + 0.02, 1.02)
    axis.set(xlim=(-0.2, last + 0.1), ylim=(0, top), xticks=range(last + 1))
    axis.set_xticklabels(["none", *map(str, range(1, last + 1))])
    axis.set_xlabel("strength of the corruption")
    axis.set_ylabel("mean IoU")
    for place, (value, kind, colour) in zip(
        _apart([end[0] / top for end in sorted(ends)]), sorted(ends)
    ):
        axis.annotate(
            f"{kind} {value:.3f}",
            (last, value),
            (1.03, place),
            textcoords=axis.transAxes,
            color=colour,
            fontsize=9,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "alpha": 0.6},
            annotation_clip=False,
        )
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    if title:
        axis.set_title(title, fontsize=11)
    save_figure(figure, path)


def _apart(places: Sequence[float]) -> list[float]:
    """Rising places moved up as far as needed to be `_GAP` from one another."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + _GAP) if found else place)
    return found
