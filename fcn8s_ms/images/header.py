"""Headers of image files: format, size, orientation, and whether the file is complete.

Read without decoding a pixel and without a library, so that a size can be refused before memory is
asked for, and so that every format has one reading of its Exif orientation.

Sources: ITU T.81 (JPEG), W3C PNG, TIFF 6.0 and CIPA DC-008 (Exif), RFC 9649 (WebP), ITU T.800 (JPEG
2000), Microsoft's BITMAPINFOHEADER, Netpbm's pnm(5).
"""

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..formats import png

__all__ = ["Header", "check_complete", "exif_orientation", "orientation", "read", "with_no_turn"]

_ORIENTATION = 0x0112
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I"}  # types of TIFF that hold whole numbers
_MAX_ENTRIES = 10_000_000
_LOG_LUV = (34676, 34677)  # compressions of TIFF


class Header(NamedTuple):
    """What the header of an image file says.

    Attributes:
        kind: format, such as 'JPEG'.
        width: of the stored pixels, before they are turned.
        height: likewise.
        orientation: how they are turned upright, 1…8 as in Exif; 1 for not at all.
        numbers: type of the samples where it is not an unsigned integer of at most 16 bits.
    """

    kind: str
    width: int
    height: int
    orientation: int = 1
    numbers: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        if self.orientation >= 5:
            return self.width, self.height
        return self.height, self.width


def read(encoded: bytes) -> Header | None:
    """Reads the header of an image file.

    Args:
        encoded: content of the file.

    Returns:
        The header, or None for a format that is unknown here.

    Raises:
        ValueError: the header is damaged; the message says how.
    """
    view = memoryview(encoded)
    for starts, reader in _READERS:
        if encoded.startswith(starts):
            try:
                header = reader(view)
            except (struct.error, IndexError) as error:
                raise ValueError("its header is cut short") from error
            if header is not None:
                if header.width < 1 or header.height < 1:
                    raise ValueError("its header announces no pixels")
                return header
    return None


def orientation(encoded: memoryview) -> int:
    """Exif orientation of an image file, 1…8; 1 if there is none, or it is damaged.

    Args:
        encoded: content of the file; JPEG, PNG, WebP and TIFF have an orientation.
    """
    try:
        start = bytes(encoded[:12])
        if start.startswith(b"\xff\xd8"):
            return _jpeg_orientation(encoded)
        if start.startswith(png.SIGNATURE):
            return _exif_of(_png_chunks(encoded), b"eXIf")
        if start.startswith(b"RIFF") and start.endswith(b"WEBP"):
            return _exif_of(_riff_chunks(encoded), b"EXIF")
        if start.startswith(_TIFF_STARTS):
            return exif_orientation(encoded)
    except (struct.error, IndexError, ValueError):
        pass
    return 1


# --- Exif and TIFF -----------------------------------------------------------------------------


