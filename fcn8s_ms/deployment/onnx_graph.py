"""A network as an ONNX graph, node by node.

MindSpore's own ONNX files have a fixed size and a ConvTranspose that ONNX Runtime refuses; this
graph takes any size, and its nodes and weights have the names of the network's layers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from mindspore import nn

from .. import files
from ..errors import InputError
from ..formats import onnx_digest
from ..network.architectures import multiple_of

__all__ = ["build", "import_onnx", "run", "to_float16", "write"]

_OPSET = 17
_IR_VERSION = 8  # of opset 17: ONNX Runtime 1.12 and later reads it


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
        network: `FCN8s`, `FCN16s` or `FCN32s`, its BatchNorm folded (`fold_batch_norm`).
        argmax: output class ids instead of logits.
        mean: mean of the channels, BGR, 0…255. With `mean` and `std` the graph takes uint8 pixels,
            and normalises and pads them itself.
        std: standard deviation of the channels, BGR.
        metadata: name to value for the file's metadata; values other than text become JSON.

    Returns:
        `onnx.ModelProto`. Input `image`: float32 (N, 3, H, W), normalised BGR, sides multiples of
        32; or, with `mean`, uint8 (N, H, W, 3), BGR, of any size. Output `logits`: float32
        (N, n_class, H, W), or `class_ids`: int32 (N, H, W).

    Raises:
        InputError: onnx is not installed.
    """
    onnx = import_onnx()
    graph = _Graph(onnx)
    x, size = "image", None
    if mean is not None and std is not None:
        x, size = graph.prepared(x, mean, std, multiple_of(network))
    pools = {}
    for stage in (1, 2, 3, 4, 5):
        x = graph.layers(f"conv{stage}", getattr(network, f"conv{stage}"), x)
        x = pools[stage] = graph.max_pool(f"pool{stage}", x)
    x = graph.layers("conv6", network.conv6, x)
    x = graph.layers("conv7", network.conv7, x)
    x = graph.conv("score_fr", network.score_fr, x)
    last = "upscore32"
    if hasattr(network, "score_pool4"):
        pool4 = graph.conv("score_pool4", network.score_pool4, pools[4])
        x = graph.node("Add", [graph.upscore("upscore2", network.upscore2, x), pool4])
        last = "upscore16"
    if hasattr(network, "score_pool3"):
        pool3 = graph.conv("score_pool3", network.score_pool3, pools[3])
        x = graph.node("Add", [graph.upscore("upscore_pool4", network.upscore_pool4, x), pool3])
        last = "upscore8"
    x = graph.upscore(last, getattr(network, last), x)
    if size is not None:
        x = graph.node("Slice", [x, graph.int64([0, 0]), size, graph.int64([2, 3])])
    output, axes = "logits", ["N", network.n_class, "H", "W"]
    if argmax:
        x = graph.node("ArgMax", [x], axis=1, keepdims=0)
        x = graph.node("Cast", [x], to=onnx.TensorProto.INT32)
        output, axes = "class_ids", ["N", "H", "W"]
    graph.node("Identity", [x], output)

    helper, kinds = onnx.helper, onnx.TensorProto
    if size is not None:
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


class _Graph:
    """A graph under construction: nodes and weights in the order in which they are added."""

    def __init__(self, onnx: Any):
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(
        self, operator: str, inputs: list[str], name: str | None = None, **attributes: Any
    ) -> str:
        """Adds a node; returns the name of its output, which is its own."""
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(operator, inputs, [name], name=name, **attributes)
        )
        return name

    def constant(self, name: str, array: np.ndarray) -> str:
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def int64(self, values: Sequence[int]) -> str:
        name = f"constant_{len(self.initializers)}"
        return self.constant(name, np.asarray(values, np.int64))

    def layers(self, name: str, layers: Iterable[nn.Cell], x: str) -> str:
        for index, layer in enumerate(layers):
            if isinstance(layer, nn.Conv2d):
                x = self.conv(f"{name}.{index}", layer, x)
            elif isinstance(layer, nn.ReLU):
                x = self.node("Relu", [x], f"{name}.{index}")
            else:
                raise TypeError(f"{name}.{index}: {type(layer).__name__} has no ONNX node here")
        return x

    def max_pool(self, name: str, x: str) -> str:
        return self.node("MaxPool", [x], name, kernel_shape=[2, 2], strides=[2, 2])

    def conv(self, name: str, layer: nn.Conv2d, x: str) -> str:
        side = layer.kernel_size[0]
        inputs = [x, self.constant(f"{name}.weight", layer.weight.asnumpy())]
        if layer.has_bias:
            inputs.append(self.constant(f"{name}.bias", layer.bias.asnumpy()))
        return self.node("Conv", inputs, name, kernel_shape=[side, side], pads=[side // 2] * 4)

    def upscore(self, name: str, layer: nn.Conv2dTranspose, x: str) -> str:
        side, stride = layer.kernel_size[0], layer.stride[0]
        return self.node(
            "ConvTranspose",
            [x, self.constant(f"{name}.weight", layer.weight.asnumpy())],
            name,
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[(side - stride) // 2] * 4,
        )

    def prepared(
        self, pixels: str, mean: Sequence[float], std: Sequence[float], multiple: int
    ) -> tuple[str, str | None]:
        """Normalises and pads uint8 (N, H, W, 3); returns the result, and (H, W) before padding."""
        x = self.node("Transpose", [pixels], perm=[0, 3, 1, 2])
        x = self.node("Cast", [x], to=self.onnx.TensorProto.FLOAT)
        for operator, name, values in (("Sub", "mean", mean), ("Div", "std", std)):
            array = np.asarray(values, np.float32).reshape(1, 3, 1, 1)
            x = self.node(operator, [x, self.constant(name, array)])
        if multiple == 1:
            return x, None
        size = self.node("Shape", [x], start=2, end=4)
        # Up to the next multiple; the result of Mod has the sign of the divisor.
        missing = self.node("Mod", [self.node("Neg", [size]), self.int64([multiple, multiple])])
        pads = self.node("Concat", [self.int64([0] * 6), missing], axis=0)
        return self.node("Pad", [x, pads]), size
