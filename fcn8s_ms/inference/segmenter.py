"""A trained network with its classes: from a file to class ids of a picture."""

import numpy as np

from .. import voc
from ..errors import InputError
from .engine import engine_for
from .images import as_bgr
from .predictor import Predictor

__all__ = ["Segmenter"]


class Segmenter:
    """A trained network with its classes: from a picture to class ids.

    Example:
        >>> segmenter = Segmenter.from_checkpoint("FCN8s.ckpt")
        >>> ids = segmenter("street.jpg")
        >>> [segmenter.classes[i] for i in set(ids.flat)]

    Args:
        engine: as for `Predictor`.
        classes: class names; VOC's or numbers without.
        palette: RGB of every class; VOC's without.
        options: `mean`, `std`, `resize`, `scales`, `flip` and `sliding` of `Predictor`.

    Attributes:
        classes: tuple of class names; the position is the class id.
        palette: uint8 (256, 3), RGB.
        predictor: `Predictor`.
    """

    def __init__(self, engine, classes=None, palette=None, **options):
        n_class = engine.n_class
        if classes is None:
            is_voc = n_class == voc.NUM_CLASSES
            classes = voc.CLASSES if is_voc else [f"class {i}" for i in range(n_class)]
        if len(classes) != n_class:
            raise InputError(f"{len(classes)} class names for a network of {n_class} classes")
        self.classes = tuple(classes)
        self.palette = voc.palette()
        if palette is not None:
            self.palette[:n_class] = np.asarray(palette, np.uint8)[:n_class]
        self.predictor = Predictor(engine, **options)

    @classmethod
    def from_checkpoint(
        cls, path, *, engine: str | None = None, device: str = "auto", **options
    ) -> "Segmenter":
        """Loads a checkpoint or an exported ONNX file, with the class names beside or inside.

        Args:
            path: of the file.
            engine: of `ENGINES`; None for the one that reads such a file. ONNX Runtime needs no
                MindSpore, nor anything else but NumPy and OpenCV.
            device: 'CPU', 'GPU', 'Ascend' or 'auto', for ONNX Runtime; MindSpore's is set by
                `fcn8s_ms.device.configure`.
            options: as for `Segmenter`.

        Raises:
            InputError: the file is missing, damaged, of another kind or no FCN, the engine is not
                installed, or an option is out of range.
        """
        if engine_for(path, engine) == "onnx":
            from .onnx_engine import OnnxEngine

            network = OnnxEngine(path, device)
            for name in ("mean", "std"):
                options.setdefault(name, network.metadata[name])
            return cls(network, network.metadata["classes"], network.metadata["palette"], **options)
        # MindSpore: only who needs it pays for it.
        from .. import checkpoint
        from ..network.batch_norm import fold_batch_norm
        from .mindspore_engine import MindSporeEngine

        metadata = checkpoint.read_metadata(path)
        engine = MindSporeEngine(fold_batch_norm(checkpoint.load_network(path)))
        return cls(engine, metadata.get("classes"), metadata.get("palette"), **options)

    def __call__(self, image, order: str = "BGR") -> np.ndarray:
        """Class ids of one picture at its own size.

        Args:
            image: path of an image file, PIL image, or uint8 array (H, W, 3). Of files and PIL
                images, Exif's orientation turns the picture upright first.
            order: of an array's channels: 'BGR', as OpenCV reads files, or 'RGB'.

        Returns:
            uint8 array (H, W).

        Raises:
            InputError: the file cannot be read, or the array is no such image.
        """
        return self.predictor(as_bgr(image, order))

    def probabilities(self, image, order: str = "BGR") -> np.ndarray:
        """Probability of every class in every pixel: float32 (len(classes), H, W).

        Arguments and errors as for `__call__`.
        """
        return self.predictor.probabilities(as_bgr(image, order))
