"""FCN-8s for semantic segmentation on MindSpore.

The tutorial's classes, all that a training loop of one's own needs:

- `FCN8s`, `FCN16s`, `FCN32s`: the networks of the paper;
- `SegDataset`: training crops, or whole images, from a MindRecord file;
- `CrossEntropyLoss`: mean over the labelled pixels;
- `PixelAccuracy`, `PixelAccuracyClass`, `MeanIntersectionOverUnion`,
  `FrequencyWeightedIntersectionOverUnion`: the four scores as metrics of `mindspore.train.Model`;
  `segmentation_metrics(num_classes)` makes all four over one confusion matrix;
- `CLASSES`: names of PASCAL VOC's 21 classes, by class id; `NUM_CLASSES`: their number;
- `IGNORE_LABEL`: 255, the label of pixels that neither train nor score;
- `IMAGE_MEAN`, `IMAGE_STD`: mean and standard deviation to normalise by, BGR, on the scale 0…255.

For trained checkpoints, and for errors:

- `Segmenter`: from an image to class ids, `Segmenter.from_checkpoint(path)(image)`;
- `InputError`: raised for bad input; the message names the file or argument and the remedy.

The programs `build`, `train`, `eval`, `predict` and `export` are modules of the package:
`python -m fcn8s_ms.train --help`, or `fcn8s-ms train --help`. As functions, with their flags as
keyword arguments, such as `crop_size=512`:

- `build_records`: images and masks to a record;
- `train_network`: trains, `train_network(data=record, epochs=20).checkpoint`;
- `evaluate_network`: scores on a record, as a dict;
- `predict_images`: masks and overlays of picture files in a folder;
- `export_network`: an ONNX, MINDIR or AIR file.

The public names are imported when first used, so that importing the package is quick and modules
that need no MindSpore work without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import build_records as build_records
    from .api import evaluate_network as evaluate_network
    from .api import export_network as export_network
    from .api import predict_images as predict_images
    from .api import train_network as train_network
    from .dataset import SegDataset as SegDataset
    from .errors import InputError as InputError
    from .inference import Segmenter as Segmenter
    from .loss import CrossEntropyLoss as CrossEntropyLoss
    from .metrics import (
        FrequencyWeightedIntersectionOverUnion as FrequencyWeightedIntersectionOverUnion,
    )
    from .metrics import MeanIntersectionOverUnion as MeanIntersectionOverUnion
    from .metrics import PixelAccuracy as PixelAccuracy
    from .metrics import PixelAccuracyClass as PixelAccuracyClass
    from .metrics import segmentation_metrics as segmentation_metrics
    from .model import FCN8s as FCN8s
    from .model import FCN16s as FCN16s
    from .model import FCN32s as FCN32s
    from .voc import CLASSES as CLASSES
    from .voc import IGNORE_LABEL as IGNORE_LABEL
    from .voc import IMAGE_MEAN as IMAGE_MEAN
    from .voc import IMAGE_STD as IMAGE_STD
    from .voc import NUM_CLASSES as NUM_CLASSES

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
    "build_records": "api",
    "evaluate_network": "api",
    "export_network": "api",
    "predict_images": "api",
    "segmentation_metrics": "metrics",
    "train_network": "api",
}

__all__ = ["__version__", *_MODULE_OF_NAME]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF_NAME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
