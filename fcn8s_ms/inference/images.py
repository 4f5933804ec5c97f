"""Reads images and converts them to uint8 BGR: files, PIL images and arrays."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

from .. import files
from ..errors import InputError
from ..formats import png

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
        from PIL import Image, ImageOps
    except ImportError:
        raise refusal from None
    if not isinstance(image, Image.Image):
        raise refusal
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # convert would clip it
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def read_image(path: files.PathLike) -> np.ndarray:
    """Reads an image file, turned upright as its Exif says: uint8 array (H, W, 3), BGR.

    Raises:
        InputError: the file is missing, not an image, or cut short.
    """
    path = Path(path).absolute()
    encoded = files.read_bytes(path)
    _check_whole(encoded, path)
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"image {path} cannot be decoded: {error.err}") from error
    if pixels is None:
        raise InputError(
            f"image {path} cannot be decoded ({len(encoded):,} bytes): it is damaged or of a "
            "format that OpenCV does not read; save it again, as JPEG or PNG"
        )
    return pixels


def _check_whole(encoded: bytes, path: Path) -> None:
    """Refuses a file that ends early: OpenCV would fill the missing part with gray."""
    remedy = "fetch or copy it again"
    if not encoded:
        raise InputError(f"image {path} is empty; {remedy}")
    # The pixels of a JPEG contain no end mark, and follow the last start-of-scan mark.
    if encoded.startswith(b"\xff\xd8") and encoded.rfind(b"\xff\xd9") < encoded.rfind(b"\xff\xda"):
        raise InputError(f"image {path} is cut short ({len(encoded):,} bytes); {remedy}")
    if encoded.startswith(png.SIGNATURE):
        try:
            for _ in png.chunks(encoded):
                pass
        except ValueError as error:
            raise InputError(f"image {path} is damaged ({error}); {remedy}") from error
