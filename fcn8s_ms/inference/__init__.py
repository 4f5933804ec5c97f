"""Class ids and probabilities of images of any size, computed by MindSpore or ONNX Runtime."""

from .engine import ENGINES, Engine, engine_for, has_logits, takes_pixels
from .images import read_image
from .predictor import Predictor
from .segmenter import Segmenter
from .view import MAX_BATCH, ViewOptions, add_arguments, options_of

__all__ = [
    "ENGINES",
    "Engine",
    "MAX_BATCH",
    "Predictor",
    "Segmenter",
    "ViewOptions",
    "add_arguments",
    "engine_for",
    "has_logits",
    "options_of",
    "read_image",
    "takes_pixels",
]
