"""Builds MindRecord files from images and masks, and looks into them.

`python -m fcn8s_ms.build --help`
"""

import argparse
import functools
import warnings
from pathlib import Path

import numpy as np

from . import records, threads, voc
from .errors import InputError, flag, program, reported_by
from .records import encode, sources

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
  what is in a record:
    {_PROGRAM} --inspect dataset/camvid_train.mindrecord --preview 8
"""
_SAMPLES_SHOWN = 6


def get_parser() -> argparse.ArgumentParser:
    """Command line of the converter."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Convert images and masks to a MindRecord file. Every file is checked: if any "
        "cannot be used, all of them are named and nothing is written.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument_group("source (one of)").add_argument
    add("--voc-root", type=Path, metavar="DIR", help="holds VOCdevkit, or is VOC2012 itself")
    add("--images", type=Path, metavar="DIR", help="images; with --labels")
    add("--labelme", type=Path, metavar="DIR", help="pictures and the JSON files of labelme")
    add("--inspect", type=Path, metavar="FILE", help="look into a record instead of building one")

    add = parser.add_argument_group("which images").add_argument
    add(
        "--split",
        help="list in VOC's ImageSets/Segmentation, or trainaug with --sbd-root (default: train)",
    )
    add(
        "--sbd-root",
        type=Path,
        metavar="DIR",
        help="holds SBD's benchmark_RELEASE, or is its folder dataset",
    )
    add("--labels", type=Path, metavar="DIR", help="masks under the names of --images")
    add("--list", type=Path, metavar="FILE", help="image ids, one a line (default: all images)")
    add(
        "--label-suffix",
        metavar="TEXT",
        help="what a mask's name has behind its image's, for instance _L",
    )

    add = parser.add_argument_group("classes").add_argument
    add(
        "--classes",
        type=Path,
        metavar="FILE",
        help="names of the classes, one a line in the order of their ids, each with the RGB colour "
        "of its masks if they hold colours: 'car 64 0 128'; 'ignore 0 0 0' does not count "
        "(default: VOC's; of labelme's files: all that occur)",
    )
    add(
        "--label-map",
        type=Path,
        metavar="JSON",
        help='class id, class name or "ignore" for values of the masks: {"255": 1, "7": "ignore"}',
    )
    add(
        "--ignore-label",
        type=int,
        default=voc.IGNORE_LABEL,
        metavar="N",
        help="value of masks that does not count; 255 in the record (default: %(default)s)",
    )
    add(
        "--mask-values",
        choices=encode.MASK_VALUES,
        default="auto",
        help="auto: gray and palette masks hold ids, RGB masks colours (default: %(default)s)",
    )

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
    return parser


def _check(arguments) -> None:
    """Raises InputError for flags that do not go together."""
    given = {
        name: getattr(arguments, name) for name in ("voc_root", "images", "labelme", "inspect")
    }
    chosen = [name for name, value in given.items() if value is not None]
    flags = ", ".join(flag(name) for name in given)
    if len(chosen) != 1:
        raise InputError(f"give one of {flags}, not {len(chosen)} of them; --help has examples")
    belongs = {
        "split": "voc_root",
        "sbd_root": "voc_root",
        "labels": "images",
        "list": "images",
        "label_suffix": "images",
    }
    for name, owner in belongs.items():
        if getattr(arguments, name) is not None and chosen != [owner]:
            raise InputError(f"{flag(name)} goes with {flag(owner)} only")
    if chosen != ["inspect"] and arguments.output is None:
        raise InputError("--output is missing: the record file to write")
    if arguments.images is not None and (arguments.labels is None or arguments.classes is None):
        raise InputError("--images needs --labels, the folder of masks, and --classes, a file")
    if arguments.sbd_root is not None and arguments.split not in (None, "trainaug"):
        raise InputError(f"--sbd-root makes the list trainaug, not {arguments.split}")
    if not 0 <= arguments.ignore_label <= 255:
        raise InputError(f"--ignore-label is {arguments.ignore_label}; masks hold 0…255")
    if arguments.preview is not None and arguments.preview < 1:
        raise InputError(f"--preview is {arguments.preview}; it must be positive")


def _source(arguments):
    """Pairs, where they come from, and the name of their list."""
    if arguments.labelme is not None:
        return sources.labelme_pairs(arguments.labelme), arguments.labelme.absolute(), "all"
    if arguments.images is not None:
        pairs = sources.folder_pairs(
            arguments.images,
            arguments.labels,
            arguments.list,
            label_suffix=arguments.label_suffix or "",
        )
        origin = f"{arguments.images.absolute()}, {arguments.labels.absolute()}"
        return pairs, origin, arguments.list.stem if arguments.list else "all"
    if arguments.sbd_root is not None:
        pairs = sources.trainaug_pairs(arguments.voc_root, arguments.sbd_root)
        origin = f"{arguments.voc_root.absolute()}, {arguments.sbd_root.absolute()}"
        return pairs, origin, "trainaug"
    split = arguments.split or "train"
    return sources.voc_pairs(arguments.voc_root, split), arguments.voc_root.absolute(), split


def _histogram(names, pixel_counts, image_counts) -> str:
    total = max(sum(pixel_counts), 1)
    width = max(len(name) for name in names)
    lines = [f"  {'':<{width}} {'pixels':>15} {'':7} {'images':>7}"]
    for name, count, images in zip(names, pixel_counts, image_counts):
        share = count / total
        bar = "#" * round(40 * share)
        lines.append(f"  {name:<{width}} {count:15,} {share:7.2%} {images:7,} {bar}".rstrip())
    return "\n".join(lines)


def _progress():
    from tqdm import tqdm

    return functools.partial(_bar, tqdm)


