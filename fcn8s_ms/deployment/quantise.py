"""ONNX files that compute in 8-bit integers, by ONNX Runtime's static quantisation."""

import contextlib
import logging
import platform
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, listing

__all__ = ["activations_here", "layers", "quantise"]

_PRODUCER = "fcn8s_ms"
_NOT_KEPT = ("sha256", "onnx.infer", "onnx.quant.pre_process")
"""Metadata of the original: its digest, and notes of ONNX Runtime's tools to one another."""


def activations_here() -> str:
    """Type of the activations that this machine's processor multiplies faster by int8 weights.

    Source: ONNX Runtime, https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html:
    uint8 on x86-64, where VNNI and AVX2 multiply an unsigned by a signed number; int8 on ARM.
    """
    return "int8" if platform.machine().lower() in ("aarch64", "arm64") else "uint8"


def layers(model: Any) -> tuple[list[str], list[str]]:
    """Nodes of a network that are worth 8 bits: all that ends in a ReLU.

    These are the backbone and the layers after it. The score and upsampling layers stay in
    float32: they are small, and their rounding would show in the classes directly.

    Args:
        model: `onnx.ModelProto` of `onnx_graph.build`.

    Returns:
        Names of the convolutions, and of the nodes between them, in the order of the graph.
    """
    nodes = list(model.graph.node)
    of_output = {node.output[0]: node for node in nodes}
    convolutions, between = set(), set()

    def take(value: str) -> None:
        node = of_output.get(value)
        if node is not None and node.op_type == "Conv":
            convolutions.add(node.name)
        elif node is not None and node.op_type == "Add":  # the end of a block of a ResNet
            between.add(node.name)
            for one in node.input:
                take(one)

    for node in nodes:
        if node.op_type == "Relu":
            between.add(node.name)
            take(node.input[0])
    for node in nodes:
        if node.op_type == "MaxPool" and node.input[0] in between:
            between.add(node.name)
    names = [node.name for node in nodes]
    return [one for one in names if one in convolutions], [one for one in names if one in between]


def quantise(
    source: Path,
    target: Path,
    batches: Iterable[np.ndarray],
    *,
    activations: str,
    reduce_range: bool = False,
    float_layers: Sequence[str] = (),
) -> Any:
    """Quantises a network: weights to int8 per channel, activations by their ranges on images.

    Args:
        source: ONNX file of `onnx_graph.write`.
        target: file to write meanwhile, replaced if it exists; its folder has room for another
            copy of `source`.
        batches: inputs of the network to take the ranges from, each as of `onnx_graph.build`.
        activations: 'uint8' or 'int8'.
        reduce_range: give weights 7 bits, for processors whose 16-bit sums could overflow.
        float_layers: convolutions to leave in float32, by names or beginnings of names.

    Returns:
        `onnx.ModelProto` with the metadata of `source` except its digest. Pairs of
        QuantizeLinear and DequantizeLinear mark what ONNX Runtime computes in integers.

    Raises:
        InputError: a package is not installed, there are no images, or a layer does not exist.
    """
    import onnx
    from onnxruntime import quantization

    convolutions, between = layers(onnx.load(str(source), load_external_data=False))
    kept = _chosen(convolutions, float_layers)
    kinds = {"uint8": quantization.QuantType.QUInt8, "int8": quantization.QuantType.QInt8}
    with _quiet():
        quantization.quantize_static(
            str(source),
            str(target),
            _Reader(batches),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu", "MaxPool", "Add"],
            nodes_to_quantize=[name for name in convolutions if name not in kept] + between,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=kinds[activations],
            weight_type=quantization.QuantType.QInt8,
        )
    model = onnx.load(str(target))
    model.producer_name = _PRODUCER
    model.producer_version = ""
    properties = {one.key: one.value for one in model.metadata_props if one.key not in _NOT_KEPT}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, properties)
    return model


def _chosen(convolutions: Sequence[str], prefixes: Sequence[str]) -> set[str]:
    """Names that begin with one of the prefixes: `conv1` means conv1.0, not conv10."""
    chosen: set[str] = set()
    for prefix in prefixes:
        found = {one for one in convolutions if one == prefix or one.startswith(f"{prefix}.")}
        if not found:
            raise InputError(
                f"--float-layers {prefix}: no convolution of this network is called so; it has "
                f"{listing(convolutions, len(convolutions))}"
            )
        chosen |= found
    return chosen


class _Reader:
    """Hands batches to ONNX Runtime's calibration: a `CalibrationDataReader`."""

    def __init__(self, batches: Iterable[np.ndarray]):
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input by its name; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops what ONNX Runtime's tool writes to the root logger, and keeps it from setting one up.

    It advises to fold BatchNorm and infer shapes first, which is done.
    """
    root, nothing = logging.getLogger(), logging.NullHandler()

    def drop(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    root.addHandler(nothing)
    root.addFilter(drop)
    try:
        yield
    finally:
        root.removeFilter(drop)
        root.removeHandler(nothing)
