"""The confusion matrix of class ids and the scores that follow from it, in numpy and OpenCV.

A matrix `p` is int64 (num_class, num_class); p[i, j] counts the pixels of class i predicted as j.
Formulas: section 5 of https://arxiv.org/abs/1411.4038.
"""

import cv2
import numpy as np

__all__ = [
    "class_accuracy",
    "class_iou",
    "class_precision",
    "confusion_matrix",
    "frequency_weighted_iou",
    "mean_iou",
    "mean_pixel_accuracy",
    "pixel_accuracy",
    "scores",
    "trimap",
]


def confusion_matrix(label, prediction, num_class: int) -> np.ndarray:
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
    if label.shape != prediction.shape:
        raise ValueError(
            f"label of shape {label.shape} and prediction of shape {prediction.shape} differ; "
            "bring both to one size"
        )
    counted = (label >= 0) & (label < num_class)
    label, prediction = label[counted], prediction[counted]
    if prediction.size and not 0 <= prediction.min() <= prediction.max() < num_class:
        raise ValueError(
            f"predictions {prediction.min()}…{prediction.max()} for {num_class} classes; "
            "is num_class the network's?"
        )
    # The smallest type that holds every pair: bincount is bound by memory.
    pair_type = np.uint16 if num_class <= 256 else np.int64
    pairs = label.astype(pair_type) * pair_type(num_class) + prediction.astype(pair_type)
    counts = np.bincount(pairs, minlength=num_class * num_class)
    return counts.reshape(num_class, num_class).astype(np.int64)


def _ratio(numerator, denominator) -> np.ndarray:
    """Quotient as float64, NaN where the denominator is 0."""
    numerator = np.asarray(numerator, np.float64)
    denominator = np.asarray(denominator, np.float64)
    nothing = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=nothing, where=denominator > 0)


def _nanmean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def class_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of every class's pixels that are predicted right; NaN for a class without pixels."""
    return _ratio(np.diag(matrix), matrix.sum(axis=1))


def class_precision(matrix: np.ndarray) -> np.ndarray:
    """Share of what is predicted as a class that belongs to it; NaN for one never predicted."""
    return _ratio(np.diag(matrix), matrix.sum(axis=0))


def class_iou(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of every class; NaN for one neither in labels nor predictions."""
    correct = np.diag(matrix)
    return _ratio(correct, matrix.sum(axis=1) + matrix.sum(axis=0) - correct)


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Share of all pixels that are predicted right."""
    return float(_ratio(np.trace(matrix), matrix.sum()))


def mean_pixel_accuracy(matrix: np.ndarray) -> float:
    """Mean of `class_accuracy` over the classes that occur in the labels."""
    return _nanmean(class_accuracy(matrix))


def mean_iou(matrix: np.ndarray) -> float:
    """Mean of `class_iou` over the classes that occur in labels or predictions."""
    return _nanmean(class_iou(matrix))


def frequency_weighted_iou(matrix: np.ndarray) -> float:
    """`class_iou` weighted by the share of each class in the labels."""
    frequency = _ratio(matrix.sum(axis=1), matrix.sum())
    if np.isnan(frequency).any():
        return float("nan")
    present = frequency > 0
    return float((frequency[present] * class_iou(matrix)[present]).sum())


def scores(matrix: np.ndarray) -> dict[str, float]:
    """The four scores under the tutorial's names."""
    return {
        "pixel accuracy": pixel_accuracy(matrix),
        "mean pixel accuracy": mean_pixel_accuracy(matrix),
        "mean IoU": mean_iou(matrix),
        "frequency weighted IoU": frequency_weighted_iou(matrix),
    }


def trimap(label: np.ndarray, width: int) -> np.ndarray:
    """The band along the boundaries of a label: pixels with another label value close by.

    Scores of this band alone tell how well outlines are met, which whole objects outweigh in the
    scores of all pixels. Ignored pixels are a value of their own: VOC marks its outlines by them.

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
