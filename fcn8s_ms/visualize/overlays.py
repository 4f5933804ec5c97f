"""Pictures drawn with OpenCV: palette masks, overlays, legends."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from .. import files
from ..formats import png
from ..voc import IGNORE_LABEL
from .palette import background_id

__all__ = ["draw_legend", "overlay", "write_mask", "write_picture"]

_FONT = cv2.FONT_HERSHEY_SIMPLEX


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
    mixed = cv2.addWeighted(picture, 1 - opacity, palette[ids], opacity, 0)
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

    Args:
        picture: uint8 (H, W, 3), RGB; not changed.
        ids: uint8 (H, W), the classes of the picture's pixels.
        classes: class names.
        palette: uint8 (256, 3), RGB.
        corner: "top left", for pictures in a row that are compared or shown one after the other;
            None for the corner where it hides least of the objects.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    picture = picture.copy()
    present = _present(ids, classes)
    if not present:
        return picture
    height, width = ids.shape
    names = [classes[label] for label in present]

    # As large as reads well, smaller where it would cover more than half of a side.
    scale = min(max(min(height, width) / 700, 0.3), 1.5)
    box_height, box_width = _box_size(names, scale)
    while scale > 0.2 and (box_width > width / 2 or box_height > height / 2):
        scale *= 0.9
        box_height, box_width = _box_size(names, scale)
    box_height, box_width = min(box_height, height), min(box_width, width)

    top, left = 0, 0
    if corner is None:
        background = background_id(classes)
        objects = ids != (0 if background is None else background)
        top, left = _emptiest_corner(objects, box_height, box_width)
    box = picture[top : top + box_height, left : left + box_width]
    box[:] = (box * 0.25 + 255 * 0.75).astype(np.uint8)
    line = _line_height(scale)
    thickness = max(round(2 * scale), 1)
    for row, (label, name) in enumerate(zip(present, names)):
        y = line // 4 + row * line
        colour = tuple(int(value) for value in palette[label])
        cv2.rectangle(box, (line // 3, y + line // 6), (line + 1, y + line - line // 6), colour, -1)
        cv2.putText(
            box,
            name,
            (line + line // 2, y + round(line * 0.78)),
            _FONT,
            scale,
            (0, 0, 0),
            thickness,
            cv2.LINE_AA,
        )
    return picture


def _present(ids: np.ndarray, classes: Sequence[str]) -> list[int]:
    """Ids of the classes in an array, without the background."""
    return [
        int(label)
        for label in np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
        if label < len(classes) and label != background_id(classes)
    ]


def _line_height(scale: float) -> int:
    """Height of a line of text in pixels."""
    return max(round(30 * scale), 7)


def _box_size(names: Sequence[str], scale: float) -> tuple[int, int]:
    """Height and width of a legend in pixels."""
    line = _line_height(scale)
    text_width = max(cv2.getTextSize(name, _FONT, scale, 1)[0][0] for name in names)
    return line * len(names) + line // 2, text_width + 2 * line


def _emptiest_corner(objects: np.ndarray, box_height: int, box_width: int) -> tuple[int, int]:
    """Top and left of the box in the corner with the fewest pixels of objects."""
    height, width = objects.shape
    corners = [(top, left) for top in (0, height - box_height) for left in (0, width - box_width)]

    def hidden(place: tuple[int, int]) -> int:
        top, left = place
        return np.count_nonzero(objects[top : top + box_height, left : left + box_width])

    return min(corners, key=hidden)
