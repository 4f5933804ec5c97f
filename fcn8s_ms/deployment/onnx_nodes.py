"""Nodes and weights of an ONNX graph, with the names of the network's layers."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mindspore import nn

from ..network.dropout import Dropout

__all__ = ["Graph"]


class Graph:
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
            elif isinstance(layer, Dropout):
                continue  # evaluation leaves everything
            else:
                raise TypeError(f"{name}.{index}: {type(layer).__name__} has no ONNX node here")
        return x

    def max_pool(self, name: str, x: str, side: int = 2, pad: int = 0) -> str:
        """Pooling of stride 2."""
        return self.node(
            "MaxPool", [x], name, kernel_shape=[side, side], strides=[2, 2], pads=[pad] * 4
        )

    def conv(self, name: str, layer: nn.Conv2d, x: str, pad: int | None = None) -> str:
        """Convolution; without `pad` padded so that it keeps the size up to its stride."""
        side, dilation = layer.kernel_size[0], layer.dilation[0]
        if pad is None:
            pad = dilation * (side // 2)
        inputs = [x, self.constant(f"{name}.weight", layer.weight.asnumpy())]
        if layer.has_bias:
            inputs.append(self.constant(f"{name}.bias", layer.bias.asnumpy()))
        return self.node(
            "Conv",
            inputs,
            name,
            kernel_shape=[side, side],
            strides=[*layer.stride],
            dilations=[dilation, dilation],
            pads=[pad] * 4,
        )

    def size_of(self, x: str) -> str:
        """Height and width, as int64 (2,)."""
        return self.node("Shape", [x], start=2, end=4)

    def resized(self, x: str, size: str) -> str:
        """Resizes bilinearly to a height and width, as `align_corners=False` does."""
        sizes = self.node("Concat", [self.node("Shape", [x], start=0, end=2), size], axis=0)
        return self.node(
            "Resize", [x, "", "", sizes], mode="linear", coordinate_transformation_mode="half_pixel"
        )

    def upscore(self, name: str, layer: nn.Conv2dTranspose, x: str, pad: int | None = None) -> str:
        """Transposed convolution; without `pad` it enlarges by exactly its stride."""
        side, stride = layer.kernel_size[0], layer.stride[0]
        if pad is None:
            pad = (side - stride) // 2
        return self.node(
            "ConvTranspose",
            [x, self.constant(f"{name}.weight", layer.weight.asnumpy())],
            name,
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[pad] * 4,
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
        size = self.size_of(x)
        # Up to the next multiple; the result of Mod has the sign of the divisor.
        missing = self.node("Mod", [self.node("Neg", [size]), self.int64([multiple, multiple])])
        pads = self.node("Concat", [self.int64([0] * 6), missing], axis=0)
        return self.node("Pad", [x, pads]), size
