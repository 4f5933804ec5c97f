"""Images made worse, to see how far a network still understands them, in NumPy and OpenCV.

Images are uint8 arrays (H, W, 3) in BGR order. Kinds and strengths are those of Hendrycks and
Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
https://arxiv.org/abs/1903.12261, for photographs.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ..errors import InputError

__all__ = ["KINDS", "STRENGTHS", "corrupt"]

STRENGTHS = range(1, 6)
"""Strengths of every kind, the weakest first."""

_LONGEST_JPEG = 65_500  # pixels on a side, of libjpeg


def _noise(image: np.ndarray, deviation: float, rng: Any) -> np.ndarray:
    """Normal noise; all strengths of one generator's state have the same, times the strength."""
    drawn = rng.standard_normal(image.shape).astype(np.float32)
    return _rounded(image + np.float32(255 * deviation) * drawn)


def _blur(image: np.ndarray, sigma: float, rng: Any) -> np.ndarray:
    """A Gaussian of `sigma` pixels."""
    del rng
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def _jpeg(image: np.ndarray, quality: float, rng: Any) -> np.ndarray:
    """Written as JPEG and read again."""
    del rng
    height, width = image.shape[:2]
    if max(height, width) > _LONGEST_JPEG:
        raise InputError(
            f"an image of {width}x{height} pixels cannot be a JPEG, whose sides have up to "
            f"{_LONGEST_JPEG:,}; leave out jpeg"
        )
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.imdecode(content, cv2.IMREAD_COLOR)


def _brightness(image: np.ndarray, more: float, rng: Any) -> np.ndarray:
    """The value of HSV raised by `more` of its range; hue and saturation stay."""
    del rng
    value = image.max(axis=2, keepdims=True).astype(np.float32)
    raised = np.minimum(value + np.float32(255 * more), 255)
    # Of black, which has no hue, gray.
    scaled = image * (raised / np.maximum(value, 1))
    return _rounded(np.where(value > 0, scaled, raised))


def _contrast(image: np.ndarray, factor: float, rng: Any) -> np.ndarray:
    """The differences from each channel's mean multiplied by `factor`."""
    del rng
    mean = image.mean(axis=(0, 1), keepdims=True)
    return _rounded((image - mean) * factor + mean)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_Change = Callable[[np.ndarray, float, Any], np.ndarray]

# The change, and its parameter by strength: standard deviation as a share of 255, sigma in pixels,
# quality of JPEG, addition to the value as a share of 255, factor of the differences.
_CHANGES: dict[str, tuple[_Change, tuple[float, ...]]] = {
    "noise": (_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "blur": (_blur, (1, 2, 3, 4, 6)),
    "jpeg": (_jpeg, (25, 18, 15, 10, 7)),
    "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
}

KINDS = tuple(_CHANGES)
"""Names of the corruptions."""


def corrupt(image: np.ndarray, kind: str, strength: int, rng: Any) -> np.ndarray:
    """Makes an image worse.

    Args:
        image: uint8 (H, W, 3), BGR; it is not changed.
        kind: one of `KINDS`.
        strength: one of `STRENGTHS`.
        rng: source of random numbers, of which only noise draws any.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        InputError: the image is too large for a JPEG.

    Source: as of the module; the parameters by strength are those of ImageNet-C.
    """
    change, parameters = _CHANGES[kind]
    return change(image, parameters[strength - 1], rng)
