"""The confusion matrix of class ids and the scores that follow from it, in numpy and OpenCV.

A matrix `p` is int64 (num_class, num_class); p[i, j] is the number of pixels of class i that were
predicted as class j. Formulas: section 5 of https://arxiv.org/abs/1411.4038.
"""

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "ConfusedPair",
    "ConfusionMatrix",
    "class_accuracy",
    "class_counts",
    "class_f1",
    "class_iou",
    "class_precision",
    "confusion_matrix",
    "frequency_weighted_iou",
    "iou_of_counts",
    "mean",
    "mean_iou",
    "mean_pixel_accuracy",
    "most_confused",
    "pixel_accuracy",
    "scores_of_counts",
    "trimap",
]


def _check_shapes(label: np.ndarray, prediction: np.ndarray) -> None:
    if label.shape != prediction.shape:
        raise ValueError(
            f"label of shape {label.shape} and prediction of shape {prediction.shape} differ; "
            "bring both to one size"
        )


def confusion_matrix(label: ArrayLike, prediction: ArrayLike, num_class: int) -> np.ndarray:
    """Counts the pixels of every (true class, predicted class) pair.

    Args:
        label: integer array of any shape; pixels outside 0…num_class-1 are not counted.
        prediction: integer array of the same shape with class ids.
        num_class: number of classes.

    Returns:
        int64 array (num_class, num_class).

    Raises:
        ValueError: the shapes differ, or a counted pixel is predicted outside 0…num_class-1.
    """
    label, prediction = np.asarray(label), np.asarray(prediction)
    _check_shapes(label, prediction)
    counted = (label >= 0) & (label < num_class)
    label, prediction = label[counted], prediction[counted]
    if prediction.size and not 0 <= prediction.min() <= prediction.max() < num_class:
        raise ValueError(
            f"predictions {prediction.min()}…{prediction.max()} for {num_class} classes; "
            "is num_class the network's?"
        )
    # The smallest type that holds every pair: bincount is bound by memory.
    pair_type: Any = np.uint16 if num_class <= 256 else np.int64
    pairs = label.astype(pair_type) * pair_type(num_class) + prediction.astype(pair_type)
    counts = np.bincount(pairs, minlength=num_class * num_class)
    return counts.reshape(num_class, num_class).astype(np.int64)


class ConfusionMatrix:
    """Confusion matrix that is filled image by image or batch by batch.

    Metrics, evaluation and validation all count into it; matrices of several parts of a dataset add
    up.

    Args:
        num_class: number of classes.

    Attributes:
        matrix: int64 (num_class, num_class), rows are the true classes.
        class_images: int64 (num_class,), number of images that hold a labelled pixel of the class.
        num_images: number of images.
    """

    def __init__(self, num_class: int):
        self.matrix = np.zeros((num_class, num_class), np.int64)
        self.class_images = np.zeros(num_class, np.int64)
        self.num_images = 0

    @property
    def num_class(self) -> int:
        """Number of classes."""
        return len(self.matrix)

    def update(self, label: ArrayLike, prediction: ArrayLike) -> None:
        """Counts the pixels of one image or of a batch.

        Args:
            label: integer array (…, H, W); pixels outside 0…num_class-1 are not counted.
            prediction: integer array of the same shape with class ids.

        Raises:
            ValueError: as `confusion_matrix`.
        """
        label, prediction = np.atleast_2d(label), np.atleast_2d(prediction)
        _check_shapes(label, prediction)
        images = (math.prod(label.shape[:-2]), *label.shape[-2:])
        for one_label, one_prediction in zip(label.reshape(images), prediction.reshape(images)):
            matrix = confusion_matrix(one_label, one_prediction, self.num_class)
            self.matrix += matrix
            self.class_images += matrix.any(axis=1)
            self.num_images += 1

    def add(self, other: "ConfusionMatrix") -> None:
        """Adds what another one has counted."""
        self.matrix += other.matrix
        self.class_images += other.class_images
        self.num_images += other.num_images

    def scores(self) -> dict[str, float]:
        """The four scores under the tutorial's names; NaN without a labelled pixel."""
        return {
            "pixel accuracy": pixel_accuracy(self.matrix),
            "mean pixel accuracy": mean_pixel_accuracy(self.matrix),
            "mean IoU": mean_iou(self.matrix),
            "frequency weighted IoU": frequency_weighted_iou(self.matrix),
        }

    def to_vector(self) -> np.ndarray:
        """Packs everything into an int64 array (num_class² + num_class + 1,).

        The sum of several vectors is the vector of the sum.
        """
        return np.concatenate([self.matrix.reshape(-1), self.class_images, [self.num_images]])

    @classmethod
    def from_vector(cls, vector: np.ndarray, num_class: int) -> "ConfusionMatrix":
        """Unpacks the result of `to_vector`, or a sum of several."""
        found = cls(num_class)
        vector = vector.astype(np.int64)
        found.matrix += vector[: num_class**2].reshape(num_class, num_class)
        found.class_images += vector[num_class**2 : -1]
        found.num_images = int(vector[-1])
        return found


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Quotient as float64, NaN where the denominator is 0."""
    numerator = np.asarray(numerator, np.float64)
    denominator = np.asarray(denominator, np.float64)
    nothing = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=nothing, where=denominator > 0)


def mean(values: np.ndarray) -> float:
    """Mean of the values that exist; NaN if none does."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def class_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of each class's pixels that are predicted correctly; NaN for a class without pixels."""
    return _ratio(np.diag(matrix), matrix.sum(axis=1))


