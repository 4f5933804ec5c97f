"""Sources of images and masks: what one is, VOC folders, SBD, labelme.

A source is a list of `Pair`. Nothing is decoded here; `records.encode` does that in a build.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, listing
from ..files import PathLike
from . import labelme
from .classes import Classes

__all__ = [
    "Pair",
    "Source",
    "below",
    "by_id",
    "find_sbd_folder",
    "find_voc_folder",
    "labelme_classes",
    "labelme_pairs",
    "read_list",
    "repeated_in",
    "subfolder",
    "trainaug_pairs",
    "voc_pairs",
]

_DRIVE = re.compile(r"[A-Za-z]:|~")


@dataclass(frozen=True)
class Pair:
    """An image file and the mask file that belongs to it.

    Attributes:
        name: name of the sample in the record.
        image: path of the image.
        mask: path of the mask: an image, labelme's JSON or a MATLAB file; with `draw`, of what it
            draws, for messages.
        draw: draws the labels of an image of some height and width, uint8 (H, W), where the mask is
            not a file of its own; raises InputError.
    """

    name: str
    image: Path
    mask: Path
    draw: Callable[[int, int], np.ndarray] | None = None


@dataclass(frozen=True)
class Source:
    """Images and masks, and what their format says about them.

    Attributes:
        pairs: images and masks, in the order of the rows.
        folders: folders or files that they come from.
        list_name: name of their list.
        classes: classes of the format; None if the user names them.
        label_map: label of each value that masks hold; others are errors. None if values are ids.
        mask_values: one of `masks.MASK_VALUES`; None if the user chooses.
    """

    pairs: list[Pair]
    folders: tuple[Path, ...]
    list_name: str
    classes: Classes | None = None
    label_map: Mapping[int, int] | None = None
    mask_values: str | None = None


# --- lists -------------------------------------------------------------------------------------


def repeated_in(names: Iterable[str]) -> list[str]:
    """Names that occur more than once, in order."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def read_list(path: PathLike) -> list[str]:
    """Lines of a list file, stripped and without empty ones; line ends may be of any system.

    Raises:
        InputError: the file is missing, empty or not UTF-8, or repeats a line.
    """
    path = Path(path).absolute()
    names = [line.strip() for line in files.read_text(path).splitlines()]
    names = [name for name in names if name]
    if not names:
        raise InputError(f"{path} is empty; write one image id per line")
    if repeated := repeated_in(names):
        raise InputError(f"{path} names {listing(repeated)} more than once; remove the repeats")
    return names


def below(folder: Path, name: str, source: object) -> Path:
    """Path of a file that a list or an annotation names, in a folder or its subfolders.

    Raises:
        InputError: the name leads out of the folder.
    """
    parts = name.replace("\\", "/").split("/")
    if not name.strip() or parts[0] == "" or ".." in parts or _DRIVE.match(name) or "\0" in name:
        shown = repr(name if len(name) < 80 else name[:80] + "…")
        raise InputError(
            f"{source} names the file {shown}, which is not below {folder.absolute()}; name files "
            "relative to that folder"
        )
    return folder.joinpath(*parts)


def subfolder(root: Path, name: str, what: str) -> Path:
    """A folder that a format has in its root.

    Raises:
        InputError: it is missing.
    """
    if not (root / name).is_dir():
        raise InputError(f"{root.absolute()} has no folder {name}; give {what}")
    return root / name


# --- PASCAL VOC and SBD ------------------------------------------------------------------------


