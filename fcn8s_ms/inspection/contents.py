"""Contents of a record, printed and drawn: files, checksums, sizes, classes, first pictures."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from .. import records, transforms, voc
from ..errors import InputError
from ..system import threads

__all__ = ["draw_crops", "histogram", "inspect_record"]

_PICTURES = 6  # of a record that is inspected


def inspect_record(
    record: Path,
    progress: Callable[[Iterable, int], Iterable],
    num_crops: int | None,
    crop_size: int,
    max_pixels: int,
) -> None:
    """Prints and draws what is in a record.

    Args:
        record: the record file, or the name that its shards have in common.
        progress: wraps an iterable and its length in a progress bar.
        num_crops: number of training crops to draw, if any, and then of images too.
        crop_size: their side in pixels.
        max_pixels: largest number of pixels of an image; 0 for any.

    Raises:
        InputError: the record cannot be read, or a picture cannot be written.
    """
    file, num_samples = records.open_record(record)
    metadata = records.read_metadata(record)
    _print_files(file, num_samples, metadata)

    survey = records.survey_record(record, progress, max_pixels)
    if survey.num_sealed == num_samples:
        print("checksums: all images and labels are as they were written")
    else:
        print(f"checksums: {num_samples - survey.num_sealed:,} images have none; they decode")
    print(_sizes(survey.sizes))
    num_classes = survey.num_classes if metadata is None else len(metadata.classes)
    names, _ = records.class_names(num_classes, metadata)
    pixels, images = survey.pixel_counts[:num_classes], survey.image_counts[:num_classes]
    print(histogram(names, pixels.tolist(), images.tolist()))
    ignored = survey.pixel_counts[voc.IGNORE_LABEL] / survey.pixel_counts.sum()
    print(f"{ignored:.2%} of all pixels are ignored.")

    _draw_images(record, metadata, num_classes, num_crops or _PICTURES, max_pixels)
    if num_crops is not None:
        draw_crops(record, metadata, num_classes, num_crops, crop_size, max_pixels)


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
        made = "sealed" if metadata.sha256 else "built"
        print(f"{made} by fcn8s-ms {metadata.version} from {metadata.source}: {metadata.list_name}")


def histogram(
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


def _draw_images(
    record: Path,
    metadata: records.Metadata | None,
    num_classes: int,
    count: int,
    max_pixels: int,
) -> None:
    """Draws the first images with their labels."""
    names, shown = [], []
    for name, image, label in records.read_samples(record, count):
        names.append(name)
        shown.append(
            (
                transforms.decode_image(image, f"{record}: image of {name!r}", max_pixels),
                transforms.decode_label(label, f"{record}: label of {name!r}", max_pixels),
            )
        )
    _draw(record, "samples", shown, metadata, num_classes, "the first images", names)


def draw_crops(
    record: Path,
    metadata: records.Metadata | None,
    num_classes: int,
    count: int,
    crop_size: int,
    max_pixels: int,
) -> None:
    """Draws the first crops of the first epoch, with the defaults of training."""
    from ..dataset import SegDataset

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
        max_pixels=max_pixels,
    )
    title = f"training crops of {crop_size}×{crop_size}"
    _draw(record, "preview", data.crops(count), metadata, num_classes, title)


def _draw(
    record: Path,
    kind: str,
    shown: Sequence[tuple[np.ndarray, np.ndarray]],
    metadata: records.Metadata | None,
    num_classes: int,
    title: str,
    names: Sequence[str] = (),
) -> None:
    """Writes images, BGR, uint8 (H, W, 3), and their labels, uint8 (H, W), next to the record."""
    from .. import visualize

    path = record.with_name(f"{record.name}.{kind}.png")
    classes, palette = records.class_names(num_classes, metadata)
    try:
        visualize.sample_grid(path, shown, classes, palette, f"{record.name}: {title}", names)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; copy the record to a folder of your own"
        ) from error
    print(f"Look at {path}")
