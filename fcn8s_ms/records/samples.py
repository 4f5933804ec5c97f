"""A row of a record as a sample: image and label, decoded and checked, and its random numbers."""

import inspect
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import transforms
from ..errors import InputError
from ..files import PathLike
from ..images.reader import MAX_PIXELS
from ..transforms import Encoded
from ..voc import IGNORE_LABEL

__all__ = ["accepted", "decode", "generator"]


def decode(
    source: PathLike,
    name: str,
    image: Encoded,
    label: Encoded,
    *,
    num_classes: int,
    ignore_label: int = IGNORE_LABEL,
    max_pixels: int = MAX_PIXELS,
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes image and label of a row, which must fit each other and the classes.

    Args:
        source: record file, for messages.
        name: name of the sample, for messages.
        image: content of an image file.
        label: content of a PNG of class ids.
        num_classes: number of classes.
        ignore_label: the one id that is allowed besides.
        max_pixels: largest number of pixels of an image; 0 for any.

    Returns:
        uint8 array (H, W, 3), BGR, and uint8 array (H, W).

    Raises:
        InputError: one cannot be decoded, they differ in size, or the label holds another id.
    """
    pixels = transforms.decode_image(image, f"{source}: image of {name!r}", max_pixels)
    ids = transforms.decode_label(label, f"{source}: label of {name!r}", max_pixels)
    if pixels.shape[:2] != ids.shape:
        raise InputError(
            f"{source}: image of {name!r} is {pixels.shape[1]}x{pixels.shape[0]}, its "
            f"label {ids.shape[1]}x{ids.shape[0]}; build the records again"
        )
    foreign = ids[(ids >= num_classes) & (ids != ignore_label)]
    if foreign.size:
        raise InputError(
            f"{source}: label of {name!r} holds id {foreign.max()} with "
            f"{num_classes} classes; pass the right --num-classes, or a checkpoint of "
            "as many classes as the record"
        )
    return pixels, ids


def generator(seed: int, epoch: int, name: str) -> np.random.RandomState:
    """Makes the generator of a sample: its numbers follow from seed, epoch and name alone."""
    key = zlib.crc32(name.encode("utf-8"))
    # Of NumPy's bit generators one that starts in 10 us; the Mersenne twister takes 100 us.
    return np.random.RandomState(np.random.PCG64([seed, epoch, key]))


def accepted(function: Callable[..., Any], options: Sequence[str]) -> list[str]:
    """Returns those options that a function takes as keywords, such as an override of a method."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return list(options)
    return [
        name
        for name in options
        if name in parameters and parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY
    ]
