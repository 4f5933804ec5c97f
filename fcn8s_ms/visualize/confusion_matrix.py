"""The confusion matrix as a picture, for two classes or 255, with the pairs most often confused."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import confusion, files
from . import fonts
from .canvas import PRINT, new_figure, save_figure

if TYPE_CHECKING:  # loaded when a figure is drawn
    from matplotlib.axes import Axes

__all__ = ["confusion_plot"]

_CELL, _LONGEST_SIDE = 0.4, 15.0  # inches
_LEAST_CELL = 0.15  # inches of a cell with a number that can be read
_LEAST_FONT = 6.0  # points
_LONGEST_NAME, _LONGEST_OF_PAIR = 40, 20
_PAIRS, _INDENT = 20, 5.2  # number, ems
_HEADING = "most pixels of one class taken for another:\nshare of the true class → predicted as"


def confusion_plot(
    path: files.PathLike, matrix: np.ndarray, classes: Sequence[str], title: str = ""
) -> None:
    """Writes a confusion matrix as a picture; each row is normalised by the true class's pixels.

    The pairs of classes that were confused most often stand next to it. Of more than 100 classes
    the cells have no numbers, and small shares stand out; where names would not fit, every second
    one is left out.

    Args:
        path: PNG file to write.
        matrix: integers (C, C), rows are the true classes.
        classes: class names.
        title: text above the matrix.
    """
    from matplotlib.colors import Normalize, PowerNorm

    names = list(fonts.readable(classes))
    shown = [_shortened(name, _LONGEST_NAME) for name in names]
    count = len(names)
    cell = min(_CELL, _LONGEST_SIDE / count)
    side = max(cell * count, 3)
    longest = max(fonts.text_width(name, 100) for name in shown) * 0.0016
    letters = 8 if side < 10 else 12  # points, of the list
    lines = _pairs(matrix, names, int(side / _line(letters)) - 2)
    ems = max(fonts.text_width(text, 100) / 100 + _INDENT * bool(share) for share, text in lines)
    width = 1.05 * ems * letters / 72
    figure = new_figure(side + longest + 1.2 + width, side + longest + 1.4, PRINT)
    axis, beside = figure.subplots(1, 2, width_ratios=(side, width))
    _list(beside, lines, letters, side)
    pixels = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, pixels, out=np.zeros(matrix.shape), where=pixels > 0)
    has_numbers = cell >= _LEAST_CELL
    scale = Normalize(0, 1) if has_numbers else PowerNorm(0.5, 0, 1)
    picture = axis.imshow(share, cmap="Blues", norm=scale, interpolation="nearest")
    if has_numbers:
        _numbers(axis, share, min(8, 46 * cell))
    else:
        bar = figure.colorbar(picture, ax=axis, location="top", shrink=0.4, aspect=40, pad=0.01)
        bar.set_ticks([0, 0.01, 0.05, 0.2, 0.5, 1], labels=["0", "1", "5", "20", "50", "100 %"])
    absent = np.flatnonzero(pixels[:, 0] == 0)
    for row in absent:
        axis.axhspan(row - 0.5, row + 0.5, facecolor="0.93", edgecolor="none")
    size = min(max(58 * cell, _LEAST_FONT), 10)
    step = math.ceil(1.1 * size / 72 / cell)
    for set_ticks in (axis.set_xticks, axis.set_yticks):
        set_ticks(range(0, count, step), shown[::step], fontsize=size)
        set_ticks(np.arange(count + 1) - 0.5, minor=True)
    axis.tick_params(axis="x", labelrotation=90)
    axis.grid(which="minor", color="0.85", linewidth=min(0.5, 2 * cell))
    axis.tick_params(which="both", length=0)
    axis.set_xlabel("predicted as, % of the pixels of the true class")
    axis.set_ylabel("true class" + (" (gray: no pixels)" if absent.size else ""))
    if title:
        axis.set_title(title, fontsize=10)
    save_figure(figure, path)


def _numbers(axis: "Axes", share: np.ndarray, size: float) -> None:
    """Percentages from 1 on in their cells."""
    for row, column in np.argwhere(share >= 0.005):
        value = share[row, column]
        axis.text(
            column,
            row,
            f"{100 * value:.0f}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if value > 0.55 else "black",
        )


def _pairs(matrix: np.ndarray, names: Sequence[str], most: int) -> list[tuple[str, str]]:
    """The list of pairs by falling number of pixels, and its heading: shares and texts."""
    short = [_shortened(name, _LONGEST_OF_PAIR) for name in names]
    pairs = confusion.most_confused(matrix, min(_PAIRS, most))
    heading = [("", line) for line in _HEADING.split("\n")] if pairs else [("", "no errors")]
    return heading + [
        (f"{100 * pair.share:.1f} %", f"{short[pair.label]} → {short[pair.predicted]}")
        for pair in pairs
    ]


def _line(letters: float) -> float:
    """Inches from line to line for a size in points."""
    return 1.7 * letters / 72


def _list(axis: "Axes", lines: Sequence[tuple[str, str]], letters: float, height: float) -> None:
    """Writes lines of a share and a text below one another; without a share it is a heading."""
    axis.set_axis_off()
    axis.set(ylim=(height, 0))
    for place, (share, text) in enumerate(lines, start=1):
        where: Any = {"xy": (0, place * _line(letters)), "xycoords": ("axes fraction", "data")}
        style: Any = {"textcoords": "offset points", "fontsize": letters, "annotation_clip": False}
        if share:
            axis.annotate(share, xytext=(4.5 * letters, 0), ha="right", **where, **style)
        indent = _INDENT * letters if share else 0
        colour = "black" if share else "0.35"
        axis.annotate(text, xytext=(indent, 0), color=colour, **where, **style)


def _shortened(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
