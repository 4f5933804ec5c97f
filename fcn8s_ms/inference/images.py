"""Images as they come: files, PIL images and arrays, made uint8 BGR."""

import os
from pathlib import Path

import cv2
import numpy as np

from .. import files, png
from ..errors import InputError

__all__ = ["as_bgr", "read_image"]


def as_bgr(image, order: str) -> np.ndarray:
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


def _pil_pixels(image) -> np.ndarray:
    # Pillow only for who has such an image: a machine that predicts files does without.
    try:
        from PIL import Image, ImageOps
    except ImportError:
        Image = None
    if Image is None or not isinstance(image, Image.Image):
        raise InputError(
            f"{type(image).__name__} is no image; give a path, an array or a PIL image"
        )
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # convert would clip it
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def read_image(path) -> np.ndarray:
    """Reads an image file, upright as its Exif says: uint8 array (H, W, 3), BGR.

    Raises:
        InputError: the file is missing, no image, or cut short.
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
            "format that OpenCV does not read; save it anew, as JPEG or PNG"
        )
    return pixels


def _check_whole(encoded: bytes, path: Path) -> None:
    """Refuses a file that ends early, of which OpenCV makes a picture with a gray rest."""
    remedy = "fetch or copy it again"
    if not encoded:
        raise InputError(f"image {path} is empty; {remedy}")
    # The pixels of a JPEG hold no end mark, and follow the last start-of-scan mark.
    if encoded.startswith(b"\xff\xd8") and encoded.rfind(b"\xff\xd9") < encoded.rfind(b"\xff\xda"):
        raise InputError(f"image {path} is cut short ({len(encoded):,} bytes); {remedy}")
    if encoded.startswith(png.SIGNATURE):
        try:
            for _ in png.chunks(encoded):
                pass
        except ValueError as error:
            raise InputError(f"image {path} is damaged ({error}); {remedy}") from error
