"""Format of checkpoint files: a sequence of entries, one or more for each parameter.

MindSpore's own parser trusts what it reads, and some damage ends the process.
"""

import math
import mmap
from collections.abc import Collection
from typing import NamedTuple

from .. import files
from . import protobuf
from .copies import copy_bytes

__all__ = ["Stored", "check_structure", "copy_beginning", "length_of_beginning"]

# What MindSpore writes for the types of numbers, and their bytes.
_ITEM_BYTES = {
    **dict.fromkeys(("Bool", "Int8", "UInt8"), 1),
    **dict.fromkeys(("Float16", "BFloat16", "Int16", "UInt16"), 2),
    **dict.fromkeys(("Float32", "Int32", "UInt32"), 4),
    **dict.fromkeys(("Float64", "Int64", "UInt64"), 8),
}


class Stored(NamedTuple):
    """A parameter in a file.

    Attributes:
        shape: its shape.
        kind: MindSpore's name of its type, such as Float32.
        length: bytes of its numbers.
        position: of its first number in the file; numbers of large parameters are in several
            pieces.
    """

    shape: tuple[int, ...]
    kind: str
    length: int
    position: int


def check_structure(path: files.PathLike) -> dict[str, Stored]:
    """Goes through a checkpoint file without its numbers.

    Returns:
        The parameters by name, in the order of the file.

    Raises:
        ValueError: it is cut short, is not a checkpoint, or a parameter has other numbers than its
            shape says.
    """
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as buffer,
    ):
        end = len(buffer)
        if bytes(buffer[-17:-10]) == b"crc_num":  # behind the message, if asked of MindSpore
            end -= 17
        # Large parameters are split into several entries of one name.
        found: dict[str, tuple[list[int], str, int, int]] = {}
        for entry in protobuf.fields(buffer, 0, end):
            name, shape, kind, length, position = _tensor_entry(buffer, entry)
            known = found.get(name, (shape, kind, 0, position))
            if known[:2] != (shape, kind):
                raise ValueError(f"two entries of {name} differ in shape or type")
            found[name] = (shape, kind, known[2] + length, known[3])
    if not found:
        raise ValueError("it has no parameters")
    for name, (shape, kind, length, _) in found.items():
        expected = math.prod([1] if shape == [0] else shape) * _ITEM_BYTES.get(kind, 1)
        if kind != "str" and length != expected:
            raise ValueError(f"{name} has {length} bytes of numbers instead of {expected}")
    return {name: Stored(tuple(one[0]), *one[1:]) for name, one in found.items()}


def length_of_beginning(path: files.PathLike, names: Collection[str]) -> int:
    """Returns how many bytes the parameters of some names take, which come first in a checkpoint.

    That many bytes of the file are a checkpoint of these parameters alone.

    Raises:
        ValueError: one of the parameters is missing or comes after another parameter, or the file
            is damaged.
    """
    missing = set(names)
    if not missing:
        return 0
    length, at_beginning = 0, True
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as buffer,
    ):
        for entry in protobuf.fields(buffer, 0, len(buffer)):
            name = _tensor_entry(buffer, entry)[0]
            if name not in names:
                at_beginning = False
                if not missing:
                    break
            elif not at_beginning:
                raise ValueError(f"{name} is not at its beginning")
            else:
                missing.discard(name)
                length = entry.end
    if missing:
        raise ValueError(f"{min(missing)} is missing")
    return length


def copy_beginning(source: files.PathLike, target: files.PathLike, length: int) -> None:
    """Writes the first `length` bytes of a file as another file.

    Raises:
        OSError: the target cannot be written, or the source is shorter.
    """
    with open(source, "rb") as reading, open(target, "wb") as writing:
        copy_bytes(reading, writing, 0, length)


def _tensor_entry(
    buffer: memoryview, entry: protobuf.Field
) -> tuple[str, list[int], str, int, int]:
    """Name, shape, type, number of bytes and their position of an entry."""
    if (entry.number, entry.kind) != (1, protobuf.LENGTH):
        raise ValueError("it is not a checkpoint")
    name, kind, shape, length, position = "", "", [], -1, -1
    for field in protobuf.fields(buffer, entry.value, entry.end):
        if field.kind == protobuf.LENGTH and field.number == 1:
            name = str(buffer[field.value : field.end], "utf-8")
        elif field.kind == protobuf.LENGTH and field.number == 2:
            for part in protobuf.fields(buffer, field.value, field.end):
                if part.number == 1:
                    shape += protobuf.packed(buffer, part)
                elif part.kind == protobuf.LENGTH and part.number == 2:
                    kind = str(buffer[part.value : part.end], "utf-8")
                elif part.kind == protobuf.LENGTH and part.number == 3:
                    length, position = part.end - part.value, part.value
    if not name or length < 0:
        raise ValueError("an entry has no name or no numbers")
    if kind not in _ITEM_BYTES and kind != "str":
        raise ValueError(f"{name} has numbers of the unknown type {kind!r}")
    return name, shape, kind, length, position
