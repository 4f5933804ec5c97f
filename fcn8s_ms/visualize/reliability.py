"""The reliability diagram: how often predictions of each certainty are right."""

from collections.abc import Sequence
from typing import Any

from .. import files
from .canvas import PRINT, new_figure, save_figure

__all__ = ["reliability_plot"]

_COLOUR, _GRAY = "#0072b2", "0.55"  # told apart by the colour-blind too


def reliability_plot(path: files.PathLike, bins: Sequence[dict[str, Any]], title: str = "") -> None:
    """Writes a reliability diagram as a picture.

    Bars below the diagonal are of a network that is more certain than it is right.

    Args:
        path: PNG file to write.
        bins: as of `fcn8s_ms.evaluation.Certainty.bins`.
        title: text above the diagram.
    """
    figure = new_figure(4.5, 5.5, PRINT)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    left = [one["least"] for one in bins]
    widths = [one["most"] - one["least"] for one in bins]
    style = {"align": "edge", "color": _COLOUR, "edgecolor": "white", "linewidth": 0.8}
    right = [one["accuracy"] for one in bins]
    upper.bar(left, right, widths, label="pixels that are right", **style)
    upper.plot([0, 1], [0, 1], "--", color=_GRAY, label="as certain as right")
    upper.set_ylim(0, 1)
    upper.set_ylabel("share of the pixels that are right")
    upper.legend(loc="upper left", frameon=False)
    upper.set_title(title, fontsize=11)
    total = sum(one["pixels"] for one in bins)
    lower.bar(left, [one["pixels"] / max(total, 1) for one in bins], widths, **style)
    lower.set_xlim(0, 1)
    lower.set_ylabel("share of all")
    lower.set_xlabel("certainty: the probability of the predicted class")
    save_figure(figure, path)
