"""Converts images and masks to MindRecord files, or inspects one.

`python -m fcn8s_ms.build --help`
"""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import InputError, flag, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("build"))

import argparse
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import records, transforms, voc
from .formats import paths
from .images import reader
from .inspection.contents import draw_crops, histogram, inspect_record
from .records import masks, sources

__all__ = ["get_parser", "main"]

_PROGRAM = program("build")
_EXAMPLES = f"""examples:
  PASCAL VOC, one of its lists:
    {_PROGRAM} --voc-root ~/data --split train --output dataset/voc_train.mindrecord
  VOC and SBD together, 10,582 images:
    {_PROGRAM} --voc-root ~/data --sbd-root ~/data --split trainaug \\
        --output dataset/trainaug.mindrecord
  your own images and masks:
    {_PROGRAM} --images camvid/images --labels camvid/labels --list camvid/train.txt \\
        --classes camvid/classes.txt --output dataset/camvid_train.mindrecord
  polygons drawn with labelme:
    {_PROGRAM} --labelme pictures --output dataset/pictures.mindrecord
  inspect a record:
    {_PROGRAM} --inspect dataset/camvid_train.mindrecord --preview 8
"""
_WITHOUT_CHECKSUM = transforms.IMAGE_SUFFIXES - {".png"}

# Source flags, of which exactly one is given, and the flags that need one of them.
_SOURCES = ("voc_root", "images", "labelme", "inspect", "seal")
_SOURCE_OF = {
    "split": "voc_root",
    "sbd_root": "voc_root",
    "labels": "images",
    "list": "images",
    "label_suffix": "images",
    "sha256": "seal",
}


# --- command line --------------------------------------------------------------------------------


