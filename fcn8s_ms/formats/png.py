"""PNG files chunk by chunk: their checksums, and palette indices as gray values.

Source: W3C, Portable Network Graphics (PNG) Specification, chapter 5.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

__all__ = ["SIGNATURE", "chunk", "chunks", "gray", "indexed"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_GRAY, _PALETTE = 0, 3


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum.

    Args:
        kind: type, 4 bytes.
        content: its data.
    """
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Chunks of a PNG, whose checksums are compared on the way.

    Args:
        encoded: bytes of the file.

    Yields:
        Type (4 bytes) and content of each chunk.

    Raises:
        ValueError: the bytes are not a PNG or are cut short, or a checksum differs.
    """
    if not encoded.startswith(SIGNATURE):
        raise ValueError("not a PNG")
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
    """Gray PNG with the values of one that holds 8-bit palette indices or gray values.

    The compressed pixels are unchanged, because only the header says how to read them. Everything
    else that the file may hold (texts, colour profiles, …) is left out.

    Args:
        encoded: bytes of the file.

    Returns:
        Bytes of the gray PNG, or None for a PNG of another kind.

    Raises:
        ValueError: as for `chunks`, or the header is missing.
    """
    header, pixels = bytearray(), []
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
        chunk(b"IHDR", bytes(header)),
        chunk(b"IDAT", b"".join(pixels)),
        chunk(b"IEND", b""),
    )
    return SIGNATURE + b"".join(parts)


def indexed(ids: np.ndarray, palette: np.ndarray) -> bytes:
    """Palette PNG.

    Args:
        ids: values of the pixels, uint8 (H, W).
        palette: RGB colour in which each value is shown, uint8 (256, 3).
    """
    height, width = ids.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _PALETTE, 0, 0, 0)
    # Each row begins with the number of its filter; none of them helps areas of one value.
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = ids
    parts = (
        chunk(b"IHDR", header),
        chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes()),
        chunk(b"IDAT", zlib.compress(rows.tobytes())),
        chunk(b"IEND", b""),
    )
    return SIGNATURE + b"".join(parts)
