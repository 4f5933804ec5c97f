"""Boundary IoU: the overlap of the outlines of labels and predictions.

Source: Cheng, Girshick, Dollár, Berg, Kirillov: "Boundary IoU", CVPR 2021,
https://arxiv.org/abs/2103.16562, section 4.
"""

import math

import cv2
import numpy as np

from ..confusion import ConfusionMatrix
from .predictions import Prediction

__all__ = ["RATIO", "Boundaries", "band"]

RATIO = 0.02
"""Width of the bands along outlines, as a share of an image's diagonal. Source: as above."""


def band(ids: np.ndarray, width: int) -> np.ndarray:
    """The pixels of each class that are close to the outline of its region, inside it.

    Args:
        ids: uint8 (H, W).
        width: largest distance to a pixel of another id or outside the image, in pixels; the
            larger of the distances along rows and columns counts.

    Returns:
        bool array (H, W).
    """
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    found = cv2.dilate(ids, square) != cv2.erode(ids, square)
    found[:width] = found[-width:] = True
    found[:, :width] = found[:, -width:] = True
    return found


class Boundaries:
    """Counts the pixels in the bands along the outlines of labels and predictions.

    Ignored pixels belong to no class, neither in the label nor in the prediction.

    Args:
        num_classes: number of classes.

    Attributes:
        counts: int64 (3, C), pixels in the bands of both, of the label and of the prediction, of
            all images; boundary IoU is `confusion.iou_of_counts` of them.
        latest: the same of the image added last.
    """

    def __init__(self, num_classes: int):
        self.counts = np.zeros((3, num_classes), np.int64)
        self.latest = np.zeros_like(self.counts)

    def add(self, prediction: Prediction, counts: ConfusionMatrix) -> None:
        """Counts one image; its confusion matrix is not needed."""
        del counts
        num_classes = self.counts.shape[1]
        label = prediction.label
        ids = np.where(label < num_classes, prediction.ids, label)
        width = max(round(RATIO * math.hypot(*label.shape)), 1)
        of_label, of_ids = band(label, width), band(ids, width)
        self.latest = np.stack(
            [
                np.bincount(chosen, minlength=256)[:num_classes]
                for chosen in (
                    label[of_label & of_ids & (label == ids)],
                    label[of_label],
                    ids[of_ids],
                )
            ]
        )
        self.counts += self.latest
