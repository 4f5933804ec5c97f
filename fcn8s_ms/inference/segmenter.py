"""A trained network with its classes: from an image to class ids."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import files, voc
from ..errors import InputError
from .engine import Engine, engine_for
from .images import ImageLike, as_bgr
from .predictor import Predictor

__all__ = ["Segmenter"]


class Segmenter:
    """A trained network with its classes: from an image to class ids.

    Example:
        >>> segmenter = Segmenter.from_checkpoint("FCN8s.ckpt")
        >>> ids = segmenter("street.jpg")
        >>> [segmenter.classes[i] for i in set(ids.flat)]

    Args:
        engine: computes the network.
        classes: class names; None for VOC's if there are 21 classes, else for numbers.
        palette: RGB of every class, 0…255; None for VOC's.
        options: arguments of `Predictor`: `mean`, `std`, `resize`, `scales`, `flip`, `sliding`.

    Attributes:
        classes: class names; the position is the class id.
        palette: uint8 (256, 3), RGB.
        predictor: computes the images.

    Raises:
        InputError: there are more or fewer names than classes, or an option is out of range.
    """

    def __init__(
        self,
        engine: Engine,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
        **options: Any,
    ):
        n_class = engine.n_class
        self.classes = voc.class_names(n_class) if classes is None else tuple(classes)
        if len(self.classes) != n_class:
            raise InputError(f"{len(self.classes)} class names for a network of {n_class} classes")
        self.palette = voc.palette()
        if palette is not None:
            self.palette[:n_class] = np.asarray(palette, np.uint8)[:n_class]
        self.predictor = Predictor(engine, **options)

    @classmethod
    def from_checkpoint(
        cls,
        path: files.PathLike,
        *,
        engine: str | None = None,
        device: str = "auto",
        **options: Any,
    ) -> "Segmenter":
        """Loads a checkpoint or an exported ONNX file, and the names and colours of its classes.

        Args:
            path: the file. Names and colours are in the JSON next to a checkpoint, or inside an
                ONNX file.
            engine: one of `ENGINES`; None for the one that reads such a file. ONNX Runtime needs
                neither MindSpore nor anything else but NumPy and OpenCV.
            device: 'CPU', 'GPU', 'Ascend' or 'auto', for ONNX Runtime; MindSpore's is set by
                `fcn8s_ms.device.configure`.
            options: as for `Segmenter`.

        Raises:
            InputError: the file is missing, damaged, of another kind or not an FCN, the engine is
                not installed, or an option is out of range.
        """
        if engine_for(path, engine) == "onnx":
            return cls._from_onnx(path, device, options)
        return cls._from_mindspore(path, options)

    @classmethod
    def _from_onnx(cls, path: files.PathLike, device: str, options: dict[str, Any]) -> "Segmenter":
        from .onnx_engine import OnnxEngine

        engine = OnnxEngine(path, device)
        metadata = engine.metadata
        options = {"mean": metadata["mean"], "std": metadata["std"], **options}
        return cls(engine, metadata["classes"], metadata["palette"], **options)

    @classmethod
    def _from_mindspore(cls, path: files.PathLike, options: dict[str, Any]) -> "Segmenter":
        # MindSpore is loaded only for those who need it.
        from .. import checkpoint
        from ..network.batch_norm import fold_batch_norm
        from .mindspore_engine import MindSporeEngine

        metadata = checkpoint.read_metadata(path)
        engine = MindSporeEngine(fold_batch_norm(checkpoint.load_network(path)), path)
        return cls(engine, metadata.get("classes"), metadata.get("palette"), **options)

    def __call__(self, image: ImageLike, order: str = "BGR") -> np.ndarray:
        """Class ids of one image at its own size.

        Args:
            image: path of an image file, PIL image, or uint8 array (H, W, 3). Files and PIL images
                are first turned upright as Exif says.
            order: channel order of an array: 'BGR', as OpenCV reads files, or 'RGB'.

        Returns:
            uint8 array (H, W).

        Raises:
            InputError: the file cannot be read, or the array is not such an image.
        """
        return self.predictor(as_bgr(image, order))

    def probabilities(self, image: ImageLike, order: str = "BGR") -> np.ndarray:
        """Probabilities of all classes for every pixel: float32 (len(classes), H, W).

        Arguments and errors as for `__call__`.
        """
        return self.predictor.probabilities(as_bgr(image, order))
