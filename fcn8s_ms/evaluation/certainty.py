"""Whether a network knows how certain it can be: the calibration of its probabilities."""

from typing import Any

import numpy as np

from ..confusion import ConfusionMatrix
from .predictions import Prediction

__all__ = ["BINS", "Certainty"]

BINS = 15
"""Intervals of certainty. Source: Guo et al., https://arxiv.org/abs/1706.04599, section 5."""

_LEAST_CERTAIN = 0.1
_KINDS = (0x3F80_0000 >> 16) + 1  # the upper halves of float32 numbers from 0 to 1


class Certainty:
    """Counts how often predictions of each certainty are right.

    The certainty of a pixel is the largest of its probabilities.

    Attributes:
        pixels: int64 (BINS,), labelled pixels by certainty, in intervals of equal width.
        correct: int64 (BINS,), those of them that are predicted correctly.
        total: float64 (BINS,), sums of their certainties.
        latest: mean certainty of the labelled pixels of the image added last; NaN for none.
    """

    def __init__(self) -> None:
        self.pixels = np.zeros(BINS, np.int64)
        self.correct = np.zeros(BINS, np.int64)
        self.total = np.zeros(BINS)
        self.latest = float("nan")
        # By the doubt, 1 - certainty, in steps of less than a hundredth of it: pixels and errors.
        self._by_doubt = np.zeros((2, _KINDS), np.int64)

    def add(self, prediction: Prediction, counts: ConfusionMatrix) -> None:
        """Counts one image, whose prediction has a certainty.

        Args:
            prediction: prediction for the image.
            counts: its confusion matrix.
        """
        assert prediction.certainty is not None
        labelled = prediction.label < counts.num_class
        certainty = np.clip(prediction.certainty[labelled], 0, 1)
        correct = prediction.label[labelled] == prediction.ids[labelled]
        self.latest = float(certainty.mean()) if certainty.size else float("nan")
        place = np.minimum((certainty * BINS).astype(np.int64), BINS - 1)
        self.pixels += np.bincount(place, minlength=BINS)
        self.correct += np.bincount(place[correct], minlength=BINS)
        self.total += np.bincount(place, certainty, minlength=BINS)
        doubt = (np.float32(1) - certainty).astype(np.float32).view(np.uint32) >> 16
        self._by_doubt[0] += np.bincount(doubt, minlength=_KINDS)
        self._by_doubt[1] += np.bincount(doubt[~correct], minlength=_KINDS)

    def expected_error(self) -> float:
        """Expected calibration error: mean distance of accuracy and certainty; NaN without pixels.

        Source: as `BINS`, equation 3.
        """
        pixels = self.pixels.sum()
        if not pixels:
            return float("nan")
        return float(np.abs(self.correct - self.total).sum() / pixels)

    def errors_of_least_certain(self) -> float:
        """Share of all errors among the least certain tenth of the pixels; NaN without errors.

        Where pixels of about the same certainty straddle the tenth, their errors count in
        proportion.
        """
        pixels, errors = self._by_doubt[:, ::-1]
        if not errors.sum():
            return float("nan")
        sought = _LEAST_CERTAIN * pixels.sum()
        seen = np.concatenate([[0], np.cumsum(pixels)])
        found = np.interp(sought, seen, np.concatenate([[0], np.cumsum(errors)]))
        return float(found / errors.sum())

    def scores(self) -> dict[str, float]:
        """The two scores under their names in a report."""
        return {
            "calibration error": self.expected_error(),
            "errors in doubtful tenth": self.errors_of_least_certain(),
        }

    def bins(self) -> list[dict[str, Any]]:
        """The intervals: `least` and `most` certainty, `pixels`, mean `certainty`, `accuracy`.

        Those without pixels are left out.
        """
        return [
            {
                "least": number / BINS,
                "most": (number + 1) / BINS,
                "pixels": int(self.pixels[number]),
                "certainty": float(self.total[number] / self.pixels[number]),
                "accuracy": float(self.correct[number] / self.pixels[number]),
            }
            for number in np.flatnonzero(self.pixels)
        ]
