"""Flags that choose a source: images and masks in one of the formats, and what masks mean."""

import argparse
from pathlib import Path

from .. import voc
from ..errors import InputError, flag
from ..images import reader
from . import coco, folders, layouts, masks, sources, yolo
from .classes import VOC_CLASSES, read_classes
from .sources import Source

__all__ = ["add_class_flags", "add_source_flags", "chosen_source", "source_of"]

# Source flags, of which exactly one is given, and the flags that need one of them.
_SOURCES = (
    "voc_root",
    "images",
    "labelme",
    "coco",
    "yolo",
    "cvat",
    "ade20k",
    "cityscapes",
    "instances",
    "pets",
    "inspect",
    "seal",
)
_GOES_WITH = {
    "split": ("voc_root", "yolo", "cvat", "ade20k", "cityscapes", "pets"),
    "year": ("voc_root",),
    "sbd_root": ("voc_root",),
    "labels": ("images",),
    "list": ("images",),
    "image_suffix": ("images",),
    "label_suffix": ("images",),
    "mat_variable": ("images",),
    "colour_tolerance": ("voc_root", "images", "cvat"),
    "label_offset": ("voc_root", "images"),
    "ignore_outline": ("pets",),
    "sha256": ("seal",),
}
# These say themselves which classes there are and what masks mean.
_OWN_CLASSES = ("coco", "yolo", "cvat", "ade20k", "cityscapes", "instances", "pets")
_HAVE_IMAGES = ("coco", "yolo", "cvat")  # with --images, which is then not a source
_MEANING = {
    "classes": None,
    "label_map": None,
    "ignore_label": voc.IGNORE_LABEL,
    "mask_values": "auto",
}


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say what is converted, of which exactly one is needed."""
    add = parser.add_argument_group("source (one of)").add_argument
    add(
        "--voc-root",
        type=Path,
        metavar="DIR",
        help="Read PASCAL VOC, or a dataset in its layout: the folder that holds VOCdevkit, or "
        "VOC2012 itself.",
    )
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help="Read this folder of images, with the masks of --labels, or the names of --coco, "
        "--yolo or --cvat.",
    )
    add(
        "--labelme",
        type=Path,
        metavar="DIR",
        help="Read a folder of images and labelme's JSON files.",
    )
    add(
        "--coco",
        type=Path,
        metavar="FILE",
        help="Read COCO's JSON; --images names the folder of its images.",
    )
    add(
        "--yolo",
        type=Path,
        metavar="FILE",
        help="Read YOLO's segmentation format by its data.yaml.",
    )
    add(
        "--instances",
        type=Path,
        metavar="DIR",
        help="Read a mask per object: images ID/images/ID.png, masks ID/masks/*.png.",
    )
    add(
        "--pets",
        type=Path,
        metavar="DIR",
        help="Read Oxford-IIIT Pet: the folder that holds images and annotations.",
    )
    add("--cvat", type=Path, metavar="DIR", help="Read CVAT's export 'Segmentation mask 1.1'.")
    add(
        "--ade20k",
        type=Path,
        metavar="DIR",
        help="Read ADE20K's scene parsing benchmark: the folder ADEChallengeData2016.",
    )
    add(
        "--cityscapes",
        type=Path,
        metavar="DIR",
        help="Read Cityscapes: the folder that holds leftImg8bit and gtFine.",
    )
    add("--inspect", type=Path, metavar="FILE", help="Inspect this record instead of building one.")

    add(
        "--seal",
        type=Path,
        metavar="FILE",
        help="Give a record that was built elsewhere its checksums, after reading all of it.",
    )
    add(
        "--sha256",
        nargs="+",
        metavar="HEX",
        help="With --seal: compare the files of the record with these SHA-256, one for each.",
    )

    group = parser.add_argument_group("which images")
    add = group.add_argument
    add(
        "--split",
        help="Take this list or part of the dataset (default: train; of VOC with --sbd-root "
        "trainaug; of Pet trainval; of ADE20K training; of CVAT the only one).",
    )
    add(
        "--year",
        type=int,
        metavar="N",
        help="Take the folder of this year, where there are several: VOC2007, VOC2012, …",
    )
    add(
        "--sbd-root",
        type=Path,
        metavar="DIR",
        help="Add SBD to VOC: the folder that holds benchmark_RELEASE, or its folder dataset.",
    )
    add(
        "--labels",
        type=Path,
        metavar="DIR",
        help="Take the masks from this folder, under the names of the --images.",
    )
    add(
        "--list",
        type=Path,
        metavar="FILE",
        help="Take the images whose ids this file names, one per line (default: all images).",
    )
    add(
        "--label-suffix",
        metavar="TEXT",
        help="Leave this ending, for instance _L, off masks' names where images' names lack it.",
    )
    add(
        "--image-suffix",
        metavar="TEXT",
        help="Leave this ending, for instance _img, off images' names where masks' names lack it.",
    )
    add(
        "--ignore-outline",
        action="store_true",
        help="With --pets: ignore the outlines instead of making them a class.",
    )
    add(
        "--mat-variable",
        metavar="NAME",
        help="Read .mat files among the --labels from this variable (default: SBD's structure).",
    )
    reader.add_arguments(group)


def add_class_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say what masks mean."""
    add = parser.add_argument_group("classes").add_argument
    add(
        "--classes",
        type=Path,
        metavar="FILE",
        help="Read the names of the classes from this file, one per line in the order of their "
        "ids, each with its RGB colour if masks hold colours: 'car 64 0 128'. Pixels of 'ignore 0 "
        "0 0' are ignored (default: VOC's classes; for labelme all that occur).",
    )
    add(
        "--label-map",
        metavar="JSON",
        help='Give values of masks another meaning, a class id, a class name or "ignore", by a '
        'JSON file or by the object itself: \'{"255": 1, "7": "ignore"}\'.',
    )
    add(
        "--label-offset",
        type=int,
        default=0,
        metavar="N",
        help="Add this number to the ids of masks, -1 if they start at 1; what falls below 0 is "
        "ignored (default: %(default)s).",
    )
    add(
        "--reduce-zero-label",
        action="store_const",
        const=-1,
        dest="label_offset",
        help="Do the same as --label-offset -1.",
    )
    add(
        "--ignore-label",
        type=int,
        default=voc.IGNORE_LABEL,
        metavar="N",
        help="Ignore this value of masks; in the record it becomes 255 (default: %(default)s).",
    )
    add(
        "--mask-values",
        choices=masks.MASK_VALUES,
        default="auto",
        help="Take values of masks for ids or for colours; auto: gray and palette masks hold ids, "
        "RGB masks colours (default: %(default)s).",
    )
    add(
        "--colour-tolerance",
        type=int,
        default=0,
        metavar="N",
        help="Accept colours of masks that are off by up to this many levels (default: "
        "%(default)s).",
    )


