"""Reads and writes videos frame by frame, with OpenCV."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from .. import files
from ..errors import InputError

__all__ = ["Reader", "Writer", "frame_count"]

_DEFAULT_FPS = 25.0


class Reader:
    """The frames of a video file.

    Args:
        path: the file.

    Attributes:
        fps: frames per second.
        frame_count: number of frames that the file claims, which may be a guess; 0 if unknown.

    Raises:
        InputError: the file is missing, or OpenCV cannot open it.
    """

    def __init__(self, path: files.PathLike):
        self.path = Path(path).absolute()
        if not self.path.is_file():
            raise InputError(f"{self.path} is missing; check the path")
        try:
            str(self.path).encode()
        except UnicodeEncodeError:  # OpenCV would end the process
            raise InputError(
                f"video {self.path} has a name that is not UTF-8, which OpenCV does not open; "
                "rename it"
            ) from None
        self._capture = cv2.VideoCapture(str(self.path))
        if not self._capture.isOpened():
            raise InputError(
                f"video {self.path} cannot be opened: it is damaged or of a format that OpenCV "
                "does not read; save it again, as MP4 (H.264)"
            )
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or _DEFAULT_FPS
        self.frame_count = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields every frame: uint8 (H, W, 3), BGR.

        Raises:
            InputError: no frame can be read.
        """
        number = 0
        while True:
            is_read, frame = self._capture.read()
            if not is_read:
                break
            number += 1
            yield frame
        if not number:
            raise InputError(f"video {self.path} has no frame that OpenCV can read; save it again")

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()


def frame_count(path: files.PathLike) -> int:
    """Number of frames that a video file claims; 0 if it cannot be opened."""
    with contextlib.suppress(InputError):
        reader = Reader(path)
        reader.close()
        return reader.frame_count
    return 0


class Writer:
    """An MP4 file (MPEG-4) that gets its name once it is complete.

    The format has even sides: an odd last row or column is left out.

    Args:
        path: file to write, `*.mp4`.
        fps: frames per second.
    """

    def __init__(self, path: files.PathLike, fps: float):
        self.path = Path(path)
        self._fps = fps
        self._unfinished = files.unfinished(self.path)
        self._writer: cv2.VideoWriter | None = None

    def write(self, picture: np.ndarray) -> None:
        """Adds a frame: uint8 (H, W, 3), RGB, of the first one's size.

        Raises:
            InputError: OpenCV cannot write such a file here.
        """
        if self._writer is None:
            height, width = picture.shape[:2]
            self._writer = cv2.VideoWriter(
                str(self._unfinished),
                cv2.VideoWriter.fourcc(*"mp4v"),
                self._fps,
                (width, height),
            )
            if not self._writer.isOpened():
                raise InputError(
                    f"{self.path.absolute()} cannot be written: OpenCV has no encoder for MPEG-4 "
                    "here, or the folder is write-protected; choose --save mask, which writes PNGs"
                )
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self, keep: bool = True) -> None:
        """Finishes the file.

        Args:
            keep: whether it is complete; otherwise it is removed.
        """
        if self._writer is not None:
            self._writer.release()
            if keep:
                files.replace(self._unfinished, self.path)
        self._unfinished.unlink(missing_ok=True)
