"""Masks as polygons: outlines of connected regions that neighbours share, with fewer points.

The outline of a region runs along the edges of its pixels. Where it meets other regions it falls
into arcs, each between two regions; an arc is simplified once, so that the two have the same points
and neither gaps nor overlaps appear between them.

Source of the simplification: Douglas and Peucker, Algorithms for the reduction of the number of
points required to represent a digitized line or its caricature, 1973.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import InputError

__all__ = ["TOLERANCE", "Shape", "check_tolerance", "shapes_of"]

TOLERANCE = 0.75
"""How far, in pixels, a simplified outline may lie from the pixels' edges unless told otherwise.

Less than 1, so that what is one pixel wide stays; more than the 0.71 by which stairs of single
pixels deviate from a straight line.
"""

# Headings along edges of pixels, each a quarter turn to the right of the one before.
_STEP = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])  # x, y: east, south, west, north
# Pixels ahead of the end of an edge, relative to that corner: left and right of the heading.
_LEFT = np.array([(0, -1), (0, 0), (-1, 0), (-1, -1)])
_RIGHT = np.array([(0, 0), (-1, 0), (-1, -1), (0, -1)])


@dataclass(frozen=True)
class Shape:
    """A connected region of one label; pixels that touch at a corner only are not connected.

    Coordinates count from the outer corner of the first pixel, as in `records.shapes`, whose
    `fill_polygon` says which pixels a shape has.

    Attributes:
        label: class id, or the ignore label.
        outline: int32 (N, 2), x and y, clockwise as seen.
        holes: outlines of what lies inside and does not belong to it, counter-clockwise.
        area: pixels of the region, before its outline was simplified.
    """

    label: int
    outline: np.ndarray
    holes: tuple[np.ndarray, ...]
    area: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the outline."""
        left, top = self.outline.min(axis=0).tolist()
        right, bottom = self.outline.max(axis=0).tolist()
        return left, top, right - left, bottom - top

    def pixels(self) -> np.ndarray:
        """Pixels of the shape without its holes: bool, of the size of `box`."""
        from ..records.shapes import fill_polygon  # only here: records want Pillow

        left, top, width, height = self.box
        covered = np.zeros((height, width), np.uint8)
        for points, value in ((self.outline, 1), *((hole, 0) for hole in self.holes)):
            fill_polygon(covered, points - (left, top) + 0.0, value)
        return covered == 1


def check_tolerance(tolerance: float) -> None:
    """Raises InputError for a tolerance that is negative or not finite."""
    if not 0 <= tolerance < 1000:
        raise InputError(f"--tolerance is {tolerance}; choose 0…999 pixels")


def shapes_of(ids: np.ndarray, tolerance: float = TOLERANCE) -> list[Shape]:
    """Finds the regions of a mask.

    Args:
        ids: uint8 (H, W), class ids and the ignore label.
        tolerance: how far a simplified outline may lie from the pixels' edges, in pixels; 0 keeps
            every corner. A region that is narrower all over vanishes in its surroundings.

    Returns:
        Every region of every label, the largest first: drawn in this order, even without their
        holes, they give the mask.

    Raises:
        InputError: the tolerance is out of range.
    """
    check_tolerance(tolerance)
    rings: dict[int, list[_Ring]] = {}
    for ring in _rings(ids):
        rings.setdefault(int(ids[ring.y, ring.x]), []).append(ring)
    found = [
        shape for label in sorted(rings) for shape in _of_label(ids, label, rings[label], tolerance)
    ]
    # By what the outline encloses, so that islands follow the regions that they lie in.
    return [shape for _, shape in sorted(found, key=lambda one: -one[0])]


class _Ring(NamedTuple):
    """A closed outline of a region, run through with the region on the right.

    Attributes:
        points: corners, int32 (N, 2), x and y.
        is_node: whether each is a node, where more than two regions meet: bool (N,).
        x: column of a pixel of the region.
        y: row of that pixel.
    """

    points: np.ndarray
    is_node: np.ndarray
    x: int
    y: int


def _of_label(
    ids: np.ndarray, label: int, rings: list[_Ring], tolerance: float
) -> list[tuple[int, Shape]]:
    """Regions of one label, each with the area that its outline encloses."""
    _, numbers = cv2.connectedComponents((ids == label).view(np.uint8), connectivity=4)
    outlines: dict[int, tuple[int, np.ndarray]] = {}
    holes: dict[int, list[np.ndarray]] = {}
    areas: dict[int, int] = {}
    for ring in rings:
        region, area = int(numbers[ring.y, ring.x]), _doubled_area(ring.points) // 2
        areas[region] = areas.get(region, 0) + area
        simple = _simplified(ring.points, ring.is_node, tolerance)
        if len(simple) < 3 or not _doubled_area(simple):
            continue
        if area > 0:
            outlines[region] = area, simple
        else:
            holes.setdefault(region, []).append(simple)
    return [
        (area, Shape(label, outline, tuple(holes.get(region, ())), areas[region]))
        for region, (area, outline) in outlines.items()
    ]


