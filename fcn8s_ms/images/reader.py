"""The reader of image files that conversion, training and prediction share.

Pixels are turned upright as the Exif orientation says, here and nowhere else: OpenCV decodes
without turning, and Pillow gets files that it does not turn.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import files
from ..errors import InputError
from ..options import ArgumentContainer
from . import header
from .header import Header

__all__ = [
    "FLAG",
    "ImageFile",
    "MAX_PIXELS",
    "add_arguments",
    "check_max_pixels",
    "check_pixels",
    "decode",
    "open_file",
    "upright",
]

MAX_PIXELS = 100_000_000
"""Largest number of pixels of an image or mask that is read, if the caller does not choose one."""


FLAG: dict[str, Any] = {
    "metavar": "N",
    "help": "Refuse an image whose header announces more pixels, before memory is asked for; 0 "
    "takes any (default: %(default)s).",
}
"""Arguments of `add_argument` for the flag `--max-pixels`."""


def add_arguments(parser: ArgumentContainer) -> None:
    """Adds the flag `--max-pixels` to a parser or group."""
    parser.add_argument("--max-pixels", type=int, default=MAX_PIXELS, **FLAG)


def check_max_pixels(max_pixels: int) -> None:
    """Raises InputError for a limit that is negative."""
    if max_pixels < 0:
        raise InputError(f"--max-pixels is {max_pixels}; take 0 for no limit, or a positive number")


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns pixels as an Exif orientation says.

    Args:
        pixels: array (H, W) or (H, W, C).
        orientation: 1…8.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def decode(encoded: bytes | np.ndarray, flag: int) -> np.ndarray:
    """Decodes an image file with OpenCV and turns the pixels upright.

    Args:
        encoded: content of the file: bytes, or a uint8 array of them.
        flag: `cv2.IMREAD_COLOR` or another way to decode.

    Returns:
        The pixels, as OpenCV returns them for the flag.

    Raises:
        ValueError: the bytes are not an image that OpenCV decodes.
    """
    buffer = np.frombuffer(encoded, np.uint8)
    if not buffer.size:
        raise ValueError("it is empty")
    view = buffer.data
    orientation = header.orientation(view)
    if orientation != 1 and bytes(view[:2]) in (b"II", b"MM"):
        buffer = np.frombuffer(header.with_no_turn(bytes(view)), np.uint8)
    try:
        pixels = cv2.imdecode(buffer, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f"OpenCV: {error.err}") from error
    if pixels is None:
        raise ValueError("it is damaged, or of a format that OpenCV does not read")
    return pixels if orientation == 1 else upright(pixels, orientation)


def check_pixels(name: object, width: int, height: int, max_pixels: int) -> None:
    """Checks the number of pixels of a file.

    Args:
        name: name of the file for the error.
        width: width that its header announces.
        height: height.
        max_pixels: largest number of pixels; 0 for any.

    Raises:
        InputError: there are more.
    """
    if max_pixels and width * height > max_pixels:
        raise InputError(
            f"{name} has {width}x{height} pixels; up to {max_pixels:,} are read: cut it into "
            "tiles, or raise --max-pixels"
        )


@dataclass(frozen=True)
class ImageFile:
    """A file whose header has been read, and which is complete as far as that can be told.

    Attributes:
        path: the file.
        encoded: its content.
        header: its header; None for a format that is unknown here.
    """

    path: Path
    encoded: bytes
    header: Header | None

    @property
    def orientation(self) -> int:
        """Exif orientation, 1…8."""
        return 1 if self.header is None else self.header.orientation

    def unturned(self) -> bytes:
        """Content for Pillow, which turns TIFF files itself."""
        if self.header is not None and self.header.kind == "TIFF" and self.orientation != 1:
            return header.with_no_turn(self.encoded)
        return self.encoded

    def pixels(self, flag: int = cv2.IMREAD_COLOR) -> np.ndarray:
        """Upright pixels: uint8 (H, W, 3), BGR, unless the flag asks for others.

        Raises:
            InputError: the file cannot be decoded, or holds other numbers than those of 8 or 16
                bits.
        """
        if self.header is not None and self.header.numbers is not None:
            raise InputError(
                f"{self.path} holds {self.header.numbers} numbers; save it with 8 or 16 bits per "
                "channel"
            )
        try:
            return decode(self.encoded, flag)
        except ValueError as error:
            raise self.damaged(str(error)) from error

    def damaged(self, reason: str = "") -> InputError:
        """The error of a file that cannot be decoded."""
        return _damaged(self.path, self.encoded, reason)


def _damaged(path: Path, encoded: bytes, reason: str) -> InputError:
    found = f"{reason}; " if reason and encoded else ""
    return InputError(
        f"{path} cannot be decoded ({len(encoded)} bytes): {found}fetch the file again"
    )


def open_file(
    path: files.PathLike, max_pixels: int = MAX_PIXELS, remedy: str = "check the path"
) -> ImageFile:
    """Reads an image file and checks what can be checked before it is decoded.

    Args:
        path: the file.
        max_pixels: largest number of pixels; 0 for any.
        remedy: advice that ends the message about a file that is missing.

    Raises:
        InputError: the file is missing or a device, its header is damaged or announces
            too many pixels, or it is incomplete.
    """
    path = Path(path).absolute()
    if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe never ends
        raise InputError(f"{path} is not a file but a device or pipe; {remedy}")
    encoded = files.read_bytes(path, remedy)
    try:
        found = header.read(encoded)
        if found is not None:
            check_pixels(path, found.width, found.height, max_pixels)
            header.check_complete(encoded, found)
    except InputError:
        raise
    except ValueError as error:
        raise _damaged(path, encoded, str(error)) from error
    return ImageFile(path, encoded, found)
