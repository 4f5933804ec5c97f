"""Datasets whose layout of folders says what is what.

A mask per object, Oxford-IIIT Pet, CVAT's segmentation masks, ADE20K, Cityscapes: folders as their
authors publish them.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .. import files
from ..errors import InputError, listing
from ..files import PathLike
from ..images import reader
from ..transforms import IMAGE_SUFFIXES
from ..voc import IGNORE_LABEL
from . import labelme
from .classes import Classes
from .folders import folder_pairs, matched
from .sources import (
    Pair,
    Source,
    below,
    by_id,
    read_list,
    repeated_in,
    subfolder,
)

__all__ = ["ade20k", "cityscapes", "cvat", "instances", "pets"]


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


def _list_file(folder: Path, split: str) -> Path:
    """File of a list; raises InputError that names those there if it is missing."""
    path = below(folder, f"{split}.txt", "--split")
    if not path.is_file():
        there = sorted(one.stem for one in _visible(folder) if one.suffix == ".txt")
        raise InputError(f"{path.absolute()} is missing; lists there: {', '.join(there) or 'none'}")
    return path


def _split_folder(folder: Path, split: str) -> Path:
    """Folder of a split; raises InputError that names those there if it is missing."""
    path = below(folder, split, "--split")
    if not path.is_dir():
        there = [one.name for one in _visible(folder) if one.is_dir()]
        raise InputError(f"{path.absolute()} is missing; splits there: {listing(there) or 'none'}")
    return path


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
    path = _list_file(annotations, split)
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


# --- CVAT --------------------------------------------------------------------------------------


def _label_map(path: Path) -> Classes:
    """Classes of CVAT's labelmap.txt: `name:r,g,b:parts:actions`, one per line."""
    names: dict[str, None] = {}
    colours: dict[tuple[int, int, int], int] = {}
    for number, line in enumerate(files.read_text(path).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        name, parts = name.strip(), rest.partition(":")[0].split(",")
        try:
            red, green, blue = (int(part) for part in parts)
            if not name or not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
                raise ValueError
        except ValueError:
            raise InputError(
                f"{path.absolute()}, line {number}: {line[:80]!r} is not a class with its colour; "
                "write it as name:r,g,b::"
            ) from None
        if name in names or (red, green, blue) in colours:
            raise InputError(
                f"{path.absolute()}, line {number}: the name or colour of {line[:80]!r} is "
                "repeated; give every class its own"
            )
        label = IGNORE_LABEL if name in labelme.IGNORED else len(names)
        colours[red, green, blue] = label
        if label != IGNORE_LABEL:
            names[name] = None
    if not 1 <= len(names) <= 255:
        raise InputError(f"{path.absolute()} names {len(names)} classes; 1 to 255 are read")
    return Classes(tuple(names), colours)


def cvat(root: PathLike, split: str | None = None, images: PathLike | None = None) -> Source:
    """Images and masks that CVAT exports as "Segmentation mask 1.1".

    Args:
        root: folder that holds labelmap.txt, SegmentationClass and ImageSets.
        split: list in ImageSets/Segmentation; by default the only one there.
        images: folder of the images; by default JPEGImages.

    Raises:
        InputError: a file or folder is missing, or labelmap.txt is damaged.

    Source: CVAT's documentation of the format.
    """
    root = Path(root)
    what = "the folder of CVAT's export 'Segmentation mask 1.1'"
    masks = subfolder(root, "SegmentationClass", what)
    lists = subfolder(root, "ImageSets/Segmentation", what)
    classes = _label_map(root / "labelmap.txt")
    if images is None and not (root / "JPEGImages").is_dir():
        raise InputError(
            f"{root.absolute()} has no folder JPEGImages: export it again with 'Save images', or "
            "pass the folder of the images as --images"
        )
    if split is None:
        there = sorted(one.stem for one in _visible(lists) if one.suffix == ".txt")
        if len(there) != 1:
            raise InputError(
                f"{lists.absolute()} has the lists {listing(there) or 'none'}; choose with --split"
            )
        (split,) = there
    path = _list_file(lists, split)
    image_files = by_id(root / "JPEGImages" if images is None else Path(images), IMAGE_SUFFIXES)
    names = [line.replace("\\", "/") for line in read_list(path)]
    if missing := [name for name in names if name not in image_files]:
        raise InputError(
            f"{path} names {listing(missing, 5)}, of which there are no images; add them or take "
            "them off the list"
        )
    pairs = matched(names, image_files, by_id(masks, {".png"}), masks)
    return Source(pairs, (root,), split, classes)


# --- ADE20K ------------------------------------------------------------------------------------

_ADE20K_CLASSES = 150


def _ade20k_names(path: Path) -> tuple[str, ...]:
    """Names of the classes: in the last column of a table with a head, or numbers without it."""
    if not path.is_file():
        return tuple(f"class {number}" for number in range(1, _ADE20K_CLASSES + 1))
    rows = [line.split("\t") for line in files.read_text(path).splitlines() if line.strip()]
    names = [row[-1].split(",")[0].strip() for row in rows[1:] if row[0].strip().isdigit()]
    if len(names) != _ADE20K_CLASSES or not all(names):
        raise InputError(
            f"{path.absolute()} names {len(names)} classes, not {_ADE20K_CLASSES}; fetch it again"
        )
    # Some objects share a first name, such as two kinds of screens.
    repeated = set(repeated_in(names))
    unique = [
        f"{name} {place}" if name in repeated else name for place, name in enumerate(names, 1)
    ]
    return tuple(unique)


def ade20k(root: PathLike, split: str | None = None) -> Source:
    """Images and masks of ADE20K's scene parsing benchmark: 0 is ignored, 1…150 become 0…149.

    Args:
        root: folder that holds images and annotations (ADEChallengeData2016), or the one above.
        split: 'training' (by default) or 'validation'.

    Raises:
        InputError: a folder, image or mask is missing.

    Source: Zhou et al., Scene Parsing through ADE20K, CVPR 2017.
    """
    root = Path(root)
    if not (root / "images").is_dir() and (root / "ADEChallengeData2016").is_dir():
        root = root / "ADEChallengeData2016"
    what = "the folder that holds images and annotations of ADEChallengeData2016"
    split = split or "training"
    images = _split_folder(subfolder(root, "images", what), split)
    pairs = folder_pairs(images, _split_folder(subfolder(root, "annotations", what), split))
    classes = Classes(_ade20k_names(root / "objectInfo150.txt"), {})
    label_map = {0: IGNORE_LABEL, **{value: value - 1 for value in range(1, _ADE20K_CLASSES + 1)}}
    return Source(pairs, (root,), split, classes, label_map)


# --- Cityscapes --------------------------------------------------------------------------------

# Name, value in labelIds and colour of the classes that count; the value in labelTrainIds is the
# position.
_CITYSCAPES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
_CITYSCAPES_VALUES = 34


def cityscapes(root: PathLike, split: str | None = None) -> Source:
    """Images and masks of Cityscapes, with the 19 classes that its benchmark evaluates.

    Args:
        root: folder that holds leftImg8bit and gtFine.
        split: 'train' (by default) or 'val'.

    Returns:
        Pairs in the order of cities and frames. Masks are …_gtFine_labelIds.png, or
        …_gtFine_labelTrainIds.png if all images have those and not all have the former.

    Raises:
        InputError: a folder or mask is missing.

    Source: Cordts et al., CVPR 2016, and the tables of cityscapesScripts.
    """
    root = Path(root)
    what = "the folder that holds leftImg8bit and gtFine of Cityscapes"
    split = split or "train"
    if split == "test":
        raise InputError("--split test: the masks of Cityscapes' test images are not published")
    images = by_id(
        _split_folder(subfolder(root, "leftImg8bit", what), split), {".png"}, "_leftImg8bit"
    )
    labels = _split_folder(subfolder(root, "gtFine", what), split)
    if not images:
        raise InputError(f"{(root / 'leftImg8bit' / split).absolute()} holds no *_leftImg8bit.png")
    classes = Classes(
        tuple(name for name, _, _ in _CITYSCAPES),
        {colour: place for place, (_, _, colour) in enumerate(_CITYSCAPES)},
    )
    masks = by_id(labels, {".png"}, "_gtFine_labelIds")
    label_map = dict.fromkeys(range(_CITYSCAPES_VALUES), IGNORE_LABEL)
    label_map.update({value: place for place, (_, value, _) in enumerate(_CITYSCAPES)})
    if not images.keys() <= masks.keys():
        others = by_id(labels, {".png"}, "_gtFine_labelTrainIds")
        if images.keys() <= others.keys():
            masks = others
            label_map = {place: place for place in range(len(_CITYSCAPES))}
            label_map[IGNORE_LABEL] = IGNORE_LABEL
    pairs = matched(
        sorted(images), images, masks, labels, "fetch gtFine again: *_gtFine_labelIds.png"
    )
    return Source(pairs, (root,), split, classes, label_map, "ids")
