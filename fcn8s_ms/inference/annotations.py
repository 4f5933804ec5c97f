"""Predictions as annotations to correct and build again: labelme's JSON and COCO's."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import files, voc
from ..errors import InputError
from ..visualize import background_id
from .inputs import Picture
from .polygons import TOLERANCE, Shape, shapes_of

__all__ = ["Annotations", "coco_content", "labelme_content", "labelme_file"]

COCO, CLASSES, LABELME = "coco.json", "classes.txt", "labelme"
"""Names below the folder of the results: the run's COCO file, its classes, labelme's files."""

_LABELME_VERSION = "5.5.0"
_INSIDE = 0.1  # of a pixel; labelme gives a point the pixel that it lies in


def labelme_file(folder: Path, name: str) -> Path:
    """labelme's file of the picture of a name, below the folder of the results."""
    return folder / LABELME / f"{name}.json"


def labelme_content(
    shapes: Sequence[Shape], size: tuple[int, int], classes: Sequence[str], image_path: str
) -> dict[str, Any]:
    """Content of labelme's JSON file for a picture.

    labelme draws a later shape over an earlier one, outline included: a shape is written without
    its holes, and what lies in them follows. A class named `background` or `_background_` has
    shapes in holes only; elsewhere it is what no shape covers. Ignored pixels are `__ignore__`.

    Args:
        shapes: those of `shapes_of`, in their order.
        size: height and width of the picture.
        classes: class names.
        image_path: the picture, from the folder of the JSON file.
    """
    from ..records import labelme  # only here: it wants Pillow, which masks do without

    height, width = size
    ground = _ground(classes, labelme.BACKGROUND)
    holes = [_box(hole) for shape in shapes for hole in shape.holes]

    def is_needed(shape: Shape) -> bool:
        if shape.label != ground:
            return True
        inner = _box(shape.outline)
        return any(
            (outer[:2] <= inner[:2]).all() and (outer[2:] >= inner[2:]).all() for outer in holes
        )

    return {
        "version": _LABELME_VERSION,
        "flags": {},
        "shapes": [
            {
                "label": labelme.IGNORED[0]
                if shape.label == voc.IGNORE_LABEL
                else classes[shape.label],
                "points": _labelme_points(shape.outline, height, width).tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for shape in shapes
            if is_needed(shape)
        ],
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _ground(classes: Sequence[str], names: Sequence[str]) -> int | None:
    return next((classes.index(name) for name in names if name in classes), None)


def _box(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _labelme_points(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """An outline just inside of the pixels that it encloses: float64 (N, 2).

    labelme, like this package, draws an outline through the pixels in which its points lie. A point
    moves off a steep edge sideways and off a flat one up or down, as that of the neighbour does, so
    that the two lines lie side by side.
    """
    ahead = np.roll(outline, -1, axis=0) - outline
    steep = np.abs(ahead[:, 1]) > np.abs(ahead[:, 0])
    # The inside is on the right of the heading.
    inward = np.where(
        steep[:, np.newaxis],
        np.stack([-np.sign(ahead[:, 1]), np.zeros(len(ahead))], axis=1),
        np.stack([np.zeros(len(ahead)), np.sign(ahead[:, 0])], axis=1),
    )
    points = outline + _INSIDE * np.sign(inward + np.roll(inward, 1, axis=0))
    return np.round(np.clip(points, _INSIDE, (width - _INSIDE, height - _INSIDE)), 1)


def coco_content(
    shapes: Sequence[Shape], size: tuple[int, int], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Annotations of a picture as COCO's JSON has them, without ids of their own and the image's.

    A region without holes is a polygon, one with holes run lengths. The background has none; the
    other classes are categories from 1 on, in their order. Ignored pixels are run lengths with
    `iscrowd`, which have the first category.

    Args:
        shapes: those of `shapes_of`.
        size: height and width of the picture.
        classes: class names.
    """
    category_of = dict(_categories(classes))
    found = []
    for shape in shapes:
        is_ignored = shape.label == voc.IGNORE_LABEL
        if not is_ignored and shape.label not in category_of:
            continue
        segmentation: Any = [shape.outline.ravel().tolist()]
        if is_ignored or shape.holes:
            counts = _run_lengths(shape, size)
            if len(counts) == 1:  # a thin ring, whose two outlines became one
                continue
            segmentation = {"size": list(size), "counts": counts}
        found.append(
            {
                "category_id": 1 if is_ignored else category_of[shape.label],
                "iscrowd": int(is_ignored),
                "area": shape.area,
                "bbox": list(shape.box),
                "segmentation": segmentation,
            }
        )
    return found


def _categories(classes: Sequence[str]) -> list[tuple[int, int]]:
    """Class id and category of every class but the background."""
    from ..records import labelme

    ground = _ground(classes, labelme.BACKGROUND[::-1])
    if ground is None:
        ground = background_id(classes)
    objects = [label for label in range(len(classes)) if label != ground]
    return [(label, category) for category, label in enumerate(objects, start=1)]


def _run_lengths(shape: Shape, size: tuple[int, int]) -> list[int]:
    """Pixels of a shape as runs down the columns; the first one is outside of it, or all are."""
    height, width = size
    left, top, _, _ = shape.box
    covered = np.pad(shape.pixels().astype(np.int8), ((1, 1), (0, 0))).T
    column, row = np.nonzero(np.diff(covered, axis=1))
    stops = (column + left) * height + row + top
    # A run that ends where a column does goes on where the next one begins.
    again = np.flatnonzero(stops[1:-1:2] == stops[2::2]) * 2 + 1
    stops = np.delete(stops, np.concatenate([again, again + 1]))
    whole = height * width
    last = [] if len(stops) and stops[-1] == whole else [whole]
    return np.diff(np.append(stops, last), prepend=0).astype(np.int64).tolist()


class Annotations:
    """The annotations of a run: a JSON of labelme's for each picture, one of COCO's for all.

    Safe to call from several threads.

    Args:
        folder: folder of the results.
        pictures: all pictures of the run, in the order in which COCO's file has them.
        classes: class names.
        palette: uint8 (256, 3), RGB.
        tolerance: as for `shapes_of`.
    """

    def __init__(
        self,
        folder: Path,
        pictures: Sequence[Picture],
        classes: Sequence[str],
        palette: np.ndarray,
        tolerance: float = TOLERANCE,
    ):
        self._folder = folder
        self._paths = {picture.name: picture.path.absolute() for picture in pictures}
        self._classes, self._palette = classes, palette
        self._tolerance = tolerance
        self._lock = threading.Lock()
        self._spool: BinaryIO | None = None
        self._places: dict[str, tuple[int, int, tuple[int, int]]] = {}
        try:
            self._images = Path(os.path.commonpath([path.parent for path in self._paths.values()]))
        except ValueError:
            raise InputError(
                "--save polygons writes one COCO file, whose pictures must be of one drive; "
                "predict each drive's into an --output of its own"
            ) from None

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Writes the run's files at the end of a `with` block, unless it ends with an error.

        Raises:
            InputError: they cannot be written.
        """
        # Not in memory: the polygons of many pictures are gigabytes.
        with tempfile.TemporaryFile(dir=self._folder) as self._spool:
            yield
            if not self._places:
                return
            try:
                self._write_coco()
                _write_classes(self._folder / CLASSES, self._classes, self._palette)
            except OSError as error:
                raise InputError(
                    f"{self._folder / COCO} cannot be written: {error.strerror}; predict again"
                ) from error

    def write(self, name: str, ids: np.ndarray) -> None:
        """Writes labelme's file of a picture, whose folder is there, and notes its annotations.

        Args:
            name: name of the picture.
            ids: uint8 (H, W), class ids and the ignore label.

        Raises:
            OSError: a file cannot be written.
        """
        height, width = ids.shape
        shapes = shapes_of(ids, self._tolerance)
        path = labelme_file(self._folder, name)
        image_path = _from(path.parent, self._paths[name])
        content = labelme_content(shapes, (height, width), self._classes, image_path)
        files.write_bytes(path, files.json_text(content).encode())
        found = coco_content(shapes, (height, width), self._classes)
        text = "\n".join(files.json_text(one, indent=None) for one in found).encode()
        with self._lock:
            assert self._spool is not None, "annotations are written inside of collected()"
            place = self._spool.seek(0, os.SEEK_END)
            self._spool.write(text)
            self._places[name] = place, len(text), (height, width)

    def _write_coco(self) -> None:
        assert self._spool is not None
        names = [name for name in self._paths if name in self._places]
        images = [
            {
                "id": number,
                "file_name": self._paths[name].relative_to(self._images).as_posix(),
                "height": self._places[name][2][0],
                "width": self._places[name][2][1],
            }
            for number, name in enumerate(names, start=1)
        ]
        categories = [
            {"id": category, "name": self._classes[label], "supercategory": ""}
            for label, category in _categories(self._classes)
        ]
        head = {"info": {}, "licenses": [], "categories": categories, "images": images}
        with files.written(self._folder / COCO) as temporary, open(temporary, "wb") as file:
            file.write(files.json_text(head).removesuffix("\n}").encode())
            file.write(b',\n "annotations": [')
            count = 0
            for number, name in enumerate(names, start=1):
                place, length, _ = self._places[name]
                self._spool.seek(place)
                for line in self._spool.read(length).splitlines():
                    count += 1
                    of_image = f'\n  {{"id": {count}, "image_id": {number}, '.encode()
                    file.write((b"," if count > 1 else b"") + of_image + line[1:])
            file.write(b"\n ]\n}\n")

    @property
    def summary(self) -> str:
        """Where the files are and where their names start from; empty if there are none."""
        if not self._places:
            return ""
        return (
            f"{self._folder / COCO}: polygons of {len(self._places)} pictures, whose names start "
            f"from {self._images}; those for labelme are in {self._folder / LABELME}"
        )


def _from(folder: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # of another drive
        return path.as_posix()


def _write_classes(path: Path, classes: Sequence[str], palette: np.ndarray) -> None:
    """Names of the classes, with colours if they differ, as `build --classes` reads them."""
    colours = [tuple(map(int, palette[label])) for label in range(len(classes))]
    lines = list(classes)
    if len(set(colours)) == len(colours):
        lines = [f"{name} {red} {green} {blue}" for name, (red, green, blue) in zip(lines, colours)]
    files.write_text(path, "\n".join(lines) + "\n")
