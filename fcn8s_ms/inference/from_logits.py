"""Results that follow from logits, at the size of an image: NumPy and OpenCV, in any thread."""

from typing import TypeAlias

import cv2
import numpy as np

__all__ = ["Size", "class_ids", "class_ids_and_certainty", "probabilities", "resized"]

Size: TypeAlias = tuple[int, int]
"""Height and width."""


def _plane_resized(plane: np.ndarray, size: Size) -> np.ndarray:
    if plane.shape == size:
        return plane
    return cv2.resize(np.ascontiguousarray(plane), size[::-1], interpolation=cv2.INTER_LINEAR)


def resized(planes: np.ndarray, size: Size) -> np.ndarray:
    """Resizes logits (C, h, w) bilinearly to float32 (C, H, W)."""
    if planes.shape[-2:] == size:
        return planes
    return np.stack([_plane_resized(plane, size) for plane in planes])


def class_ids(logits: np.ndarray, size: Size) -> np.ndarray:
    """Class ids of logits (C, h, w) that are resized: uint8 (H, W).

    Works plane by plane: all planes of a large picture at once take gigabytes.
    """
    if logits.shape[-2:] == size:
        return logits.argmax(axis=0).astype(np.uint8)
    best = _plane_resized(logits[0], size)
    ids = np.zeros(size, np.uint8)
    for label in range(1, len(logits)):
        plane = _plane_resized(logits[label], size)
        ids[plane > best] = label
        np.maximum(best, plane, out=best)
    return ids


def _certainty(logits: np.ndarray, size: Size) -> np.ndarray:
    """Probability of the best class of logits (C, h, w) that are resized: float32 (H, W).

    Plane by plane, as `class_ids`.
    """
    best = _plane_resized(logits[0], size).copy()
    for plane in logits[1:]:
        np.maximum(best, _plane_resized(plane, size), out=best)
    total = np.zeros(size, np.float32)
    for plane in logits:
        total += np.exp(_plane_resized(plane, size) - best)
    return np.reciprocal(total, out=total)


def class_ids_and_certainty(logits: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Class ids, uint8 (H, W), and the probability of each, float32 (H, W)."""
    return class_ids(logits, size), _certainty(logits, size)


def probabilities(logits: np.ndarray, size: Size) -> np.ndarray:
    """Softmax of logits (C, h, w) that are resized: float32 (C, H, W)."""
    return _softmax(resized(logits, size))


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=0))
    exponentials /= exponentials.sum(axis=0)
    return exponentials
