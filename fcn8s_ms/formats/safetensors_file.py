"""Files in the safetensors format: a header of JSON, and the numbers of all tensors behind it.

Source: https://github.com/huggingface/safetensors, section Format. The header is checked before a
number is read. What the package writes carries a checksum of its content in the header; it depends
neither on the order of the tensors nor on the layout of the header, so that the file may be written
anew by another program.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .. import files
from .copies import copy_bytes

__all__ = ["DIGEST", "SUFFIX", "Contents", "Tensor", "copy", "is_one", "read", "structure", "write"]

SUFFIX = ".safetensors"
"""Ending of the names of such files."""

DIGEST = "content_sha256"
"""Entry of the metadata that holds the checksum."""

_METADATA = "__metadata__"
_LONGEST_HEADER = 16 << 20  # bytes; 100 suffice for a tensor
_LONGEST_NAME = 1000
_MOST_DIMENSIONS = 32  # NumPy's limit
_BLOCK = 1 << 20


class _Type(NamedTuple):
    numpy: str | None  # None: NumPy lacks it
    size: int  # bytes of a number
    kind: str  # MindSpore's name, such as Float32


_TYPES = {
    "BOOL": _Type("?", 1, "Bool"),
    "U8": _Type("<u1", 1, "UInt8"),
    "I8": _Type("<i1", 1, "Int8"),
    "U16": _Type("<u2", 2, "UInt16"),
    "I16": _Type("<i2", 2, "Int16"),
    "U32": _Type("<u4", 4, "UInt32"),
    "I32": _Type("<i4", 4, "Int32"),
    "U64": _Type("<u8", 8, "UInt64"),
    "I64": _Type("<i8", 8, "Int64"),
    "F16": _Type("<f2", 2, "Float16"),
    "BF16": _Type(None, 2, "BFloat16"),
    "F32": _Type("<f4", 4, "Float32"),
    "F64": _Type("<f8", 8, "Float64"),
    "C64": _Type("<c8", 8, "Complex64"),
    "F8_E4M3": _Type(None, 1, "Float8E4M3FN"),
    "F8_E5M2": _Type(None, 1, "Float8E5M2"),
}
_OF_NUMPY = {np.dtype(one.numpy): name for name, one in _TYPES.items() if one.numpy}


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file.

    Attributes:
        dtype: type of its numbers in the format's own words, such as F32.
        shape: its shape.
        begin: position of its first byte, counted from the end of the header.
        end: position behind its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def kind(self) -> str:
        """MindSpore's name of its type, such as Float32."""
        return _TYPES[self.dtype].kind

    @property
    def length(self) -> int:
        """Bytes of its numbers."""
        return self.end - self.begin


@dataclass(frozen=True)
class Contents:
    """The header of a file.

    Attributes:
        tensors: the tensors by name, in the order of their numbers in the file.
        metadata: texts by name.
        start: position of the first number in the file.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    start: int

    def length_of_beginning(self, names: Collection[str]) -> int:
        """Returns how many bytes the numbers of some tensors take, which come first in the file.

        Raises:
            ValueError: one of the tensors is missing or comes after another tensor.
        """
        missing = set(names) - self.tensors.keys()
        if missing:
            raise ValueError(f"{min(missing)} is missing")
        for name in list(self.tensors)[: len(names)]:
            if name not in names:
                raise ValueError(f"{name} is at its beginning")
        return sum(self.tensors[name].length for name in names)


def is_one(path: files.PathLike) -> bool:
    """Tells by its name whether a file is of this format."""
    return Path(path).suffix.lower() == SUFFIX


# --- reading -------------------------------------------------------------------------------------


def structure(path: files.PathLike) -> Contents:
    """Reads and checks the header of a file.

    Raises:
        ValueError: the file is cut short, is of another format, or its header contradicts itself.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError("it is cut short or not a safetensors file")
        if length > _LONGEST_HEADER:
            raise ValueError(f"its header takes {length:,} bytes, allowed are {_LONGEST_HEADER:,}")
        header = _parse(file.read(length))
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(map(_is_text, (*metadata, *metadata.values()))):
        raise ValueError("its metadata are not texts")
    tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    if not tensors:
        raise ValueError("it has no parameters")
    tensors = dict(sorted(tensors.items(), key=lambda one: (one[1].begin, one[1].end)))
    position = 0
    for name, one in tensors.items():
        if one.begin != position:
            what = "overlap those of another" if one.begin < position else "leave a gap"
            raise ValueError(f"the numbers of {name} {what}")
        position = one.end
    start = 8 + length
    if position != size - start:
        raise ValueError(f"it has {size - start:,} bytes of numbers instead of {position:,}")
    return Contents(tensors, metadata, start)


def _parse(content: bytes) -> dict[str, Any]:
    def fail(text: str) -> NoReturn:
        raise ValueError(f"{text} is not JSON")

    def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name occurs twice in its header")
        return found

    if not content.startswith(b"{"):
        raise ValueError("its header is not an object of JSON")
    try:
        header: dict[str, Any] = json.loads(
            content.decode("utf-8"), object_pairs_hook=without_twins, parse_constant=fail
        )
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    return header


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= one <= "\udfff" for one in value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _tensor(name: str, entry: object) -> Tensor:
    """Entry of a tensor in the header, checked on its own."""
    shown = repr(name[:100])
    if not name or len(name) > _LONGEST_NAME or not _is_text(name):
        raise ValueError(f"{shown} cannot be the name of a tensor")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the entry of {shown} has other fields than dtype, shape, data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise ValueError(f"{shown} has numbers of the unknown type {str(dtype)[:20]!r}")
    is_shape = isinstance(shape, list) and len(shape) <= _MOST_DIMENSIONS
    if not is_shape or not all(map(_is_count, shape)):
        raise ValueError(f"{shown} has a shape that is none")
    is_range = isinstance(offsets, list) and len(offsets) == 2 and all(map(_is_count, offsets))
    if not is_range or offsets[0] > offsets[1]:
        raise ValueError(f"{shown} has data_offsets that are not a range")
    expected = math.prod(shape) * _TYPES[dtype].size
    if offsets[1] - offsets[0] != expected:
        found = offsets[1] - offsets[0]
        raise ValueError(f"{shown} has {found:,} bytes of numbers instead of {expected:,}")
    return Tensor(dtype, tuple(shape), *offsets)


