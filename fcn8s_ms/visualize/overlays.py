"""Palette masks, overlays and their legends."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from .. import files
from ..formats import png
from ..voc import IGNORE_LABEL
from . import fonts
from .palette import background_id

__all__ = ["draw_legend", "overlay", "write_mask", "write_picture"]

_LARGEST_SHARE = 0.1  # of a picture that a legend may cover
_LEAST_LINE = 13  # pixels; smaller text cannot be read
_BESIDE_LINE = 16
_LEAST_ROWS = 8  # of a legend beside a picture that is lower


def write_mask(path: files.PathLike, ids: np.ndarray, palette: np.ndarray) -> None:
    """Writes class ids as a palette PNG, the format of VOC's own masks.

    Args:
        path: file to write.
        ids: uint8 (H, W).
        palette: uint8 (256, 3), RGB.

    Raises:
        ValueError: the ids are of another type.
        OSError: the file cannot be written.
    """
    if ids.dtype != np.uint8:
        raise ValueError(f"ids of type {ids.dtype}; class ids are uint8")
    files.write_bytes(path, png.indexed(ids, palette))


def write_picture(path: files.PathLike, picture: np.ndarray) -> None:
    """Writes an RGB array (H, W, 3) as an image file of the format that the name's ending says.

    Raises:
        OSError: the file cannot be written.
    """
    encoded = cv2.imencode(Path(path).suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    files.write_bytes(path, encoded.tobytes())


def overlay(
    image: np.ndarray,
    ids: np.ndarray,
    palette: np.ndarray,
    opacity: float = 0.5,
    background: int | None = 0,
) -> np.ndarray:
    """Draws classes over an image; pixels of the background and ignored ones stay unchanged.

    Args:
        image: uint8 (H, W, 3), BGR.
        ids: uint8 (H, W).
        palette: uint8 (256, 3), RGB.
        opacity: opacity of the colours, 0…1.
        background: id of the class without a colour, see `background_id`; None for none.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    picture = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    mixed = cv2.addWeighted(picture, 1 - opacity, palette.take(ids, axis=0), opacity, 0)
    untouched = ids == IGNORE_LABEL
    if background is not None:
        untouched |= ids == background
    np.copyto(mixed, picture, where=untouched[..., np.newaxis])
    return mixed


def draw_legend(
    picture: np.ndarray,
    ids: np.ndarray,
    classes: Sequence[str],
    palette: np.ndarray,
    corner: str | None = None,
) -> np.ndarray:
    """Draws the names and colours of the classes present.

    The legend covers a tenth of the picture at most. Where it would not be readable there, it
    stands beside the picture, which becomes wider, and with many classes higher.

    Args:
        picture: uint8 (H, W, 3), RGB; not changed.
        ids: uint8 (H, W), the classes of the picture's pixels.
        classes: class names, in any script.
        palette: uint8 (256, 3), RGB.
        corner: "top left", for pictures in a row that are compared or shown one after the other:
            all keep their size, and the largest classes are named; None for the corner where the
            legend hides least of the objects.

    Returns:
        uint8 array (H, W, 3), or larger, RGB.
    """
    present = _present(ids, classes)
    if not present:
        return picture.copy()
    shown = fonts.readable(classes)
    legend = _Legend(tuple(shown[label] for label in present), _line_height(ids.shape))
    area = ids.size * _LARGEST_SHARE
    while legend.height * legend.width > area and legend.line > _LEAST_LINE:
        legend = _Legend(legend.names, legend.line - 1)
    if corner is not None:
        counts = np.bincount(ids.ravel(), minlength=256)
        kept = sorted(present, key=lambda label: -counts[label])
        while kept and not legend.fits(ids.shape, area):
            kept.pop()
            present = [label for label in present if label in kept]
            names = [shown[label] for label in present]
            legend = _Legend((*names, "…"), legend.line)
        if not kept:
            return picture.copy()
    colours = [palette[label] for label in present]
    if not legend.fits(ids.shape, area):
        return _beside(picture, legend.names, colours)

    picture = picture.copy()
    top, left = 0, 0
    if corner is None:
        background = background_id(classes)
        objects = ids != (0 if background is None else background)
        top, left = _emptiest_corner(objects, legend.height, legend.width)
    legend.draw(picture[top : top + legend.height, left : left + legend.width], colours)
    return picture


