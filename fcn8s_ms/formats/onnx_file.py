"""Facts in an ONNX file, read without ONNX Runtime: inputs, outputs, weights, metadata.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, where the numbers of fields are.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import protobuf

__all__ = ["Contents", "Value", "read", "read_weights"]

_PRODUCER, _PRODUCER_VERSION, _GRAPH, _OPSET, _METADATA = 2, 3, 7, 8, 14  # of a model
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # of a graph
_DATA_LOCATION = 14  # of a tensor
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}
_FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}  # types of a tensor's numbers
_FLOAT_DATA, _RAW_DATA = 4, 9  # of a tensor


@dataclass(frozen=True)
class Value:
    """An input or output.

    Attributes:
        name: its name.
        kind: type of its numbers.
        shape: its sides, a name for one that may have any length.
    """

    name: str
    kind: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Contents:
    """Contents of a file.

    Attributes:
        producer: program that wrote it.
        opset: version of the operators.
        nodes: number of nodes.
        parameters: numbers in all weights.
        inputs: inputs, without weights.
        outputs: outputs.
        metadata: entries of its metadata.
    """

    producer: str
    opset: int
    nodes: int
    parameters: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    metadata: dict[str, str]


class _Message:
    """Fields of a message by their numbers."""

    def __init__(self, buffer: memoryview, start: int, end: int):
        self._buffer = buffer
        self._fields = list(protobuf.fields(buffer, start, end))

    def messages(self, number: int) -> Iterator["_Message"]:
        for field in self._fields:
            if (field.number, field.kind) == (number, protobuf.LENGTH):
                yield _Message(self._buffer, field.value, field.end)

    def count(self, number: int) -> int:
        return sum(field.number == number for field in self._fields)

    def text(self, number: int, default: str = "") -> str:
        for field in self._fields:
            if (field.number, field.kind) == (number, protobuf.LENGTH):
                return str(self._buffer[field.value : field.end], "utf-8")
        return default

    def contents(self, number: int) -> list[memoryview]:
        return [
            self._buffer[field.value : field.end]
            for field in self._fields
            if (field.number, field.kind) == (number, protobuf.LENGTH)
        ]

    def numbers(self, number: int) -> list[int]:
        return [
            value
            for field in self._fields
            if field.number == number
            for value in protobuf.packed(self._buffer, field)
        ]


def _value(message: _Message) -> Value:
    kind, shape = "unknown", list[int | str]()
    for tensor in (inner for one in message.messages(2) for inner in one.messages(1)):
        number = (tensor.numbers(1) or [0])[0]
        kind = _TYPES.get(number, f"type {number}")
        sides = (side for one in tensor.messages(2) for side in one.messages(1))
        shape = [side.numbers(1)[0] if side.count(1) else side.text(2, "?") for side in sides]
    return Value(message.text(1), kind, tuple(shape))


def read(content: bytes) -> Contents:
    """Reads the facts of an ONNX file.

    Raises:
        ValueError: the bytes are not an ONNX file, or are damaged.
    """
    buffer = memoryview(content)
    model = _Message(buffer, 0, len(buffer))
    graphs = list(model.messages(_GRAPH))
    if len(graphs) != 1:
        raise ValueError("it holds no network")
    (graph,) = graphs
    weights, parameters = set(), 0
    for tensor in graph.messages(_INITIALIZER):
        if tensor.numbers(_DATA_LOCATION) == [1]:
            raise ValueError("its weights lie in other files")
        weights.add(tensor.text(8))
        parameters += math.prod(tensor.numbers(1))
    entries = [(one.text(1), one.text(2)) for one in model.messages(_METADATA)]
    if len(dict(entries)) != len(entries):
        raise ValueError("its metadata repeats a name")
    return Contents(
        producer=f"{model.text(_PRODUCER)} {model.text(_PRODUCER_VERSION)}".strip(),
        opset=max(
            (version for one in model.messages(_OPSET) for version in one.numbers(2)), default=0
        ),
        nodes=graph.count(_NODE),
        parameters=parameters,
        inputs=tuple(
            value for value in map(_value, graph.messages(_INPUT)) if value.name not in weights
        ),
        outputs=tuple(map(_value, graph.messages(_OUTPUT))),
        metadata=dict(entries),
    )


def read_weights(content: bytes) -> dict[str, np.ndarray]:
    """Reads the weights of floating-point numbers in an ONNX file, by name.

    Raises:
        ValueError: the bytes are not an ONNX file, are damaged, or weights lie in other files.
    """
    buffer = memoryview(content)
    graphs = list(_Message(buffer, 0, len(buffer)).messages(_GRAPH))
    if len(graphs) != 1:
        raise ValueError("it holds no network")
    weights: dict[str, np.ndarray] = {}
    for tensor in graphs[0].messages(_INITIALIZER):
        kind = (tensor.numbers(2) or [0])[0]
        name = tensor.text(8)
        if tensor.numbers(_DATA_LOCATION) == [1]:
            raise ValueError("its weights lie in other files")
        if kind not in _FLOATS:
            continue
        if name in weights:
            raise ValueError(f"two weights are named {name}")
        dtype = np.dtype(_FLOATS[kind])
        parts = tensor.contents(_RAW_DATA)
        if kind == 1 and not parts:
            parts = tensor.contents(_FLOAT_DATA)
        data, shape = b"".join(parts), tensor.numbers(1)
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"{name} of shape {tuple(shape)} has {len(data):,} bytes of numbers")
        weights[name] = np.frombuffer(data, dtype).reshape(shape)
    return weights
