"""Converts images and masks to MindRecord files, or inspects one.

`python -m fcn8s_ms.build --help`
"""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import InputError, check_package, command, flag, listing, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("build"))

import argparse
import logging
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import records, transforms
from .formats import paths
from .images import reader
from .inspection.contents import draw_crops, histogram, inspect_record
from .options import Parser
from .records import split, write
from .records.arguments import add_class_flags, add_source_flags, chosen_source, source_of
from .records.masks import MaskReader
from .records.sources import Source

__all__ = ["build", "get_parser", "main"]

_PROGRAM = program("build")
_EXAMPLES = f"""examples:
  PASCAL VOC, one of its lists:
    {_PROGRAM} --voc-root ~/data --split train \\
        --output dataset/voc_train.mindrecord
  VOC and SBD together, 10,582 images:
    {_PROGRAM} --voc-root ~/data --sbd-root ~/data \\
        --split trainaug --output dataset/trainaug.mindrecord
  your own images and masks:
    {_PROGRAM} --images camvid/images --labels camvid/labels \\
        --list camvid/train.txt --classes camvid/classes.txt \\
        --output dataset/camvid_train.mindrecord
  polygons drawn with labelme:
    {_PROGRAM} --labelme pictures \\
        --output dataset/pictures.mindrecord
  a mask per object; all formats are in tools/README.md:
    {_PROGRAM} --instances stage1_train \\
        --output dataset/nuclei.mindrecord
  15 % of the images in a record to validate on:
    {_PROGRAM} --coco result.json --images . \\
        --output dataset/train.mindrecord \\
        --val-fraction 0.15 --val-output dataset/val.mindrecord
  inspect a record:
    {_PROGRAM} --inspect dataset/camvid_train.mindrecord \\
        --preview 8
"""
_PURPOSE = re.compile(r"(?<![a-z])(train\w*|val(id(ation)?)?|test)(?![a-z])", re.IGNORECASE)
_WITHOUT_CHECKSUM = transforms.IMAGE_SUFFIXES - {".png"}


# --- command line --------------------------------------------------------------------------------


def get_parser() -> argparse.ArgumentParser:
    """Command line of the converter."""
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s SOURCE --output FILE [flags]",
        description="Convert images and masks to a MindRecord file. Every file is checked: if any "
        "cannot be used, all of these are named and nothing is written.",
        epilog=_EXAMPLES,
    )
    add_source_flags(parser)
    add_class_flags(parser)
    _add_result_flags(parser)
    return parser


def _add_result_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("result").add_argument
    add("--output", type=Path, metavar="FILE", help="Write the record to this file.")
    add(
        "--num-shards",
        type=int,
        default=1,
        metavar="N",
        help="Spread the images over this many files (default: %(default)s).",
    )
    add(
        "--val-fraction",
        type=float,
        metavar="F",
        help="Put this share of the images into a second record to validate on, by a hash of "
        "their ids.",
    )
    add(
        "--val-output",
        type=Path,
        metavar="FILE",
        help="With --val-fraction: write the second record to this file.",
    )
    add(
        "--group-by",
        metavar="REGEX",
        help="With --val-fraction: keep images together whose ids have the same match of this "
        "expression (of its first group, if it has one).",
    )
    add("--overwrite", action="store_true", help="Replace an existing record.")
    add(
        "--preview",
        type=int,
        metavar="N",
        help="Draw N training crops as the network gets them, and their labels, to "
        "FILE.preview.png; with --inspect, show N images in FILE.samples.png.",
    )
    add(
        "--crop-size",
        type=int,
        default=512,
        help="Give the crops of --preview this side in pixels (default: %(default)s).",
    )


def _check(arguments: argparse.Namespace) -> None:
    """Raises InputError for flags that do not go together."""
    source = chosen_source(arguments)
    if source not in ("inspect", "seal") and arguments.output is None:
        raise InputError("--output is missing: the record file to write")
    for name in ("output", "val_output"):
        if getattr(arguments, name) is not None:
            paths.check_file(getattr(arguments, name), flag(name))
    fraction = arguments.val_fraction
    if (fraction is None) != (arguments.val_output is None):
        raise InputError("--val-fraction and --val-output go together")
    if fraction is None and arguments.group_by is not None:
        raise InputError("--group-by goes with --val-fraction")
    if fraction is not None and source in ("inspect", "seal"):
        raise InputError(f"--val-fraction does not go with {flag(source)}")
    if fraction is not None and not 0 < fraction < 1:
        raise InputError(f"--val-fraction is {fraction:g}; take a number between 0 and 1")
    reader.check_max_pixels(arguments.max_pixels)
    if arguments.preview is not None:
        for name, most in (("preview", 100), ("crop_size", transforms.LONGEST_SIDE)):
            value = getattr(arguments, name)
            if not 1 <= value <= most:
                limit = "positive" if value < 1 else f"at most {most:,}"
                raise InputError(f"{flag(name)} is {value}; it must be {limit}")
        size = (arguments.crop_size, arguments.crop_size)
        transforms.check_crops(arguments.preview, size, "--preview and --crop-size")


# --- building ------------------------------------------------------------------------------------


