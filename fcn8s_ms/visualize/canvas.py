"""Figures of matplotlib that need no screen and leave nothing behind."""

import gc
import warnings
from typing import TYPE_CHECKING

from .. import files
from . import fonts

if TYPE_CHECKING:  # loaded when a figure is drawn
    from matplotlib.figure import Figure

__all__ = ["PRINT", "new_figure", "save_figure"]

PRINT = 200
"""Dots per inch of pictures that are fit for print."""


def new_figure(width: float, height: float, dpi: int = 110) -> "Figure":
    """Makes an empty figure; sides in inches."""
    # The figure class itself: pyplot would keep every figure alive and look for a screen.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=dpi)


def save_figure(figure: "Figure", path: files.PathLike) -> None:
    """Writes a figure, or nothing, and frees what it holds.

    Raises:
        OSError: the file cannot be written; an older one is unchanged.
    """
    fonts.prepare_figure(figure)
    with files.written(path, wait=False) as unfinished, warnings.catch_warnings():
        # `fonts` has said which characters no font has, and what helps.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(unfinished)
    # A figure is a reference cycle of some 13 MB. A training creates few other objects, so Python
    # would collect it minutes later, together with all figures that were drawn in the meantime.
    figure.clear()
    gc.collect()
