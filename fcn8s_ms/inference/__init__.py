"""From an image of any size to class ids and probabilities, computed by MindSpore or ONNX Runtime."""

from .images import read_image
from .options import ENGINES, add_arguments, options_of
from .predictor import Predictor
from .segmenter import Segmenter, engine_for

__all__ = [
    "ENGINES",
    "Predictor",
    "Segmenter",
    "add_arguments",
    "engine_for",
    "options_of",
    "read_image",
]
