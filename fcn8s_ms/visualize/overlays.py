"""Pictures drawn with OpenCV: palette masks, overlays, legends."""

from pathlib import Path

import cv2
import numpy as np

from .. import files, png
from ..voc import IGNORE_LABEL

__all__ = ["background_id", "draw_legend", "overlay", "write_mask", "write_picture"]


_BACKGROUND_NAMES = ("background", "_background_")


def background_id(classes) -> int | None:
    """Id of the class that stands for no object, which overlays leave as it is; None without one.

    Args:
        classes: class names. CamVid's have none: its first is sky.
    """
    return 0 if classes and classes[0].lower() in _BACKGROUND_NAMES else None


def write_mask(path, ids: np.ndarray, palette: np.ndarray) -> None:
    """Writes class ids as a palette PNG, the format of VOC's own masks.

    Args:
        path: file to write.
        ids: uint8 (H, W).
        palette: uint8 (256, 3), RGB.
    """
    if ids.dtype != np.uint8:
        raise ValueError(f"ids of type {ids.dtype}; class ids are uint8")
    files.write_bytes(path, png.indexed(ids, palette))


def write_picture(path, picture: np.ndarray) -> None:
    """Writes an RGB array (H, W, 3) as the image file that the name's ending asks for."""
    encoded = cv2.imencode(Path(path).suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    files.write_bytes(path, encoded.tobytes())


def overlay(
    image: np.ndarray,
    ids: np.ndarray,
    palette: np.ndarray,
    opacity: float = 0.5,
    background: int | None = 0,
) -> np.ndarray:
    """The image with its classes laid over; background and ignored pixels stay as they are.

    Args:
        image: uint8 (H, W, 3), BGR.
        ids: uint8 (H, W).
        palette: uint8 (256, 3), RGB.
        opacity: of the colours, 0…1.
        background: id of the class without a colour, as `background_id` finds it; None for none.

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


def _present(ids: np.ndarray, classes) -> list[int]:
    """Ids of the classes in an array, without the background."""
    return [
        int(label)
        for label in np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
        if label < len(classes) and label != background_id(classes)
    ]


def draw_legend(
    picture: np.ndarray, ids: np.ndarray, classes, palette: np.ndarray, corner=None
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
    font = cv2.FONT_HERSHEY_SIMPLEX

    def layout(scale):
        line = max(round(30 * scale), 7)
        text_width = max(cv2.getTextSize(name, font, scale, 1)[0][0] for name in names)
        return line, text_width + 2 * line, line * len(names) + line // 2

    # As large as reads well, smaller where it would cover more than half of a side.
    scale = min(max(min(height, width) / 700, 0.3), 1.5)
    while scale > 0.2 and (layout(scale)[1] > width / 2 or layout(scale)[2] > height / 2):
        scale *= 0.9
    line, box_width, box_height = layout(scale)
    box_width, box_height = min(box_width, width), min(box_height, height)

    corners = [(top, left) for top in (0, height - box_height) for left in (0, width - box_width)]
    if corner is None:
        objects = ids != (background_id(classes) or 0)
        top, left = min(
            corners,
            key=lambda place: np.count_nonzero(
                objects[place[0] : place[0] + box_height, place[1] : place[1] + box_width]
            ),
        )
    else:
        top, left = corners[0]
    box = picture[top : top + box_height, left : left + box_width]
    box[:] = (box * 0.25 + 255 * 0.75).astype(np.uint8)
    thickness = max(round(2 * scale), 1)
    for row, (label, name) in enumerate(zip(present, names)):
        y = line // 4 + row * line
        colour = tuple(int(value) for value in palette[label])
        cv2.rectangle(box, (line // 3, y + line // 6), (line + 1, y + line - line // 6), colour, -1)
        cv2.putText(
            box,
            name,
            (line + line // 2, y + round(line * 0.78)),
            font,
            scale,
            (0, 0, 0),
            thickness,
            cv2.LINE_AA,
        )
    return picture