class _Directory:
    """First directory of a TIFF structure: tag to type, count and position of the values."""

    def __init__(self, view: memoryview):
        self.order = "<" if bytes(view[:2]) == b"II" else ">"
        self._view = view
        self.entries: dict[int, tuple[int, int, int]] = {}
        (start,) = struct.unpack_from(f"{self.order}I", view, 4)
        (count,) = struct.unpack_from(f"{self.order}H", view, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(f"{self.order}HHI", view, place)
            position = place + 8
            if number * _SIZES.get(kind, 1) > 4:
                (position,) = struct.unpack_from(f"{self.order}I", view, position)
            self.entries.setdefault(tag, (kind, number, position))

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Whole numbers of a tag; none where the directory lacks it."""
        kind, count, position = self.entries.get(tag, (0, 0, 0))
        if kind not in _NUMBERS:
            return ()
        if count > _MAX_ENTRIES:
            raise ValueError("its header is damaged")
        return struct.unpack_from(f"{self.order}{count}{_NUMBERS[kind]}", self._view, position)

    def number(self, tag: int, default: int) -> int:
        """First whole number of a tag."""
        return next(iter(self.numbers(tag)), default)


def exif_orientation(content: bytes | memoryview) -> int:
    """Orientation in a block of Exif, with or without the word in front; 1 if there is none."""
    view = memoryview(content)
    if bytes(view[:6]) == b"Exif\0\0":
        view = view[6:]
    if bytes(view[:4]) not in _TIFF_STARTS:
        return 1
    try:
        found = _Directory(view).number(_ORIENTATION, 1)
    except (struct.error, ValueError):
        return 1
    return found if 1 <= found <= 8 else 1


def with_no_turn(encoded: bytes) -> bytes:
    """A TIFF whose orientation is 1, for libraries that turn it in ways of their own."""
    directory = _Directory(memoryview(encoded))
    kind, _, position = directory.entries[_ORIENTATION]
    content = bytearray(encoded)
    struct.pack_into(f"{directory.order}{_NUMBERS[kind]}", content, position, 1)
    return bytes(content)


def _tiff(view: memoryview) -> Header:
    directory = _Directory(view)
    bits = max(directory.numbers(258) or (1,))
    sample = directory.number(339, 1)
    numbers = None
    if directory.number(259, 1) in _LOG_LUV:
        numbers = "float32"
    elif sample != 1 or bits > 16:
        numbers = f"{ {2: 'int', 3: 'float'}.get(sample, 'uint') }{bits}"
    return Header(
        "TIFF",
        directory.number(256, 0),
        directory.number(257, 0),
        exif_orientation(view),
        numbers,
    )


def _check_tiff(encoded: bytes) -> None:
    directory = _Directory(memoryview(encoded))
    for offsets, lengths in ((273, 279), (324, 325)):  # strips, tiles
        parts = zip(directory.numbers(offsets), directory.numbers(lengths))
        if any(start + length > len(encoded) for start, length in parts):
            raise ValueError("it is cut short")


# --- JPEG --------------------------------------------------------------------------------------

_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END = 0xDA, 0xD9
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _jpeg_segments(view: memoryview, position: int = 2) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of each segment, up to the first scan or the end."""
    total = len(view)
    while position < total:
        if view[position] != 0xFF:  # readers skip what lies between segments
            position += 1
            continue
        while position < total and view[position] == 0xFF:
            position += 1
        marker = view[position]
        position += 1
        if marker in _STANDALONE or marker == 0:
            continue
        if marker == _END:
            yield marker, position, position
            return
        (length,) = struct.unpack_from(">H", view, position)
        end = position + length
        if length < 2 or end > total:
            raise ValueError("it is cut short")
        yield marker, position + 2, end
        if marker == _START_OF_SCAN:
            return
        position = end


def _jpeg_orientation(view: memoryview) -> int:
    for marker, start, end in _jpeg_segments(view):
        if marker == 0xE1 and bytes(view[start : start + 6]) == b"Exif\0\0":
            return exif_orientation(view[start:end])
    return 1


def _jpeg(view: memoryview) -> Header:
    for marker, start, _ in _jpeg_segments(view):
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", view, start + 1)
            return Header("JPEG", width, height, orientation(view))
    raise ValueError("it is cut short")


def _check_jpeg(encoded: bytes) -> None:
    """Follows the segments of all scans to the end mark."""
    view, position = memoryview(encoded), 2
    while True:
        marker = -1
        for marker, _, position in _jpeg_segments(view, position):  # noqa: B007, B020  # the last
            pass
        if marker == _END:
            return
        found = _NEXT_MARKER.search(encoded, position)
        if marker != _START_OF_SCAN or found is None:
            raise ValueError("it is cut short")
        position = found.start()


# --- formats of chunks -------------------------------------------------------------------------


def _png_chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position, kind = len(png.SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", view, position)
        yield kind, view[position + 8 : position + 8 + length]
        position += 12 + length


def _riff_chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 12
    while position + 8 <= len(view):
        kind, length = struct.unpack_from("<4sI", view, position)
        yield kind, view[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _exif_of(chunks: Iterator[tuple[bytes, memoryview]], wanted: bytes) -> int:
    return next((exif_orientation(content) for kind, content in chunks if kind == wanted), 1)


def _png(view: memoryview) -> Header:
    width, height = struct.unpack_from(">II", view, 16)
    return Header("PNG", width, height, orientation(view))


def _check_png(encoded: bytes) -> None:
    for _ in png.chunks(encoded):  # compares their checksums
        pass


def _webp(view: memoryview) -> Header | None:
    if bytes(view[8:12]) != b"WEBP":
        return None
    kind, content = next(_riff_chunks(view), (b"", view[:0]))
    if kind == b"VP8X":
        width = 1 + int.from_bytes(content[4:7], "little")
        height = 1 + int.from_bytes(content[7:10], "little")
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 1)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 6))
    else:
        raise ValueError("its header is damaged")
    return Header("WebP", width, height, orientation(view))


def _check_webp(encoded: bytes) -> None:
    if int.from_bytes(encoded[4:8], "little") + 8 > len(encoded):
        raise ValueError("it is cut short")


def _jpeg_2000(view: memoryview) -> Header:
    content = bytes(view[:4096])
    box = content.find(b"ihdr")
    if box >= 0:
        height, width = struct.unpack_from(">II", view, box + 4)
    else:
        right, bottom, left, top = struct.unpack_from(">IIII", view, content.index(b"\xff\x51") + 6)
        width, height = right - left, bottom - top
    return Header("JPEG 2000", width, height)


