"""The networks as ONNX nodes, a function for each family."""

from mindspore import nn

from ..network.architectures import architecture_of
from . import onnx_paper
from .onnx_nodes import Graph

__all__ = ["add"]


def add(graph: Graph, network: nn.Cell, image: str) -> str:
    """Adds the nodes of a network in evaluation mode.

    Args:
        graph: receives nodes and weights.
        network: one of `fcn8s_ms.model.NETWORKS`, its BatchNorm folded.
        image: name of the normalised images.

    Returns:
        Name of the logits.

    Raises:
        TypeError: the network is another one.
    """
    architecture = architecture_of(network)
    if architecture is None:
        raise TypeError(f"{type(network).__name__} has no ONNX graph here")
    return _NETWORKS[architecture.family](graph, network, image)


def _vgg(graph: Graph, network: nn.Cell, x: str) -> str:
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
    return graph.upscore(last, getattr(network, last), x)


def _resnet(graph: Graph, network: nn.Cell, image: str) -> str:
    backbone = network.backbone

    def conv(name: str, layer: nn.Conv2d, x: str) -> str:
        return graph.conv(f"backbone.{name}", layer, x)

    x = graph.node("Relu", [conv("conv1", backbone.conv1, image)])
    x = graph.max_pool("backbone.maxpool", x, side=3, pad=1)
    for stage in (1, 2, 3, 4):
        for place, block in enumerate(getattr(backbone, f"layer{stage}")):
            name = f"layer{stage}.{place}"
            y = graph.node("Relu", [conv(f"{name}.conv1", block.conv1, x)])
            y = graph.node("Relu", [conv(f"{name}.conv2", block.conv2, y)])
            y = conv(f"{name}.conv3", block.conv3, y)
            if block.has_downsample:
                x = conv(f"{name}.downsample.0", block.downsample[0], x)
            x = graph.node("Relu", [graph.node("Add", [y, x])])
    scores = graph.layers("classifier", network.classifier, x)
    return graph.resized(scores, graph.size_of(image))


_NETWORKS = {"vgg": _vgg, "resnet": _resnet, "paper": onnx_paper.add}
"""By family."""
