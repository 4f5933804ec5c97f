"""Arrays in a `.caffemodel`, read without Caffe.

Source: https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto, where the numbers of
fields are.
"""

import math
from collections.abc import Iterator

import numpy as np

from . import protobuf

__all__ = ["read"]

_LAYER, _OLD_LAYER = 100, 2  # of a network
_NAME, _BLOBS = 1, 7  # of a layer
_OLD_NAME, _OLD_BLOBS = 4, 6  # of a layer before 2014
_OLD_SIDES, _DATA, _SHAPE, _DOUBLES = (1, 2, 3, 4), 5, 7, 8  # of a blob
_KINDS = ("weight", "bias")


def read(content: bytes) -> dict[str, np.ndarray]:
    """Reads the arrays of all layers: `LAYER.weight`, `LAYER.bias`, and further ones by number.

    Raises:
        ValueError: the bytes are not a `.caffemodel`, or are damaged.
    """
    buffer = memoryview(content)
    arrays: dict[str, np.ndarray] = {}
    for field in protobuf.fields(buffer, 0, len(buffer)):
        if field.number not in (_LAYER, _OLD_LAYER) or field.kind != protobuf.LENGTH:
            continue
        old = field.number == _OLD_LAYER
        name, blobs = _layer(buffer, field, *((_OLD_NAME, _OLD_BLOBS) if old else (_NAME, _BLOBS)))
        for number, blob in enumerate(blobs):
            kind = _KINDS[number] if number < len(_KINDS) else str(number)
            if f"{name}.{kind}" in arrays:
                raise ValueError(f"two layers are named {name}")
            arrays[f"{name}.{kind}"] = blob
    return arrays


def _layer(
    buffer: memoryview, layer: protobuf.Field, name_field: int, blobs_field: int
) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for field in protobuf.fields(buffer, layer.value, layer.end):
        if (field.number, field.kind) == (name_field, protobuf.LENGTH):
            name = str(buffer[field.value : field.end], "utf-8")
        elif (field.number, field.kind) == (blobs_field, protobuf.LENGTH):
            blobs.append(_blob(buffer, field))
    return name, blobs


def _blob(buffer: memoryview, blob: protobuf.Field) -> np.ndarray:
    sides = dict.fromkeys(_OLD_SIDES, 0)
    shape: list[int] | None = None
    parts = []
    for field in protobuf.fields(buffer, blob.value, blob.end):
        if field.number in sides and field.kind == protobuf.VARINT:
            sides[field.number] = field.value
        elif (field.number, field.kind) == (_SHAPE, protobuf.LENGTH):
            shape = list(_dimensions(buffer, field))
        elif field.number in (_DATA, _DOUBLES):
            parts.append(_numbers(buffer, field, "<f4" if field.number == _DATA else "<f8"))
    if shape is None:
        shape = list(sides.values())
        if shape[:2] == [1, 1]:  # a vector or a matrix
            shape = shape[3:] if shape[2] == 1 else shape[2:]
    data = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if math.prod(shape) != data.size:
        raise ValueError(f"an array of shape {tuple(shape)} has {data.size:,} numbers")
    return data.reshape(shape)


def _dimensions(buffer: memoryview, shape: protobuf.Field) -> Iterator[int]:
    for field in protobuf.fields(buffer, shape.value, shape.end):
        if field.number == 1:
            yield from protobuf.packed(buffer, field)


def _numbers(buffer: memoryview, field: protobuf.Field, dtype: str) -> np.ndarray:
    """Numbers of a repeated field, packed into one field or not."""
    kind = np.dtype(dtype)
    if field.kind == protobuf.LENGTH:
        if (field.end - field.value) % kind.itemsize:
            raise ValueError("numbers are cut short")
        return np.frombuffer(buffer[field.value : field.end], kind)
    if field.kind != (protobuf.FIXED32 if kind.itemsize == 4 else protobuf.FIXED64):
        raise ValueError("numbers of another kind")
    return np.frombuffer(field.value.to_bytes(kind.itemsize, "little"), kind)
