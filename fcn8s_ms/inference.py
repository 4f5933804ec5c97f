"""One predictor for images of any size, used by evaluation, prediction and validation."""

import os
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from . import checkpoint, transforms, voc
from .errors import InputError
from .folding import fold_batch_norm

__all__ = ["PROTOCOL", "Predictor", "Segmenter"]

PROTOCOL = (
    "every image once, whole, at its own size (padded to a multiple of 32, scored without the "
    "padding), one scale, no mirroring"
)
"""How `Predictor` sees an image: belongs beside every score."""


class _ClassIds(nn.Cell):
    """Logits reduced to class ids on the device: one number a pixel leaves it, not n_class."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, x):
        return ops.cast(ops.argmax(self.network(x), 1), ms.int32)


class Predictor:
    """Class ids of images, from a network that wants sides of multiples of 32.

    Args:
        network: `FCN8s` or another Cell from (N, 3, H, W) to logits (N, C, H, W).
        mean: of the channels, BGR, 0…255.
        std: of the channels, BGR.
    """

    def __init__(self, network, mean=voc.IMAGE_MEAN, std=voc.IMAGE_STD):
        self.network = network
        self._table = transforms.normalization_table(mean, std)
        self._forward = _ClassIds(network)
        # Of any size, so that graph mode compiles once and not for every size.
        self._forward.set_inputs(Tensor(shape=[None, 3, None, None], dtype=ms.float32))

    def class_ids(self, batch) -> np.ndarray:
        """Class ids of a normalised batch.

        Args:
            batch: float32 (N, 3, H, W), sides multiples of 32; array or Tensor.

        Returns:
            int32 array (N, H, W).
        """
        was_training = self.network.training
        self._forward.set_train(False)
        ids = self._forward(batch if isinstance(batch, Tensor) else Tensor(batch)).asnumpy()
        self._forward.set_train(was_training)
        return ids

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class ids of one image at its own size.

        Args:
            image: uint8 (H, W, 3), BGR.

        Returns:
            uint8 array (H, W).
        """
        height, width = image.shape[:2]
        batch = transforms.pad_to_multiple(transforms.normalize(image, self._table)[np.newaxis])
        return self.class_ids(batch)[0, :height, :width].astype(np.uint8)


class Segmenter:
    """A trained network with its classes: from a picture to class ids.

    Example:
        >>> segmenter = Segmenter.from_checkpoint("FCN8s.ckpt")
        >>> ids = segmenter("street.jpg")
        >>> [segmenter.classes[i] for i in set(ids.flat)]

    Args:
        network: `FCN8s`.
        classes: class names; VOC's or numbers without.
        palette: RGB of every class; VOC's without.
    """

    def __init__(self, network, classes=None, palette=None):
        n_class = network.n_class
        if classes is None:
            is_voc = n_class == voc.NUM_CLASSES
            classes = voc.CLASSES if is_voc else [f"class {i}" for i in range(n_class)]
        if len(classes) != n_class:
            raise InputError(f"{len(classes)} class names for a network of {n_class} classes")
        self.classes = tuple(classes)
        self.palette = voc.palette()
        if palette is not None:
            self.palette[:n_class] = np.asarray(palette, np.uint8)[:n_class]
        self.predictor = Predictor(network)

    @classmethod
    def from_checkpoint(cls, path) -> "Segmenter":
        """Loads a checkpoint, with the class names beside it if there are any.

        Raises:
            InputError: the file is missing, damaged, or no FCN-8s.
        """
        metadata = checkpoint.read_metadata(path)
        network = fold_batch_norm(checkpoint.load_network(path))
        return cls(network, metadata.get("classes"), metadata.get("palette"))

    def __call__(self, image) -> np.ndarray:
        """Segments one picture.

        Args:
            image: path of an image file, or uint8 array (H, W, 3) in BGR order.

        Returns:
            uint8 array (H, W) of class ids.

        Raises:
            InputError: the file cannot be read, or the array is no BGR image.
        """
        if isinstance(image, (str, os.PathLike)):
            image = read_image(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(
                f"image of shape {image.shape} and type {image.dtype}; give uint8 (H, W, 3), BGR"
            )
        return self.predictor(image)


def read_image(path) -> np.ndarray:
    """Reads an image file: uint8 array (H, W, 3), BGR.

    Raises:
        InputError: the file is missing or no image.
    """
    path = Path(path)
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise InputError(f"image {path.absolute()} cannot be read: {error.strerror}") from error
    return transforms.decode_image(encoded, f"image {path.absolute()}")