def _check_jpeg_2000(encoded: bytes) -> None:
    if b"\xff\xd9" not in encoded:
        raise ValueError("it is cut short")


def _avif(view: memoryview) -> Header | None:
    if bytes(view[4:8]) != b"ftyp" or bytes(view[8:11]) != b"avi":
        return None
    content = bytes(view[:65536])
    sizes = [
        struct.unpack_from(">II", content, found.end() + 4)
        for found in re.finditer(b"ispe", content)
    ]
    width, height = max(sizes, default=(0, 0))
    return Header("AVIF", width, height)


# --- plain formats -----------------------------------------------------------------------------


def _bmp(view: memoryview) -> Header:
    (length,) = struct.unpack_from("<I", view, 14)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", view, 18)
    return Header("BMP", width, abs(height))


def _check_bmp(encoded: bytes) -> None:
    start, length = struct.unpack_from("<II", encoded, 10)
    if length == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", encoded, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", encoded, 18)
    stride = (width * bits + 31) // 32 * 4
    if compression in (0, 3) and start + stride * abs(height) > len(encoded):
        raise ValueError("it is cut short")


_NETPBM = re.compile(
    rb"P([1-6])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)?\s?"
)


def _netpbm_match(view: memoryview) -> "re.Match[bytes]":
    found = _NETPBM.match(bytes(view[:4096]))
    if found is None:
        raise ValueError("its header is damaged")
    return found


def _netpbm(view: memoryview) -> Header:
    _, width, height, _ = _netpbm_match(view).groups()
    return Header("Netpbm", int(width), int(height))


def _check_netpbm(encoded: bytes) -> None:
    found = _netpbm_match(memoryview(encoded))
    kind, width, height = int(found[1]), int(found[2]), int(found[3])
    if kind == 4:
        start, stride = found.end(3) + 1, (width + 7) // 8
    elif kind in (5, 6):
        wide = 2 if int(found[4] or 0) > 255 else 1
        start, stride = found.end(4) + 1, width * wide * (3 if kind == 6 else 1)
    else:  # numbers in decimal
        return
    if start + stride * height > len(encoded):
        raise ValueError("it is cut short")


def _pam(view: memoryview) -> Header:
    content = bytes(view[:4096])
    sides = [re.search(rb"\n%s\s+(\d+)" % name, content) for name in (b"WIDTH", b"HEIGHT")]
    width, height = (int(found[1]) if found else 0 for found in sides)
    return Header("PAM", width, height)


def _sun(view: memoryview) -> Header:
    return Header("Sun raster", *struct.unpack_from(">II", view, 4))


def _gif(view: memoryview) -> Header:
    return Header("GIF", *struct.unpack_from("<HH", view, 6))


def _real(view: memoryview) -> Header:
    """Radiance, OpenEXR, PFM: refused for their numbers, whatever their size."""
    return Header("real numbers", 1, 1, numbers="float32")


_READERS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[memoryview], Header | None]], ...] = (
    (b"\xff\xd8", _jpeg),
    (png.SIGNATURE, _png),
    (b"RIFF", _webp),
    (_TIFF_STARTS, _tiff),
    (b"BM", _bmp),
    (tuple(b"P%d" % kind for kind in range(1, 7)), _netpbm),
    (b"P7", _pam),
    ((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), _jpeg_2000),
    (b"\x59\xa6\x6a\x95", _sun),
    (b"GIF8", _gif),
    ((b"#?RADIANCE", b"#?RGBE", b"\x76\x2f\x31\x01", b"PF", b"Pf"), _real),
    (b"\0\0\0", _avif),
)
_CHECKS: dict[str, Callable[[bytes], None]] = {
    "JPEG": _check_jpeg,
    "PNG": _check_png,
    "WebP": _check_webp,
    "TIFF": _check_tiff,
    "BMP": _check_bmp,
    "Netpbm": _check_netpbm,
    "JPEG 2000": _check_jpeg_2000,
}


def check_complete(encoded: bytes, header: Header) -> None:
    """Checks that nothing of an image file is missing, and the checksums of a PNG.

    Decoders fill the missing part of some formats with gray or leave it black.

    Args:
        encoded: content of the file.
        header: its header.

    Raises:
        ValueError: the file is damaged; the message says how.
    """
    check = _CHECKS.get(header.kind)
    if check is None:
        return
    try:
        check(encoded)
    except (struct.error, IndexError) as error:
        raise ValueError("it is cut short") from error
