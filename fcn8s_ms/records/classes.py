"""Classes of a dataset: their names and colours, and the meaning of the values of masks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import files, voc
from ..errors import InputError, listing
from ..files import PathLike
from ..visualize import default_palette
from . import labelme
from .metadata import Metadata

__all__ = ["VOC_CLASSES", "Classes", "class_names", "read_classes", "read_label_map"]


@dataclass(frozen=True)
class Classes:
    """Classes of a dataset.

    Attributes:
        names: class names; the position is the class id.
        colours: class id (or ignore label) of each RGB colour that masks hold; empty if masks hold
            ids.
    """

    names: tuple[str, ...]
    colours: dict[tuple[int, int, int], int]

    def palette(self) -> np.ndarray:
        """RGB of each class, uint8 (C, 3): its first colour, or the default one if it has none."""
        palette = default_palette(self.names)[: len(self.names)]
        for colour, label in reversed(self.colours.items()):
            if label < len(self.names):
                palette[label] = colour
        return palette


VOC_CLASSES = Classes(voc.CLASSES, {})

_COLOUR = r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})"
_COLOUR_FIRST = re.compile(rf"{_COLOUR}[\s,;:]+(.*)")
# Of a reversed line: a search for the end of the name from the left takes quadratic time.
_COLOUR_LAST = re.compile(rf"[:,;\s]*{_COLOUR}[\s,;:]+(.*)")
_LONGEST_NAME = 1000
_LONGEST_SHOWN = 40
_HEAD = re.compile(r"\w+[\s,;]+r(ed)?[\s,;]+g(reen)?[\s,;]+b(lue)?", re.IGNORECASE)


def _shown(value: object) -> str:
    """Value of a file as messages show it."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _name_and_colour(line: str) -> tuple[str, tuple[int, int, int] | None]:
    """Name on a line of a class file, and its colour if there is one."""
    if match := _COLOUR_FIRST.fullmatch(line):
        red, green, blue, name = match.groups()
    elif match := _COLOUR_LAST.fullmatch(line[::-1]):
        blue, green, red, name = (group[::-1] for group in match.groups())
    else:
        return line, None
    return name, (int(red), int(green), int(blue))


def read_classes(path: PathLike) -> Classes:
    """Classes of a text file with one line per class, in the order of their ids.

    A line is a name, or a name and the three numbers of its RGB colour, in either order, separated
    by white space, commas, semicolons or colons: `car`, `64 0 128 car`, `car,64,0,128`. A class may
    have several colours, one per line. The name `ignore` is not a class: pixels of its colours are
    ignored. Lines that start with # and a head such as `name,r,g,b` are skipped.

    Raises:
        InputError: the file is missing or empty, a name or colour is repeated, some lines have a
            colour and others none, or there are more than 255 classes.
    """
    path = Path(path).absolute()
    names: dict[str, int] = {}
    colours: dict[tuple[int, int, int], int] = {}
    bare: dict[str, None] = {}  # names without a colour, in order
    for number, line in enumerate(files.read_text(path).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#") or _HEAD.fullmatch(line):
            continue
        name, colour = _name_and_colour(line)
        name = name.strip("\"' \t")
        ignored = name in labelme.IGNORED
        if not ignored and (colour is None and name in names or name in bare):
            raise InputError(f"{path}, line {number}: {_shown(name)} is repeated; remove one")
        if not ignored:
            names.setdefault(name, len(names))
        if colour is None:
            if not ignored:
                bare[name] = None
            continue
        if max(colour) > 255:
            raise InputError(f"{path}, line {number}: {colour} is not a colour; use 0…255")
        if colour in colours:
            raise InputError(f"{path}, line {number}: the colour {colour} is repeated; remove one")
        colours[colour] = voc.IGNORE_LABEL if ignored else names[name]
    if not names:
        raise InputError(f"{path} names no class; write one per line")
    if len(names) > 255:
        raise InputError(
            f"{path} names {len(names)} classes; at most 255 fit next to the ignore label"
        )
    if too_long := [name for name in names if len(name) > _LONGEST_NAME]:
        raise InputError(
            f"{path}: {_shown(too_long[0])} has {len(too_long[0]):,} characters; shorten it to at "
            f"most {_LONGEST_NAME:,}"
        )
    if colours and bare:
        raise InputError(
            f"{path} has no colour for {listing(bare)}; give all classes a colour, or none"
        )
    return Classes(tuple(names), colours)


def read_label_map(source: PathLike, names: Sequence[str]) -> dict[int, int]:
    """Labels for values of masks, from a JSON object such as `{"255": 1, "0": "ignore"}`.

    Args:
        source: the object as text, which begins with {, or a JSON file. Its keys are values of
            masks, its values class ids, class names or `"ignore"`.
        names: class names.

    Returns:
        Label of each of these values; `IGNORE_LABEL` for `"ignore"`.

    Raises:
        InputError: the file is missing, or it or the text holds something else.
    """
    path: Path | str
    if isinstance(source, str) and source.lstrip().startswith("{"):
        path = "--label-map"
        try:
            content = files.parse_json(source)
        except ValueError as error:
            raise InputError(
                f"--label-map {_shown(source)} is not valid JSON ({error}); put it in quotes, as "
                "'{\"255\": 1}'"
            ) from error
    else:
        path = Path(source).absolute()
        content = files.read_json(path)
    if not isinstance(content, dict):
        raise InputError(f'{path} is not a JSON object; write it as {{"255": 1, "0": "ignore"}}')
    mapped: dict[int, int] = {}
    for value, target in content.items():
        digits = value.isascii() and value.isdigit() and len(value) <= _LONGEST_SHOWN
        if not (digits and int(value) <= 255):
            raise InputError(f"{path}: {_shown(value)} is not a value of a mask; use 0…255")
        if isinstance(target, str) and target in names:
            label = names.index(target)
        elif target in ("ignore", voc.IGNORE_LABEL):
            label = voc.IGNORE_LABEL
        elif type(target) is int and 0 <= target < len(names):
            label = target
        else:
            raise InputError(
                f"{path}: {value} maps to {_shown(target)}; give a class id "
                f'0…{len(names) - 1}, a class name or "ignore"'
            )
        mapped[int(value)] = label
    return mapped


def class_names(num_classes: int, metadata: Metadata | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and colours of the classes: the record's, otherwise VOC's, otherwise numbers.

    Args:
        num_classes: number of classes.
        metadata: metadata of the record, if it has any.

    Returns:
        The names, and the palette: RGB, uint8 (256, 3).
    """
    if metadata is not None and len(metadata.classes) == num_classes:
        palette = voc.palette()
        palette[:num_classes] = metadata.palette
        return metadata.classes, palette
    names = voc.class_names(num_classes)
    return names, default_palette(names)
