"""YOLO's segmentation format: a data.yaml, and polygons in a text file per image.

A line of a text file is a class id and the relative coordinates of a polygon, x before y: 0 is the
left or upper edge of the image, 1 the right or lower one. Class 0 is the background; the classes of
the data.yaml follow. Later lines are drawn over earlier ones. Coordinates are those of the upright
image; `records.shapes` says which pixels a polygon has.

Of YAML only what such files use is read: keys with a text, a list or a map of texts. Nothing in it
is executed.

Source: the dataset format of Ultralytics.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, listing
from ..files import PathLike
from ..transforms import IMAGE_SUFFIXES
from . import shapes
from .classes import Classes
from .sources import Pair, Source, below, by_id, repeated_in

__all__ = ["read_data_file", "read_yolo"]

_SPLITS = ("train", "val", "test")
_MAX_CLASSES = 254  # next to the background and the ignore label
_LONGEST_DATA_FILE = 2**20
_LONGEST_FILE = 2**26
_LONGEST_NAME = 1000
_TOLERANCE = 0.01
_KEY = re.compile(r"""("[^"]*"|'[^']*'|[^\s:#'"\[\]{},][^:#]*):(?:\s+(.*))?""")

_OPENED = re.compile(r":\s*[\[{]")

_Value = str | list[str] | dict[str, str]


# --- data.yaml ---------------------------------------------------------------------------------


def _without_comment(line: str) -> str:
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (place == 0 or line[place - 1] in " [{,:-"):
            quote = character
        elif character == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place].rstrip()
    return line.rstrip()


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _parts(text: str) -> list[str]:
    """Items of an inline list or map, split at the commas outside of quotes."""
    parts, quote = [""], ""
    for character in text:
        if not quote and character == ",":
            parts.append("")
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not parts[-1].strip(" :0123456789"):
            quote = character
        parts[-1] += character
    return [part for part in map(str.strip, parts) if part]


def _inline(text: str) -> _Value:
    """Value that stands on the line of its key."""
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(part) for part in _parts(text[1:-1])]
    if text.startswith("{") and text.endswith("}"):
        pairs = [part.partition(":") for part in _parts(text[1:-1])]
        return {_scalar(key): _scalar(value) for key, _, value in pairs}
    if text[:1] in ("[", "{", "&", "*", "!", "|", ">", "%", "@", "`"):
        raise ValueError(f"{text[:40]!r} is YAML that is not read here; write it on one line")
    return _scalar(text)


def _lines(text: str) -> Iterator[tuple[int, bool, str]]:
    """Number, whether it is indented, and content of each line; inline lists joined to one."""
    number, begun = 0, list[str]()
    for count, raw in enumerate(text.splitlines(), start=1):
        line = _without_comment(raw)
        if not begun and line.strip() in ("", "---", "..."):
            continue
        begun.append(line.strip() if begun else line)
        if len(begun) == 1:
            number = count
        if _OPENED.search(begun[0]) and not line.endswith(("]", "}")):
            continue
        whole, begun = " ".join(begun), []
        yield number, whole[0].isspace() or whole.startswith("- "), whole.strip()
    if begun:
        raise ValueError(f"line {number}: a list is not closed")


def _parse(text: str) -> dict[str, _Value]:
    """Keys and values of the part of YAML that is read here; raises ValueError for other parts."""
    found: dict[str, _Value] = {}
    key = ""
    for number, is_inner, line in _lines(text):
        match = _KEY.fullmatch(line)
        if not is_inner:
            if match is None:
                raise ValueError(f"line {number}: {line[:40]!r} is not a key with a value")
            key = _scalar(match[1])
            if key in found:
                raise ValueError(f"line {number}: {key[:40]!r} is repeated")
            found[key] = _inline(match[2] or "")
        elif line.startswith("- "):
            items = found.setdefault(key, [])
            items = found[key] = [] if items == "" else items
            if not isinstance(items, list):
                raise ValueError(f"line {number}: {line[:40]!r} is in a list and in a map")
            items.append(_scalar(line[2:]))
        elif match is not None:
            entries = found.setdefault(key, {})
            entries = found[key] = {} if entries == "" else entries
            if not isinstance(entries, dict) or _scalar(match[1]) in entries:
                raise ValueError(f"line {number}: {line[:40]!r} is repeated, or in a list")
            entries[_scalar(match[1])] = _scalar(match[2] or "")
        else:
            raise ValueError(f"line {number}: {line[:40]!r} is not a key with a value")
    return found