def read(path: files.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yields names and arrays of the tensors in the order of the file; BF16 as float32.

    Raises:
        ValueError: as for `structure`, or NumPy lacks the type of a tensor.
        OSError: the file cannot be read.
    """
    contents = structure(path)
    for name, one in contents.tensors.items():
        if _TYPES[one.dtype].numpy is None and one.dtype != "BF16":
            raise ValueError(f"{name} has numbers of the type {one.dtype}; save them as F32")
    with open(path, "rb") as file:
        file.seek(contents.start)
        for name, one in contents.tensors.items():
            array = np.empty(one.shape, _TYPES[one.dtype].numpy or "<u2")
            if array.size and file.readinto(_bytes(array)) != one.length:
                raise ValueError("it is cut short")
            if one.dtype == "BF16":
                array = (array.astype(np.uint32) << 16).view(np.float32)
            yield name, array


def _bytes(array: np.ndarray) -> memoryview:
    """Memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


# --- checksums -----------------------------------------------------------------------------------


def digests(path: files.PathLike, contents: Contents) -> dict[str, str]:
    """SHA-256 of the numbers of each tensor, by name.

    Raises:
        OSError: the file cannot be read.
    """
    found = {}
    with open(path, "rb") as file:
        file.seek(contents.start)
        for name, one in contents.tensors.items():
            digest, left = hashlib.sha256(), one.length
            while left and (block := file.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
            found[name] = digest.hexdigest()
    return found


def checksum(
    tensors: Mapping[str, Tensor], of_numbers: Mapping[str, str], metadata: Mapping[str, str]
) -> str:
    """SHA-256 of the content of a file.

    It is that of a line of JSON for each tensor (name, type, shape, SHA-256 of the numbers) and
    each entry of the metadata (name, text) except `DIGEST`, both sorted by name.

    Args:
        tensors: the tensors by name.
        of_numbers: SHA-256 of the numbers of each.
        metadata: texts by name.
    """
    digest = hashlib.sha256()
    for name, one in sorted(tensors.items()):
        digest.update(_line(name, one.dtype, list(one.shape), of_numbers[name]))
    for name, text in sorted(metadata.items()):
        if name != DIGEST:
            digest.update(_line(name, text))
    return digest.hexdigest()


def _line(*values: object) -> bytes:
    return files.json_text([*values], indent=None).encode() + b"\n"


# --- writing -------------------------------------------------------------------------------------


def write(
    path: files.PathLike, arrays: Iterable[tuple[str, np.ndarray]], metadata: Mapping[str, str]
) -> dict[str, str]:
    """Writes a file with its checksum, in one pass over the numbers.

    Args:
        path: file to write; not atomic, so give it the path of an unfinished file.
        arrays: names and arrays, which are asked for twice: a view of what holds them, such as a
            list or an object that makes them anew.
        metadata: texts for the header.

    Returns:
        SHA-256 of the numbers of each tensor, by name.

    Raises:
        ValueError: the format lacks the type of an array, or two have one name.
        OSError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    position = 0
    for name, array in arrays:
        if array.dtype not in _OF_NUMPY or name in tensors or name == _METADATA:
            raise ValueError(f"{name} of {array.dtype} cannot be written, or occurs twice")
        tensors[name] = Tensor(
            _OF_NUMPY[array.dtype], array.shape, position, position + array.nbytes
        )
        position += array.nbytes
    found: dict[str, str] = {}
    with open(path, "wb") as file:
        file.write(_header(tensors, {**metadata, DIGEST: "0" * 64}))
        for name, array in arrays:
            numbers = _bytes(np.ascontiguousarray(array))
            found[name] = hashlib.sha256(numbers).hexdigest()
            file.write(numbers)
        file.seek(0)
        file.write(_header(tensors, {**metadata, DIGEST: checksum(tensors, found, metadata)}))
    return found


def copy(
    source: files.PathLike,
    target: files.PathLike,
    of_numbers: Mapping[str, str],
    metadata: Mapping[str, str],
) -> None:
    """Writes the first tensors of a file as a file of their own, as `write` would.

    Args:
        source: the file.
        target: file to write; not atomic.
        of_numbers: SHA-256 of the numbers of these tensors, by name.
        metadata: texts for the header.

    Raises:
        ValueError: they are not the first in `source`, or as for `structure`.
        OSError: the file cannot be written.
    """
    contents = structure(source)
    length = contents.length_of_beginning(of_numbers)
    tensors = {name: contents.tensors[name] for name in of_numbers}
    digest = checksum(tensors, of_numbers, metadata)
    with open(source, "rb") as reading, open(target, "wb") as writing:
        writing.write(_header(tensors, {**metadata, DIGEST: digest}))
        copy_bytes(reading, writing, contents.start, length)


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    entries = {
        name: {"dtype": one.dtype, "shape": one.shape, "data_offsets": [one.begin, one.end]}
        for name, one in tensors.items()
    }
    header = files.json_text({_METADATA: dict(metadata), **entries}, indent=None).encode()
    header += b" " * (-len(header) % 8)  # numbers begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header