def class_precision(matrix: np.ndarray) -> np.ndarray:
    """Share of the pixels predicted as a class that belong to it; NaN for one never predicted."""
    return _ratio(np.diag(matrix), matrix.sum(axis=0))


def class_f1(matrix: np.ndarray) -> np.ndarray:
    """F1 of each class, which is its Dice coefficient; NaN as for `class_iou`."""
    return _ratio(2 * np.diag(matrix), matrix.sum(axis=1) + matrix.sum(axis=0))


def class_iou(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for one neither in labels nor in predictions."""
    return iou_of_counts(class_counts(matrix))


def class_counts(matrix: np.ndarray) -> np.ndarray:
    """Counts that most scores need, of what a matrix holds.

    Returns:
        int64 (3, C): pixels of each class that are predicted correctly, all of its pixels, and
        labelled pixels that are predicted as it.
    """
    return np.stack([np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)])


def iou_of_counts(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, from counts as of `class_counts`.

    Args:
        counts: (…, 3, C), for instance of several images.

    Returns:
        float64 (…, C), NaN for a class neither in labels nor in predictions.
    """
    correct, labelled, predicted = np.moveaxis(counts, -2, 0)
    return _ratio(correct, labelled + predicted - correct)


def scores_of_counts(counts: np.ndarray) -> dict[str, float]:
    """Scores that need less than the confusion matrix.

    Args:
        counts: int64 (3, C), as of `class_counts`.

    Returns:
        `pixel accuracy` and `mean IoU`; NaN without a labelled pixel.
    """
    correct, labelled, _ = counts
    return {
        "pixel accuracy": float(_ratio(correct.sum(), labelled.sum())),
        "mean IoU": mean(iou_of_counts(counts)),
    }


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Share of all pixels that are predicted correctly."""
    return float(_ratio(np.trace(matrix), matrix.sum()))


def mean_pixel_accuracy(matrix: np.ndarray) -> float:
    """Mean of `class_accuracy` over the classes that occur in the labels."""
    return mean(class_accuracy(matrix))


def mean_iou(matrix: np.ndarray) -> float:
    """Mean of `class_iou` over the classes that occur in labels or predictions."""
    return mean(class_iou(matrix))


def frequency_weighted_iou(matrix: np.ndarray) -> float:
    """Mean of `class_iou`, each class weighted by its share of the labelled pixels."""
    frequency = _ratio(matrix.sum(axis=1), matrix.sum())
    if np.isnan(frequency).any():
        return float("nan")
    present = frequency > 0
    return float((frequency[present] * class_iou(matrix)[present]).sum())


class ConfusedPair(NamedTuple):
    """Pixels of the class `label` that were predicted as another, and their share of its pixels."""

    label: int
    predicted: int
    pixels: int
    share: float


def most_confused(matrix: np.ndarray, limit: int) -> list[ConfusedPair]:
    """The pairs of a true and another, predicted class with the most pixels, in falling order.

    Args:
        matrix: integers (C, C), rows are the true classes.
        limit: largest number of pairs; those without pixels are left out.
    """
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    pixels = matrix.sum(axis=1)
    order = np.argsort(-wrong, axis=None, kind="stable")[: max(limit, 0)]
    pairs = zip(*(place.tolist() for place in np.unravel_index(order, wrong.shape)))
    return [
        ConfusedPair(label, other, int(wrong[label, other]), float(count / pixels[label]))
        for label, other in pairs
        if (count := wrong[label, other])
    ]


def trimap(label: np.ndarray, width: int) -> np.ndarray:
    """Band along the boundaries of a label: the pixels close to one of another label value.

    Scores of this band alone show how well outlines are met; in the scores of all pixels the
    interiors of objects outweigh them. The ignore label counts as a value of its own, because VOC
    marks outlines with it.

    Args:
        label: uint8 (H, W).
        width: largest Euclidean distance to a pixel of another value, in pixels.

    Returns:
        bool array (H, W).

    Source: Kohli, Ladicky, Torr: "Robust Higher Order Potentials for Enforcing Label Consistency",
    IJCV 2009. Mean IoU in the band around VOC's ignored pixels: https://arxiv.org/abs/1412.7062,
    section 5, "Mean Pixel IOU along Object Boundaries".
    """
    y, x = np.ogrid[-width : width + 1, -width : width + 1]
    disc = (x * x + y * y <= width * width).astype(np.uint8)
    return cv2.dilate(label, disc) != cv2.erode(label, disc)
