"""Random changes of a training crop that the tutorial does not make, in NumPy and OpenCV.

Crops are uint8 arrays (H, W, 3) in BGR order, labels uint8 arrays (H, W). Every change draws from
the generator that it is given, and the same numbers whatever it decides.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

__all__ = ["AUGMENTATIONS", "apply", "blur", "photometric", "rotate", "vflip"]

_DEGREES = 10.0
_SIGMAS = 0.1, 2.0


def photometric(image: np.ndarray, rng: Any) -> np.ndarray:
    """Changes brightness, contrast, saturation and hue, each in half of the cases.

    Brightness moves by up to 32, contrast and saturation are multiplied by 0.5 to 1.5, hue moves by
    up to 18 of OpenCV's 180 steps. Contrast comes before the colours or after them.

    Args:
        image: uint8 (H, W, 3), BGR.
        rng: source of random numbers.

    Source: mmsegmentation's `PhotoMetricDistortion`.
    """
    brightness, contrast_last, contrast, saturation, hue = rng.uniform(0, 1, 5) < 0.5
    delta, gain = rng.uniform(-32, 32), rng.uniform(0.5, 1.5)
    saturation_gain, hue_shift = rng.uniform(0.5, 1.5), rng.randint(-18, 19)

    values = np.arange(256, dtype=np.float32)
    levels = _in_range(values + delta) if brightness else values
    after = _in_range(values * gain) if contrast else values
    if not contrast_last:
        levels = _in_range(levels * gain) if contrast else levels
    if brightness or (contrast and not contrast_last):
        image = cv2.LUT(image, levels.astype(np.uint8))
    if saturation or hue:
        table = np.stack([values, values, values], axis=-1)[np.newaxis]
        if saturation:
            table[..., 1] = _in_range(values * saturation_gain)
        if hue:
            table[..., 0] = (values + hue_shift) % 180
        hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), table.astype(np.uint8))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if contrast and contrast_last:
        image = cv2.LUT(image, after.astype(np.uint8))
    return image


def _in_range(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255)


def blur(image: np.ndarray, rng: Any) -> np.ndarray:
    """Blurs half of the images: a Gaussian with a sigma of 0.1 to 2 pixels."""
    chosen, sigma = rng.uniform(0, 1) < 0.5, rng.uniform(*_SIGMAS)
    return cv2.GaussianBlur(image, (0, 0), sigma) if chosen else image


def rotate(
    image: np.ndarray, label: np.ndarray, rng: Any, fill: Sequence[float], ignore_label: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rotates half of the images by up to 10 degrees around their centre.

    Args:
        image: uint8 (H, W, 3), BGR.
        label: uint8 (H, W).
        rng: source of random numbers.
        fill: colour of the corners, BGR.
        ignore_label: label of the corners.
    """
    chosen, degrees = rng.uniform(0, 1) < 0.5, rng.uniform(-_DEGREES, _DEGREES)
    if not chosen:
        return image, label
    height, width = label.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    image = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=tuple(fill)
    )
    label = cv2.warpAffine(
        label, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=ignore_label
    )
    return image, label


def vflip(image: np.ndarray, label: np.ndarray, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """Turns half of the images upside down."""
    if rng.uniform(0, 1) < 0.5:
        return cv2.flip(image, 0), cv2.flip(label, 0)
    return image, label


AUGMENTATIONS = ("photometric", "blur", "rotate", "vflip")
"""Names of the changes, in the order in which they are made."""


def apply(
    names: Sequence[str],
    image: np.ndarray,
    label: np.ndarray,
    rng: Any,
    fill: Sequence[float],
    ignore_label: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Makes the named changes, in the order of `AUGMENTATIONS`.

    Args:
        names: changes to make.
        image: uint8 (H, W, 3), BGR.
        label: uint8 (H, W).
        rng: source of random numbers.
        fill: colour of what comes from outside, BGR.
        ignore_label: its label.
    """
    if "photometric" in names:
        image = photometric(image, rng)
    if "blur" in names:
        image = blur(image, rng)
    if "rotate" in names:
        image, label = rotate(image, label, rng, fill, ignore_label)
    if "vflip" in names:
        image, label = vflip(image, label, rng)
    return image, label