def chosen_source(arguments: argparse.Namespace) -> str:
    """Name of the source flag that is given.

    Raises:
        InputError: it is not exactly one, or flags do not go together.
    """
    chosen = [name for name in _SOURCES if getattr(arguments, name) is not None]
    if any(name in chosen for name in _HAVE_IMAGES) and "images" in chosen:
        chosen.remove("images")
    if len(chosen) != 1:
        flags = ", ".join(map(flag, _SOURCES))
        raise InputError(f"give one of {flags}, not {len(chosen)} of them; --help has examples")
    (source,) = chosen
    for name, owners in _GOES_WITH.items():
        if getattr(arguments, name) not in (None, False, 0) and source not in owners:
            owner = " or ".join(map(flag, owners))
            raise InputError(f"{flag(name)} goes with {owner} only, not with {flag(source)}")
    if source in _OWN_CLASSES:
        for name, default in _MEANING.items():
            is_given = getattr(arguments, name) != default
            if is_given and (source, name) != ("cvat", "mask_values"):
                raise InputError(
                    f"{flag(name)} does not go with {flag(source)}, which has classes of its own"
                )
    if source == "coco" and arguments.images is None:
        raise InputError("--coco needs --images, the folder that its names of images start from")
    if source == "images" and (arguments.labels is None or arguments.classes is None):
        raise InputError("--images needs --labels, the folder of masks, and --classes, a file")
    if arguments.sbd_root is not None and arguments.split not in (None, "trainaug"):
        raise InputError(f"--sbd-root makes the list trainaug, not {arguments.split}")
    if not 0 <= arguments.ignore_label <= 255:
        raise InputError(f"--ignore-label is {arguments.ignore_label}; masks hold 0…255")
    return source


def source_of(arguments: argparse.Namespace) -> Source:
    """Images and masks that the flags name, and their classes.

    Raises:
        InputError: they cannot be found, or are not in the format that the flag says.
    """
    if arguments.coco is not None:
        return coco.read_coco(arguments.coco, arguments.images)
    if arguments.yolo is not None:
        return yolo.read_yolo(arguments.yolo, arguments.split, arguments.images)
    if arguments.cvat is not None:
        return layouts.cvat(arguments.cvat, arguments.split, arguments.images)
    if arguments.ade20k is not None:
        return layouts.ade20k(arguments.ade20k, arguments.split)
    if arguments.cityscapes is not None:
        return layouts.cityscapes(arguments.cityscapes, arguments.split)
    if arguments.instances is not None:
        return layouts.instances(arguments.instances, arguments.max_pixels)
    if arguments.pets is not None:
        return layouts.pets(
            arguments.pets, arguments.split, ignore_outline=arguments.ignore_outline
        )
    classes = None if arguments.classes is None else read_classes(arguments.classes)
    if arguments.labelme is not None:
        pairs = sources.labelme_pairs(arguments.labelme)
        classes = classes or sources.labelme_classes(arguments.labelme)
        return Source(pairs, (arguments.labelme,), "all", classes)
    if arguments.images is not None:
        pairs = folders.folder_pairs(
            arguments.images,
            arguments.labels,
            arguments.list,
            image_suffix=arguments.image_suffix or "",
            label_suffix=arguments.label_suffix or "",
        )
        list_name = arguments.list.stem if arguments.list else "all"
        return Source(pairs, (arguments.images, arguments.labels), list_name, classes)
    classes = classes or VOC_CLASSES
    if arguments.sbd_root is not None:
        pairs = sources.trainaug_pairs(arguments.voc_root, arguments.sbd_root, arguments.year)
        return Source(pairs, (arguments.voc_root, arguments.sbd_root), "trainaug", classes)
    split = arguments.split or "train"
    pairs = sources.voc_pairs(arguments.voc_root, split, arguments.year)
    return Source(pairs, (arguments.voc_root,), split, classes)
