"""Datasets whose layout of folders says what is what: Oxford-IIIT Pet, a mask per object.

Sources: the folders as their authors publish them.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import InputError, listing
from ..files import PathLike
from ..images import reader
from ..transforms import IMAGE_SUFFIXES
from ..voc import IGNORE_LABEL
from .classes import Classes
from .sources import Pair, Source, below, read_list, repeated_in, subfolder

__all__ = ["instances", "pets"]


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, without the files that systems leave behind."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise InputError(
            f"{folder.absolute()} cannot be read ({error.strerror}); check the path"
        ) from error


def _images_in(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


# --- a mask per object -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Objects:
    """Draws the union of the masks of a folder, each of which shows an object."""

    folder: Path
    max_pixels: int

    def __call__(self, height: int, width: int) -> np.ndarray:
        labels = np.zeros((height, width), np.uint8)
        for path in _images_in(self.folder):
            file = reader.open_file(path, self.max_pixels)
            mask = file.pixels(cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
            path = path.absolute()
            if mask.shape != labels.shape:
                raise InputError(
                    f"{path} is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}; give "
                    "both one size"
                )
            if ((mask != 0) & (mask != mask.max())).any():
                raise InputError(
                    f"{path} holds more than two values; a mask of an object is 0 outside of it, "
                    "and one other value inside: save it as PNG"
                )
            labels[mask != 0] = 1
        return labels


def instances(root: PathLike, max_pixels: int = reader.MAX_PIXELS) -> Source:
    """Images with a mask per object: ID/images/ID.png and ID/masks/*.png.

    Args:
        root: folder of the folders of the images.
        max_pixels: largest number of pixels of a mask; 0 for any.

    Returns:
        Pairs in the order of their ids, with the classes background and object.

    Raises:
        InputError: there are none, or a folder lacks its image or masks.

    Source: 2018 Data Science Bowl (BBBC038).
    """
    root = Path(root)
    pairs = []
    faults = []
    for folder in _visible(root):
        if not folder.is_dir():
            continue
        images = _images_in(folder / "images") if (folder / "images").is_dir() else []
        masks = folder / "masks"
        if len(images) != 1:
            faults.append(f"{folder.name} ({len(images) or 'no'} images)")
        elif not masks.is_dir():
            faults.append(f"{folder.name} (no folder masks)")
        else:
            pairs.append(Pair(folder.name, images[0], masks, _Objects(masks, max_pixels)))
    if faults or not pairs:
        raise InputError(
            f"{root.absolute()} is not a folder of ID/images/ID.png and ID/masks/*.png: "
            f"{listing(faults, 5) or 'it is empty'}; give the folder that holds those of the images"
        )
    return Source(pairs, (root,), "all", Classes(("background", "object"), {}))


# --- Oxford-IIIT Pet ---------------------------------------------------------------------------


def pets(root: PathLike, split: str | None = None, *, ignore_outline: bool = False) -> Source:
    """Images and trimaps of Oxford-IIIT Pet.

    Args:
        root: folder that holds images and annotations.
        split: list in annotations: 'trainval' (by default) or 'test'.
        ignore_outline: whether the outline of a pet is ignored; otherwise it is a class.

    Returns:
        One pair per line of the list, in its order, with the classes background, pet, outline.

    Raises:
        InputError: a folder or the list is missing, the list is empty or repeats an id.

    Source: Parkhi et al., Cats and Dogs, CVPR 2012.
    """
    root = Path(root)
    what = "the folder that holds images and annotations of Oxford-IIIT Pet"
    annotations = subfolder(root, "annotations", what)
    images, trimaps = subfolder(root, "images", what), subfolder(annotations, "trimaps", what)
    split = split or "trainval"
    path = below(annotations, f"{split}.txt", "--split")
    if not path.is_file():
        there = sorted(one.stem for one in _visible(annotations) if one.suffix == ".txt")
        raise InputError(f"{path.absolute()} is missing; lists there: {', '.join(there) or 'none'}")
    names = [line.split()[0] for line in read_list(path) if not line.startswith("#")]
    if repeated := repeated_in(names):
        raise InputError(f"{path} names {listing(repeated)} more than once; remove the repeats")
    pairs = [
        Pair(name, below(images, f"{name}.jpg", path), below(trimaps, f"{name}.png", path))
        for name in names
    ]
    outline = IGNORE_LABEL if ignore_outline else 2
    classes = ("background", "pet") if ignore_outline else ("background", "pet", "outline")
    return Source(pairs, (root,), split, Classes(classes, {}), {1: 1, 2: 0, 3: outline})
