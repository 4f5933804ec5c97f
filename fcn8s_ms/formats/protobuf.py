"""Messages of Protocol Buffers, read field by field with every length checked.

For files of others, before a parser written in C++ sees them: some damage ends that parser, and
Python with it.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Field", "fields", "packed"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes of 64 bits, 7 to a byte


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: of the field.
        kind: wire type; with `LENGTH` the value is the content, otherwise a whole number.
        value: the number, or where the content starts.
        end: position after the field.
    """

    number: int
    kind: int
    value: int
    end: int


def _varint(buffer: memoryview, position: int, end: int) -> tuple[int, int]:
    """A whole number of variable length, and the position after it."""
    value = 0
    for shift in range(_LONGEST_VARINT):
        if position >= end:
            raise ValueError("cut short")
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << (7 * shift)
        if not byte & 0x80:
            return value & (2**64 - 1), position
    raise ValueError("a number is too long")


def fields(buffer: memoryview, start: int, end: int) -> Iterator[Field]:
    """Yields the fields of a message that lies between two positions of a buffer.

    Raises:
        ValueError: the message is cut short, or is not one.
    """
    position = start
    while position < end:
        key, position = _varint(buffer, position, end)
        number, kind = key >> 3, key & 7
        if not number:
            raise ValueError("a field has the number 0")
        if kind == VARINT:
            value, position = _varint(buffer, position, end)
        elif kind == LENGTH:
            length, value = _varint(buffer, position, end)
            position = value + length
        elif kind in (FIXED32, FIXED64):
            width = 4 if kind == FIXED32 else 8
            value = int.from_bytes(buffer[position : position + width], "little")
            position += width
        else:
            raise ValueError(f"a field has the unknown wire type {kind}")
        if position > end:
            raise ValueError("cut short")
        yield Field(number, kind, value, position)


def packed(buffer: memoryview, field: Field) -> list[int]:
    """Whole numbers of a repeated field, packed into one field or not.

    Raises:
        ValueError: the field is cut short, or of another kind.
    """
    if field.kind == VARINT:
        return [field.value]
    if field.kind != LENGTH:
        raise ValueError("numbers of another kind")
    found, position = [], field.value
    while position < field.end:
        value, position = _varint(buffer, position, field.end)
        found.append(value)
    return found
