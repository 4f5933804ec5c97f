"""Images and masks of two folders, matched by their names."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..errors import InputError, listing
from ..files import PathLike
from ..transforms import IMAGE_SUFFIXES
from .sources import Pair, by_id, read_list, repeated_in

__all__ = ["folder_pairs", "matched"]

_MASK_SUFFIXES = IMAGE_SUFFIXES | {".mat"}


def folder_pairs(
    images: PathLike,
    labels: PathLike,
    list_file: PathLike | None = None,
    *,
    label_suffix: str = "",
) -> list[Pair]:
    """Images and masks of two folders, matched by their names.

    Args:
        images: folder of images in any format that OpenCV reads, subfolders included.
        labels: folder of masks in any format, in the same subfolders.
        list_file: text file with one image id per line (the file's path below `images`, with or
            without its suffix); without it, all images are taken.
        label_suffix: ending that a mask's name has in addition to its image's, for instance '_L'.

    Returns:
        Pairs in the order of the list, or of their names.

    Raises:
        InputError: a folder is missing or holds no images, two files share an id, an image of the
            list or a mask is missing, or (without a list) a mask has no image.
    """
    images, labels = Path(images), Path(labels)
    image_files = by_id(images, IMAGE_SUFFIXES)
    mask_files = by_id(labels, _MASK_SUFFIXES, label_suffix)
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
        if repeated := repeated_in(names):
            raise InputError(
                f"{list_file} names {listing(repeated)} more than once; remove the repeats"
            )
    remedy = "choose images with --list, or pass as --label-suffix what masks' names end in"
    return matched(names, image_files, mask_files, labels, f"add the masks, {remedy}")


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
            f"{listing(missing)}; {remedy}"
        )
    return [Pair(name, image_files[name], mask_files[name]) for name in names]


def _listed_id(line: str, image_files: dict[str, Path]) -> str:
    """Id on a line, which may have the file's suffix and another system's separators."""
    name = line.replace("\\", "/").removeprefix("./")
    if name not in image_files and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
        return PurePosixPath(name).with_suffix("").as_posix()
    return name
