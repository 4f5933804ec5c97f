"""What changed between two evaluations, as text, JSON and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import confusion, records, visualize
from ..errors import InputError, listing
from ..formats import paths
from ..records import samples
from . import comparison, report
from .predictions import find_masks, mask_reader

__all__ = ["Request", "run"]

_MOST_BARS = 25  # images at either end


class Request(NamedTuple):
    """What `run` compares and draws.

    `files` are two of `fcn8s_ms.eval --output`; `output` names .json files for the comparison. Into
    the folder `pictures`, if any, go bars of the classes and images. If there are `masks`, the
    folders of `--save-masks` of the two evaluations, the `most` images that changed most in either
    direction are drawn, too, from the record `data`, of at most `max_pixels` each.
    """

    files: Sequence[Path]
    output: Sequence[Path]
    pictures: Path | None
    masks: Sequence[Path] | None
    data: Path
    most: int
    max_pixels: int


_Row = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # as of prediction_grid


def run(request: Request) -> dict[str, Any]:
    """Compares two files of scores, prints the comparison, writes it as JSON and draws it.

    Returns:
        Result of `comparison.compare`.

    Raises:
        InputError: a file cannot be read, the files do not belong together, masks or record are not
            those that were scored, or an output does not end in .json or cannot be written.
    """
    for path in request.output:
        if path.suffix.lower() != ".json":
            raise InputError(f"{path} does not end in .json, as comparisons are written")
    result, shown, evaluations = comparison.compare_files(*request.files)
    ends = _ends(result["per image"], request.most)
    rows: dict[str, _Row] = {}
    palette = np.zeros((256, 3), np.uint8)
    if request.masks is not None:
        rows, palette = _rows(request, [*ends["better"], *ends["worse"]], evaluations)
    print(shown)
    report.write_all(request.output, result)
    if request.pictures is not None:
        paths.make_folder(request.pictures, "--pictures")
        # Those of the result are sorted by their change.
        classes = list(evaluations[0]["per class"])
        names = _draw(request, result, ends, rows, classes, palette)
        print(f"Look at {request.pictures / names[0]}", *names[1:], sep=" and ")
    return result


def _ends(
    images: Mapping[str, Mapping[str, float]], most: int
) -> dict[str, dict[str, Mapping[str, float]]]:
    """The images that got better, the most first, and likewise worse; at most `most` of each."""
    known = [(name, row) for name, row in images.items() if not np.isnan(row["difference"])]
    better = [one for one in known if one[1]["difference"] > 0]
    worse = [one for one in reversed(known) if one[1]["difference"] < 0]
    return {"better": dict(better[:most]), "worse": dict(worse[:most])}


def _rows(
    request: Request, names: Sequence[str], evaluations: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, _Row], np.ndarray]:
    """Images, labels and predictions by name, and the colours of the classes."""
    assert request.masks is not None
    num_classes = len(evaluations[0]["per class"])
    metadata = records.read_metadata(request.data)
    if metadata is not None and len(metadata.classes) != num_classes:
        raise InputError(
            f"{request.data} has {len(metadata.classes)} classes, {request.files[0]} "
            f"{num_classes}; give --data the record that was scored"
        )
    _, palette = records.class_names(num_classes, metadata)
    masks = [find_masks(folder, names) for folder in request.masks]
    read = mask_reader(num_classes, request.max_pixels)
    scored = [
        {one["image"]: sorted(map(list, one["counts"])) for one in found["per image"]}
        for found in evaluations
    ]
    rows: dict[str, _Row] = {}
    for name, encoded_image, encoded_label in records.read_samples(request.data):
        if name not in masks[0]:
            continue
        image, label = samples.decode(
            request.data,
            name,
            encoded_image,
            encoded_label,
            num_classes=num_classes,
            max_pixels=request.max_pixels,
        )
        ids = [read(one[name], label) for one in masks]
        for place, one in enumerate(ids):
            if _counts(label, one, num_classes) != scored[place][name]:
                raise InputError(
                    f"{masks[place][name]} is not what {request.files[place]} scored; give --masks "
                    "the folders that --save-masks wrote in those evaluations, in the order of "
                    "--compare, and --data their record"
                )
        rows[name] = (name, image, label, ids[0], ids[1])
    missing = [name for name in names if name not in rows]
    if missing:
        raise InputError(
            f"{request.data} lacks {listing(missing, 3)}, which {request.files[0]} scored; give "
            "--data the record that was scored"
        )
    return rows, palette


def _counts(label: np.ndarray, ids: np.ndarray, num_classes: int) -> list[list[int]]:
    """Counts as the evaluation writes them for an image."""
    matrix = confusion.confusion_matrix(label, ids, num_classes)
    pixels = confusion.class_counts(matrix).T
    return [[int(k), *pixels[k].tolist()] for k in np.flatnonzero(pixels.any(axis=1))]


def _draw(
    request: Request,
    result: Mapping[str, Any],
    ends: Mapping[str, Mapping[str, Mapping[str, float]]],
    rows: Mapping[str, _Row],
    classes: Sequence[str],
    palette: np.ndarray,
) -> list[str]:
    """Draws the pictures and returns their names."""
    assert request.pictures is not None
    networks = [path.stem for path in request.files]
    if networks[0] == networks[1]:
        networks = ["first", "second"]
    whole = result["mean IoU"]
    title = f"{networks[0]} → {networks[1]}: mean IoU {whole['difference']:+.4f}"
    names = ["class_changes.png", "image_changes.png"]
    visualize.change_bars(request.pictures / names[0], result["per class"], "IoU", title)
    images = result["per image"]
    bars = _ends(images, _MOST_BARS)
    chosen = {**bars["better"], **dict(reversed(bars["worse"].items()))}
    left_out = len(images) - len(chosen)
    more = f"; {left_out:,} images that changed less are left out" if left_out else ""
    visualize.change_bars(request.pictures / names[1], chosen, "mean IoU", title + more)
    for end, found in ends.items():
        shown = [
            (f"{name}: {row['difference']:+.4f}", *rows[name][1:])
            for name, row in found.items()
            if name in rows
        ]
        if shown:
            visualize.prediction_grid(
                request.pictures / f"{end}.png",
                shown,
                classes,
                palette,
                f"{title}; the images that got {end} the most",
                networks,
                dpi=visualize.PRINT,
            )
            names.append(f"{end}.png")
    return names
