"""Differences between two evaluations as bars."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import files
from .canvas import PRINT, new_figure, save_figure

if TYPE_CHECKING:  # loaded when a figure is drawn
    from matplotlib.axes import Axes

__all__ = ["change_bars"]

_BETTER, _WORSE = "#0072B2", "#D55E00"  # told apart by the colour-blind too
_ROWS = 50  # bars below one another
_LONGEST_NAME = 28


def change_bars(
    path: files.PathLike, changes: Mapping[str, Mapping[str, float]], score: str, title: str = ""
) -> None:
    """Writes differences as bars, to the right for better ones, with both values next to them.

    Args:
        path: PNG file to write.
        changes: name to dict of `first`, `second` and `difference`, from top to bottom; NaN where
            there is none.
        score: name of what changed.
        title: text above the bars.
    """
    rows = list(changes.items())
    across = max(-(-len(rows) // _ROWS), 1)
    down = max(-(-len(rows) // across), 1)
    known = [abs(row["difference"]) for _, row in rows if not math.isnan(row["difference"])]
    most = 1.35 * max(known, default=0.0) or 0.01
    figure = new_figure(5.8 * across, 0.22 * down + 1.2, PRINT)
    axes = figure.subplots(1, across, squeeze=False)[0]
    for number, axis in enumerate(axes):
        _bars(axis, dict(rows[number * down : (number + 1) * down]), down, most)
        axis.set_xlabel(f"change of {score}; right: before and after", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    save_figure(figure, path)


def _bars(axis: "Axes", rows: Mapping[str, Mapping[str, float]], down: int, most: float) -> None:
    for place, row in enumerate(rows.values()):
        difference = row["difference"]
        if not math.isnan(difference):
            is_better = difference >= 0
            axis.barh(place, difference, color=_BETTER if is_better else _WORSE, height=0.75)
            axis.text(
                difference + math.copysign(0.015 * most, difference),
                place,
                f"{difference:+.3f}",
                ha="left" if is_better else "right",
                va="center",
                fontsize=7.5,
            )
        values = " → ".join(_number(row[name]) for name in ("first", "second"))
        axis.text(
            1.02,
            place,
            values,
            transform=axis.get_yaxis_transform(),
            va="center",
            fontsize=7.5,
            color="0.3",
        )
    names = [name if len(name) <= _LONGEST_NAME else f"{name[:13]}…{name[-14:]}" for name in rows]
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(xlim=(-most, most), ylim=(down - 0.4, -0.6))
    axis.locator_params(axis="x", nbins=5)
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.3f}"
