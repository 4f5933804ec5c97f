"""Counts of predictions, and the scores that follow from them."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from .. import confusion
from ..confusion import ConfusionMatrix
from ..inference import Predictor
from ..system.threads import map_ahead
from .boundaries import Boundaries
from .certainty import Certainty
from .predictions import Prediction, predict_dataset

if TYPE_CHECKING:  # it loads MindSpore
    from ..dataset import SegDataset

__all__ = ["Best", "Counter", "Trimap", "Worst", "count", "evaluate_dataset", "scores"]


class Counter(Protocol):
    """Anything that sees each prediction of an evaluation."""

    def add(self, prediction: Prediction, counts: ConfusionMatrix) -> None:
        """Takes a prediction for one image.

        Args:
            prediction: the prediction.
            counts: its confusion matrix.
        """
        ...


class Trimap:
    """Counts of the pixels close to a boundary (`confusion.trimap`).

    Args:
        width: width of the band along boundaries, in pixels; 0 counts nothing.
        num_classes: number of classes.

    Attributes:
        counts: `ConfusionMatrix` of the band.
    """

    def __init__(self, width: int, num_classes: int):
        self.width = width
        self.counts = ConfusionMatrix(num_classes)

    def add(self, prediction: Prediction, counts: ConfusionMatrix) -> None:
        """Counts the band of one image; its confusion matrix is not needed."""
        del counts
        if self.width:
            band = confusion.trimap(prediction.label, self.width)
            self.counts.update(prediction.label[band], prediction.ids[band])


@dataclass
class Worst:
    """Predictions of lowest mean IoU, over the classes in the image's label or prediction.

    Attributes:
        limit: number of predictions that are kept.
    """

    limit: int
    _sign: ClassVar[float] = -1.0
    _heap: list[tuple[float, list[int], Prediction]] = field(default_factory=list)

    def add(self, prediction: Prediction, counts: ConfusionMatrix) -> None:
        """Keeps a prediction if it is among those sought.

        Args:
            prediction: prediction for one image.
            counts: its confusion matrix. An image without a labelled pixel has no IoU.
        """
        iou = confusion.mean_iou(counts.matrix)
        if self.limit and not np.isnan(iou):
            # Of two equal ones the first name comes first, whatever the order they come in.
            item = (self._sign * iou, [-ord(letter) for letter in prediction.name], prediction)
            if len(self._heap) < self.limit:
                heapq.heappush(self._heap, item)
            else:
                heapq.heappushpop(self._heap, item)

    def sorted(self) -> list[tuple[float, Prediction]]:
        """Pairs of mean IoU and prediction, the most extreme first."""
        return [(self._sign * item[0], item[2]) for item in sorted(self._heap, reverse=True)]


class Best(Worst):
    """Predictions of highest mean IoU; otherwise as `Worst`."""

    _sign = 1.0


def count(
    predicted: Iterable[Prediction], num_classes: int, also: Sequence[Counter] = ()
) -> ConfusionMatrix:
    """Counts predictions, in a thread: the network computes the next one meanwhile.

    Args:
        predicted: the predictions, which are computed in the caller's thread.
        num_classes: number of classes.
        also: each gets every prediction, in this order.
    """
    counts = ConfusionMatrix(num_classes)

    def add(prediction: Prediction) -> None:
        of_image = ConfusionMatrix(num_classes)
        of_image.update(prediction.label, prediction.ids)
        counts.add(of_image)
        for one in also:
            one.add(prediction, of_image)

    with ThreadPoolExecutor(1) as pool:  # one thread counts them in their order
        for _ in map_ahead(pool, add, predicted, 2):
            pass
    return counts


def scores(
    counts: ConfusionMatrix,
    classes: Sequence[str],
    trimap: ConfusionMatrix | None = None,
    boundaries: Boundaries | None = None,
    certainty: Certainty | None = None,
) -> dict[str, Any]:
    """Computes the scores that follow from counts.

    Args:
        counts: result of `count`.
        classes: class names.
        trimap: counts of the pixels close to a boundary, if they were counted.
        boundaries: counts of the bands along outlines, if they were counted.
        certainty: counts by certainty, if they were counted.

    Returns:
        The four scores under the tutorial's names; `mean F1` and `mean precision` over the classes
        that have one; `trimap mean IoU` and `trimap pixel accuracy` if `trimap` has pixels; `mean
        boundary IoU` of `boundaries`, and the scores of `certainty`; and `per class`: name to dict
        of `IoU`, `F1` (Dice), `accuracy`, `precision`, `recall` (the same as `accuracy`),
        `boundary IoU`, `trimap IoU` (likewise), `share` of the labelled pixels, labelled `pixels`
        and `images` that hold the class. A score that does not exist is NaN.
    """
    pixels = counts.matrix.sum(axis=1)
    result: dict[str, Any] = {**counts.scores()}
    columns = {
        "IoU": confusion.class_iou(counts.matrix),
        "F1": confusion.class_f1(counts.matrix),
        "accuracy": confusion.class_accuracy(counts.matrix),
        "precision": confusion.class_precision(counts.matrix),
        "recall": confusion.class_accuracy(counts.matrix),
    }
    result["mean F1"] = confusion.mean(columns["F1"])
    result["mean precision"] = confusion.mean(columns["precision"])
    if boundaries is not None:
        columns["boundary IoU"] = confusion.iou_of_counts(boundaries.counts)
        result["mean boundary IoU"] = confusion.mean(columns["boundary IoU"])
    if trimap is not None and trimap.matrix.any():
        result["trimap mean IoU"] = confusion.mean_iou(trimap.matrix)
        result["trimap pixel accuracy"] = confusion.pixel_accuracy(trimap.matrix)
        columns["trimap IoU"] = confusion.class_iou(trimap.matrix)
    if certainty is not None:
        result |= certainty.scores()
    columns["share"] = pixels / max(pixels.sum(), 1)
    result["per class"] = {
        name: {
            **{column: float(values[label]) for column, values in columns.items()},
            "pixels": int(pixels[label]),
            "images": int(counts.class_images[label]),
        }
        for label, name in enumerate(classes)
    }
    return result


@dataclass
class _Loss:
    """Sum of the losses of predictions."""

    total: float = 0.0

    def added(self, predicted: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yields predictions after adding their losses."""
        for prediction in predicted:
            if prediction.losses is not None:
                self.total += float(prediction.losses.sum(dtype=np.float64))
            yield prediction


