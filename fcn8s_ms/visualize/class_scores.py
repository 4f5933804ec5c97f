"""IoU of every class as pictures: bars of one evaluation, and its course over many."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from .canvas import PRINT, new_figure, save_figure

if TYPE_CHECKING:  # loaded when a figure is drawn
    from matplotlib.axes import Axes

__all__ = ["class_bars", "class_iou"]

_BLUE, _ORANGE, _ABSENT = "#0072B2", "#D55E00", "0.88"
_MOST_PANELS = 30  # more classes are a heat map
_ROWS = 50  # bars below one another
_LONGEST_NAME = 24
_MOST_COLUMNS = 1000  # validations of a heat map: more than that are no pixels of their own


def class_bars(path: files.PathLike, result: Mapping[str, Any], title: str = "") -> None:
    """Writes the IoU of every class as bars, the best on top, with the numbers behind them.

    Args:
        path: PNG file to write.
        result: result of `fcn8s_ms.evaluation.scores`: `mean IoU`, and `per class`: name to dict of
            `IoU`, NaN where there is none, and perhaps labelled `pixels` and `images`.
        title: text above the bars.
    """
    rows = sorted(result["per class"].items(), key=lambda row: -_number(row[1]["IoU"]))
    across = max(-(-len(rows) // _ROWS), 1)
    down = -(-len(rows) // across)
    figure = new_figure(5.2 * across + 0.6, 0.22 * down + 1.3, PRINT)
    for axis, first in zip(figure.subplots(1, across, squeeze=False)[0], range(0, len(rows), down)):
        _bars(axis, rows[first : first + down], down, result["mean IoU"])
    if title:
        figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def _bars(axis: "Axes", rows: Sequence[tuple[str, Any]], down: int, mean: float) -> None:
    values = [_number(row["IoU"], 0.0) for _, row in rows]
    axis.barh(range(len(rows)), values, color=_BLUE, height=0.75)
    axis.set_yticks(range(len(rows)), [_short(name) for name, _ in rows], fontsize=8)
    axis.set(xlim=(0, 1), ylim=(down - 0.4, -0.6))
    axis.set_xlabel("IoU", fontsize=9)
    for place, (value, (_, row)) in enumerate(zip(values, rows)):
        text = "none" if math.isnan(row["IoU"]) else f"{value:.3f}"
        is_long = value > 0.8
        axis.text(
            value - 0.01 if is_long else value + 0.01,
            place,
            text,
            ha="right" if is_long else "left",
            va="center",
            fontsize=8,
            color="white" if is_long else "black",
            # The line of the mean may pass behind it.
            bbox={"facecolor": _BLUE if is_long else "white", "edgecolor": "none", "pad": 0.8},
        )
        if "pixels" in row:
            counts = f"{_count(row['pixels'])} px, {row.get('images', 0):,} im."
            axis.text(1.02, place, counts, va="center", fontsize=7.5, color="0.3")
    if not math.isnan(mean):
        axis.axvline(mean, color=_ORANGE, linestyle="--", linewidth=1.2)
        axis.text(mean, -0.7, f"mean {mean:.3f}", color=_ORANGE, fontsize=8, ha="center")
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)


def class_iou(path: files.PathLike, validations: Sequence[Mapping[str, Any]]) -> None:
    """Writes the course of every class's IoU over the validations of a training.

    Up to 30 classes have a panel each, more are the rows of a heat map.

    Args:
        path: PNG file to write.
        validations: at least one dict with `step`, and `per class`: name to dict of `IoU`.
    """
    names = list(validations[-1]["per class"])
    steps = [one["step"] for one in validations]
    values = np.array([_column(one, names) for one in validations]).T
    if len(names) <= _MOST_PANELS:
        _panels(path, names, steps, values)
    else:
        _heat_map(path, names, steps, values)


def _panels(
    path: files.PathLike, names: Sequence[str], steps: Sequence[int], values: np.ndarray
) -> None:
    across = min(len(names), 3 if len(names) <= 9 else 5)
    down = -(-len(names) // across)
    figure = new_figure(2.1 * across + 0.5, 1.45 * down + 0.6)
    axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for number, axis in enumerate(axes.flat):
        if number >= len(names):
            axis.set_axis_off()
            continue
        of_class = values[number]
        marker = "o" if np.isfinite(of_class).sum() <= 30 else ""
        axis.plot(steps, of_class, color=_BLUE, marker=marker, markersize=3, linewidth=1.3)
        last = "none" if math.isnan(of_class[-1]) else f"{of_class[-1]:.3f}"
        axis.set_title(f"{_short(names[number])}  {last}", fontsize=8, loc="left", pad=3)
        axis.tick_params(labelsize=7, labelbottom=number + across >= len(names))
        axis.grid(alpha=0.3)
    axes[0, 0].set(ylim=(0, 1), yticks=(0, 0.5, 1))
    axes[0, 0].locator_params(axis="x", nbins=4, integer=True)
    figure.supxlabel("step; above each panel: class, IoU of the last validation", fontsize=8)
    figure.supylabel("IoU", fontsize=8)
    save_figure(figure, path)


def _heat_map(
    path: files.PathLike, names: Sequence[str], steps: Sequence[int], values: np.ndarray
) -> None:
    from matplotlib import colormaps

    chosen = np.unique(np.linspace(0, len(steps) - 1, _MOST_COLUMNS).round().astype(int))
    figure = new_figure(9, 0.16 * len(names) + 1.3)
    axis = figure.subplots()
    colours = colormaps["viridis"].with_extremes(bad=_ABSENT)
    shown = np.ma.masked_invalid(values[:, chosen])
    picture = axis.imshow(
        shown, cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    axis.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=7)
    axis.tick_params(axis="y", length=0)
    places = np.unique(np.linspace(0, len(chosen) - 1, 8).round().astype(int))
    axis.set_xticks(places, [f"{steps[chosen[place]]:,}" for place in places], fontsize=8)
    axis.set_xlabel("step of the validation; right: IoU of the last one, gray: none", fontsize=9)
    for place, value in enumerate(values[:, -1]):
        if not math.isnan(value):
            where = (1.008, place)
            axis.text(
                *where,
                f"{value:.2f}",
                transform=axis.get_yaxis_transform(),
                va="center",
                fontsize=7,
            )
    figure.colorbar(picture, ax=axis, location="top", label="IoU", aspect=50, shrink=0.6)
    save_figure(figure, path)


def _column(validation: Mapping[str, Any], names: Sequence[str]) -> list[float]:
    rows = validation["per class"]
    return [_number(rows.get(name, {}).get("IoU"), math.nan) for name in names]


def _number(value: float | None, otherwise: float = -1.0) -> float:
    return otherwise if value is None or math.isnan(value) else float(value)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _count(number: int) -> str:
    """Number with three figures or so: 950, 12.3 k, 4.56 M."""
    for power, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= power:
            return f"{number / power:.3g}{unit}"
    return str(number)
