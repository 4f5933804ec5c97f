"""Converts images and masks to MindRecord files, or inspects one.

`python -m fcn8s_ms.build --help`
"""

import argparse
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import records, threads, transforms, voc
from .errors import InputError, flag, program, reported_by
from .images import reader
from .records import encode, sources

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
_PICTURES = 6  # of a record that is inspected

_WITHOUT_CHECKSUM = transforms.IMAGE_SUFFIXES - {".png"}

# Source flags, of which exactly one is given, and the flags that need one of them.
_SOURCES = ("voc_root", "images", "labelme", "inspect")
_SOURCE_OF = {
    "split": "voc_root",
    "sbd_root": "voc_root",
    "labels": "images",
    "list": "images",
    "label_suffix": "images",
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
        choices=encode.MASK_VALUES,
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
    if source != "inspect" and arguments.output is None:
        raise InputError("--output is missing: the record file to write")
    if source == "images" and (arguments.labels is None or arguments.classes is None):
        raise InputError("--images needs --labels, the folder of masks, and --classes, a file")
    if arguments.sbd_root is not None and arguments.split not in (None, "trainaug"):
        raise InputError(f"--sbd-root makes the list trainaug, not {arguments.split}")
    if not 0 <= arguments.ignore_label <= 255:
        raise InputError(f"--ignore-label is {arguments.ignore_label}; masks hold 0…255")
    reader.check_max_pixels(arguments.max_pixels)
    if arguments.preview is not None:
        for name, most in (("preview", 100), ("crop_size", 10_000)):
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
    return ", ".join(str(folder.absolute()) for folder in folders)


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
    print(_histogram(metadata.classes, metadata.pixel_counts, metadata.image_counts))
    if arguments.preview is not None:
        _draw_crops(arguments.output, metadata, num_classes, arguments)
    print(f"\n{metadata.num_samples:,} images in {', '.join(metadata.files)}. Train with:")
    print(f"  {program('train')} --data {arguments.output}")


# --- inspecting ----------------------------------------------------------------------------------


def _inspect(arguments: argparse.Namespace) -> None:
    """Prints and draws what is in a record, named by its file or by what its shards share."""
    record, max_pixels = arguments.inspect, arguments.max_pixels
    file, num_samples = records.open_record(record)
    metadata = records.read_metadata(record)
    _print_files(file, num_samples, metadata)

    survey = records.survey_record(record, _progress_bar, max_pixels)
    if survey.num_sealed == num_samples:
        print("checksums: all images and labels are as they were written")
    else:
        print(f"checksums: {num_samples - survey.num_sealed:,} images have none; they decode")
    print(_sizes(survey.sizes))
    num_classes = _num_classes(survey.pixel_counts, metadata)
    names, _ = records.class_names(num_classes, metadata)
    pixels, images = survey.pixel_counts[:num_classes], survey.image_counts[:num_classes]
    print(_histogram(names, pixels.tolist(), images.tolist()))
    ignored = survey.pixel_counts[voc.IGNORE_LABEL] / survey.pixel_counts.sum()
    print(f"{ignored:.2%} of all pixels are ignored.")

    _draw_images(record, metadata, num_classes, max_pixels)
    if arguments.preview is not None:
        _draw_crops(record, metadata, num_classes, arguments)


def _print_files(file: Path, num_samples: int, metadata: records.Metadata | None) -> None:
    """Files and columns of a record, and where it comes from."""
    names = metadata.files if metadata is not None else (file.name,)
    size = sum(file.with_name(name).stat().st_size for name in names)
    print(f"{file.parent}: {', '.join(names)}")
    print(f"{num_samples:,} images, {len(names)} shard(s), {size / 1e6:,.1f} MB")
    columns = records.columns(file)
    print("columns: " + ", ".join(f"{name} ({kind})" for name, kind in columns.items()))
    if metadata is None:
        print("no metadata (.json) next to it; class names are guessed")
    else:
        print(f"built by fcn8s-ms {metadata.version} from {metadata.source}: {metadata.list_name}")


def _num_classes(pixel_counts: np.ndarray, metadata: records.Metadata | None) -> int:
    """Number of classes: the metadata's, otherwise VOC's if the labels fit, otherwise theirs."""
    if metadata is not None:
        return len(metadata.classes)
    labels = np.flatnonzero(pixel_counts[: voc.IGNORE_LABEL])
    return max(int(labels.max(initial=0)) + 1, voc.NUM_CLASSES)


# --- text ----------------------------------------------------------------------------------------


def _progress_bar(items: Iterable, total: int) -> Iterable:
    from tqdm import tqdm

    return tqdm(items, total=total, unit="image")


def _histogram(
    names: Sequence[str], pixel_counts: Sequence[int], image_counts: Sequence[int]
) -> str:
    """Table of the classes, with a bar for the share of their pixels."""
    total = max(sum(pixel_counts), 1)
    width = max(len(name) for name in names)
    lines = ["Labelled pixels of each class, and images that hold it:"]
    lines.append(f"  {'':<{width}} {'pixels':>15} {'':7} {'images':>7}")
    for name, count, images in zip(names, pixel_counts, image_counts):
        share = count / total
        bar = "#" * round(40 * share)
        lines.append(f"  {name:<{width}} {count:15,} {share:7.2%} {images:7,} {bar}".rstrip())
    empty = [name for name, count in zip(names, pixel_counts) if not count]
    if empty:
        lines.append(f"No pixel is labelled {', '.join(empty)}.")
    return "\n".join(lines)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """The most common image sizes, and the extremes of their sides."""
    shown = [f"{width}×{height} ({count:,})" for (height, width), count in sizes.most_common(5)]
    text = "image sizes (width×height): " + ", ".join(shown)
    if len(sizes) > len(shown):
        heights, widths = zip(*sizes)
        text += (
            f" and {len(sizes) - len(shown)} others; widths {min(widths)}…{max(widths)}, "
            f"heights {min(heights)}…{max(heights)}"
        )
    return text


# --- pictures ------------------------------------------------------------------------------------


def _draw_images(
    record: Path, metadata: records.Metadata | None, num_classes: int, max_pixels: int
) -> None:
    """Draws the first images with their labels."""
    shown = [
        (
            transforms.decode_image(image, f"{record}: image of {name!r}", max_pixels),
            transforms.decode_label(label, f"{record}: label of {name!r}", max_pixels),
        )
        for name, image, label in records.read_samples(record, _PICTURES)
    ]
    _draw(record, "samples", shown, metadata, num_classes, "the first images")


def _draw_crops(
    record: Path,
    metadata: records.Metadata | None,
    num_classes: int,
    arguments: argparse.Namespace,
) -> None:
    """Draws the first crops of the first epoch, with the defaults of training."""
    from .dataset import SegDataset

    crop_size = arguments.crop_size
    data = SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        record,
        batch_size=1,
        crop_size=crop_size,
        num_classes=num_classes,
        num_readers=1,
        num_parallel_calls=threads.available_cpus(),
        seed=1,
        max_pixels=arguments.max_pixels,
    )
    title = f"training crops of {crop_size}×{crop_size}"
    _draw(record, "preview", data.crops(arguments.preview), metadata, num_classes, title)


def _draw(
    record: Path,
    kind: str,
    shown: Sequence[tuple[np.ndarray, np.ndarray]],
    metadata: records.Metadata | None,
    num_classes: int,
    title: str,
) -> None:
    """Writes images, BGR, uint8 (H, W, 3), and their labels, uint8 (H, W), next to the record."""
    from . import visualize

    path = record.with_name(f"{record.name}.{kind}.png")
    names, palette = records.class_names(num_classes, metadata)
    try:
        visualize.sample_grid(path, shown, names, palette, f"{record.name}: {title}")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; copy the record to a folder of your own"
        ) from error
    print(f"Look at {path}")


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
            _inspect(arguments)
        else:
            _build(arguments)


if __name__ == "__main__":
    main()