def build(arguments: argparse.Namespace) -> tuple[Path, ...]:
    """Converts images and masks, or inspects or seals a record.

    Args:
        arguments: those of `get_parser`.

    Returns:
        The records that were written, inspected or sealed: one, or with `val_output` two.

    Raises:
        InputError: flags do not go together, or a file cannot be used.
    """
    warnings.filterwarnings("ignore", module="PIL")  # of damaged files, which become errors
    _check(arguments)
    if arguments.inspect is not None:
        inspect_record(
            arguments.inspect,
            _progress_bar,
            arguments.preview,
            arguments.crop_size,
            arguments.max_pixels,
        )
        return (arguments.inspect,)
    if arguments.seal is not None:
        _seal(arguments)
        return (arguments.seal,)
    return _build(arguments)


def _build(arguments: argparse.Namespace) -> tuple[Path, ...]:
    source = source_of(arguments)
    classes = source.classes or records.VOC_CLASSES
    label_map = source.label_map
    if arguments.label_map is not None:
        label_map = records.read_label_map(arguments.label_map, classes.names)
    if any(Path(pair.mask).suffix == ".mat" for pair in source.pairs):
        check_package("scipy", "reading masks in .mat files", 'pip install -e ".[sbd]"')
    num_classes = len(classes.names)
    print(f"{source.list_name}: {len(source.pairs):,} images, {num_classes} classes", flush=True)
    unchecked = sum(Path(pair.mask).suffix.lower() in _WITHOUT_CHECKSUM for pair in source.pairs)
    if unchecked:
        print(
            f"{unchecked:,} masks are in a format without checksums, in which damage to labels "
            "cannot be noticed: save them as PNG"
        )
    masks = MaskReader(
        classes.names,
        ignore_label=arguments.ignore_label,
        label_map=label_map,
        label_offset=arguments.label_offset,
        only_mapped=source.label_map is not None,
        colours=classes.colours,
        mask_values=source.mask_values or arguments.mask_values,
        colour_tolerance=arguments.colour_tolerance,
        mat_variable=arguments.mat_variable,
        max_pixels=arguments.max_pixels,
    )
    parts = _parts(arguments, source)
    built = write.build_parts(
        parts,
        masks,
        classes=classes.names,
        palette=classes.palette() if classes.colours else None,
        num_shards=arguments.num_shards,
        overwrite=arguments.overwrite,
        source=", ".join(map(paths.portable, source.folders)),
        progress=_progress_bar,
    )
    for part, metadata in zip(parts, built):
        if len(parts) > 1:
            share = metadata.num_samples / len(source.pairs)
            print(f"\n{part.output.name}: {metadata.num_samples:,} images, {share:.1%} of all")
            if part is parts[1] and share < 0.6 * arguments.val_fraction:
                print(
                    f"That is less than --val-fraction {arguments.val_fraction:g}: each is dealt "
                    "out by a hash of its name, and there are few; raise it to validate on more."
                )
        print(histogram(metadata.classes, metadata.pixel_counts, metadata.image_counts))
    if arguments.preview is not None:
        draw_crops(
            arguments.output,
            built[0],
            num_classes,
            arguments.preview,
            arguments.crop_size,
            arguments.max_pixels,
        )
    for metadata in built:
        print(f"\n{metadata.num_samples:,} images in {', '.join(metadata.files)}", end="")
    print(f". {_next_step(parts)}")
    return tuple(part.output for part in parts)


def _next_step(parts: Sequence[write.Part]) -> str:
    """What to do with the records, by what their list, or else their name, says they are for."""
    output = parts[0].output
    if len(parts) > 1:
        return f"Train with:\n  {command('train', '--data', output, '--val-data', parts[1].output)}"
    found = _PURPOSE.search(parts[0].list_name) or _PURPOSE.search(output.stem)
    purpose = "train" if found is None else found[0].lower()
    if purpose == "test":
        scored = command("eval", "--checkpoint", "CHECKPOINT", "--data", output)
        return f"Score a checkpoint on it with:\n  {scored}"
    if purpose.startswith("val"):
        train = output.with_name(output.name.replace(purpose, "train"))
        known = train if train != output and train.is_file() else "RECORD"
        given = command("train", "--data", known, "--val-data", output)
        return f"Validate a training on it with:\n  {given}"
    return f"Train with:\n  {command('train', '--data', output)}"


def _parts(arguments: argparse.Namespace, source: Source) -> list[write.Part]:
    """The record, or two with the images dealt to them."""
    if arguments.val_fraction is None:
        return [write.Part(source.pairs, arguments.output, source.list_name)]
    train, val = split.split_pairs(source.pairs, arguments.val_fraction, arguments.group_by)
    same = split.same_content(source.pairs)
    split.check_apart(same, val)
    if same:
        shown = (" = ".join(pair.name for pair in group) for group in same)
        print(f"{len(same):,} images are there under several names: {listing(shown, 5)}")
    return [
        write.Part(train, arguments.output, f"{source.list_name}, without validation"),
        write.Part(val, arguments.val_output, f"{source.list_name}, validation"),
    ]


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
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with reported_by(_PROGRAM):
        build(get_parser().parse_args(argv))


if __name__ == "__main__":
    main()
