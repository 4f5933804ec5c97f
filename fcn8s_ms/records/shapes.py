"""Shapes as label pixels: polygons, and run lengths as COCO writes them.

A polygon's coordinates count from the outer corner of the first pixel: the pixel in column 0 of row
0 reaches from (0, 0) to (1, 1). A pixel belongs to a polygon if its centre lies inside, so that the
rectangle from (2, 1) to (5, 3) has 3×2 pixels. Of centres exactly on an outline those on the left
and upper ones belong to the polygon and those on the right and lower ones do not: neighbours share
no pixel.

Source of the run lengths: the format of pycocotools, maskApi.
"""

import math

import numpy as np

__all__ = ["check_points", "decode_counts", "decode_runs", "fill_polygon"]

_TOLERANCE = 0.01
"""How far points may lie outside of an image, as a share of its side, next to one pixel."""


def check_points(points: np.ndarray, height: int, width: int) -> None:
    """Checks a polygon.

    Args:
        points: float64 (N, 2), x and y in pixels.
        height: of the image.
        width: of the image.

    Raises:
        ValueError: it has fewer than three points, or points far outside of the image.
    """
    if len(points) < 3:
        raise ValueError(f"a polygon of {len(points)} points has no area")
    for name, values, side in (("x", points[:, 0], width), ("y", points[:, 1], height)):
        far = (values < -1 - _TOLERANCE * side) | (values > side + 1 + _TOLERANCE * side)
        if far.any():
            raise ValueError(
                f"a polygon has the {name} {values[far][0]:g}, outside of the image ({width}x"
                f"{height})"
            )


def fill_polygon(labels: np.ndarray, points: np.ndarray, label: int) -> None:
    """Gives the pixels of a polygon a label, by the even-odd rule.

    Args:
        labels: uint8 (H, W), changed in place.
        points: float64 (N, 2), x and y in pixels.
        label: the label.
    """
    height, width = labels.shape
    # Only rows of the polygon are looked at; y is then counted from centre to centre.
    top = max(math.ceil(points[:, 1].min() - 0.5), 0)
    bottom = min(math.ceil(points[:, 1].max() - 0.5), height)
    if top >= bottom:
        return
    x, y = points[:, 0] - 0.5, points[:, 1] - 0.5 - top
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    first = np.ceil(np.minimum(y, next_y)).clip(0, bottom - top).astype(np.int64)
    end = np.ceil(np.maximum(y, next_y)).clip(0, bottom - top).astype(np.int64)
    # A crossing for every row and every edge that this row's centres meet.
    count = end - first
    edge = np.repeat(np.arange(len(x)), count)
    row = np.arange(len(edge)) - np.repeat(count.cumsum() - count, count) + first[edge]
    slope = (next_x - x)[edge] / (next_y - y)[edge]
    column = np.ceil(x[edge] + (row - y[edge]) * slope).clip(0, width).astype(np.int64)
    crossings = np.bincount(row * (width + 1) + column, minlength=(bottom - top) * (width + 1))
    inside = crossings.reshape(bottom - top, width + 1)[:, :width].cumsum(axis=1) % 2 == 1
    labels[top:bottom][inside] = label


def decode_runs(encoded: str) -> np.ndarray:
    """Run lengths of a compressed string: int64 (N,).

    Each number is written in digits of 5 bits, the lowest first, in characters from '0' on, whose
    sixth bit says that more follow. From the fourth number on it is the difference to the number
    before the previous one.

    Raises:
        ValueError: the string is something else.
    """
    runs: list[int] = []
    value = shift = 0
    for character in encoded:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 40:
            raise ValueError("its compressed run lengths are damaged")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:  # negative
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths are cut short")
    return np.array(runs, np.int64)


def decode_counts(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels of run lengths: bool (H, W).

    The runs go down the columns from left to right; the first one is outside of the object.

    Args:
        runs: int64 (N,).
        height: of the mask.
        width: of the mask.

    Raises:
        ValueError: they are not those of a mask of this size.
    """
    # Floats, whose sum does not turn round; up to 2^53 it is exact.
    total = float(np.abs(runs).sum(dtype=np.float64))
    if (runs < 0).any() or total != height * width:
        raise ValueError(
            f"its run lengths cover {total:.0f} pixels, those of a mask of {width}x{height} cover "
            f"{height * width}"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
