"""Small pictures of every image of an evaluation, and larger ones of the worst."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .. import confusion, transforms, visualize
from ..confusion import ConfusionMatrix
from .predictions import Prediction

__all__ = ["Panel", "Thumbnails"]

_SIDE, _QUALITY = 128, 50  # some 5 kB for the three panels of a photo
_WORST_SIDE, _WORST_QUALITY = 480, 75
_DRAWN_SIDE = 1280  # pixels at most that are drawn before they are made smaller


class Panel(NamedTuple):
    """A picture, and the heading under which `visualize.panels` draws it.

    `content` is WebP of `width` times `height` pixels.
    """

    heading: str
    width: int
    height: int
    content: bytes


class Thumbnails:
    """Draws prediction, truth and wrong pixels of each image, small enough for thousands.

    Args:
        classes: class names.
        palette: uint8 (256, 3), RGB.
        worst: number of images of lowest mean IoU that are drawn larger, too.

    Attributes:
        panels: of each image, in the order they came: prediction, truth, wrong pixels.
    """

    def __init__(self, classes: Sequence[str], palette: np.ndarray, worst: int = 12):
        self.panels: list[list[Panel]] = []
        self._classes, self._palette, self._limit = classes, palette, worst
        # Not encoded before the end: at first many images are among the worst, but few stay.
        self._worst: list[tuple[float, str, dict[str, np.ndarray]]] = []

    def add(self, prediction: Prediction, counts: ConfusionMatrix) -> None:
        """Draws one image.

        Args:
            prediction: prediction for the image.
            counts: its confusion matrix. An image without a labelled pixel is none of the worst.
        """
        step = max(max(prediction.label.shape) // _DRAWN_SIDE, 1)
        image, label, ids = (
            np.ascontiguousarray(one[::step, ::step])
            for one in (prediction.image, prediction.label, prediction.ids)
        )
        drawn = visualize.panels(image, label, ids, self._classes, self._palette)
        names = [name for name in drawn if name != "image"]
        names.sort(key=lambda name: name != "prediction")
        self.panels.append(
            [_encoded(name, _smaller(drawn[name], _SIDE), _QUALITY) for name in names]
        )
        iou = confusion.mean_iou(counts.matrix)
        if np.isnan(iou) or not self._limit:
            return
        place = (iou, prediction.name)
        if len(self._worst) < self._limit or place < self._worst[-1][:2]:
            large = {name: _smaller(one, _WORST_SIDE) for name, one in drawn.items()}
            self._worst.append((*place, large))
            self._worst.sort(key=lambda one: one[:2])
            del self._worst[self._limit :]

    def worst(self) -> list[tuple[float, str, list[Panel]]]:
        """Mean IoU, name, and image, truth, prediction and wrong pixels; the worst image first."""
        return [
            (iou, name, [_encoded(heading, one, _WORST_QUALITY) for heading, one in drawn.items()])
            for iou, name, drawn in self._worst
        ]


def _smaller(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture (H, W, 3) whose longer side has at most `side` pixels."""
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return picture
    size = transforms.scaled_size((height, width), factor)
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def _encoded(heading: str, picture: np.ndarray, quality: int) -> Panel:
    """An RGB picture, uint8 (H, W, 3), as WebP."""
    height, width = picture.shape[:2]
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return Panel(heading, width, height, content.tobytes())
