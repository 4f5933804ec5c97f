"""Scores of every image on its own, as a table."""

import csv
import io
import math
import time
from typing import Any

import numpy as np

from .. import confusion
from ..confusion import ConfusionMatrix
from .boundaries import Boundaries
from .certainty import Certainty
from .predictions import Prediction

__all__ = ["PerImage"]


class PerImage:
    """Keeps the scores of each image.

    Args:
        boundaries: gets each image first; None for no boundary IoU.
        certainty: gets each image first; None for no mean certainty.

    Attributes:
        rows: a dict for each image, in the order they came: `image`, `width`, `height`, labelled
            `pixels`, the four scores, `mean boundary IoU` and `mean certainty` if asked for, and
            the `seconds` since the image before: reading, network and scores.
        counts: a dict for each image: `image`, and `counts`, a list for each of its classes: the
            class id, and its correct, labelled and predicted pixels.
    """

    def __init__(self, boundaries: Boundaries | None = None, certainty: Certainty | None = None):
        self.rows: list[dict[str, Any]] = []
        self.counts: list[dict[str, Any]] = []
        self._boundaries, self._certainty = boundaries, certainty
        self._last = time.perf_counter()

    def add(self, prediction: Prediction, counts: ConfusionMatrix) -> None:
        """Adds the row of one image.

        Args:
            prediction: prediction for the image.
            counts: its confusion matrix.
        """
        pixels = confusion.class_counts(counts.matrix).T
        present = np.flatnonzero(pixels.any(axis=1))
        self.counts.append(
            {"image": prediction.name, "counts": [[int(k), *pixels[k].tolist()] for k in present]}
        )
        height, width = prediction.label.shape
        row: dict[str, Any] = {
            "image": prediction.name,
            "width": width,
            "height": height,
            "pixels": int(pixels[:, 1].sum()),
            **counts.scores(),
        }
        if self._boundaries is not None:
            row["mean boundary IoU"] = confusion.mean(
                confusion.iou_of_counts(self._boundaries.latest)
            )
        if self._certainty is not None:
            row["mean certainty"] = self._certainty.latest
        now = time.perf_counter()
        row["seconds"] = now - self._last
        self._last = now
        self.rows.append(row)

    def csv_text(self) -> str:
        """The table as CSV, in full precision; an empty cell for a score that does not exist."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self.rows:
            writer.writerow(self.rows[0])
        for row in self.rows:
            writer.writerow(
                "" if isinstance(one, float) and math.isnan(one) else one for one in row.values()
            )
        return text.getvalue()
