"""Images and masks of two folders, matched by their names."""

import os
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from ..errors import InputError, listing
from ..files import PathLike
from ..transforms import IMAGE_SUFFIXES
from .sources import Pair, by_id, read_list, repeated_in

__all__ = ["folder_pairs", "matched"]

_MASK_SUFFIXES = IMAGE_SUFFIXES | {".mat"}
_SHOWN = 3  # names of each side in an error
_LONGEST_ENDING = 24
_SWAPPED = "are the two folders swapped?"
_BRUSH_MASK = re.compile(r"task-\d+-annotation-\d+-by-")


def folder_pairs(
    images: PathLike,
    labels: PathLike,
    list_file: PathLike | None = None,
    *,
    image_suffix: str = "",
    label_suffix: str = "",
) -> list[Pair]:
    """Images and masks of two folders, matched by their names.

    Args:
        images: folder of images in any format that OpenCV reads, subfolders included.
        labels: folder of masks in any format, in the same subfolders; it may lie in `images`.
        list_file: text file with one image id per line (the file's path below `images`, with or
            without its suffix); without it, all images are taken.
        image_suffix: ending that images' names have and ids have not, for instance '_img'.
        label_suffix: ending that masks' names have and ids have not, for instance '_L'.

    Returns:
        Pairs in the order of the list, or of their names.

    Raises:
        InputError: a folder is missing or holds no images, two files share an id, an image of the
            list or a mask is missing, or (without a list) a mask has no image.
    """
    folders = _Folders(Path(images), Path(labels), image_suffix, label_suffix)
    image_files, mask_files = folders.images_by_id(), folders.masks_by_id()
    if list_file is None:
        names = sorted(image_files)
        if foreign := sorted(set(mask_files) - set(image_files)):
            if any(name not in mask_files for name in names):
                raise folders.mismatch(image_files, mask_files)
            raise InputError(
                f"{folders.labels} has masks without an image in {folders.images}: "
                f"{listing(foreign, _SHOWN)}; add the images, or choose with --list"
            )
    else:
        names = [_listed_id(line, image_files, image_suffix) for line in read_list(list_file)]
        missing = [name for name in names if name not in image_files]
        if missing:
            ending, _ = _endings(image_files, names)
            hint = f", or pass --image-suffix {shlex.quote(ending)}" if ending else ""
            raise InputError(
                f"{folders.images} has no image for {listing(missing, _SHOWN)} of {list_file}; add "
                f"the images or take them off the list{hint}"
            )
        if repeated := repeated_in(names):
            raise InputError(
                f"{list_file} names {listing(repeated)} more than once; remove the repeats"
            )
    if not any(name in mask_files for name in names):
        raise folders.mismatch({name: image_files[name] for name in names}, mask_files)
    remedy = "choose images with --list, or pass as --label-suffix what masks' names end in"
    return matched(names, image_files, mask_files, folders.labels, f"add the masks, {remedy}")


