"""Sizes of training images and places of crops, beyond the tutorial's random scale.

Images are uint8 arrays (H, W, 3), labels uint8 arrays (H, W). An image is resized bilinearly, a
label takes the nearest pixel.
"""

from typing import Any

import cv2
import numpy as np

__all__ = ["is_mixed", "random_place", "shorter_side", "squeezed"]

_TRIES = 10
"""How often a crop is drawn anew at most, as in mmsegmentation."""


def squeezed(
    image: np.ndarray, label: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Resizes an image and its label to a height and width, whatever their proportions."""
    return _resized(image, label, size, cv2.INTER_LINEAR)


def shorter_side(
    image: np.ndarray, label: np.ndarray, pixels: int, longest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Resizes an image and its label so that the shorter side has a number of pixels.

    An image that shrinks is averaged, so that fine structures do not flicker.

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W).
        pixels: length of the shorter side.
        longest: most pixels of the longer side; the shorter one becomes less than `pixels` there.

    Source: `RandomResize` of torchvision's segmentation references.
    """
    shorter, longer = sorted(label.shape)
    if longer * pixels > longest * shorter:
        pixels = max(longest * shorter // longer, 1)
    height, width = (
        pixels if side == shorter else min(pixels * longer // shorter, longest)
        for side in label.shape
    )
    interpolation = cv2.INTER_AREA if pixels < shorter else cv2.INTER_LINEAR
    return _resized(image, label, (height, width), interpolation)


def _resized(
    image: np.ndarray, label: np.ndarray, size: tuple[int, int], interpolation: int
) -> tuple[np.ndarray, np.ndarray]:
    if label.shape == size:
        return image, label
    image = cv2.resize(image, size[::-1], interpolation=interpolation)
    # The exact one takes the pixel under the centre, as the image's interpolations do.
    return image, cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def random_place(
    label: np.ndarray,
    size: int,
    rng: Any,
    ignore_label: int,
    cat_max_ratio: float | None = None,
) -> tuple[int, int]:
    """Draws the top left corner of a square crop.

    Args:
        label: uint8 (H, W). A side below `size` has one place, 0.
        size: side of the crop in pixels.
        rng: source of the draws: randint (top), randint (left); again for every further try.
        ignore_label: label that does not count.
        cat_max_ratio: the crop is drawn again, up to 10 times, until `is_mixed`; None takes the
            first one.

    Source: `RandomCrop` of mmsegmentation.
    """
    heights, widths = (max(side - size, 0) + 1 for side in label.shape)
    top, left = rng.randint(0, heights), rng.randint(0, widths)
    if cat_max_ratio is None or heights == widths == 1:
        return top, left
    for _ in range(_TRIES):
        if is_mixed(label[top : top + size, left : left + size], ignore_label, cat_max_ratio):
            break
        top, left = rng.randint(0, heights), rng.randint(0, widths)
    return top, left


def is_mixed(label: np.ndarray, ignore_label: int, cat_max_ratio: float) -> bool:
    """Returns whether a label holds two classes or more, each on less than a share of its pixels.

    Args:
        label: uint8 (H, W).
        ignore_label: label of pixels that do not count.
        cat_max_ratio: that share, 0…1.
    """
    counts = cv2.calcHist([label], [0], None, [256], [0, 256]).ravel()
    counts[ignore_label] = 0
    return np.count_nonzero(counts) > 1 and bool(counts.max() < cat_max_ratio * counts.sum())
