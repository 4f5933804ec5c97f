"""Certainty of a prediction: a grey picture, a heat map, and pixels that are not certain enough."""

import cv2
import numpy as np

from ..visualize import draw_legend
from ..voc import IGNORE_LABEL

__all__ = ["heat_colours", "ignored_below", "in_grey", "in_heat"]

_STEPS = 5
_NAMES = tuple(f"{100 * step // _STEPS}–{100 * (step + 1) // _STEPS} %" for step in range(_STEPS))


def in_grey(certainty: np.ndarray) -> np.ndarray:
    """Probabilities in 256 levels: uint8 (H, W), where v stands for v / 255.

    Args:
        certainty: float32 (H, W), 0…1.
    """
    return np.rint(certainty * 255).astype(np.uint8)


def in_heat(certainty: np.ndarray, legend: bool = True, corner: str | None = None) -> np.ndarray:
    """Probabilities as colours, from dark blue for 0 to yellow for 1: uint8 (H, W, 3), RGB.

    Args:
        certainty: float32 (H, W), 0…1.
        legend: whether to name the colours; of a small picture beside it.
        corner: as for `visualize.draw_legend`.
    """
    colours = heat_colours()
    grey = in_grey(certainty)
    picture = colours[grey]
    if not legend:
        return picture
    palette = np.zeros((256, 3), np.uint8)
    palette[:_STEPS] = colours[[round(255 * (step + 0.5) / _STEPS) for step in range(_STEPS)]]
    steps = np.minimum(grey.astype(np.uint16) * _STEPS // 255, _STEPS - 1).astype(np.uint8)
    return draw_legend(picture, steps, _NAMES, palette, corner)


def heat_colours() -> np.ndarray:
    """Colours of the levels of `in_grey`: uint8 (256, 3), RGB."""
    levels = np.arange(256, dtype=np.uint8)[:, np.newaxis]
    return cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]


def ignored_below(ids: np.ndarray, certainty: np.ndarray, least: float) -> np.ndarray:
    """Class ids with the ignore label where the probability is below `least`: uint8 (H, W)."""
    return np.where(certainty < least, np.uint8(IGNORE_LABEL), ids)
