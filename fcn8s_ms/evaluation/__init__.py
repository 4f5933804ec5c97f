"""Scores of a network, or of masks made by anything, on a record."""

from .boundaries import RATIO, Boundaries
from .certainty import Certainty
from .per_image import PerImage
from .predictions import (
    Prediction,
    SavedMasks,
    predict_dataset,
    predict_first,
    read_predictions,
    spread_samples,
    whole_images,
)
from .robustness import Corruption, corruptions, count_corrupted, score_corrupted
from .scoring import Best, Counter, Trimap, Worst, count, evaluate_dataset, scores

__all__ = [
    "RATIO",
    "Best",
    "Boundaries",
    "Certainty",
    "Corruption",
    "Counter",
    "PerImage",
    "Prediction",
    "SavedMasks",
    "Trimap",
    "Worst",
    "corruptions",
    "count",
    "count_corrupted",
    "evaluate_dataset",
    "predict_dataset",
    "predict_first",
    "read_predictions",
    "score_corrupted",
    "scores",
    "spread_samples",
    "whole_images",
]