def _bar(tqdm, rows, total):
    return tqdm(rows, total=total, unit="image")


def _build(arguments) -> None:

    pairs, origin, list_name = _source(arguments)
    if arguments.classes is not None:
        classes = records.read_classes(arguments.classes)
    elif arguments.labelme is not None:
        classes = sources.labelme_classes(arguments.labelme)
    else:
        classes = records.VOC_CLASSES
    label_map = None
    if arguments.label_map is not None:
        label_map = records.read_label_map(arguments.label_map, classes.names)
    print(f"{list_name}: {len(pairs):,} images, {len(classes.names)} classes", flush=True)
    metadata = records.build_records(
        pairs,
        arguments.output,
        classes=classes.names,
        palette=classes.palette(),
        ignore_label=arguments.ignore_label,
        label_map=label_map,
        colours=classes.colours,
        mask_values=arguments.mask_values,
        num_shards=arguments.num_shards,
        overwrite=arguments.overwrite,
        source=origin,
        list_name=list_name,
        progress=_progress(),
    )
    table = _histogram(metadata.classes, metadata.pixel_counts, metadata.image_counts)
    print(f"Labelled pixels of each class, and images that hold it:\n{table}")
    _warn_of_empty(metadata.classes, metadata.pixel_counts)
    if arguments.preview is not None:
        _preview(arguments.output, arguments.preview, arguments.crop_size)
    print(f"\n{metadata.num_samples:,} images in {', '.join(metadata.files)}. Train with:")
    print(f"  python -m fcn8s_ms.train --data {arguments.output}")


def _warn_of_empty(names, pixel_counts) -> None:
    empty = [name for name, count in zip(names, pixel_counts) if not count]
    if empty:
        print(f"No pixel is labelled {', '.join(empty)}.")


def _picture(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.name}.{kind}.png")


def _draw(path: Path, samples, metadata, num_classes: int, title: str) -> None:
    from . import visualize

    names, palette = records.class_names(num_classes, metadata)
    try:
        visualize.sample_grid(path, samples, names, palette, title)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; copy the record to a folder of your own"
        ) from error
    print(f"Look at {path}")


def _preview(record: Path, count: int, crop_size: int) -> None:
    """Draws the first crops of the first epoch, with the defaults of training."""
    from .dataset import SegDataset

    metadata = records.read_metadata(record)
    num_classes = len(metadata.classes) if metadata else voc.NUM_CLASSES
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
    )
    title = f"{record.name}: training crops of {crop_size}×{crop_size}"
    _draw(_picture(record, "preview"), data.crops(count), metadata, num_classes, title)


def _inspect(arguments) -> None:
    from . import transforms

    record = arguments.inspect
    file, num_samples = records.open_record(record)
    metadata = records.read_metadata(record)
    names = metadata.files if metadata is not None else (file.name,)
    size = sum(file.with_name(name).stat().st_size for name in names)
    print(f"{file.parent}: {', '.join(names)}")
    print(f"{num_samples:,} images, {len(names)} shard(s), {size / 1e6:,.1f} MB")
    found = records.columns(file)
    print("columns: " + ", ".join(f"{name} ({kind})" for name, kind in found.items()))
    if metadata is None:
        print("no metadata (.json) beside it; class names are guessed")
    else:
        print(f"built by fcn8s-ms {metadata.version} from {metadata.source}: {metadata.list_name}")

    survey = records.survey_record(record, _progress())
    if survey.num_sealed == num_samples:
        print("checksums: all images and labels are as they were written")
    else:
        print(f"checksums: {num_samples - survey.num_sealed:,} images have none; they decode")
    print(_sizes(survey.sizes))
    labels = np.flatnonzero(survey.pixel_counts[: voc.IGNORE_LABEL])
    num_classes = max(labels.max(initial=0) + 1, 2)
    if metadata is not None:
        num_classes = len(metadata.classes)
    elif num_classes <= voc.NUM_CLASSES:
        num_classes = voc.NUM_CLASSES
    classes, _ = records.class_names(num_classes, metadata)
    pixels = survey.pixel_counts[:num_classes].tolist()
    table = _histogram(classes, pixels, survey.image_counts[:num_classes].tolist())
    print(f"Labelled pixels of each class, and images that hold it:\n{table}")
    ignored = survey.pixel_counts[voc.IGNORE_LABEL] / survey.pixel_counts.sum()
    print(f"{ignored:.2%} of all pixels are ignored.")
    _warn_of_empty(classes, pixels)

    samples = [
        (transforms.decode_image(image), transforms.decode_label(label))
        for _, image, label in records.read_samples(record, _SAMPLES_SHOWN)
    ]
    title = f"{file.name}: the first images"
    _draw(_picture(record, "samples"), samples, metadata, num_classes, title)
    if arguments.preview is not None:
        _preview(record, arguments.preview, arguments.crop_size)


def _sizes(sizes) -> str:
    """The commonest image sizes, and the extremes of their sides."""
    shown = [f"{width}×{height} ({count:,})" for (height, width), count in sizes.most_common(5)]
    text = "image sizes (width×height): " + ", ".join(shown)
    if len(sizes) > len(shown):
        heights, widths = zip(*sizes)
        text += (
            f" and {len(sizes) - len(shown)} others; widths {min(widths)}…{max(widths)}, "
            f"heights {min(heights)}…{max(heights)}"
        )
    return text


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    arguments = get_parser().parse_args(argv)
    warnings.filterwarnings("ignore", module="PIL")  # of damaged files, which become errors
    with reported_by(_PROGRAM):
        _check(arguments)
        if arguments.inspect is not None:
            _inspect(arguments)
        else:
            _build(arguments)


if __name__ == "__main__":
    main()
