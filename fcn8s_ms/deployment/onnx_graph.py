"""A network as an ONNX graph, node by node.

MindSpore's own ONNX files have a fixed size and a ConvTranspose that ONNX Runtime refuses; this
graph takes any size, and its nodes and weights have the names of the network's layers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mindspore import nn

from .. import files
from ..errors import InputError
from ..formats import onnx_digest
from ..network.architectures import multiple_of
from . import onnx_networks
from .onnx_nodes import Graph

__all__ = ["build", "import_onnx", "run", "to_float16", "write"]

_OPSET = 15  # the last one that Ascend's atc of CANN 8.0 reads
_IR_VERSION = 8  # of opset 15


def import_onnx() -> Any:
    """Imports the package onnx.

    Raises:
        InputError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            'ONNX files need the packages onnx and onnxruntime: pip install -e ".[onnx]"'
        ) from error
    return onnx


def build(
    network: nn.Cell,
    *,
    argmax: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """Builds the graph of a network in evaluation mode.

    Args:
        network: one of `fcn8s_ms.model.NETWORKS`, its BatchNorm folded (`fold_batch_norm`).
        argmax: output class ids instead of logits.
        mean: mean of the channels, BGR, 0…255. With `mean` and `std` the graph takes uint8 pixels,
            and normalises and pads them itself.
        std: standard deviation of the channels, BGR.
        metadata: name to value for the file's metadata; values other than text become JSON.

    Returns:
        `onnx.ModelProto`. Input `image`: float32 (N, 3, H, W), normalised BGR, sides multiples of
        what the network takes; or, with `mean`, uint8 (N, H, W, 3), BGR, of any size. Output
        `logits`: float32 (N, n_class, H, W), or `class_ids`: int32 (N, H, W).

    Raises:
        InputError: onnx is not installed.
    """
    onnx = import_onnx()
    graph = Graph(onnx)
    x, size = "image", None
    if mean is not None and std is not None:
        x, size = graph.prepared(x, mean, std, multiple_of(network))
    x = onnx_networks.add(graph, network, x)
    if size is not None:
        x = graph.node("Slice", [x, graph.int64([0, 0]), size, graph.int64([2, 3])])
    output, axes = "logits", ["N", network.n_class, "H", "W"]
    if argmax:
        x = graph.node("ArgMax", [x], axis=1, keepdims=0)
        x = graph.node("Cast", [x], to=onnx.TensorProto.INT32)
        output, axes = "class_ids", ["N", "H", "W"]
    graph.node("Identity", [x], output)

    helper, kinds = onnx.helper, onnx.TensorProto
    if mean is not None and std is not None:
        source = helper.make_tensor_value_info("image", kinds.UINT8, ["N", "H", "W", 3])
    else:
        source = helper.make_tensor_value_info("image", kinds.FLOAT, ["N", 3, "H", "W"])
    target = helper.make_tensor_value_info(output, kinds.INT32 if argmax else kinds.FLOAT, axes)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, type(network).__name__, [source], [target], graph.initializers
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="fcn8s_ms",
    )
    texts = {
        name: value if isinstance(value, str) else files.json_text(value, indent=None)
        for name, value in (metadata or {}).items()
    }
    helper.set_model_props(model, texts)
    return model


def to_float16(model: Any) -> Any:
    """Converts weights and arithmetic of a model to float16; input and output keep their types.

    Args:
        model: `onnx.ModelProto`; not to be used afterwards.

    Returns:
        The converted `onnx.ModelProto`.

    Raises:
        InputError: onnxruntime, whose converter is used, is not installed.
    """
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise InputError('--fp16 needs onnxruntime: pip install -e ".[onnx]"') from error
    converted = OnnxModel(
        convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    )
    converted.topological_sort()  # the casts of inputs are at the end
    return converted.model


def write(model: Any, path: files.PathLike) -> None:
    """Checks a model and writes it, with a digest of its content.

    Args:
        model: `onnx.ModelProto`.
        path: file to write.

    Raises:
        OSError: the file cannot be written.
    """
    import_onnx().checker.check_model(model, full_check=True)
    files.write_bytes(path, onnx_digest.sealed(model.SerializeToString()))


def run(path: files.PathLike, image: np.ndarray) -> np.ndarray:
    """Runs a file on this machine's CPU.

    Args:
        path: file of `write`.
        image: input of the graph.

    Returns:
        Output of the graph.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]
