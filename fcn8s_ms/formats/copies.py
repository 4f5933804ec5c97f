"""Bytes of one file copied into another, by the system where it can."""

import os
from typing import BinaryIO

from .. import files

__all__ = ["copy_bytes"]


def copy_bytes(reading: BinaryIO, writing: BinaryIO, start: int, length: int) -> None:
    """Copies a range of a file to the current position of another.

    The system copies, and a file system that can lets both files share the space on the disk.

    Args:
        reading: file to copy from.
        writing: file to copy to; what was written to it is flushed.
        start: position of the first byte in `reading`.
        length: number of bytes.

    Raises:
        OSError: the bytes cannot be written, or `reading` is shorter.
    """
    writing.flush()
    at, left = writing.tell(), length
    reading.seek(start)
    if hasattr(os, "copy_file_range"):
        try:
            while left:
                done = length - left
                copied = os.copy_file_range(
                    reading.fileno(), writing.fileno(), left, start + done, at + done
                )
                if not copied:  # some file systems answer so instead of refusing
                    break
                left -= copied
        except OSError as error:
            if error.errno in files.DISK_ERRORS:
                raise
    reading.seek(start + length - left)
    writing.seek(at + length - left)
    while left:
        block = reading.read(min(left, 1 << 20))
        if not block:
            raise OSError(None, f"{reading.name} is shorter than {start + length} bytes")
        writing.write(block)
        left -= len(block)
