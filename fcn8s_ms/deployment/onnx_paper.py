"""The authors' networks as ONNX nodes."""

from mindspore import nn

from ..network.architectures import BACKBONES, PAPER_PADDING
from ..network.paper import OFFSET_POOL3, OFFSET_POOL4, OFFSETS
from .onnx_nodes import Graph

__all__ = ["add"]


def add(graph: Graph, network: nn.Cell, image: str) -> str:
    """Adds the nodes of a network in evaluation mode.

    Args:
        graph: receives nodes and weights.
        network: `FCN32sPaper`, `FCN16sPaper` or `FCN8sPaper`.
        image: name of the normalised images.

    Returns:
        Name of the logits.
    """

    def conv(name: str, x: str, pad: int | None = None) -> str:
        return graph.conv(name, getattr(network, name), x, pad)

    def upscore(name: str, x: str) -> str:
        return graph.upscore(name, getattr(network, name), x, pad=0)

    def skip(stage: int, scale: int, offset: int, like: str) -> str:
        """Scores of a pool, cut to the size of others."""
        factor = graph.constant(f"scale_pool{stage}", network.scales.asnumpy()[scale : scale + 1])
        pool = graph.node("Mul", [pools[stage], factor])
        return _cut(graph, conv(f"score_pool{stage}", pool), offset, like)

    x = graph.node("Mul", [image, graph.constant("factor", network.factor.asnumpy())])
    x = graph.node("Add", [x, graph.constant("shift", network.shift.asnumpy())])
    pools = {}
    for stage, depth in enumerate(BACKBONES["vgg16"], 1):
        for place in range(1, depth + 1):
            pad = PAPER_PADDING if (stage, place) == (1, 1) else None
            x = graph.node("Relu", [conv(f"conv{stage}_{place}", x, pad)])
        x = pools[stage] = graph.node(
            "MaxPool", [x], f"pool{stage}", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
        )
    x = graph.node("Relu", [conv("fc6", x, pad=0)])
    x = graph.node("Relu", [conv("fc7", x)])
    x = conv("score_fr", x)
    last, stride = "upscore", 32
    if hasattr(network, "score_pool4"):
        x = upscore("upscore2", x)
        x = graph.node("Add", [x, skip(4, 0, OFFSET_POOL4, x)])
        last, stride = "upscore16", 16
    if hasattr(network, "score_pool3"):
        x = upscore("upscore_pool4", x)
        x = graph.node("Add", [x, skip(3, 1, OFFSET_POOL3, x)])
        last, stride = "upscore8", 8
    return _cut(graph, upscore(last, x), OFFSETS[stride], image)


def _cut(graph: Graph, x: str, offset: int, like: str) -> str:
    """Part of `x` that starts at `offset` and has the height and width of `like`."""
    start = graph.int64([offset, offset])
    end = graph.node("Add", [graph.size_of(like), start])
    return graph.node("Slice", [x, start, end, graph.int64([2, 3])])
