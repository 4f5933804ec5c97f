"""ONNX graphs of one input size, whose shapes are constants."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .onnx_graph import import_onnx

__all__ = ["with_fixed_size"]

_FOLDED = ("Add", "Concat", "Mod", "Neg")
"""Operators that compute sizes from sizes; on other numbers they stay."""


def with_fixed_size(model: Any, count: int, height: int, width: int) -> Any:
    """Fixes the size of a graph's input, and puts constants where it computed sizes.

    Compilers such as Ascend's atc and TensorRT then find no shape to compute.

    Args:
        model: `onnx.ModelProto` of `onnx_graph.build`, whatever its precision; changed.
        count: images of a batch.
        height: height of the input, in pixels.
        width: width of the input, in pixels.

    Returns:
        The model.
    """
    onnx = import_onnx()
    graph = model.graph
    sizes = {"N": count, "H": height, "W": width}
    for value in (*graph.input, *graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in sizes:
                dimension.dim_value = sizes[dimension.dim_param]
    del graph.value_info[:]  # of any size
    while any(node.op_type == "Shape" for node in graph.node):
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        if not _fold(onnx, graph, _shapes(inferred.graph)):
            raise RuntimeError("a size of the graph does not follow from that of its input")
    _remove_unused(graph)
    return model


def _shapes(graph: Any) -> dict[str, list[int]]:
    """Shapes of those values whose every dimension is known."""
    shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if all(one.HasField("dim_value") for one in dimensions):
            shapes[value.name] = [one.dim_value for one in dimensions]
    return shapes


def _fold(onnx: Any, graph: Any, shapes: Mapping[str, list[int]]) -> int:
    """Replaces nodes that compute known sizes by constants; returns how many."""
    from onnx.reference import ReferenceEvaluator

    known = {
        one.name: onnx.numpy_helper.to_array(one)
        for one in graph.initializer
        if one.data_type == onnx.TensorProto.INT64
    }
    remaining, found = [], {}
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] in shapes:
            given = {node.input[0]: np.empty(shapes[node.input[0]], np.uint8)}
        elif node.op_type in _FOLDED and all(name in known for name in node.input):
            given = {name: known[name] for name in node.input}
        else:
            remaining.append(node)
            continue
        (array,) = ReferenceEvaluator(node).run(None, given)
        known[node.output[0]] = found[node.output[0]] = np.asarray(array, np.int64)
    del graph.node[:]
    graph.node.extend(remaining)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in found.items()
    )
    return len(found)


def _remove_unused(graph: Any) -> None:
    """Removes constants that no node reads."""
    used = {name for node in graph.node for name in node.input}
    for one in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(one)
