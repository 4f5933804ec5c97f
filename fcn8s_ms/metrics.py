"""The tutorial's four scores as `mindspore.train.Metric` classes over one confusion matrix."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mindspore import Tensor
from mindspore.train import Metric

from . import confusion
from .confusion import ConfusionMatrix
from .voc import NUM_CLASSES

__all__ = [
    "FrequencyWeightedIntersectionOverUnion",
    "MeanIntersectionOverUnion",
    "PixelAccuracy",
    "PixelAccuracyClass",
    "SegmentationMetric",
    "segmentation_metrics",
]


class _SharedCounts:
    """One confusion matrix for several metrics that are all given the same batches.

    `Model.eval` hands every batch to every metric. The first one to see a batch counts it; the
    others only note that they have seen it.
    """

    def __init__(self, num_class: int):
        self.num_class = num_class
        self.clear()

    def clear(self) -> None:
        self.matrix = ConfusionMatrix(self.num_class)
        self.batches = 0
        self.seen_by: dict[int, int] = {}

    def update(self, metric: Metric, prediction: Any, label: Any) -> None:
        seen = self.seen_by.get(id(metric), 0)
        if seen == self.batches:
            label = _to_numpy(label)
            self.matrix.update(label, _class_ids(_to_numpy(prediction), label, self.num_class))
            self.batches += 1
        self.seen_by[id(metric)] = seen + 1


def _to_numpy(value: Any) -> np.ndarray:
    return value.asnumpy() if isinstance(value, Tensor) else np.asarray(value)


def _class_ids(prediction: np.ndarray, label: np.ndarray, num_class: int) -> np.ndarray:
    """Class ids of logits; a prediction of as many axes as the label already holds ids."""
    if prediction.ndim != label.ndim + 1:
        return prediction
    if prediction.shape[-3] != num_class:
        raise ValueError(f"logits of {prediction.shape[-3]} classes for a metric of {num_class}")
    return prediction.argmax(axis=-3)


class SegmentationMetric(Metric):
    """Base of the four scores.

    Args:
        num_class: number of classes.
        shared: counts of a group of metrics; None for counts of its own.
    """

    # Of a confusion matrix: the score, and the score of each class.
    _score: Callable[[np.ndarray], float]
    _class_score: Callable[[np.ndarray], np.ndarray] = staticmethod(confusion.class_iou)

    def __init__(self, num_class: int = NUM_CLASSES, shared: _SharedCounts | None = None):
        super().__init__()
        if shared is not None and shared.num_class != num_class:
            raise ValueError(f"num_class {num_class} differs from the group's {shared.num_class}")
        self.num_class = num_class
        self._shared = shared or _SharedCounts(num_class)

    @property
    def counts(self) -> ConfusionMatrix:
        """Everything counted since `clear` (by the whole group)."""
        return self._shared.matrix

    @property
    def confusion_matrix(self) -> np.ndarray:
        """Copy of the matrix: int64 (num_class, num_class); rows are the true classes."""
        return self.counts.matrix.copy()

    def clear(self) -> None:
        """Forgets all batches (of the whole group)."""
        self._shared.clear()

    def update(self, *inputs: Any) -> None:
        """Counts one batch.

        Args:
            *inputs: prediction and label, as Tensors or arrays. The prediction is logits
                (N, C, H, W) or integer class ids (N, H, W), the label integer (N, H, W); other
                numbers of leading axes work alike. Labels outside 0…num_class-1 do not count.

        Raises:
            ValueError: not two inputs, or their shapes do not belong together.
        """
        if len(inputs) != 2:
            raise ValueError(f"update takes prediction and label, not {len(inputs)} inputs")
        self._shared.update(self, *inputs)

    def eval(self) -> float:
        """Score over all batches since `clear`; NaN without a labelled pixel."""
        return self._score(self.counts.matrix)

    def per_class(self, class_names: Sequence[str] | None = None) -> dict[Any, float]:
        """Score of each class.

        Args:
            class_names: names in the order of the ids; None for the ids themselves.

        Returns:
            Score by class; NaN for a class that has none.

        Raises:
            ValueError: the number of names is not the number of classes.
        """
        names = range(self.num_class) if class_names is None else class_names
        if len(names) != self.num_class:
            raise ValueError(f"{len(names)} class names for {self.num_class} classes")
        values = self._class_score(self.counts.matrix)
        return {name: float(value) for name, value in zip(names, values)}


class PixelAccuracy(SegmentationMetric):
    """Share of the labelled pixels that are correct; per class, the share of its own pixels."""

    _score = staticmethod(confusion.pixel_accuracy)
    _class_score = staticmethod(confusion.class_accuracy)


class PixelAccuracyClass(SegmentationMetric):
    """Mean over the classes of the share of their pixels that are correct."""

    _score = staticmethod(confusion.mean_pixel_accuracy)
    _class_score = staticmethod(confusion.class_accuracy)


class MeanIntersectionOverUnion(SegmentationMetric):
    """Mean over the classes of intersection over union."""

    _score = staticmethod(confusion.mean_iou)


class FrequencyWeightedIntersectionOverUnion(SegmentationMetric):
    """Intersection over union, each class weighted by its share of the labelled pixels."""

    _score = staticmethod(confusion.frequency_weighted_iou)


def segmentation_metrics(num_class: int = NUM_CLASSES) -> dict[str, SegmentationMetric]:
    """The four metrics for `Model(metrics=…)`, sharing one confusion matrix.

    All four must be given the same batches, as `Model.eval` does; clearing one clears all.
    """
    shared = _SharedCounts(num_class)
    return {
        "pixel accuracy": PixelAccuracy(num_class, shared),
        "mean pixel accuracy": PixelAccuracyClass(num_class, shared),
        "mean IoU": MeanIntersectionOverUnion(num_class, shared),
        "frequency weighted IoU": FrequencyWeightedIntersectionOverUnion(num_class, shared),
    }
