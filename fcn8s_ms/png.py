"""PNG files chunk by chunk: checksums, palette indices as gray values, seals.

A record's label is a PNG. PNG has a checksum in every chunk, so damage to a label shows; an image
has none if it is a JPEG. The label of a record that this package writes therefore carries the
checksums of its image and name, in a chunk that decoders skip (its type says "private" and "not
needed"): the columns stay those of the published record, and who reads them need not know of it.

Source: W3C, Portable Network Graphics (PNG) Specification, chapter 5.
"""

import struct
import zlib

import numpy as np

__all__ = ["SIGNATURE", "check_sample", "chunks", "gray", "indexed", "sealed"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_GRAY, _PALETTE = 0, 3
_SEAL = b"imCs"  # lower-case letters 1, 2 and 4: not needed, private, may be kept
_END = 12  # bytes of the last chunk


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def chunks(encoded: bytes):
    """Goes through a PNG and compares its checksums.

    Args:
        encoded: bytes of the file.

    Yields:
        Type (4 bytes) and content of every chunk.

    Raises:
        ValueError: no PNG, cut short, or a checksum differs.
    """
    if not encoded.startswith(SIGNATURE):
        raise ValueError("no PNG")
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        head = encoded[position : position + 8]
        if len(head) < 8:
            raise ValueError("cut short")
        length, kind = struct.unpack(">I4s", head)
        end = position + 8 + length
        checksum = encoded[end : end + 4]
        if len(checksum) < 4:
            raise ValueError("cut short")
        if zlib.crc32(encoded[position + 4 : end]) != int.from_bytes(checksum, "big"):
            raise ValueError("a checksum differs")
        yield kind, encoded[position + 8 : end]
        position = end + 4


def gray(encoded: bytes) -> bytes | None:
    """A PNG of 8-bit palette indices or gray values as a gray one of the same values.

    The compressed pixels stay as they are, for the header alone says how to read them. All else
    that the file may hold (texts, colour profiles, …) is left out.

    Args:
        encoded: bytes of the file.

    Returns:
        Bytes of the gray PNG, or None for a PNG of another kind.

    Raises:
        ValueError: as `chunks`.
    """
    header, pixels = b"", []
    for kind, content in chunks(encoded):
        if kind == b"IHDR":
            header = bytearray(content)  # width, height (4 bytes each), depth, colour type, …
        elif kind == b"IDAT":
            pixels.append(content)
    if len(header) != 13:
        raise ValueError("no header")
    if header[8] != 8 or header[9] not in (_GRAY, _PALETTE):
        return None
    header[9] = _GRAY
    parts = (
        _chunk(b"IHDR", bytes(header)),
        _chunk(b"IDAT", b"".join(pixels)),
        _chunk(b"IEND", b""),
    )
    return SIGNATURE + b"".join(parts)


def indexed(ids, palette) -> bytes:
    """A palette PNG.

    Args:
        ids: uint8 (H, W), what the pixels hold.
        palette: uint8 (256, 3), the RGB colour that each value is shown in.
    """
    height, width = ids.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _PALETTE, 0, 0, 0)
    # Each row begins with the number of its filter; none of them helps areas of one value.
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = ids
    parts = (
        _chunk(b"IHDR", header),
        _chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes()),
        _chunk(b"IDAT", zlib.compress(rows.tobytes())),
        _chunk(b"IEND", b""),
    )
    return SIGNATURE + b"".join(parts)


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
    return label[:-_END] + _chunk(_SEAL, seal) + label[-_END:]


def check_sample(label: bytes, image, name: str | None) -> bool:
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
    seals = [content for kind, content in chunks(label) if kind == _SEAL]
    if not seals:
        return False
    of_image, of_name = struct.unpack(">II", seals[0])
    if of_image != zlib.crc32(image):
        raise ValueError("the image's checksum differs")
    if name is not None and of_name != zlib.crc32(name.encode("utf-8", "surrogateescape")):
        raise ValueError("the name's checksum differs")
    return True
