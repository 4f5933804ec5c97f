"""labelme's JSON files: from polygons to class ids.

labelme writes a file NAME.json per image, with a list of shapes. Each shape has the name of its
class, and points in pixels. Where shapes overlap, the later one counts.

Source: the file format of labelme 5.
"""

import base64
import binascii
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .. import files
from ..errors import InputError
from ..files import PathLike
from ..voc import IGNORE_LABEL

__all__ = ["BACKGROUND", "IGNORED", "image_of", "labels", "read_mask"]

BACKGROUND = ("_background_", "background")
"""Names of the class of pixels that no shape covers; the first is labelme's own."""

IGNORED = ("__ignore__", "ignore")
"""Names of shapes whose pixels are ignored; the first is labelme's own."""


def _read(path: PathLike) -> dict[str, Any]:
    content = files.read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise InputError(
            f"{Path(path).absolute()} is not a labelme file: it has no list of shapes; move it "
            "elsewhere"
        )
    return content


def labels(path: PathLike) -> set[str]:
    """Names of the classes in a file.

    Raises:
        InputError: the file is missing or not a labelme file.
    """
    return {str(shape.get("label")) for shape in _read(path)["shapes"]}


def image_of(path: PathLike) -> Path:
    """Image that a file belongs to: it is named in the file, relative to the file's own folder.

    Raises:
        InputError: the file is missing, not a labelme file, or names no image.
    """
    path = Path(path)
    name = _read(path).get("imagePath")
    if not name:
        raise InputError(f"{path.absolute()} names no image (imagePath); save it again in labelme")
    return path.parent / str(name).replace("\\", "/")


def read_mask(path: PathLike, class_ids: dict[str, int]) -> np.ndarray:
    """Class ids of an image.

    Args:
        path: labelme's JSON file.
        class_ids: id of each class name. Pixels that no shape covers get the id of the name in
            `BACKGROUND`; if there is none they are ignored.

    Returns:
        uint8 array (H, W), with `IGNORE_LABEL` where a shape's name is in `IGNORED`.

    Raises:
        InputError: the file is missing or not a labelme file, a class is not among the ids, or a
            shape has no area.
    """
    path = Path(path).absolute()
    content = _read(path)
    try:
        size = int(content["imageWidth"]), int(content["imageHeight"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not state the image's size; open and save it in labelme"
        ) from error
    ids = {**class_ids, **dict.fromkeys(IGNORED, IGNORE_LABEL)}
    ground = next((class_ids[name] for name in BACKGROUND if name in class_ids), IGNORE_LABEL)
    mask = Image.new("L", size, ground)
    for shape in content["shapes"]:
        name = str(shape.get("label"))
        if name not in ids and name not in BACKGROUND:
            raise InputError(
                f"{path} has the class {name!r}, which is not among the classes; add it to "
                "--classes or rename it in labelme"
            )
        try:
            _draw(mask, shape, ids.get(name, ground))
        except (KeyError, TypeError, ValueError, OSError, binascii.Error) as error:
            raise InputError(
                f"{path}: a shape of {name!r} cannot be drawn ({error}); draw it again in labelme"
            ) from error
    return np.asarray(mask)


def _draw(mask: Image.Image, shape: dict[str, Any], class_id: int) -> None:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    draw = ImageDraw.Draw(mask)
    if kind == "polygon":
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points has no area")
        draw.polygon(points, fill=class_id, outline=class_id)
    elif kind == "rectangle":
        (left, top), (right, bottom) = points
        corners = [min(left, right), min(top, bottom), max(left, right), max(top, bottom)]
        draw.rectangle(corners, fill=class_id, outline=class_id)
    elif kind == "circle":
        (x, y), on_edge = points
        radius = math.dist((x, y), on_edge)
        corners = [x - radius, y - radius, x + radius, y + radius]
        draw.ellipse(corners, fill=class_id, outline=class_id)
    elif kind == "mask":
        picture = Image.open(io.BytesIO(base64.b64decode(shape["mask"], validate=True)))
        (left, top), _ = points
        covered = Image.fromarray(np.where(np.asarray(picture) > 0, 255, 0).astype(np.uint8))
        mask.paste(class_id, (round(left), round(top)), covered)
    else:
        raise ValueError(f"a {kind} has no area")
