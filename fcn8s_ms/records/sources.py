"""Where images and masks come from: VOC folders, SBD, plain folders, labelme; class files.

A source is a list of `Pair`. Nothing is decoded here; `fcn8s_ms.records` does that when it builds.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .. import files
from ..errors import InputError, listing
from ..transforms import IMAGE_SUFFIXES
from . import labelme
from .classes import Classes

__all__ = [
    "Pair",
    "find_sbd_folder",
    "find_voc_folder",
    "folder_pairs",
    "labelme_classes",
    "labelme_pairs",
    "read_list",
    "trainaug_pairs",
    "voc_pairs",
]

_MASK_SUFFIXES = IMAGE_SUFFIXES | {".mat"}


@dataclass(frozen=True)
class Pair:
    """An image file and the mask file that belongs to it; the name is that of the sample."""

    name: str
    image: Path
    mask: Path


# --- lists -------------------------------------------------------------------------------------


def read_list(path) -> list[str]:
    """Lines of a list file, without white space, line ends of any system, and empty lines.

    Raises:
        InputError: the file is missing, no UTF-8, empty, or repeats a line.
    """
    path = Path(path).absolute()
    names = [line.strip() for line in files.read_text(path).splitlines()]
    names = [name for name in names if name]
    if not names:
        raise InputError(f"{path} is empty; it needs one image id a line")
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise InputError(f"{path} names {listing(repeated)} more than once; remove the repeats")
    return names


# --- PASCAL VOC and SBD ------------------------------------------------------------------------


def find_voc_folder(root) -> Path:
    """The folder that holds JPEGImages, SegmentationClass and ImageSets.

    Args:
        root: that folder (VOC2012), VOCdevkit above it, or the folder above that.

    Raises:
        InputError: none of them is a VOC folder.
    """
    root = Path(root)
    for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir():
            return folder
    raise InputError(
        f"{root.absolute()} is no VOC folder: give the folder that holds VOCdevkit, or VOC2012 "
        "itself with JPEGImages, SegmentationClass and ImageSets/Segmentation in it"
    )


def _voc_list(folder: Path, split: str) -> list[str]:
    list_file = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not list_file.is_file():
        found = ", ".join(sorted(path.stem for path in list_file.parent.glob("*.txt")))
        hint = "; trainaug also needs --sbd-root" if split == "trainaug" else ""
        raise InputError(f"{list_file.absolute()} is missing; lists there: {found or 'none'}{hint}")
    return read_list(list_file)


def _voc_pair(folder: Path, name: str) -> Pair:
    mask = folder / "SegmentationClass" / f"{name}.png"
    return Pair(name, folder / "JPEGImages" / f"{name}.jpg", mask)


def voc_pairs(root, split: str) -> list[Pair]:
    """Images and masks of one list of a VOC folder.

    Args:
        root: as for `find_voc_folder`.
        split: name of a list in ImageSets/Segmentation: 'train', 'val', 'trainval', …

    Returns:
        One `Pair` a line of the list, in its order. The files are not opened.

    Raises:
        InputError: the folder or the list is missing, the list is empty or repeats an id.
    """
    folder = find_voc_folder(root)
    return [_voc_pair(folder, name) for name in _voc_list(folder, split)]


def find_sbd_folder(root) -> Path:
    """The folder of SBD that holds img, cls, train.txt and val.txt.

    Args:
        root: that folder (dataset), benchmark_RELEASE above it, or the folder above that.

    Raises:
        InputError: none of them is SBD's.
    """
    root = Path(root)
    for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir() and (folder / "train.txt").is_file():
            return folder
    raise InputError(
        f"{root.absolute()} is no SBD folder: give the folder that holds benchmark_RELEASE, or "
        "dataset itself with img, cls, train.txt and val.txt in it"
    )


def trainaug_pairs(voc_root, sbd_root) -> list[Pair]:
    """The training images that VOC 2012 and SBD make together, without VOC's validation images.

    These are (SBD train ∪ SBD val ∪ VOC train) − VOC val: 10,582 images of the full datasets. A
    mask of VOC's comes before one of SBD's, an image of SBD's before VOC's copy of it.

    Args:
        voc_root: as for `find_voc_folder`.
        sbd_root: as for `find_sbd_folder`.

    Returns:
        Pairs in the order of their names.

    Raises:
        InputError: a folder or list is missing, empty, or repeats an id.

    Source: Hariharan et al., Semantic Contours from Inverse Detectors, ICCV 2011.
    """
    voc_folder, sbd_folder = find_voc_folder(voc_root), find_sbd_folder(sbd_root)
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


def _by_id(folder: Path, suffixes, ending: str = "") -> dict[str, Path]:
    """Files of a folder and its subfolders by their path without suffix (and ending)."""
    if not folder.is_dir():
        raise InputError(f"{folder.absolute()} is no folder; check the path")
    found = {}
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


def folder_pairs(images, labels, list_file=None, *, label_suffix: str = "") -> list[Pair]:
    """Images and masks of two folders, which belong together by their names.

    Args:
        images: folder of images in any format that OpenCV reads; its subfolders count too.
        labels: folder of masks, in the same subfolders; any format.
        list_file: text file with an image id a line (the file's path below `images`, with or
            without its suffix); all images without.
        label_suffix: what a mask's name has behind its image's name, for instance '_L'.

    Returns:
        Pairs in the order of the list, or of their names.

    Raises:
        InputError: a folder is missing or holds no images, two files share an id, an image of the
            list or a mask is missing, or without a list a mask has no image.
    """
    images, labels = Path(images), Path(labels)
    image_files = _by_id(images, IMAGE_SUFFIXES)
    mask_files = _by_id(labels, _MASK_SUFFIXES, label_suffix)
    if label_suffix and images.absolute() == labels.absolute():
        image_files = {
            name: path for name, path in image_files.items() if not name.endswith(label_suffix)
        }
    if not image_files:
        raise InputError(f"{images.absolute()} holds no images; check the path")
    if list_file is None:
        names = sorted(image_files)
        without = sorted(set(mask_files) - set(image_files))
        if without:
            raise InputError(
                f"{labels.absolute()} has masks without an image in {images.absolute()}: "
                f"{listing(without)}; add the images, or choose with --list"
            )
    else:
        names = [_listed_id(line, image_files) for line in read_list(list_file)]
        missing = [name for name in names if name not in image_files]
        if missing:
            raise InputError(
                f"{images.absolute()} has no image for {listing(missing)} of {list_file}; add the "
                "images or take them off the list"
            )
        repeated = sorted(name for name, times in Counter(names).items() if times > 1)
        if repeated:
            raise InputError(f"{list_file} names {listing(repeated)} more than once")
    missing = [name for name in names if name not in mask_files]
    if missing:
        raise InputError(
            f"{labels.absolute()} has no mask for {len(missing)} of {len(names)} images: "
            f"{listing(missing)}; add the masks, choose images with --list, or say with "
            "--label-suffix what a mask's name has behind its image's"
        )
    return [Pair(name, image_files[name], mask_files[name]) for name in names]


def _listed_id(line: str, image_files: dict[str, Path]) -> str:
    """Id of a line that may have the file's suffix and another system's separators."""
    name = line.replace("\\", "/").removeprefix("./")
    if name not in image_files and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
        return PurePosixPath(name).with_suffix("").as_posix()
    return name


# --- labelme -----------------------------------------------------------------------------------


def _labelme_files(folder) -> dict[str, Path]:
    found = _by_id(Path(folder), {".json"})
    if not found:
        raise InputError(f"{Path(folder).absolute()} holds no labelme file (*.json)")
    return found


def labelme_pairs(folder) -> list[Pair]:
    """Pictures and labelme's JSON files of a folder and its subfolders.

    Raises:
        InputError: there is none, or a JSON is no labelme file.
    """
    return [
        Pair(name, labelme.image_of(path), path) for name, path in _labelme_files(folder).items()
    ]


def labelme_classes(folder) -> Classes:
    """The classes that occur in a folder of labelme files: background, then by name."""
    names = set()
    for path in _labelme_files(folder).values():
        names |= labelme.labels(path)
    names -= {*labelme.IGNORED, *labelme.BACKGROUND}
    return Classes(("background", *sorted(names)), {})


# --- classes -----------------------------------------------------------------------------------