def _names(found: _Value | None) -> list[str]:
    """Class names in the order of their ids; raises ValueError if there are none."""
    if isinstance(found, dict):
        if {*found} != {str(number) for number in range(len(found))}:
            raise ValueError(f"names has the ids {listing(found, 5)}; number them 0, 1, 2, …")
        found = [found[str(number)] for number in range(len(found))]
    if not isinstance(found, list) or not found:
        raise ValueError("names is missing: the class names, as a list or by their ids")
    if any(not name for name in found):
        raise ValueError("names has a class without a name")
    if len(found) > _MAX_CLASSES or max(map(len, found)) > _LONGEST_NAME:
        raise ValueError(f"names has {len(found)} classes or long names; up to {_MAX_CLASSES} fit")
    if repeated := repeated_in(["background", *found]):
        raise ValueError(f"names repeats {listing(repeated)} (the background is a class already)")
    return found


def read_data_file(path: PathLike) -> tuple[dict[str, _Value], list[str]]:
    """Keys and class names of a data.yaml.

    Raises:
        InputError: the file is missing, holds YAML that is not read here, or no class names.
    """
    path = Path(path).absolute()
    files.check_regular(path)
    if path.stat().st_size > _LONGEST_DATA_FILE:
        raise InputError(f"{path} is larger than 1 MB; is it a data.yaml?")
    try:
        found = _parse(files.read_text(path))
        return found, _names(found.get("names"))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


