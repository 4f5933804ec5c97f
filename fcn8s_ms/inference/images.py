"""Reads images and converts them to uint8 BGR: files, PIL images and arrays."""

import os
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import files
from ..errors import InputError
from ..images.header import exif_orientation
from ..images.reader import MAX_PIXELS, open_file, upright

if TYPE_CHECKING:  # for those who have such images: prediction of files does without Pillow
    from PIL import Image

__all__ = ["ImageLike", "as_bgr", "read_image"]

ImageLike: TypeAlias = "files.PathLike | np.ndarray | Image.Image"
"""An image as callers give it."""


def as_bgr(image: ImageLike, order: str) -> np.ndarray:
    """Converts an image to uint8 (H, W, 3), BGR.

    Args:
        image: path of an image file, PIL image, or uint8 array (H, W, 3).
        order: channel order of an array: 'BGR' or 'RGB'.

    Raises:
        InputError: the order is unknown, the file cannot be read, or the image is of another kind.
    """
    if order not in ("BGR", "RGB"):
        raise InputError(f"channel order {order!r} is unknown; choose 'BGR' or 'RGB'")
    if isinstance(image, (str, os.PathLike)):
        return read_image(image)
    if not isinstance(image, np.ndarray):
        image, order = _pil_pixels(image), "RGB"
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"image of shape {image.shape} and type {image.dtype}; give uint8 (H, W, 3), {order}"
        )
    return np.ascontiguousarray(image[..., ::-1]) if order == "RGB" else image


def _pil_pixels(image: Any) -> np.ndarray:
    refusal = InputError(
        f"{type(image).__name__} is not an image; give a path, an array or a PIL image"
    )
    try:
        from PIL import Image
    except ImportError:
        raise refusal from None
    if not isinstance(image, Image.Image):
        raise refusal
    image.load()  # turns a TIFF
    orientation = exif_orientation(image.info.get("exif") or b"")
    if image.mode.startswith("I;16"):  # convert would clip it
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return upright(np.asarray(image.convert("RGB")), orientation)


def read_image(path: files.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image file, turned upright as its Exif says: uint8 array (H, W, 3), BGR.

    Args:
        path: the file.
        max_pixels: largest number of pixels; 0 for any.

    Raises:
        InputError: the file is missing, not an image, cut short, or too large.
    """
    return open_file(path, max_pixels).pixels()
