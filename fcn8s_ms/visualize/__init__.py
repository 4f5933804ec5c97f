"""Pictures: palette masks and overlays (OpenCV), grids and curves (matplotlib).

Images come in as BGR, as OpenCV decodes them; what is returned and written is RGB.
"""

from .figures import (
    comparison,
    confusion_plot,
    curves,
    networks_curves,
    networks_grid,
    prediction_grid,
    sample_grid,
)
from .overlays import background_id, draw_legend, overlay, write_mask, write_picture

__all__ = [
    "background_id",
    "comparison",
    "confusion_plot",
    "curves",
    "draw_legend",
    "networks_curves",
    "networks_grid",
    "overlay",
    "prediction_grid",
    "sample_grid",
    "write_mask",
    "write_picture",
]
