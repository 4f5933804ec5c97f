"""Format of checkpoint files: a sequence of entries, one or more for each parameter.

MindSpore's own parser trusts what it reads, and some damage ends the process.
"""

import math
import mmap

from . import files, protobuf

__all__ = ["check_structure"]

# What MindSpore writes for the types of numbers, and their bytes.
_ITEM_BYTES = {
    **dict.fromkeys(("Bool", "Int8", "UInt8"), 1),
    **dict.fromkeys(("Float16", "BFloat16", "Int16", "UInt16"), 2),
    **dict.fromkeys(("Float32", "Int32", "UInt32"), 4),
    **dict.fromkeys(("Float64", "Int64", "UInt64"), 8),
}


def check_structure(path: files.PathLike) -> None:
    """Goes through a checkpoint file without its numbers.

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
        found: dict[str, tuple[list[int], str, int]] = {}
        for entry in protobuf.fields(buffer, 0, end):
            name, shape, kind, length = _tensor_entry(buffer, entry)
            known = found.get(name, (shape, kind, 0))
            if known[:2] != (shape, kind):
                raise ValueError(f"two entries of {name} differ in shape or type")
            found[name] = (shape, kind, known[2] + length)
    if not found:
        raise ValueError("it has no parameters")
    for name, (shape, kind, length) in found.items():
        expected = math.prod([1] if shape == [0] else shape) * _ITEM_BYTES.get(kind, 1)
        if kind != "str" and length != expected:
            raise ValueError(f"{name} has {length} bytes of numbers instead of {expected}")


def _tensor_entry(buffer: memoryview, entry: protobuf.Field) -> tuple[str, list[int], str, int]:
    """Name, shape, type and number of bytes of an entry."""
    if (entry.number, entry.kind) != (1, protobuf.LENGTH):
        raise ValueError("it is not a checkpoint")
    name, kind, shape, length = "", "", [], -1
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
                    length = part.end - part.value
    if not name or length < 0:
        raise ValueError("an entry has no name or no numbers")
    if kind not in _ITEM_BYTES and kind != "str":
        raise ValueError(f"{name} has numbers of the unknown type {kind!r}")
    return name, shape, kind, length
