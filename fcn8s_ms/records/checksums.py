"""Checksums of a record: a seal in the label of each sample, and one of MindRecord's index.

A record's label is a PNG, which has a checksum in every chunk, so damage to a label is detected. A
JPEG image has none. The label of a record that this package writes therefore carries the checksums
of its image and name, in a chunk that decoders skip (its type says "private" and "ancillary"): the
columns are those of the published record, and its readers need not know of the seal.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import PathLike
from ..formats import png
from .metadata import index_file

__all__ = ["check_sample", "index_checksum", "sealed", "verify_seal"]

_END = 12  # bytes of the last chunk
_SEAL = b"imCs"  # lower-case letters 1, 2 and 4: ancillary, private, safe to copy
_HEAD_BYTES = 2**20


def sealed(label: bytes, image: bytes, name: str) -> bytes:
    """Label with the checksums of its image and name.

    Args:
        label: PNG without anything after its last chunk.
        image: bytes of the image file.
        name: name of the sample.

    Returns:
        The PNG with one more chunk.
    """
    seal = struct.pack(">II", zlib.crc32(image), zlib.crc32(name.encode("utf-8")))
    return label[:-_END] + png.chunk(_SEAL, seal) + label[-_END:]


def verify_seal(label: bytes, image: bytes | np.ndarray, name: str | None) -> bool:
    """Compares the checksums of a sample.

    Args:
        label: bytes of the label's PNG.
        image: bytes of the image file, or an array that holds them.
        name: name of the sample; None skips its checksum.

    Returns:
        Whether the label is sealed. Without a seal, damage to the image is not detected.

    Raises:
        ValueError: label, image or name differs from what was written.
    """
    seals = [content for kind, content in png.chunks(label) if kind == _SEAL]
    if not seals:
        return False
    of_image, of_name = struct.unpack(">II", seals[0])
    if of_image != zlib.crc32(image.data if isinstance(image, np.ndarray) else image):
        raise ValueError("the image's checksum differs")
    if name is not None and of_name != zlib.crc32(name.encode("utf-8", "surrogateescape")):
        raise ValueError("the name's checksum differs")
    return True


def index_checksum(path: Path) -> int:
    """CRC-32 of what MindRecord finds its rows by: the head of a record file, and its index.

    MindSpore trusts both, and some damage to them aborts the process.
    """
    with open(path, "rb") as file:
        return zlib.crc32(index_file(path).read_bytes(), zlib.crc32(file.read(_HEAD_BYTES)))


def check_sample(
    path: PathLike, name: str | None, image: bytes | np.ndarray, label: bytes | np.ndarray
) -> bool:
    """Compares the checksums of a sample, which MindSpore does not do.

    Args:
        path: path of the record, for the error.
        name: name of the sample; None leaves it unchecked.
        image: bytes of the image file, or an array that holds them.
        label: bytes of the label's PNG, or an array that holds them.

    Returns:
        Whether the image has a checksum, as in every record that this package built. Labels always
        have one.

    Raises:
        InputError: a checksum differs.
    """
    try:
        encoded = np.frombuffer(label, np.uint8).tobytes()
        return verify_seal(encoded, np.frombuffer(image, np.uint8), name)
    except ValueError as error:
        raise InputError(
            f"{path}: a sample is damaged ({name or 'without a name'}: {error}); copy or build the "
            "record again"
        ) from error
