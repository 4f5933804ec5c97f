"""Scores of a network, or of masks made by anything, on a record."""

from .boundaries import RATIO, Boundaries
from .certainty import Certainty
from .per_image import PerImage
from .predictions import (
    Prediction,
    predict_dataset,
    predict_first,
    read_predictions,
    whole_images,
)
from .scoring import Counter, Trimap, Worst, count, evaluate_dataset, scores

__all__ = [
    "RATIO",
    "Boundaries",
    "Certainty",
    "Counter",
    "PerImage",
    "Prediction",
    "Trimap",
    "Worst",
    "count",
    "evaluate_dataset",
    "predict_dataset",
    "predict_first",
    "read_predictions",
    "scores",
    "whole_images",
]