def evaluate_dataset(
    predictor: Predictor,
    data: "SegDataset",
    classes: Sequence[str],
    progress: Callable[..., Iterable[Prediction]] | None = None,
    combine: Callable[[np.ndarray], np.ndarray] | None = None,
    losses: bool = False,
) -> dict[str, Any]:
    """Computes the scores of a predictor on a dataset.

    Args:
        predictor: predictor of class ids.
        data: result of `whole_images`.
        classes: class names.
        progress: called with an iterable and `total`; returns what to iterate over (tqdm fits).
        combine: called with what was counted of `data`, a float64 array; returns the array to
            score, such as the sum over all shards of a record.
        losses: whether to compute the loss, too, of which the predictor must be capable.

    Returns:
        As `scores`; with `losses` also `cross-entropy`, the mean over all labelled pixels, NaN
        without one.

    Raises:
        InputError: a sample cannot be decoded.
    """
    predicted: Iterable[Prediction] = predict_dataset(predictor, data, losses)
    if progress is not None:
        predicted = progress(predicted, total=data.num_samples)
    loss = _Loss()
    counts = count(loss.added(predicted), len(classes))
    if combine is not None:
        # Counts of pixels stay exact: float64 holds every whole number up to 2^53.
        total = combine(np.append(counts.to_vector().astype(np.float64), loss.total))
        counts, loss.total = ConfusionMatrix.from_vector(total[:-1], len(classes)), total[-1]
    found = scores(counts, classes)
    if losses:
        pixels = int(counts.matrix.sum())
        found["cross-entropy"] = float(loss.total) / pixels if pixels else float("nan")
    return found
