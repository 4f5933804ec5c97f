"""The tutorial's four scores as `mindspore.train.Metric` classes over one confusion matrix."""

import numpy as np
from mindspore import Tensor
from mindspore.train import Metric

from . import confusion
from .voc import NUM_CLASSES

__all__ = [
    "FrequencyWeightedIntersectionOverUnion",
    "MeanIntersectionOverUnion",
    "PixelAccuracy",
    "PixelAccuracyClass",
    "segmentation_metrics",
]


class _SharedMatrix:
    """One confusion matrix for several metrics that are all given the same batches.

    `Model.eval` hands every batch to every metric. The first one to see a batch counts it; the
    others only note that they have seen it.
    """

    def __init__(self, num_class: int):
        self.num_class = num_class
        self.clear()

    def clear(self) -> None:
        self.matrix = np.zeros((self.num_class, self.num_class), np.int64)
        self.batches = 0
        self.seen_by = {}

    def update(self, metric: Metric, prediction: np.ndarray, label: np.ndarray) -> None:
        seen = self.seen_by.get(id(metric), 0)
        if seen == self.batches:
            self.matrix += confusion.confusion_matrix(label, prediction, self.num_class)
            self.batches += 1
        self.seen_by[id(metric)] = seen + 1


def _to_numpy(value) -> np.ndarray:
    return value.asnumpy() if isinstance(value, Tensor) else np.asarray(value)


class _SegmentationMetric(Metric):
    """Base of the four scores.

    Args:
        num_class: number of classes.
        shared: confusion matrix of a group of metrics; each has its own without.
    """

    def __init__(self, num_class: int = NUM_CLASSES, shared: _SharedMatrix | None = None):
        super().__init__()
        if shared is not None and shared.num_class != num_class:
            raise ValueError(f"num_class {num_class} differs from the group's {shared.num_class}")
        self.num_class = num_class
        self._shared = shared or _SharedMatrix(num_class)

    @property
    def confusion_matrix(self) -> np.ndarray:
        """int64 array (num_class, num_class); rows are the true classes."""
        return self._shared.matrix.copy()

    def clear(self) -> None:
        """Forgets all batches (of the whole group)."""
        self._shared.clear()

    def update(self, *inputs) -> None:
        """Counts one batch.

        Args:
            *inputs: prediction and label, as Tensors or arrays. The prediction is logits
                (N, C, H, W) or integer class ids (N, H, W), the label integer (N, H, W); other
                numbers of leading axes work alike. Labels outside 0…num_class-1 do not count.

        Raises:
            ValueError: not two inputs, or shapes that do not belong together.
        """
        if len(inputs) != 2:
            raise ValueError(f"update takes prediction and label, not {len(inputs)} inputs")
        prediction, label = (_to_numpy(value) for value in inputs)
        if prediction.ndim == label.ndim + 1:
            if prediction.shape[-3] != self.num_class:
                raise ValueError(
                    f"logits of {prediction.shape[-3]} classes for a metric of {self.num_class}"
                )
            prediction = prediction.argmax(axis=-3)
        self._shared.update(self, prediction, label)

    def eval(self):
        """The score over all batches since `clear`: float, NaN without a labelled pixel."""
        return self._score(self._shared.matrix)

    def per_class(self, class_names=None) -> dict:
        """The score of each class.

        Args:
            class_names: names in the order of the ids; the ids themselves without.

        Returns:
            dict of float; NaN for a class that the score does not exist for.
        """
        names = range(self.num_class) if class_names is None else class_names
        if len(names) != self.num_class:
            raise ValueError(f"{len(names)} class names for {self.num_class} classes")
        values = self._class_score(self._shared.matrix)
        return {name: float(value) for name, value in zip(names, values)}

    _score = None
    _class_score = staticmethod(confusion.class_iou)


class PixelAccuracy(_SegmentationMetric):
    """Share of the labelled pixels that are right; per class, the share of its own pixels."""

    _score = staticmethod(confusion.pixel_accuracy)
    _class_score = staticmethod(confusion.class_accuracy)


class PixelAccuracyClass(_SegmentationMetric):
    """Mean over the classes of the share of their pixels that are right."""

    _score = staticmethod(confusion.mean_pixel_accuracy)
    _class_score = staticmethod(confusion.class_accuracy)


class MeanIntersectionOverUnion(_SegmentationMetric):
    """Mean over the classes of intersection over union."""

    _score = staticmethod(confusion.mean_iou)


class FrequencyWeightedIntersectionOverUnion(_SegmentationMetric):
    """Intersection over union, every class weighted by its share of the labelled pixels."""

    _score = staticmethod(confusion.frequency_weighted_iou)


def segmentation_metrics(num_class: int = NUM_CLASSES) -> dict[str, Metric]:
    """The four metrics for `Model(metrics=…)`, sharing one confusion matrix.

    All four must be given the same batches, as `Model.eval` does; clearing one clears all.
    """
    shared = _SharedMatrix(num_class)
    return {
        "pixel accuracy": PixelAccuracy(num_class, shared),
        "mean pixel accuracy": PixelAccuracyClass(num_class, shared),
        "mean IoU": MeanIntersectionOverUnion(num_class, shared),
        "frequency weighted IoU": FrequencyWeightedIntersectionOverUnion(num_class, shared),
    }
