"""Counts of predictions, and the scores that follow from them."""

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .. import confusion
from .predictions import Prediction, predict_dataset

if TYPE_CHECKING:  # it loads MindSpore
    from ..dataset import SegDataset

__all__ = ["Counts", "Worst", "count", "count_crops", "evaluate_dataset", "scores"]


# --- predictions -------------------------------------------------------------------------------


# --- counts and scores -------------------------------------------------------------------------


@dataclass
class Counts:
    """What predictions are counted into; the counts of several parts of a dataset add up.

    Attributes:
        matrix: confusion matrix of all labelled pixels, int64 (C, C).
        trimap: the same of those close to a boundary (`confusion.trimap`).
        class_images: images that hold the class, int64 (C,).
        num_images: images.
    """

    matrix: np.ndarray
    trimap: np.ndarray
    class_images: np.ndarray
    num_images: int = 0

    @classmethod
    def zeros(cls, num_classes: int) -> "Counts":
        """Counts of nothing."""
        square = (num_classes, num_classes)
        return cls(
            np.zeros(square, np.int64),
            np.zeros(square, np.int64),
            np.zeros(num_classes, np.int64),
        )

    def to_vector(self) -> np.ndarray:
        """All of them, int64 (2 C C + C + 1,)."""
        parts = (self.matrix, self.trimap, self.class_images, np.array([self.num_images]))
        return np.concatenate([part.reshape(-1) for part in parts])

    @classmethod
    def from_vector(cls, vector: np.ndarray, num_classes: int) -> "Counts":
        """The counts of a `to_vector`, or of a sum of several."""
        square = num_classes * num_classes
        matrix, trimap, images, number = np.split(vector, [square, 2 * square, len(vector) - 1])
        shape = (num_classes, num_classes)
        return cls(matrix.reshape(shape), trimap.reshape(shape), images, int(number[0]))


@dataclass
class Worst:
    """The predictions of lowest mean IoU, over the classes in the image's label or prediction.

    Attributes:
        limit: how many are kept.
    """

    limit: int
    _heap: list = field(default_factory=list)

    def add(self, prediction: Prediction, matrix: np.ndarray) -> None:
        """Keeps a prediction if it is among the worst.

        Args:
            prediction: of one image.
            matrix: its confusion matrix. An image without a labelled pixel has no IoU.
        """
        iou = confusion.mean_iou(matrix)
        if self.limit and not np.isnan(iou):
            # Of two equal ones the first name counts as worse, whatever the order they come in.
            item = (-iou, [-ord(letter) for letter in prediction.name], prediction)
            push = heapq.heappush if len(self._heap) < self.limit else heapq.heappushpop
            push(self._heap, item)

    def sorted(self) -> list[tuple[float, Prediction]]:
        """(mean IoU, prediction), the worst first."""
        return [(-item[0], item[2]) for item in sorted(self._heap, reverse=True)]


def count(predicted, num_classes: int, *, trimap_width: int = 0, worst: Worst | None = None):
    """Counts predictions.

    Args:
        predicted: iterable of `Prediction`.
        num_classes: number of classes.
        trimap_width: of the band along boundaries, in pixels; 0 for none.
        worst: is shown every prediction.

    Returns:
        `Counts`.
    """
    counts = Counts.zeros(num_classes)
    for prediction in predicted:
        label, ids = prediction.label, prediction.ids
        matrix = confusion.confusion_matrix(label, ids, num_classes)
        counts.matrix += matrix
        counts.class_images += matrix.any(axis=1)
        counts.num_images += 1
        if trimap_width:
            band = confusion.trimap(label, trimap_width)
            counts.trimap += confusion.confusion_matrix(label[band], ids[band], num_classes)
        if worst is not None:
            worst.add(prediction, matrix)
    return counts


def count_crops(engine, data: "SegDataset", progress=None) -> Counts:
    """Counts what an engine says of random crops.

    Args:
        engine: as for `fcn8s_ms.inference.Predictor`.
        data: of `tutorial_crops`.
        progress: as for `evaluate`, over batches.

    Raises:
        InputError: a sample cannot be decoded.
    """
    counts = Counts.zeros(data.num_classes)
    dataset = data.get_dataset()
    batches = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
    if progress is not None:
        batches = progress(batches, total=dataset.get_dataset_size())
    try:
        for batch in batches:
            ids = engine.class_ids(batch["data"])
            for label, one in zip(batch["label"], ids):
                matrix = confusion.confusion_matrix(label, one, data.num_classes)
                counts.matrix += matrix
                counts.class_images += matrix.any(axis=1)
                counts.num_images += 1
    except RuntimeError as error:
        raise data.explain(error) from error
    return counts


def scores(counts: Counts, classes) -> dict:
    """The scores that follow from counts.

    Args:
        counts: of `count`.
        classes: class names.

    Returns:
        dict with the four scores under the tutorial's names; `trimap mean IoU` and `trimap pixel
        accuracy` if a trimap was counted; and `per class`: name to dict of `IoU`, `accuracy`,
        `precision`, `trimap IoU` (if counted), `share` of the labelled pixels, labelled `pixels`
        and `images` that hold the class. A score that does not exist is NaN.
    """
    matrix, pixels = counts.matrix, counts.matrix.sum(axis=1)
    result = confusion.scores(matrix)
    columns = {
        "IoU": confusion.class_iou(matrix),
        "accuracy": confusion.class_accuracy(matrix),
        "precision": confusion.class_precision(matrix),
    }
    if counts.trimap.any():
        result["trimap mean IoU"] = confusion.mean_iou(counts.trimap)
        result["trimap pixel accuracy"] = confusion.pixel_accuracy(counts.trimap)
        columns["trimap IoU"] = confusion.class_iou(counts.trimap)
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


def evaluate_dataset(predictor, data: "SegDataset", classes, progress=None, combine=None) -> dict:
    """Scores of a predictor on a dataset.

    Args:
        predictor: `fcn8s_ms.inference.Predictor`.
        data: of `whole_images`.
        classes: class names.
        progress: called with an iterable and `total`; returns what to iterate over (tqdm fits).
        combine: called with the `Counts` of `data`; returns those to score, such as the sum over
            all shards of a record.

    Returns:
        As `scores`.

    Raises:
        InputError: a sample cannot be decoded.
    """
    predicted = predict_dataset(predictor, data)
    if progress is not None:
        predicted = progress(predicted, total=data.num_samples)
    counts = count(predicted, len(classes))
    return scores(counts if combine is None else combine(counts), classes)