def _is_voc_folder(folder: Path) -> bool:
    return (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir()


def find_voc_folder(root: PathLike, year: int | None = None) -> Path:
    """Folder of VOC that holds JPEGImages, SegmentationClass and ImageSets.

    Args:
        root: that folder (VOC2012), VOCdevkit above it, or the folder above that.
        year: which of several folders VOC2007, VOC2012, …; needed only if there are several.

    Raises:
        InputError: it is none of them, or there are several.
    """
    root = Path(root)
    if _is_voc_folder(root) and (year is None or root.absolute().name == f"VOC{year}"):
        return root
    pattern = "VOC[0-9]*" if year is None else f"VOC{year}"
    found = [
        folder
        for above in (root, root / "VOCdevkit")
        for folder in sorted(above.glob(pattern))
        if _is_voc_folder(folder)
    ]
    if len(found) > 1:
        names = listing(folder.name for folder in found)
        raise InputError(f"{root.absolute()} holds {names}; choose one with --year")
    if not found:
        name = "VOC2012" if year is None else f"VOC{year}"
        raise InputError(
            f"{root.absolute()} is not a VOC folder: give the folder that holds VOCdevkit, or "
            f"{name} itself with JPEGImages, SegmentationClass and ImageSets/Segmentation in it"
        )
    return found[0]


def _voc_list(folder: Path, split: str) -> list[str]:
    list_file = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not list_file.is_file():
        found = ", ".join(sorted(path.stem for path in list_file.parent.glob("*.txt")))
        hint = "; trainaug also needs --sbd-root" if split == "trainaug" else ""
        raise InputError(f"{list_file.absolute()} is missing; lists there: {found or 'none'}{hint}")
    return read_list(list_file)


def _voc_pair(folder: Path, name: str) -> Pair:
    image, mask = folder / "JPEGImages", folder / "SegmentationClass"
    source = f"A list of {folder.absolute()}"
    return Pair(name, below(image, f"{name}.jpg", source), below(mask, f"{name}.png", source))


def voc_pairs(root: PathLike, split: str, year: int | None = None) -> list[Pair]:
    """Images and masks of a list of a VOC folder.

    Args:
        root: as for `find_voc_folder`.
        split: name of a list in ImageSets/Segmentation: 'train', 'val', 'trainval', …
        year: as for `find_voc_folder`.

    Returns:
        One `Pair` per line of the list, in its order. The files are not opened.

    Raises:
        InputError: the folder or the list is missing, the list is empty or repeats an id.
    """
    folder = find_voc_folder(root, year)
    return [_voc_pair(folder, name) for name in _voc_list(folder, split)]


def find_sbd_folder(root: PathLike) -> Path:
    """Folder of SBD that holds img, cls, train.txt and val.txt.

    Args:
        root: that folder (dataset), benchmark_RELEASE above it, or the folder above that.

    Raises:
        InputError: it is none of them.
    """
    root = Path(root)
    for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir() and (folder / "train.txt").is_file():
            return folder
    raise InputError(
        f"{root.absolute()} is not an SBD folder: give the folder that holds benchmark_RELEASE, or "
        "dataset itself with img, cls, train.txt and val.txt in it"
    )


def trainaug_pairs(voc_root: PathLike, sbd_root: PathLike, year: int | None = None) -> list[Pair]:
    """Training images of VOC 2012 and SBD together, without VOC's validation images.

    These are (SBD train ∪ SBD val ∪ VOC train) − VOC val: 10,582 images of the full datasets. Where
    both have a file, the mask is VOC's and the image SBD's.

    Args:
        voc_root: as for `find_voc_folder`.
        sbd_root: as for `find_sbd_folder`.
        year: as for `find_voc_folder`.

    Returns:
        Pairs in the order of their names.

    Raises:
        InputError: a folder or list is missing, empty, or repeats an id.

    Source: Hariharan et al., Semantic Contours from Inverse Detectors, ICCV 2011.
    """
    voc_folder, sbd_folder = find_voc_folder(voc_root, year), find_sbd_folder(sbd_root)
    voc_train = set(_voc_list(voc_folder, "train"))
    held_out = set(_voc_list(voc_folder, "val"))
    sbd = set(read_list(sbd_folder / "train.txt")) | set(read_list(sbd_folder / "val.txt"))
    pairs = []
    for name in sorted((sbd | voc_train) - held_out):
        pair = _voc_pair(voc_folder, name)
        if name in sbd:
            image, mask = sbd_folder / "img" / f"{name}.jpg", sbd_folder / "cls" / f"{name}.mat"
            pair = Pair(
                name,
                image if image.is_file() or not pair.image.is_file() else pair.image,
                pair.mask if pair.mask.is_file() else mask,
            )
        pairs.append(pair)
    leaked = held_out & {pair.name for pair in pairs}
    assert not leaked, f"validation images among the training images: {leaked}"
    return pairs


# --- folders -----------------------------------------------------------------------------------


def by_id(folder: Path, suffixes: Collection[str], ending: str = "") -> dict[str, Path]:
    """Files of a folder and its subfolders by their path without suffix (and ending)."""
    if not folder.is_dir():
        raise InputError(f"{folder.absolute()} is not a folder; check the path")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)
        name = relative.with_suffix("").as_posix()
        if hidden or path.suffix.lower() not in suffixes or not name.endswith(ending):
            continue
        name = name[: len(name) - len(ending)]
        if name in found:
            raise InputError(
                f"{found[name].absolute()} and {path.absolute()} have one id, {name!r}; keep one"
            )
        found[name] = path
    return found


# --- labelme -----------------------------------------------------------------------------------


def _labelme_files(folder: PathLike) -> dict[str, Path]:
    found = by_id(Path(folder), {".json"})
    if not found:
        raise InputError(
            f"{Path(folder).absolute()} holds no labelme files (*.json); check the path"
        )
    return found


def labelme_pairs(folder: PathLike) -> list[Pair]:
    """Images and labelme's JSON files of a folder and its subfolders.

    Raises:
        InputError: there are none, or a JSON file is not labelme's.
    """
    return [
        Pair(name, labelme.image_of(path), path) for name, path in _labelme_files(folder).items()
    ]


def labelme_classes(folder: PathLike) -> Classes:
    """Classes that occur in a folder of labelme files: background, then the others by name.

    Raises:
        InputError: as for `labelme_pairs`.
    """
    names: set[str] = set()
    for path in _labelme_files(folder).values():
        names |= labelme.labels(path)
    names -= {*labelme.IGNORED, *labelme.BACKGROUND}
    return Classes(("background", *sorted(names)), {})
