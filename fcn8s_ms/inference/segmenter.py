"""A trained network with its classes: from an image to class ids."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, overload

import numpy as np

from .. import files, voc
from ..errors import InputError, listing
from ..formats import checkpoints
from ..visualize import default_palette
from .engine import Engine, engine_for
from .images import ImageLike, as_bgr
from .polygons import TOLERANCE, Shape, check_tolerance, shapes_of
from .predictor import Predictor
from .view import trained_resize

__all__ = ["Segmenter"]

logger = logging.getLogger(__name__)

_Images: TypeAlias = "list[Any] | tuple[Any, ...]"  # of ImageLike; list[ImageLike] is not list[str]

_CLASSES_SHOWN = 5  # by `repr`


class Segmenter:
    """A trained network with its classes: from an image to class ids.

    Example:
        >>> segmenter = Segmenter.from_checkpoint("FCN8s.ckpt")
        >>> ids = segmenter("street.jpg")
        >>> [segmenter.classes[i] for i in set(ids.flat)]
        >>> one, other = segmenter(["street.jpg", "dog.jpg"])
        >>> picture = segmenter.overlay("street.jpg")

    Args:
        engine: computes the network.
        classes: class names; None for VOC's if there are 21 classes, else for numbers.
        palette: RGB of every class, 0…255; None for VOC's, or for other classes the default.
        path: file that the network was loaded from, for `repr`; None for a network in memory.
        resize_of_training: `resize` that shows images as the training saw them; None for their own
            size.
        options: arguments of `Predictor`: `mean`, `std`, `resize`, `scales`, `flip`, `sliding`.

    Attributes:
        classes: class names; the position is the class id.
        palette: uint8 (256, 3), RGB.
        resize_of_training: as given.
        predictor: computes the images.

    Raises:
        InputError: there are more or fewer names than classes, or an option is out of range.
    """

    def __init__(
        self,
        engine: Engine,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
        *,
        path: files.PathLike | None = None,
        resize_of_training: str | None = None,
        **options: Any,
    ):
        n_class = engine.n_class
        self.classes = voc.class_names(n_class) if classes is None else tuple(classes)
        if len(self.classes) != n_class:
            raise InputError(f"{len(self.classes)} class names for a network of {n_class} classes")
        self.palette = default_palette(self.classes)
        if palette is not None:
            self.palette[:n_class] = np.asarray(palette, np.uint8)[:n_class]
        self.resize_of_training = resize_of_training
        self.predictor = Predictor(engine, **options)
        self._path = path

    def __repr__(self) -> str:
        """File, classes, engine, and the options that are not the default."""
        source = "" if self._path is None else f" of {self._path}"
        names = listing(self.classes, _CLASSES_SHOWN)
        view = self.predictor.view
        defaults = type(view)()
        options = [
            f"; {name}={value}"
            for name, value in vars(view).items()
            if value != getattr(defaults, name)
        ]
        return (
            f"<Segmenter{source}: {len(self.classes)} classes ({names}); "
            f"{self.predictor.engine.name}{''.join(options)}>"
        )

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
            path: the file, or the folder of a run, of which the best checkpoint is taken. Names and
                colours are in the JSON next to a checkpoint, or inside an ONNX file.
            engine: one of `ENGINES`; None for the one that reads such a file. ONNX Runtime needs
                neither MindSpore nor anything else but NumPy and OpenCV.
            device: 'CPU', 'GPU', 'Ascend' or 'auto', for ONNX Runtime; MindSpore's is set by
                `fcn8s_ms.device.configure`.
            options: as for `Segmenter`.

        Raises:
            InputError: the file is missing, damaged, of another kind or not an FCN, the engine is
                not installed, or an option is out of range.
        """
        path = checkpoints.chosen(path)
        if engine_for(path, engine) == "onnx":
            found = cls._from_onnx(path, device, options)
        else:
            found = cls._from_mindspore(path, options)
        resize = found.resize_of_training
        if resize is not None and found.predictor.view.resize is None:
            logger.warning(
                "%s was trained on images squeezed to %s; eval and predict show it such images "
                "with --resize %s",
                path,
                resize,
                resize,
            )
        return found

    @classmethod
    def _from_onnx(cls, path: files.PathLike, device: str, options: dict[str, Any]) -> "Segmenter":
        from .onnx_engine import OnnxEngine

        engine = OnnxEngine(path, device)
        metadata = engine.metadata
        options = {
            "mean": metadata["mean"],
            "std": metadata["std"],
            "resize_of_training": metadata.get("resize_of_training"),
            **options,
        }
        return cls(engine, metadata["classes"], metadata["palette"], path=path, **options)

    @classmethod
    def _from_mindspore(cls, path: files.PathLike, options: dict[str, Any]) -> "Segmenter":
        # MindSpore is loaded only for those who need it.
        from .. import checkpoint
        from ..network.batch_norm import fold_batch_norm
        from .mindspore_engine import MindSporeEngine

        metadata = checkpoint.read_metadata(path)
        engine = MindSporeEngine(fold_batch_norm(checkpoint.load_network(path)), path)
        options = {"resize_of_training": trained_resize(metadata.get("arguments") or {}), **options}
        return cls(engine, metadata.get("classes"), metadata.get("palette"), path=path, **options)

    @overload
    def __call__(self, image: "_Images", order: str = "BGR") -> list[np.ndarray]: ...

    @overload
    def __call__(self, image: ImageLike, order: str = "BGR") -> np.ndarray: ...

    def __call__(
        self, image: "ImageLike | _Images", order: str = "BGR"
    ) -> np.ndarray | list[np.ndarray]:
        """Class ids of an image at its own size, or of each image of a list.

        Args:
            image: path of an image file, PIL image, or uint8 array (H, W, 3); or a list of these,
                which are read one after the other. Files and PIL images are first turned upright
                as Exif says.
            order: channel order of arrays: 'BGR', as OpenCV reads files, or 'RGB'.

        Returns:
            uint8 array (H, W); of a list a list of them, in its order.

        Raises:
            InputError: a file cannot be read, or an array is not such an image.
        """
        return self._of_each(self.predictor, image, order)

    @overload
    def probabilities(self, image: "_Images", order: str = "BGR") -> list[np.ndarray]: ...

    @overload
    def probabilities(self, image: ImageLike, order: str = "BGR") -> np.ndarray: ...

    def probabilities(
        self, image: "ImageLike | _Images", order: str = "BGR"
    ) -> np.ndarray | list[np.ndarray]:
        """Probabilities of all classes for every pixel: float32 (len(classes), H, W).

        Arguments and errors as for `__call__`; of a list a list.
        """
        return self._of_each(self.predictor.probabilities, image, order)

    def certainty(self, image: ImageLike, order: str = "BGR") -> tuple[np.ndarray, np.ndarray]:
        """Class ids of an image, and how certain they are.

        Args:
            image: as for `__call__`, but not a list.
            order: as for `__call__`.

        Returns:
            uint8 (H, W), and the probability of that class, float32 (H, W).

        Raises:
            InputError: as for `__call__`, or the network computes class ids only.
        """
        found = self.predictor.many_with_certainty([(None, as_bgr(image, order))])
        (_, (ids, certainty)), *_ = found
        return ids, certainty

    def polygons(
        self, image: ImageLike, tolerance: float = TOLERANCE, order: str = "BGR"
    ) -> list[Shape]:
        """Outlines of the regions of an image, the largest first.

        Args:
            image: as for `__call__`, but not a list.
            tolerance: how far a simplified outline may lie from the pixels' edges, in pixels.
            order: as for `__call__`.

        Returns:
            One `inference.polygons.Shape` for each region of each class, the background included;
            `label` is the class id.

        Raises:
            InputError: the tolerance is out of range; or as for `__call__`.
        """
        check_tolerance(tolerance)
        return shapes_of(self.predictor(as_bgr(image, order)), tolerance)

    def overlay(
        self, image: ImageLike, alpha: float = 0.5, order: str = "BGR", *, legend: bool = True
    ) -> np.ndarray:
        """The image with its classes drawn over it, as `fcn8s-ms predict` writes it.

        A class named `background`, `void` or `unlabelled` gets no colour.

        Args:
            image: as for `__call__`, but not a list.
            alpha: opacity of the colours: 0 shows the image alone, 1 the colours alone.
            order: as for `__call__`.
            legend: name the classes that are present.

        Returns:
            uint8 array (H, W, 3), RGB: for `plt.imshow` or `PIL.Image.fromarray`. That of a small
            image is larger, with the legend beside it.

        Raises:
            InputError: `alpha` is out of range; or as for `__call__`.
        """
        from ..visualize import background_id, draw_legend, overlay

        if not 0 <= alpha <= 1:
            raise InputError(f"alpha is {alpha}; choose 0…1")
        pixels = as_bgr(image, order)
        ids = self.predictor(pixels)
        picture = overlay(pixels, ids, self.palette, alpha, background_id(self.classes))
        return draw_legend(picture, ids, self.classes, self.palette) if legend else picture

    @staticmethod
    def _of_each(
        compute: Callable[[np.ndarray], np.ndarray],
        image: "ImageLike | _Images",
        order: str,
    ) -> np.ndarray | list[np.ndarray]:
        if not isinstance(image, (list, tuple)):
            return compute(as_bgr(image, order))
        return [compute(pixels) for pixels in _each_as_bgr(image, order)]


def _each_as_bgr(images: Sequence[ImageLike], order: str) -> Iterator[np.ndarray]:
    """Images of a list one by one; an error says which one it is."""
    for place, image in enumerate(images):
        try:
            yield as_bgr(image, order)
        except InputError as error:
            raise InputError(f"image {place} of the list: {error}") from None
