"""labelme's JSON files: from polygons to class ids.

labelme writes a file NAME.json per image, with a list of shapes. Each shape has the name of its
class, and points in pixels. Where shapes overlap, the later one counts.

Source: the file format of labelme 5.
"""

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .. import files
from ..errors import InputError
from ..files import PathLike
from ..formats import schema
from ..voc import IGNORE_LABEL

__all__ = ["BACKGROUND", "IGNORED", "image_of", "labels", "read_mask"]

BACKGROUND = ("_background_", "background")
"""Names of the class of pixels that no shape covers; the first is labelme's own."""

IGNORED = ("__ignore__", "ignore")
"""Names of shapes whose pixels are ignored; the first is labelme's own."""


# Sides of JPEG and PNG files that Pillow decodes; together twice its limit, as there.
_LARGEST_SIDE = 65_535
_FARTHEST = 10 * _LARGEST_SIDE  # points may lie outside of the image

_POINTS = schema.array(schema.array(schema.number(-_FARTHEST, _FARTHEST), 2, 2))
_SHAPE = schema.fields(
    {},
    {
        "label": schema.optional(schema.text()),
        "shape_type": schema.optional(schema.text()),
        "mask": schema.optional(schema.text(2**28)),
    },
)
_FILE = schema.fields(
    {"shapes": schema.array(_SHAPE)}, {"imagePath": schema.optional(schema.text())}
)


def _read(path: PathLike) -> dict[str, Any]:
    content: dict[str, Any] = files.read_json(path)
    source = f"{Path(path).absolute()} is not a labelme file"
    schema.check(content, _FILE, source, "move it elsewhere")
    return content


def _size(content: dict[str, Any], path: Path) -> tuple[int, int]:
    """Width and height that a file states."""
    size = content.get("imageWidth"), content.get("imageHeight")
    if any(side is None for side in size):
        raise InputError(f"{path} does not state the image's size; open and save it in labelme")
    side = schema.whole_number(1, _LARGEST_SIDE)
    described = schema.fields({"imageWidth": side, "imageHeight": side})
    schema.check(content, described, path, "open and save it in labelme")
    width, height = content["imageWidth"], content["imageHeight"]
    if width * height > 2 * (Image.MAX_IMAGE_PIXELS or math.inf):
        raise InputError(f"{path} states {width}×{height} pixels, too many; cut it into tiles")
    return width, height


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
    size = _size(content, path)
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
        except (KeyError, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(
                f"{path}: a shape of {name!r} cannot be drawn ({error}); draw it again in labelme"
            ) from error
    return np.asarray(mask)


def _draw(mask: Image.Image, shape: dict[str, Any], class_id: int) -> None:
    kind = shape.get("shape_type") or "polygon"
    _POINTS(shape["points"], "points")
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
        picture = Image.open(io.BytesIO(base64.b64decode(shape["mask"] or "", validate=True)))
        (left, top), _ = points
        covered = Image.fromarray(np.where(np.asarray(picture) > 0, 255, 0).astype(np.uint8))
        mask.paste(class_id, (round(left), round(top)), covered)
    else:
        raise ValueError(f"a {kind} has no area")
