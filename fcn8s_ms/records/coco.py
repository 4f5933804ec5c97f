"""COCO's JSON: polygons and run lengths to class ids.

A file lists images, categories and annotations. Class 0 is the background, the categories follow by
ascending id. Annotations are drawn in the order of the file, later ones over earlier ones; regions
with `iscrowd` are ignored. Coordinates are those of the upright image; `records.shapes` says which
pixels a polygon has.

Source: the data format of cocodataset.org.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import InputError, listing
from ..files import PathLike
from ..formats import schema
from ..formats.json_lists import read_lists
from ..voc import IGNORE_LABEL
from . import shapes
from .classes import Classes
from .sources import Pair, Source, below, repeated_in

__all__ = ["read_coco"]

_LONGEST_NAME = 1000
_LARGEST_SIDE = 2**20
_FAR = 1e7
_MAX_CATEGORIES = 254  # next to the background and the ignore label
_SIDE = schema.whole_number(1, _LARGEST_SIDE)


def _id(value: Any, path: str) -> None:
    (schema.text(_LONGEST_NAME) if isinstance(value, str) else schema.whole_number(0))(value, path)


_IMAGE = schema.fields(
    {"id": _id, "file_name": schema.text(_LONGEST_NAME)},
    {"width": schema.optional(_SIDE), "height": schema.optional(_SIDE)},
)
_CATEGORY = schema.fields({"id": schema.whole_number(0), "name": schema.text(_LONGEST_NAME)})
_ANNOTATION = schema.fields(
    {"image_id": _id, "category_id": schema.whole_number(0)},
    {"id": schema.anything(), "iscrowd": schema.optional(schema.whole_number(0, 1))},
)
_POLYGONS = schema.array(schema.array(schema.number(-_FAR, _FAR)), 1)


def _counts(value: Any, path: str) -> None:
    if not isinstance(value, str):
        schema.array(schema.whole_number(0, 2**53))(value, path)


_RUNS = schema.fields({"size": schema.array(_SIDE, 2, 2), "counts": _counts})
_OF_IMAGE = ("id", "file_name", "width", "height")
_LISTS = {"images": _IMAGE, "categories": _CATEGORY, "annotations": _ANNOTATION}


@dataclass(frozen=True)
class _Region:
    """What an annotation covers, in little memory.

    Attributes:
        name: of the annotation, for messages.
        category: id of its category.
        is_crowd: whether its pixels are ignored.
        polygons: each float64 (N, 2); none of run lengths.
        runs: run lengths, or the string that holds them.
        size: height and width of the mask of run lengths.
    """

    name: str
    category: int
    is_crowd: bool
    polygons: tuple[np.ndarray, ...] = ()
    runs: np.ndarray | str = ""
    size: tuple[int, int] = (0, 0)

    def draw(self, labels: np.ndarray, label: int) -> None:
        """Gives its pixels a label; raises ValueError if it does not fit the image."""
        height, width = labels.shape
        for points in self.polygons:
            shapes.check_points(points, height, width)
            shapes.fill_polygon(labels, points, label)
        if self.polygons:
            return
        if self.size != (height, width):
            raise ValueError(
                f"its run lengths are of a mask of {self.size[1]}x{self.size[0]}, the image is "
                f"{width}x{height}"
            )
        runs = shapes.decode_runs(self.runs) if isinstance(self.runs, str) else self.runs
        labels[shapes.decode_counts(runs, height, width)] = label


def _region(annotation: Any, name: str) -> _Region:
    """The region of an annotation; raises `schema.Mismatch` for what is not one."""
    category, is_crowd = annotation["category_id"], bool(annotation.get("iscrowd"))
    found = annotation.get("segmentation")
    if not found:
        raise schema.Mismatch("it has no segmentation (only a box?); draw its outline or remove it")
    if isinstance(found, dict):
        _RUNS(found, "segmentation")
        runs, (height, width) = found["counts"], found["size"]
        if not isinstance(runs, str):
            runs = np.array(runs, np.int64)
        return _Region(name, category, is_crowd, runs=runs, size=(height, width))
    _POLYGONS(found, "segmentation")
    for numbers in found:
        if len(numbers) % 2:
            raise schema.Mismatch(f"a polygon has {len(numbers)} coordinates, an odd number")
    polygons = tuple(np.array(numbers, np.float64).reshape(-1, 2) for numbers in found)
    return _Region(name, category, is_crowd, polygons)


@dataclass(frozen=True)
class _Drawing:
    """Draws the regions of an image."""

    source: str
    stated: tuple[int | None, int | None]
    regions: tuple[_Region, ...]
    label_of: Mapping[int, int]

    def __call__(self, height: int, width: int) -> np.ndarray:
        stated = self.stated
        if None not in stated and stated != (height, width):
            raise InputError(
                f"{self.source} is stated to be {stated[1]}x{stated[0]}, the file is {width}x"
                f"{height}; export the annotations again for these files"
            )
        labels = np.zeros((height, width), np.uint8)
        for region in self.regions:
            label = IGNORE_LABEL if region.is_crowd else self.label_of[region.category]
            try:
                region.draw(labels, label)
            except ValueError as error:
                raise InputError(
                    f"{self.source}: {region.name}: {error}; correct the annotation"
                ) from error
        return labels


def _read(path: Path) -> tuple[list[Any], dict[int, str], dict[Any, list[_Region]]]:
    """Images, names of categories, and regions by the ids of their images."""
    images: list[Any] = []
    categories: dict[int, str] = {}
    regions: dict[Any, list[_Region]] = {}
    places = dict.fromkeys(_LISTS, 0)
    for field, item in read_lists(path, _LISTS):
        name = f"{field}[{places[field]}]"
        places[field] += 1
        try:
            _LISTS[field](item, name)
            if field == "images":
                images.append({key: item.get(key) for key in _OF_IMAGE})
            elif field == "categories":
                if not item["name"].strip():
                    raise schema.Mismatch(f"{name} has no name")
                if item["id"] in categories:
                    raise schema.Mismatch(f"{name} repeats the id {item['id']}")
                categories[item["id"]] = item["name"]
            else:
                name = f"annotation {item['id']}" if "id" in item else name
                region = _region(item, name[:_LONGEST_NAME])
                regions.setdefault(item["image_id"], []).append(region)
        except schema.Mismatch as error:
            shown = "" if str(error).startswith(name) else f"{name}: "
            raise InputError(f"{path}: {shown}{error}: export it again") from None
    if missing := [field for field in ("images", "categories") if not places[field]]:
        raise InputError(f"{path} has no {listing(missing)}; is it a COCO file?")
    return images, categories, regions


def read_coco(path: PathLike, folder: PathLike) -> Source:
    """Images and annotations of a COCO file.

    Args:
        path: the JSON file.
        folder: folder that the file's names of images start from.

    Returns:
        Pairs in the order of the file's images. Images without annotations are background.

    Raises:
        InputError: the file is not COCO's, names an image outside of the folder or twice, or an
            annotation belongs to no image or no category.
    """
    path, folder = Path(path).absolute(), Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder.absolute()} is not a folder; check --images")
    images, categories, regions = _read(path)
    ids = sorted(categories)
    if len(ids) > _MAX_CATEGORIES:
        raise InputError(f"{path} has {len(ids)} categories; up to {_MAX_CATEGORIES} are read")
    names = ("background", *(categories[number] for number in ids))
    if repeated := repeated_in(names):
        raise InputError(
            f"{path} has several categories {listing(repeated)}; merge or rename them (the "
            "background is a class already)"
        )
    known = {image["id"] for image in images}
    if len(known) < len(images):
        repeated = repeated_in(str(image["id"]) for image in images)
        raise InputError(f"{path} has several images of the id {listing(repeated, 5)}; keep one")
    label_of = {number: label for label, number in enumerate(ids, start=1)}
    for image_id, found in regions.items():
        if image_id not in known:
            raise InputError(
                f"{path}: {found[0].name} is of the image {image_id!r}, which is not among the "
                "images: export it again"
            )
        if strange := [one for one in found if one.category not in label_of]:
            raise InputError(
                f"{path}: {strange[0].name} is of the category {strange[0].category}, which is not "
                "among the categories: export it again"
            )
    pairs = []
    for image in images:
        file_name = image["file_name"].replace("\\", "/")
        source = f"{path}: the image {file_name}"
        drawing = _Drawing(
            source,
            (image["height"], image["width"]),
            tuple(regions.get(image["id"], ())),
            label_of,
        )
        name = PurePosixPath(file_name).with_suffix("").as_posix() if file_name else ""
        pairs.append(Pair(name, below(folder, file_name, path), path, drawing))
    if repeated := repeated_in(pair.name for pair in pairs):
        raise InputError(f"{path} has several images {listing(repeated, 5)}; keep one of each")
    return Source(pairs, (path, folder), path.stem, Classes(names, {}))
