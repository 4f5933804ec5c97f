"""Two evaluations side by side: which classes and which images changed, and by how much surely."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import confusion, files
from ..errors import InputError, listing
from ..formats import schema

__all__ = ["compare", "compare_files", "read", "text"]

_RESAMPLES = 2000
_BLOCK = 100  # resamples at once
_SHOWN = 5  # images at either end of the list

_REMEDY = "give the .json that this version of fcn8s_ms.eval --output wrote"
_COUNTS = schema.array(schema.whole_number(0), 4, 4)
_EVALUATION = schema.fields(
    {
        "data": schema.text(),
        "protocol": schema.text(),
        "per class": schema.mapping(schema.anything()),
        "per image": schema.array(
            schema.fields({"image": schema.text(), "counts": schema.array(_COUNTS)}), 1
        ),
    }
)


def read(path: Path) -> dict[str, Any]:
    """Reads the scores that an evaluation wrote as JSON, with the counts of every image.

    Raises:
        InputError: the file is missing, is of another kind, or lacks those counts.
    """
    found: dict[str, Any] = files.read_json(path)
    if isinstance(found, dict) and "per class" in found and not found.get("per image"):
        raise InputError(
            f"{path} has no counts per image, as those of --protocol tutorial and of older versions"
            "; score again with --output NAME.json"
        )
    schema.check(found, _EVALUATION, path, _REMEDY)
    classes = len(found["per class"])
    worst = max((row[0] for one in found["per image"] for row in one["counts"]), default=0)
    if worst >= classes:
        raise InputError(f"{path}: an image has class {worst} of {classes}: {_REMEDY}")
    return found


def _counts(result: dict[str, Any], names: Sequence[str]) -> np.ndarray:
    """Counts as of `confusion.class_counts` of every image: float64 (images, 3, classes)."""
    place = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), 3, len(result["per class"])))
    for one in result["per image"]:
        for label, *values in one["counts"]:
            counts[place[one["image"]], :, label] = values
    return counts


def _mean_iou(counts: np.ndarray) -> np.ndarray:
    """Mean IoU over the classes that occur, from counts (…, 3, classes); NaN without any."""
    iou = confusion.iou_of_counts(counts)
    known = ~np.isnan(iou)
    total = np.where(known, iou, 0).sum(axis=-1)
    number = known.sum(axis=-1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def compare(first: dict[str, Any], second: dict[str, Any], seed: int = 1) -> dict[str, Any]:
    """Compares two evaluations of the same images.

    The interval of the difference in mean IoU is that of the paired bootstrap: images are drawn
    with replacement 2,000 times, the same for both, and the mean IoU is that of each draw as a
    whole. It says how far the difference depends on the choice of images, not how it would vary
    between trainings.

    Args:
        first: result of `read`.
        second: the other; differences are its scores less those of `first`.
        seed: of the draws.

    Returns:
        Dict of `mean IoU` (first, second, difference, `interval` of 95 %, and in which `share` of
        the draws the second is better), `per class` (likewise without interval, by falling
        difference), and `per image` (mean IoU over the classes of each image, by falling
        difference).

    Raises:
        ValueError: the two are of other images or classes.
    """
    classes = list(first["per class"])
    if classes != list(second["per class"]):
        raise ValueError("they have other classes")
    names = sorted(one["image"] for one in first["per image"])
    others = sorted(one["image"] for one in second["per image"])
    if names != others:
        odd = sorted({*names} ^ {*others})
        raise ValueError(f"they are of other images: {listing(odd, 3)} is in one of them only")
    both = [_counts(one, names) for one in (first, second)]
    total = [_mean_iou(one.sum(axis=0)) for one in both]
    rng = np.random.RandomState(seed)
    drawn: list[np.ndarray] = []
    for start in range(0, _RESAMPLES, _BLOCK):
        size = min(_BLOCK, _RESAMPLES - start)
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size)
        one, other = (_mean_iou(np.tensordot(times.astype(float), part, 1)) for part in both)
        drawn.append(other - one)
    differences = np.concatenate(drawn)
    low, high = np.nanpercentile(differences, [2.5, 97.5])
    of_classes = [confusion.iou_of_counts(one.sum(axis=0)) for one in both]
    of_images = [_mean_iou(one) for one in both]
    return {
        "mean IoU": {
            **_row(*total),
            "interval": [float(low), float(high)],
            "share": float((differences > 0).mean()),
        },
        "per class": _sorted(classes, *of_classes),
        "per image": _sorted(names, *of_images),
    }


def _row(first: Any, second: Any) -> dict[str, float]:
    return {"first": float(first), "second": float(second), "difference": float(second - first)}


def _sorted(
    names: Sequence[str], first: np.ndarray, second: np.ndarray
) -> dict[str, dict[str, float]]:
    """Rows by falling difference; those that have none come last."""
    difference = second - first
    order = np.argsort(np.where(np.isnan(difference), np.inf, -difference), kind="stable")
    return {names[place]: _row(first[place], second[place]) for place in order}


def compare_files(first: Path, second: Path) -> tuple[dict[str, Any], str, list[dict[str, Any]]]:
    """Compares two files of scores.

    Returns:
        Result of `compare`, its text, with a line on protocols that differ, and what `read` found
        in the two files.

    Raises:
        InputError: a file cannot be read, or the two do not belong together.
    """
    one, other = read(first), read(second)
    try:
        result = compare(one, other)
    except ValueError as error:
        raise InputError(
            f"{first} and {second} cannot be compared: {error}; score both on one record"
        ) from error
    shown = text(result)
    if one["protocol"] != other["protocol"]:
        shown += f"\n\nThe protocols differ: {one['protocol']}; {other['protocol']}."
    return result, shown, [one, other]


def text(result: dict[str, Any]) -> str:
    """The comparison as text for a terminal: all classes, and the images that changed most."""
    whole = result["mean IoU"]
    low, high = whole["interval"]
    certain = "" if low <= 0 <= high else "; the interval is on one side of 0"
    lines = [
        f"mean IoU {whole['first']:.4f} → {whole['second']:.4f}: {whole['difference']:+.4f}, 95 % "
        f"interval {low:+.4f} … {high:+.4f} over the choice of images{certain}",
        "",
    ]
    width = max(len(name) for name in result["per class"])
    for name, row in result["per class"].items():
        lines.append(f"{name:<{width}}  {_values(row)}")
    images = list(result["per image"].items())
    known = [(name, row) for name, row in images if not np.isnan(row["difference"])]
    better = [one for one in known if one[1]["difference"] > 0]
    worse = [one for one in reversed(known) if one[1]["difference"] < 0]
    for title, rows in (("better", better), ("worse", worse)):
        lines += ["", f"{title}: {len(rows)} of {len(images)} images"]
        lines += [f"{_values(row)}  {name}" for name, row in rows[:_SHOWN]]
    return "\n".join(lines)


def _values(row: dict[str, float]) -> str:
    def shown(value: float, form: str) -> str:
        return "      -" if np.isnan(value) else format(value, form)

    first, second = (shown(row[name], "7.4f") for name in ("first", "second"))
    return f"{first} → {second}  {shown(row['difference'], '+7.4f')}"