class _Legend(NamedTuple):
    """Names below each other, with room for a patch of colour before each."""

    names: tuple[str, ...]
    line: int  # height of a line in pixels

    @property
    def height(self) -> int:
        return self.line * len(self.names) + self.line // 2

    @property
    def width(self) -> int:
        size = _text_size(self.line)
        return max(fonts.text_width(name, size) for name in self.names) + 2 * self.line

    def fits(self, shape: tuple[int, ...], area: float) -> bool:
        """Whether it lies within a picture (H, W) and covers no more than `area` pixels."""
        height, width = shape
        inside = self.height <= height and self.width <= width
        return inside and self.height * self.width <= area

    def draw(self, box: np.ndarray, colours: Sequence[np.ndarray]) -> None:
        """Draws into a part of a picture, uint8 (height, width, 3), RGB; lightens what is there."""
        box[:] = (box * 0.25 + 255 * 0.75).astype(np.uint8)
        line = self.line
        for row, colour in enumerate(colours):
            top = line // 4 + row * line
            box[top + line // 6 : top + line - line // 6, line // 3 : line + 2] = colour
        ink = _ink(self.names, line, self.height, self.width)
        box[:] = (box * (1 - ink)).astype(np.uint8)


@functools.lru_cache(maxsize=16)
def _ink(names: tuple[str, ...], line: int, height: int, width: int) -> np.ndarray:
    """Share of each pixel that the names of a legend cover, float32 (height, width, 1)."""
    places = [
        (line + line // 2, line // 4 + row * line + round(line * 0.78), name)
        for row, name in enumerate(names)
    ]
    if not fonts.are_available():
        strokes = np.zeros((height, width), np.uint8)
        for left, baseline, name in places:
            fonts.draw_strokes(strokes, left, baseline, name, _text_size(line))
        return strokes.astype(np.float32)[..., np.newaxis] / 255
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    for left, baseline, name in places:
        fonts.draw_text(draw, left, baseline, name, _text_size(line), 255)
    return np.asarray(canvas, np.float32)[..., np.newaxis] / 255


def _beside(picture: np.ndarray, names: Sequence[str], colours: Sequence[np.ndarray]) -> np.ndarray:
    """A picture with its legend in columns on its right, on white."""
    height, width = picture.shape[:2]
    most = max(height // _BESIDE_LINE, _LEAST_ROWS)
    rows = -(-len(names) // -(-len(names) // most))  # in as few columns, of one length
    columns = [
        (_Legend(tuple(names[first : first + rows]), _BESIDE_LINE), colours[first : first + rows])
        for first in range(0, len(names), rows)
    ]
    shape = (
        max(height, *(legend.height for legend, _ in columns)),
        width + sum(legend.width for legend, _ in columns),
        3,
    )
    canvas = np.full(shape, 255, np.uint8)
    canvas[:height, :width] = picture
    left = width
    for legend, of_column in columns:
        legend.draw(canvas[: legend.height, left : left + legend.width], of_column)
        left += legend.width
    return canvas


def _present(ids: np.ndarray, classes: Sequence[str]) -> list[int]:
    """Ids of the classes in an array, without the background."""
    background = background_id(classes)
    return [
        int(label)
        for label in np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
        if label < len(classes) and label != background
    ]


def _line_height(shape: tuple[int, ...]) -> int:
    """Height in pixels of a line of text that reads well in a picture (H, W)."""
    return round(30 * min(max(min(shape) / 700, 0.5), 1.5))


def _text_size(line: int) -> int:
    return round(line * 0.75)


def _emptiest_corner(objects: np.ndarray, box_height: int, box_width: int) -> tuple[int, int]:
    """Top and left of the box in the corner with the fewest pixels of objects."""
    height, width = objects.shape
    corners = [(top, left) for top in (0, height - box_height) for left in (0, width - box_width)]

    def hidden(place: tuple[int, int]) -> int:
        top, left = place
        return np.count_nonzero(objects[top : top + box_height, left : left + box_width])

    return min(corners, key=hidden)
