"""Palette masks and overlays, grids and curves (matplotlib).

Images are BGR, as OpenCV decodes them; pictures that are returned or written are RGB.
"""

from .canvas import PRINT
from .changes import change_bars
from .class_scores import class_bars, class_iou
from .confusion_matrix import confusion_plot
from .corruptions import corruption_curves
from .curves import Course, course_curves, curves, runs_curves
from .figures import comparison, panels, prediction_grid, sample_grid
from .fonts import prepare_figure
from .overlays import draw_legend, overlay, write_mask, write_picture
from .palette import background_id, default_palette
from .reliability import reliability_plot

__all__ = [
    "PRINT",
    "Course",
    "background_id",
    "change_bars",
    "class_bars",
    "class_iou",
    "comparison",
    "confusion_plot",
    "corruption_curves",
    "course_curves",
    "curves",
    "default_palette",
    "draw_legend",
    "runs_curves",
    "overlay",
    "panels",
    "prediction_grid",
    "prepare_figure",
    "reliability_plot",
    "sample_grid",
    "write_mask",
    "write_picture",
]