def _doubled_area(points: np.ndarray) -> int:
    """Twice the area inside a ring, positive if it is clockwise as seen."""
    x, y = points[:, 0].astype(np.int64), points[:, 1].astype(np.int64)
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _rings(ids: np.ndarray) -> Iterator[_Ring]:
    """Outlines of all regions, each from its first edge by rows on."""
    height, width = ids.shape
    padded = np.full((height + 2, width + 2), -1, np.int16)
    padded[1:-1, 1:-1] = ids
    across = padded[:-1, 1:-1] != padded[1:, 1:-1]  # (H + 1, W): edges between rows
    along = padded[1:-1, :-1] != padded[1:-1, 1:]  # (H, W + 1): edges between columns
    meeting = np.zeros((height + 1, width + 1), np.uint8)  # edges at each corner of a pixel
    meeting[:, :-1] += across
    meeting[:, 1:] += across
    meeting[:-1] += along
    meeting[1:] += along
    # An edge between two regions is two, one for each, with opposite headings.
    y, x = np.nonzero(across)
    v, u = np.nonzero(along)
    start = np.concatenate([(x, y), (u, v), (x + 1, y), (u, v + 1)], axis=1)
    heading = np.repeat(np.arange(4), [len(x), len(u), len(x), len(u)])
    pixel = np.concatenate([(x, y), (u - 1, v), (x, y - 1), (u, v)], axis=1)
    label = padded[pixel[1] + 1, pixel[0] + 1]
    is_inside = label >= 0
    start, heading = start[:, is_inside], heading[is_inside]
    pixel, label = pixel[:, is_inside], label[is_inside]
    end = start + _STEP[heading].T

    def is_own(offset: np.ndarray) -> np.ndarray:
        ahead = end + offset[heading].T
        return padded[ahead[1] + 1, ahead[0] + 1] == label

    is_ahead = is_own(_RIGHT)  # otherwise to the right, also past a corner that only touches
    turn = np.where(is_ahead, np.where(is_own(_LEFT), -1, 0), 1)
    code = (start[1] * (width + 1) + start[0]) * 4 + heading
    following = (end[1] * (width + 1) + end[0]) * 4 + (heading + turn) % 4
    order = np.argsort(code)
    then = order[np.searchsorted(code, following, sorter=order)]
    is_node = meeting[start[1], start[0]] > 2
    is_kept = is_node.copy()
    is_kept[then[turn != 0]] = True
    points = start.T.astype(np.int32)

    follower, seen = then.tolist(), bytearray(len(then))
    for first in order.tolist():
        if seen[first]:
            continue
        edges, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            edges.append(edge)
            edge = follower[edge]
        kept = np.array(edges)
        kept = kept[is_kept[kept]]
        yield _Ring(points[kept], is_node[kept], *pixel[:, first].tolist())


def _simplified(points: np.ndarray, is_node: np.ndarray, tolerance: float) -> np.ndarray:
    """A ring with fewer points; nodes stay, for every ring that passes them."""
    if not tolerance:
        return points
    nodes = np.flatnonzero(is_node)
    first = nodes[0] if len(nodes) else np.lexsort(points.T)[0]
    closed = np.concatenate([points[first:], points[: first + 1]])
    stops = [*(nodes - first), len(points)] if len(nodes) else [0, len(points)]
    parts = [
        _arc(closed[start : stop + 1], tolerance)[:-1] for start, stop in zip(stops, stops[1:])
    ]
    return np.concatenate(parts)


def _arc(points: np.ndarray, tolerance: float) -> np.ndarray:
    """An arc with fewer points, the same ones whichever way it is run through."""
    is_loop = bool((points[0] == points[-1]).all())
    ends = (points[1], points[-2]) if is_loop else (points[0], points[-1])
    if ends[0].tolist() > ends[1].tolist():
        return _arc(points[::-1], tolerance)[::-1]
    if not is_loop:
        return _reduced(points, tolerance)
    farthest = int(((points - points[0]) ** 2).sum(axis=1).argmax())
    there = _reduced(points[: farthest + 1], tolerance)
    back = _reduced(points[farthest:], tolerance)
    return np.concatenate([there, back[1:]])


def _reduced(points: np.ndarray, tolerance: float) -> np.ndarray:
    if len(points) < 3:
        return points
    return cv2.approxPolyDP(np.ascontiguousarray(points), tolerance, closed=False)[:, 0]
