"""The programs as functions, whose keyword arguments are the programs' flags."""

from ..train import Run
from .functions import (
    build_records,
    evaluate_network,
    export_network,
    predict_images,
    train_network,
)

__all__ = [
    "Run",
    "build_records",
    "evaluate_network",
    "export_network",
    "predict_images",
    "train_network",
]