class _Folders:
    """The folders of images and masks, and how names in them become ids."""

    def __init__(self, images: Path, labels: Path, image_suffix: str, label_suffix: str):
        self.images, self.labels = images.absolute(), labels.absolute()
        self._image_suffix, self._label_suffix = image_suffix, label_suffix
        self._is_one = os.path.realpath(images) == os.path.realpath(labels)
        if self._is_one and image_suffix == label_suffix:
            raise InputError(
                f"--images and --labels are one folder, {self.images}; move the masks to a folder "
                "of their own, or pass as --label-suffix what their names end in"
            )

    def images_by_id(self) -> dict[str, Path]:
        """Images by their ids; raises InputError if there are none."""
        found = by_id(self.images, IMAGE_SUFFIXES, self._image_suffix)
        if not self._is_one:
            found = {name: path for name, path in found.items() if self.labels not in path.parents}
        elif not self._image_suffix:
            found = {
                name: path for name, path in found.items() if not name.endswith(self._label_suffix)
            }
        if not found:
            end = f" whose names end in {self._image_suffix}" if self._image_suffix else ""
            remedy = _SWAPPED if self._are_swapped() else "check the path"
            raise InputError(f"{self.images} holds no images{end}; {remedy}")
        return found

    def masks_by_id(self) -> dict[str, Path]:
        """Masks by their ids."""
        found = by_id(self.labels, _MASK_SUFFIXES, self._label_suffix)
        if self._is_one and not self._label_suffix:
            return {
                name: path for name, path in found.items() if not name.endswith(self._image_suffix)
            }
        return found

    def mismatch(
        self, image_files: Mapping[str, Path], mask_files: Mapping[str, Path]
    ) -> InputError:
        """The error of images and masks whose names do not go together."""
        lonely = [path for name, path in sorted(image_files.items()) if name not in mask_files]
        foreign = [path for name, path in sorted(mask_files.items()) if name not in image_files]
        if not foreign:
            foreign = sorted(by_id(self.labels, _MASK_SUFFIXES).values())
        if not foreign:
            return InputError(f"{self.labels} holds no masks; check the path")
        return InputError(
            f"{len(lonely)} images of {self.images} have no mask ({_names(lonely, self.images)}), "
            f"{len(foreign)} files of {self.labels} no image ({_names(foreign, self.labels)}): "
            f"{self._advice()}"
        )

    def _are_swapped(self) -> bool:
        """Whether the endings of names belong to the other folder."""
        if not (self._image_suffix or self._label_suffix):
            return False
        turned = by_id(self.labels, IMAGE_SUFFIXES, self._image_suffix)
        return bool(turned.keys() & by_id(self.images, _MASK_SUFFIXES, self._label_suffix).keys())

    def _advice(self) -> str:
        """What makes names go together."""
        if self._are_swapped():
            return _SWAPPED
        masks = by_id(self.labels, _MASK_SUFFIXES)
        if any(_BRUSH_MASK.match(path.name) for path in masks.values()):
            return (
                "these are Label Studio's brush masks, one per label and named after tasks; export "
                "'Brush labels to COCO' there, and pass it as --coco"
            )
        images = by_id(self.images, IMAGE_SUFFIXES)
        if images.keys() & masks.keys():  # names pair as they are
            given = {"--image-suffix": self._image_suffix, "--label-suffix": self._label_suffix}
            if any(given.values()):
                return f"leave out {' and '.join(name for name, one in given.items() if one)}"
        found = _endings(images, masks)
        flags = [
            f"{flag} {shlex.quote(ending)}"
            for flag, ending in zip(("--image-suffix", "--label-suffix"), found)
            if ending
        ]
        if flags:
            return f"pass {' '.join(flags)}"
        return (
            "give an image and its mask one name, or pass as --image-suffix and --label-suffix "
            "what the names end in"
        )


def _names(paths: Iterable[Path], folder: Path) -> str:
    """Names of files as they stand in a folder: the first ones, and how many more."""
    return listing((path.relative_to(folder).as_posix() for path in paths), _SHOWN)


def _endings(images: Collection[str], masks: Collection[str]) -> tuple[str, str]:
    """Endings without which most names of images are names of masks; empty if there are none."""
    best, endings = (min(len(images), len(masks)) // 2, 0, 0), ("", "")
    ids_of_masks = {end: {name.removesuffix(end) for name in masks} for end in _shared(masks)}
    for end in _shared(images):
        ids = {name.removesuffix(end) for name in images}
        for other, ids_of_others in ids_of_masks.items():
            begin_well = sum(not one[:1].isalnum() for one in (end, other))
            rank = len(ids & ids_of_others), begin_well, -len(end + other)
            if rank > best:
                best, endings = rank, (end, other)
    return endings


def _shared(names: Collection[str]) -> list[str]:
    """Endings that all names have and that leave something of each, the empty one first."""
    common = os.path.commonprefix([name[::-1] for name in names])[::-1]
    longest = min(len(common), min(map(len, names), default=1) - 1, _LONGEST_ENDING)
    return [common[len(common) - length :] for length in range(longest + 1)]


def matched(
    names: list[str],
    image_files: Mapping[str, Path],
    mask_files: Mapping[str, Path],
    labels: Path,
    remedy: str = "add the masks",
) -> list[Pair]:
    """Images and masks of some ids.

    Args:
        names: ids, in the order of the pairs.
        image_files: images by their ids.
        mask_files: masks by their ids.
        labels: folder of the masks, for the message.
        remedy: advice that ends it.

    Raises:
        InputError: masks are missing.
    """
    missing = [name for name in names if name not in mask_files]
    if missing:
        raise InputError(
            f"{labels.absolute()} has no mask for {len(missing)} of {len(names)} images: "
            f"{listing(missing, _SHOWN)}; {remedy}"
        )
    return [Pair(name, image_files[name], mask_files[name]) for name in names]


def _listed_id(line: str, image_files: dict[str, Path], ending: str) -> str:
    """Id on a line, which may have the file's suffix and another system's separators."""
    name = line.replace("\\", "/").removeprefix("./")
    if name not in image_files and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
        name = PurePosixPath(name).with_suffix("").as_posix()
    return name if name in image_files else name.removesuffix(ending)