# --- labels ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Polygons:
    """Draws the polygons of a text file; an image without the file is background."""

    path: Path
    num_classes: int

    def __call__(self, height: int, width: int) -> np.ndarray:
        labels = np.zeros((height, width), np.uint8)
        if not self.path.exists():
            return labels
        files.check_regular(self.path)
        if self.path.stat().st_size > _LONGEST_FILE:
            raise InputError(f"{self.path} is larger than 64 MB; is it a label file?")
        for number, line in enumerate(files.read_text(self.path).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                label, points = self._polygon(line.split())
                points = points * (width, height)
                shapes.fill_polygon(labels, points, label + 1)
            except ValueError as error:
                raise InputError(f"{self.path}, line {number}: {error}; correct the line") from None
        return labels

    def _polygon(self, words: list[str]) -> tuple[int, np.ndarray]:
        """Class id and relative points of a line."""
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            raise ValueError(f"{' '.join(words)[:40]!r} is not a line of numbers") from None
        if not all(map(math.isfinite, numbers)):
            raise ValueError("it has numbers that are not finite")
        label, coordinates = numbers[0], np.array(numbers[1:])
        if label not in range(self.num_classes):
            raise ValueError(f"the class {label:g} has no name; names has 0…{self.num_classes - 1}")
        if len(coordinates) < 6:
            raise ValueError(
                f"{len(coordinates)} coordinates are a box or a polygon of two points; need at "
                "least three points"
            )
        if len(coordinates) % 2:
            raise ValueError(f"it has {len(coordinates)} coordinates, an odd number")
        if coordinates.min() < -_TOLERANCE or coordinates.max() > 1 + _TOLERANCE:
            far = coordinates.max() if coordinates.max() > 1 + _TOLERANCE else coordinates.min()
            raise ValueError(
                f"the coordinate {far:g} is outside of the image; coordinates are relative, 0…1"
            )
        return int(label), coordinates.reshape(-1, 2)


def _labels_of(image: Path, root: Path) -> Path:
    """Text file of an image: in `labels` instead of the last `images` of its path.

    Folders above the dataset's do not count.
    """
    parts = list(image.with_suffix(".txt").parts)
    for place in range(len(parts) - 2, len(root.parts) - 2, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts)


# --- images ------------------------------------------------------------------------------------


def _root(path: Path, keys: dict[str, _Value], images: PathLike | None) -> Path:
    """Folder that the file's paths start from."""
    if images is not None:
        if not Path(images).is_dir():
            raise InputError(f"{Path(images).absolute()} is not a folder; check --images")
        return Path(images).absolute()
    stated = keys.get("path", "")
    if not isinstance(stated, str):
        raise InputError(f"{path}: path is not a text; write the folder of the dataset")
    if stated in ("", ".", "./"):
        return path.parent
    try:
        root = below(path.parent, stated, path)
    except InputError:
        root = None
    if root is None or not root.is_dir():
        raise InputError(
            f"{path}: path is {stated[:80]!r}, which is not a folder below that of the file; pass "
            "the folder of the dataset as --images"
        )
    return root


def _chosen(root: Path, entry: str, path: Path) -> dict[str, Path]:
    """Images that an entry of a split names, by their ids: a folder, or a list of files."""
    # Roboflow writes ../train/images for a folder that lies next to the file.
    name = entry.removeprefix("../")
    target = below(root, name, path)
    if target.is_dir():
        found = by_id(target, IMAGE_SUFFIXES)
        _check_texts({_labels_of(image, root) for image in found.values()})
        return found
    if target.suffix != ".txt" or not target.is_file():
        raise InputError(
            f"{path} names the folder {entry!r}, and {target} is not one; correct the file, or "
            "pass the folder of the dataset as --images"
        )
    found = {}
    for line in files.read_text(target).splitlines():
        if line.strip():
            image = below(root, line.strip().removeprefix("./"), target)
            name = image.relative_to(root).with_suffix("").as_posix()
            if name in found:
                raise InputError(f"{target} names {name} more than once; remove the repeats")
            found[name] = image
    return found


def _check_texts(texts: set[Path]) -> None:
    """Raises InputError for text files without an image in the folders of those with one."""
    for folder in {text.parent for text in texts}:
        strange = sorted(set(folder.glob("*.txt")) - texts - {folder / "classes.txt"})
        if strange:
            raise InputError(
                f"{folder} has label files without an image: "
                f"{listing((one.name for one in strange), 5)}; add the images or remove the files"
            )


def read_yolo(path: PathLike, split: str | None = None, images: PathLike | None = None) -> Source:
    """Images and polygons of a dataset that a data.yaml describes.

    Args:
        path: the data.yaml.
        split: which of its entries: 'train' (by default), 'val' or 'test'.
        images: folder that the file's paths start from; by default what it names as `path`, if that
            lies below its own folder.

    Returns:
        Pairs in the order of their ids. Images without a text file are background.

    Raises:
        InputError: the file or a folder is missing or not below the dataset's, there are no images,
            or none has a text file, or a text file has no image.
    """
    path = Path(path).absolute()
    keys, names = read_data_file(path)
    split = split or "train"
    entries = keys.get(split)
    if not entries or split not in _SPLITS:
        there = [name for name in _SPLITS if keys.get(name)]
        raise InputError(f"{path} has no {split!r}; it has {listing(there) or 'no split'}")
    root = _root(path, keys, images)
    found: dict[str, Path] = {}
    for entry in [entries] if isinstance(entries, str) else list(entries):
        chosen = _chosen(root, entry, path)
        if repeated := sorted(found.keys() & chosen.keys()):
            raise InputError(f"{path}: {split} has {listing(repeated, 5)} twice; keep one of each")
        found.update(chosen)
    if not found:
        raise InputError(f"{path}: {split} holds no images; check the path")
    pairs = [
        Pair(name, image, text, _Polygons(text, len(names)))
        for name, image in sorted(found.items())
        for text in [_labels_of(image, root)]
    ]
    if not any(pair.mask.is_file() for pair in pairs):
        raise InputError(
            f"{path}: no image of {split} has a label file; the first would be {pairs[0].mask}"
        )
    return Source(pairs, (path, root), split, Classes(("background", *names), {}))
