"""Scores of a network, or of masks made by anything, on a record."""

from .predictions import (
    Prediction,
    predict_dataset,
    predict_first,
    read_predictions,
    tutorial_crops,
    whole_images,
)
from .scoring import Counts, Worst, count, count_crops, evaluate_dataset, scores

__all__ = [
    "Counts",
    "Prediction",
    "Worst",
    "count",
    "count_crops",
    "evaluate_dataset",
    "predict_dataset",
    "predict_first",
    "read_predictions",
    "scores",
    "tutorial_crops",
    "whole_images",
]
