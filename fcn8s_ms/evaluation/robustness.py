"""Scores on images that were made worse, kind by kind and strength by strength."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import confusion
from ..confusion import ConfusionMatrix
from ..errors import InputError
from ..images import corruption
from ..inference import Predictor
from ..records import samples
from .predictions import predict_images

if TYPE_CHECKING:  # it loads MindSpore
    from ..dataset import SegDataset

__all__ = ["Corruption", "corruptions", "count_corrupted", "score_corrupted"]

_SEED = 0  # always the same, so that evaluations can be compared


class Corruption(NamedTuple):
    """One change of all images: a kind of `images.corruption.KINDS` and a strength, 1 to 5."""

    kind: str
    strength: int


def corruptions(text: str) -> list[Corruption]:
    """The corruptions that a flag names, as `noise,blur:1-3`.

    Args:
        text: kinds with commas between them, and perhaps a colon and a strength or a range.

    Raises:
        InputError: a kind is unknown or named twice, or a strength is out of range.
    """
    names, colon, digits = text.partition(":")
    kinds = [name.strip() for name in names.split(",")]
    for kind in kinds:
        if kind not in corruption.KINDS:
            raise InputError(
                f"--corrupt {text}: {kind!r} is not known; choose from "
                f"{', '.join(corruption.KINDS)}"
            )
        if kinds.count(kind) > 1:
            raise InputError(f"--corrupt {text}: {kind} stands there twice; name it once")
    first, last = corruption.STRENGTHS[0], corruption.STRENGTHS[-1]
    if colon:
        found = re.fullmatch(r"([1-9])(?:-([1-9]))?", digits.strip(), re.ASCII)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not first <= low <= high <= last:
            raise InputError(
                f"--corrupt {text}: strengths are {digits!r}; after the kinds, and once for all "
                f"of them, write a number or a range from {first} to {last}, such as :3 or :1-5"
            )
        first, last = low, high
    return [Corruption(kind, strength) for kind in kinds for strength in range(first, last + 1)]


def count_corrupted(
    predictor: Predictor,
    data: "SegDataset",
    chosen: Sequence[Corruption],
    progress: Callable[..., Iterable[Any]] | None = None,
) -> dict[Corruption, ConfusionMatrix]:
    """Counts the predictions for every image of a record under every corruption.

    The record is read once. A corrupted image follows from the image, its name, kind and strength
    alone; noise is drawn once per image, and all strengths multiply it.

    Args:
        predictor: predictor of class ids.
        data: result of `whole_images`.
        chosen: the corruptions.
        progress: called with an iterable and `total`; returns what to iterate over (tqdm fits).

    Returns:
        Counts of each corruption.

    Raises:
        InputError: a sample cannot be decoded or corrupted, or the network fails on one.
    """
    counts = {one: ConfusionMatrix(data.num_classes) for one in chosen}

    def images() -> Iterator[tuple[tuple[str, Corruption, np.ndarray], np.ndarray]]:
        for name, image, label in data.whole_samples():
            for one in chosen:
                rng = samples.generator(_SEED, corruption.KINDS.index(one.kind), name)
                try:
                    worse = corruption.corrupt(image, *one, rng)
                except InputError as error:
                    raise InputError(f"{data.data_file}: {name}: {error}") from error
                yield (name, one, label), worse

    found: Iterable[Any] = predict_images(predictor.many, images(), data)
    if progress is not None:
        found = progress(found, total=data.num_samples * len(chosen))
    for (_, one, label), ids in found:
        of_image = ConfusionMatrix(data.num_classes)
        of_image.update(label, ids)
        counts[one].add(of_image)
    return counts


def score_corrupted(
    counts: dict[Corruption, ConfusionMatrix], classes: Sequence[str]
) -> dict[str, Any]:
    """The scores of `count_corrupted`.

    Args:
        counts: its result.
        classes: class names.

    Returns:
        Dict of `corrupted mean IoU`, the mean over the kinds of the mean over their strengths, and
        `corruptions`: by kind a list of a dict for each strength: `strength`, the four scores
        under the tutorial's names, and `per class`, the IoU by name. A score that does not exist
        is NaN.
    """
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for (kind, strength), one in counts.items():
        iou = confusion.class_iou(one.matrix)
        of_classes = {name: float(value) for name, value in zip(classes, iou)}
        row = {"strength": strength, **one.scores(), "per class": of_classes}
        by_kind.setdefault(kind, []).append(row)
    means = [np.mean([row["mean IoU"] for row in rows]) for rows in by_kind.values()]
    return {"corrupted mean IoU": float(np.mean(means)), "corruptions": by_kind}
