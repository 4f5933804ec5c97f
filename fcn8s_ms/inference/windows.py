"""Windows over an image: where they lie, and the mean of their logits where they overlap."""

import itertools
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

__all__ = ["Logits", "bands", "mean_logits", "starts"]

Logits: TypeAlias = "Callable[[list[np.ndarray]], list[np.ndarray]]"
"""Logits, float32 (C, h, w), of images of one size, uint8 (h, w, 3)."""


def starts(side: int, crop: int, stride: int) -> list[int]:
    """Offsets of windows along a side: they cover it, and none reaches beyond it."""
    last = max(side - crop, 0)
    return [*range(0, last, stride), last]


def mean_logits(
    image: np.ndarray, n_class: int, sliding: tuple[int, int], batch_size: int, logits_of: Logits
) -> np.ndarray:
    """Mean logits (C, H, W) of windows.

    Args:
        image: uint8 (H, W, 3).
        n_class: number of classes, C.
        sliding: pixels of a window's sides, and those from one window to the next.
        batch_size: windows that are computed at once.
        logits_of: computes them.
    """
    (height, width), (crop, stride) = image.shape[:2], sliding
    corners = itertools.product(starts(height, crop, stride), starts(width, crop, stride))
    total = np.zeros((n_class, height, width), np.float32)
    counts = np.zeros((height, width), np.float32)
    while chosen := list(itertools.islice(corners, batch_size)):
        windows = [image[top : top + crop, left : left + crop] for top, left in chosen]
        for (top, left), logits in zip(chosen, logits_of(windows)):
            place = (..., slice(top, top + crop), slice(left, left + crop))
            total[place] += logits
            counts[place] += 1
    total /= counts  # in place: for a large picture these are gigabytes
    return total


def bands(
    read: Callable[[int, int, int, int], np.ndarray],
    size: tuple[int, int],
    n_class: int,
    sliding: tuple[int, int],
    batch_size: int,
    logits_of: Logits,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Mean logits of windows, as `mean_logits`, of an image that is read as needed.

    Kept are the sums of rows that the next windows reach, and of columns those of a few windows.

    Args:
        read: part of the image, uint8 (h, w, 3), by its top, left, height and width.
        size: height and width of the image.
        n_class: as for `mean_logits`, as are the other arguments.
        sliding: sides and steps of windows.
        batch_size: windows at once.
        logits_of: computes them.

    Yields:
        Top, left and logits (C, h, w) of parts that follow one another from left to right, in bands
        from top to bottom, and together cover the image.
    """
    (height, width), (crop, stride) = size, sliding
    tops, lefts = starts(height, crop, stride), starts(width, crop, stride)
    below = np.zeros((n_class, 0, width), np.float32)  # sums of rows of this band from above
    below_counts = np.zeros((0, width), np.float32)
    for top, next_top in zip(tops, [*tops[1:], height]):
        high = min(crop, height - top)
        done = next_top - top
        carried = np.zeros((n_class, high - done, width), np.float32)
        carried_counts = np.zeros((high - done, width), np.float32)
        # Sums of the columns that the next windows reach.
        total = np.zeros((n_class, high, 0), np.float32)
        counts = np.zeros(0, np.float32)
        remaining = iter(zip(lefts, [*lefts[1:], width]))
        while chosen := list(itertools.islice(remaining, batch_size)):
            images = [read(top, left, high, min(crop, width - left)) for left, _ in chosen]
            for (left, next_left), logits in zip(chosen, logits_of(images)):
                known = total.shape[2]
                logits = np.array(logits, np.float32)
                logits[..., :known] += total
                number = np.ones(logits.shape[2], np.float32)
                number[:known] += counts
                wide = next_left - left
                total, counts = logits[..., wide:], number[wide:]
                place = slice(left, next_left)
                sums, times = logits[..., :wide], np.repeat(number[None, :wide], high, axis=0)
                from_above = below.shape[1]
                sums[:, :from_above] += below[..., place]
                times[:from_above] += below_counts[:, place]
                carried[..., place], carried_counts[:, place] = sums[:, done:], times[done:]
                yield top, left, sums[:, :done] / times[:done]
        below, below_counts = carried, carried_counts
