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
from pathlib import Path

from . import records, transforms
from .formats import paths
from .images import reader
from .inspection.contents import draw_crops, histogram, inspect_record
from .records.arguments import add_class_flags, add_source_flags, chosen_source, source_of

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
  a mask per object; all formats are in tools/README.md:
    {_PROGRAM} --instances stage1_train --output dataset/nuclei.mindrecord
  inspect a record:
    {_PROGRAM} --inspect dataset/camvid_train.mindrecord --preview 8
"""
_WITHOUT_CHECKSUM = transforms.IMAGE_SUFFIXES - {".png"}


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
    add_source_flags(parser)
    add_class_flags(parser)
    _add_result_flags(parser)
    return parser


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
    source = chosen_source(arguments)
    if source not in ("inspect", "seal") and arguments.output is None:
        raise InputError("--output is missing: the record file to write")
    reader.check_max_pixels(arguments.max_pixels)
    if arguments.preview is not None:
        for name, most in (("preview", 100), ("crop_size", transforms.LONGEST_SIDE)):
            value = getattr(arguments, name)
            if not 1 <= value <= most:
                limit = "positive" if value < 1 else f"at most {most:,}"
                raise InputError(f"{flag(name)} is {value}; it must be {limit}")
        transforms.check_crops(arguments.preview, arguments.crop_size, "--preview")


# --- building ------------------------------------------------------------------------------------


def _build(arguments: argparse.Namespace) -> None:
    source = source_of(arguments)
    classes = source.classes or records.VOC_CLASSES
    label_map = source.label_map
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
        only_mapped=source.label_map is not None,
        colours=classes.colours,
        mask_values=source.mask_values or arguments.mask_values,
        colour_tolerance=arguments.colour_tolerance,
        mat_variable=arguments.mat_variable,
        max_pixels=arguments.max_pixels,
        num_shards=arguments.num_shards,
        overwrite=arguments.overwrite,
        source=", ".join(map(paths.portable, source.folders)),
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
