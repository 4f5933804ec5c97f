"""Checksums of a record: a seal in every sample's label, and one over MindRecord's index.

A record's label is a PNG. PNG has a checksum in every chunk, so damage to a label shows; an image
has none if it is a JPEG. The label of a record that this package writes therefore carries the
checksums of its image and name, in a chunk that decoders skip (its type says "private" and "not
needed"): the columns stay those of the published record, and who reads them need not know of it.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

from .. import png
from ..errors import InputError
from .metadata import index_file

__all__ = ["check_sample", "index_checksum", "sealed", "verify_seal"]


_END = 12  # bytes of the last chunk
_SEAL = b"imCs"  # lower-case letters 1, 2 and 4: not needed, private, may be kept


def sealed(label: bytes, image: bytes, name: str) -> bytes:
    """The label with the checksums of its image and name in it.

    Args:
        label: PNG without anything behind its last chunk.
        image: bytes of the image file.
        name: of the sample.

    Returns:
        The PNG with a chunk more.
    """
    seal = struct.pack(">II", zlib.crc32(image), zlib.crc32(name.encode("utf-8")))
    return label[:-_END] + png.chunk(_SEAL, seal) + label[-_END:]


def verify_seal(label: bytes, image, name: str | None) -> bool:
    """Compares the checksums of a record's sample.

    Args:
        label: bytes of the label's PNG.
        image: bytes of the image file, or an array that holds them.
        name: of the sample; None does without its checksum.

    Returns:
        Whether the label is sealed. The image of a label without a seal may be damaged.

    Raises:
        ValueError: label, image or name is not what was written.
    """
    seals = [content for kind, content in png.chunks(label) if kind == _SEAL]
    if not seals:
        return False
    of_image, of_name = struct.unpack(">II", seals[0])
    if of_image != zlib.crc32(image):
        raise ValueError("the image's checksum differs")
    if name is not None and of_name != zlib.crc32(name.encode("utf-8", "surrogateescape")):
        raise ValueError("the name's checksum differs")
    return True


_HEAD_BYTES = 2**20


def index_checksum(path: Path) -> int:
    """Checksum of what MindRecord finds its rows by: the head of a record file, and its index.

    MindSpore trusts both, and some damage to them ends the process.
    """
    with open(path, "rb") as file:
        return zlib.crc32(index_file(path).read_bytes(), zlib.crc32(file.read(_HEAD_BYTES)))


def check_sample(path, name: str | None, image, label) -> bool:
    """Compares a sample's checksums, which MindSpore does not.

    Args:
        path: of the record, for the error.
        name: of the sample; None leaves it unchecked.
        image: bytes of the image file, or an array that holds them.
        label: bytes of the label's PNG, or an array that holds them.

    Returns:
        Whether the image has a checksum: it has if this package built the record. The label always
        has.

    Raises:
        InputError: a checksum differs.
    """
    try:
        label, image = np.frombuffer(label, np.uint8), np.frombuffer(image, np.uint8)
        return verify_seal(label.tobytes(), image, name)
    except ValueError as error:
        raise InputError(
            f"{path}: a sample is damaged ({name or 'without a name'}: {error}); copy or build the "
            "record again"
        ) from error