def get_parser() -> argparse.ArgumentParser:
    """Command line of the converter."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Convert images and masks to a MindRecord file. Every file is checked: if any "
        "cannot be used, all of these are named and nothing is written.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_source_flags(parser)
    _add_class_flags(parser)
    _add_result_flags(parser)
    return parser


def _add_source_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("source (one of)").add_argument
    add("--voc-root", type=Path, metavar="DIR", help="folder that holds VOCdevkit, or VOC2012")
    add("--images", type=Path, metavar="DIR", help="folder of images; with --labels")
    add("--labelme", type=Path, metavar="DIR", help="folder of images and labelme's JSON files")
    add("--inspect", type=Path, metavar="FILE", help="inspect a record instead of building one")

    add(
        "--seal",
        type=Path,
        metavar="FILE",
        help="give a record that was built elsewhere its checksums, after reading all of it",
    )
    add("--sha256", nargs="+", metavar="HEX", help="with --seal: SHA-256 of each of its files")

    group = parser.add_argument_group("which images")
    add = group.add_argument
    add(
        "--split",
        help="list in VOC's ImageSets/Segmentation, or trainaug with --sbd-root (default: train)",
    )
    add(
        "--sbd-root",
        type=Path,
        metavar="DIR",
        help="folder that holds SBD's benchmark_RELEASE, or its folder dataset",
    )
    add("--labels", type=Path, metavar="DIR", help="folder of masks, named like the --images")
    add("--list", type=Path, metavar="FILE", help="image ids, one per line (default: all images)")
    add(
        "--label-suffix",
        metavar="TEXT",
        help="ending that a mask's name has in addition to its image's, for instance _L",
    )
    reader.add_arguments(group)


def _add_class_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("classes").add_argument
    add(
        "--classes",
        type=Path,
        metavar="FILE",
        help="names of the classes, one per line in the order of their ids, each with its RGB "
        "colour if masks hold colours: 'car 64 0 128'; pixels of 'ignore 0 0 0' are ignored "
        "(default: VOC's; for labelme: all that occur)",
    )
    add(
        "--label-map",
        type=Path,
        metavar="JSON",
        help='class id, class name or "ignore" for values of masks: {"255": 1, "7": "ignore"}',
    )
    add(
        "--ignore-label",
        type=int,
        default=voc.IGNORE_LABEL,
        metavar="N",
        help="value of masks that is ignored; in the record it is 255 (default: %(default)s)",
    )
    add(
        "--mask-values",
        choices=masks.MASK_VALUES,
        default="auto",
        help="auto: gray and palette masks hold ids, RGB masks colours (default: %(default)s)",
    )


def _add_result_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("result").add_argument
    add("--output", type=Path, metavar="FILE", help="record file to write")
    add(
        "--num-shards",
        type=int,
        default=1,
        metavar="N",
        help="number of files to spread the images over (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="replace an existing record")
    add(
        "--preview",
        type=int,
        metavar="N",
        help="write FILE.preview.png: N training crops as the network gets them, and their labels",
    )
    add(
        "--crop-size",
        type=int,
        default=512,
        help="side of the crops of --preview, in pixels (default: %(default)s)",
    )


def _check(arguments: argparse.Namespace) -> None:
    """Raises InputError for flags that do not go together."""
    chosen = [name for name in _SOURCES if getattr(arguments, name) is not None]
    if len(chosen) != 1:
        flags = ", ".join(map(flag, _SOURCES))
        raise InputError(f"give one of {flags}, not {len(chosen)} of them; --help has examples")
    (source,) = chosen
    for name, owner in _SOURCE_OF.items():
        if getattr(arguments, name) is not None and source != owner:
            raise InputError(f"{flag(name)} goes with {flag(owner)} only")
    if source not in ("inspect", "seal") and arguments.output is None:
        raise InputError("--output is missing: the record file to write")
    if source == "images" and (arguments.labels is None or arguments.classes is None):
        raise InputError("--images needs --labels, the folder of masks, and --classes, a file")
    if arguments.sbd_root is not None and arguments.split not in (None, "trainaug"):
        raise InputError(f"--sbd-root makes the list trainaug, not {arguments.split}")
    if not 0 <= arguments.ignore_label <= 255:
        raise InputError(f"--ignore-label is {arguments.ignore_label}; masks hold 0…255")
    reader.check_max_pixels(arguments.max_pixels)
    if arguments.preview is not None:
        for name, most in (("preview", 100), ("crop_size", transforms.LONGEST_SIDE)):
            value = getattr(arguments, name)
            if not 1 <= value <= most:
                limit = "positive" if value < 1 else f"at most {most:,}"
                raise InputError(f"{flag(name)} is {value}; it must be {limit}")
        transforms.check_crops(arguments.preview, arguments.crop_size, "--preview")


# --- building ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """Images and masks, the folders they come from, and the name of their list."""

    pairs: list[sources.Pair]
    origin: str
    list_name: str


def _source(arguments: argparse.Namespace) -> _Source:
    """Images and masks that the flags name."""
    if arguments.labelme is not None:
        pairs = sources.labelme_pairs(arguments.labelme)
        return _Source(pairs, _origin(arguments.labelme), "all")
    if arguments.images is not None:
        pairs = sources.folder_pairs(
            arguments.images,
            arguments.labels,
            arguments.list,
            label_suffix=arguments.label_suffix or "",
        )
        list_name = arguments.list.stem if arguments.list else "all"
        return _Source(pairs, _origin(arguments.images, arguments.labels), list_name)
    if arguments.sbd_root is not None:
        pairs = sources.trainaug_pairs(arguments.voc_root, arguments.sbd_root)
        return _Source(pairs, _origin(arguments.voc_root, arguments.sbd_root), "trainaug")
    split = arguments.split or "train"
    pairs = sources.voc_pairs(arguments.voc_root, split)
    return _Source(pairs, _origin(arguments.voc_root), split)


def _origin(*folders: Path) -> str:
    return ", ".join(map(paths.portable, folders))


def _classes(arguments: argparse.Namespace) -> records.Classes:
    """Classes of the file that is named, of labelme's files, or VOC's."""
    if arguments.classes is not None:
        return records.read_classes(arguments.classes)
    if arguments.labelme is not None:
        return sources.labelme_classes(arguments.labelme)
    return records.VOC_CLASSES


def _build(arguments: argparse.Namespace) -> None:
    source = _source(arguments)
    classes = _classes(arguments)
    label_map = None
    if arguments.label_map is not None:
        label_map = records.read_label_map(arguments.label_map, classes.names)
    num_classes = len(classes.names)
    print(f"{source.list_name}: {len(source.pairs):,} images, {num_classes} classes", flush=True)
    unchecked = sum(Path(pair.mask).suffix.lower() in _WITHOUT_CHECKSUM for pair in source.pairs)
    if unchecked:
        print(
            f"{unchecked:,} masks are in a format without checksums, in which damage to labels "
            "cannot be noticed: save them as PNG"
        )
    metadata = records.build_records(
        source.pairs,
        arguments.output,
        classes=classes.names,
        palette=classes.palette(),
        ignore_label=arguments.ignore_label,
        label_map=label_map,
        colours=classes.colours,
        mask_values=arguments.mask_values,
        max_pixels=arguments.max_pixels,
        num_shards=arguments.num_shards,
        overwrite=arguments.overwrite,
        source=source.origin,
        list_name=source.list_name,
        progress=_progress_bar,
    )
    print(histogram(metadata.classes, metadata.pixel_counts, metadata.image_counts))
    if arguments.preview is not None:
        draw_crops(
            arguments.output,
            metadata,
            num_classes,
            arguments.preview,
            arguments.crop_size,
            arguments.max_pixels,
        )
    print(f"\n{metadata.num_samples:,} images in {', '.join(metadata.files)}. Train with:")
    print(f"  {program('train')} --data {arguments.output}")


def _seal(arguments: argparse.Namespace) -> None:
    """Gives a record its checksums."""
    classes = records.read_classes(arguments.classes) if arguments.classes else None
    is_new = records.seal_record(
        arguments.seal, classes=classes, expected=arguments.sha256 or (), progress=_progress_bar
    )
    state = "sealed" if is_new else "already sealed; its checksum agrees"
    metadata = records.read_metadata(arguments.seal)
    names = () if metadata is None else metadata.classes
    print(f"{arguments.seal}: {state}. Classes: {', '.join(names)}")


def _progress_bar(items: Iterable, total: int) -> Iterable:
    from tqdm import tqdm

    return tqdm(items, total=total, unit="image")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the program.

    Args:
        argv: arguments without the program's name; those of this process by default.
    """
    warnings.filterwarnings("ignore", module="PIL")  # of damaged files, which become errors
    with reported_by(_PROGRAM):
        arguments = get_parser().parse_args(argv)
        _check(arguments)
        if arguments.inspect is not None:
            inspect_record(
                arguments.inspect,
                _progress_bar,
                arguments.preview,
                arguments.crop_size,
                arguments.max_pixels,
            )
        elif arguments.seal is not None:
            _seal(arguments)
        else:
            _build(arguments)


if __name__ == "__main__":
    main()
