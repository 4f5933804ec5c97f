"""FCN-8s for semantic segmentation on MindSpore.

The public names below are imported when first used, so that importing the package is quick and
modules that need no MindSpore work without it.
"""

import importlib

__version__ = "0.1.0"

_MODULE_OF_NAME = {
    "CLASSES": "voc",
    "CrossEntropyLoss": "loss",
    "FCN16s": "model",
    "FCN32s": "model",
    "FCN8s": "model",
    "FrequencyWeightedIntersectionOverUnion": "metrics",
    "IGNORE_LABEL": "voc",
    "IMAGE_MEAN": "voc",
    "IMAGE_STD": "voc",
    "InputError": "errors",
    "MeanIntersectionOverUnion": "metrics",
    "NUM_CLASSES": "voc",
    "PixelAccuracy": "metrics",
    "PixelAccuracyClass": "metrics",
    "SegDataset": "dataset",
    "Segmenter": "inference",
    "segmentation_metrics": "metrics",
}

__all__ = ["__version__", *_MODULE_OF_NAME]


def __getattr__(name):
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF_NAME[name]}", __name__), name)


def __dir__():
    return sorted(__all__)
