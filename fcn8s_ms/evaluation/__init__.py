"""Scores of a network, or of masks made by anything, on a record."""

from .predictions import (
    Prediction,
    predict_dataset,
    predict_first,
    read_predictions,
    whole_images,
)
from .scoring import Trimap, Worst, count, evaluate_dataset, scores

__all__ = [
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
