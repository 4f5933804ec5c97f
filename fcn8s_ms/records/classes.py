"""The classes of a dataset: names, colours, and what the values of masks stand for."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import files, voc
from ..errors import InputError, listing
from . import labelme, metadata

__all__ = ["Classes", "VOC_CLASSES", "class_names", "read_classes", "read_label_map"]


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset.

    Attributes:
        names: class names; the position is the class id.
        colours: class id of every RGB colour that stands for a class (or the ignore label) in
            masks; empty where masks hold ids.
    """

    names: tuple[str, ...]
    colours: dict[tuple[int, int, int], int]

    def palette(self) -> np.ndarray:
        """RGB of every class, uint8 (C, 3): its first colour, or VOC's where it has none."""
        palette = voc.palette()[: len(self.names)]
        for colour, label in reversed(self.colours.items()):
            if label < len(self.names):
                palette[label] = colour
        return palette


VOC_CLASSES = Classes(voc.CLASSES, {})


_COLOUR = r"(?P<red>\d{1,3})[\s,;]+(?P<green>\d{1,3})[\s,;]+(?P<blue>\d{1,3})"


_COLOUR_LAST = re.compile(rf"(?P<name>.*?)[\s,;:]+{_COLOUR}[:,;\s]*")


_COLOUR_FIRST = re.compile(rf"{_COLOUR}[\s,;:]+(?P<name>.*?)")


_HEAD = re.compile(r"\w+[\s,;]+r(ed)?[\s,;]+g(reen)?[\s,;]+b(lue)?", re.IGNORECASE)


def read_classes(path) -> Classes:
    """Classes of a text file: a line each, in the order of their ids.

    A line is a name, or a name and the three numbers of its RGB colour, in either order, parted by
    white space, commas, semicolons or colons: `car`, `64 0 128 car`, `car,64,0,128`. A class may
    have several colours, a line for each. What is named `ignore` is no class: its colours do not
    count. Lines that start with # and a head such as `name,r,g,b` are skipped.

    Raises:
        InputError: the file is missing or empty, a name or colour is repeated, some lines have a
            colour and others none, or there are more than 255 classes.
    """
    path = Path(path).absolute()
    names, colours, bare = [], {}, []
    for number, line in enumerate(files.read_text(path).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#") or _HEAD.fullmatch(line):
            continue
        match = _COLOUR_FIRST.fullmatch(line) or _COLOUR_LAST.fullmatch(line)
        name = (match["name"] if match else line).strip("\"' \t")
        ignored = name in labelme.IGNORED
        if not ignored and (match is None and name in names or name in bare):
            raise InputError(f"{path}, line {number}: {name!r} is there already; remove one")
        if not ignored and name not in names:
            names.append(name)
        if match is None:
            bare += [] if ignored else [name]
            continue
        colour = tuple(int(match[channel]) for channel in ("red", "green", "blue"))
        if max(colour) > 255:
            raise InputError(f"{path}, line {number}: {colour} is no colour; channels are 0…255")
        if colour in colours:
            raise InputError(f"{path}, line {number}: the colour {colour} is there already")
        colours[colour] = voc.IGNORE_LABEL if ignored else names.index(name)
    if not names:
        raise InputError(f"{path} names no class; it needs one a line")
    if len(names) > 255:
        raise InputError(f"{path} names {len(names)} classes; at most 255 fit beside the ignored")
    if colours and bare:
        raise InputError(
            f"{path} gives no colour for {listing(bare)}; give all classes one, or none"
        )
    return Classes(tuple(names), colours)


def read_label_map(path, names) -> dict[int, int]:
    """Which class each value of a mask is, from a JSON object such as `{"255": 1, "0": "ignore"}`.

    Args:
        path: JSON file; its keys are values of masks, what they map to is a class id, a class name
            or `"ignore"`.
        names: class names.

    Returns:
        Label of every value that the file has; `IGNORE_LABEL` for `"ignore"`.

    Raises:
        InputError: the file is missing or has something else.
    """
    path = Path(path).absolute()
    content = files.read_json(path)
    if not isinstance(content, dict):
        raise InputError(f'{path} is no JSON object; write it as {{"255": 1, "0": "ignore"}}')
    mapped = {}
    for value, target in content.items():
        if not (value.isascii() and value.isdigit() and int(value) <= 255):
            raise InputError(f"{path}: {value!r} is no value of a mask; keys are 0…255")
        if isinstance(target, str) and target in names:
            label = names.index(target)
        elif target in ("ignore", voc.IGNORE_LABEL):
            label = voc.IGNORE_LABEL
        elif type(target) is int and 0 <= target < len(names):
            label = target
        else:
            raise InputError(
                f"{path}: {value} maps to {target!r}; give a class id 0…{len(names) - 1}, a class "
                'name or "ignore"'
            )
        mapped[int(value)] = label
    return mapped


def class_names(num_classes: int, metadata: metadata.Metadata | None):
    """Names and colours of the classes: the record's, else VOC's, else numbers.

    Args:
        num_classes: number of classes.
        metadata: of the record, if it has any.

    Returns:
        Tuple of names, and uint8 palette (256, 3), RGB.
    """
    palette = voc.palette()
    if metadata is not None and len(metadata.classes) == num_classes:
        palette[:num_classes] = metadata.palette
        return metadata.classes, palette
    return voc.class_names(num_classes), palette
