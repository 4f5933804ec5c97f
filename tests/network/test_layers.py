"""Layers, their sizes and their operations, compared with the networks themselves."""

import math
import re

import pytest

from fcn8s_ms import model
from fcn8s_ms.network import architectures, layers
from fcn8s_ms.network.architectures import (
    BACKBONES,
    RESNET_DEPTHS,
    RESNET_WIDTH,
    TUTORIAL,
    VGG_WIDTHS,
    ResNetDimensions,
    VggDimensions,
)

from ..helpers import tiny_network

NETWORKS = [(arch, {"depths": depths}) for arch in TUTORIAL for depths in BACKBONES.values()]
NETWORKS += [(arch, {"auxiliary": head}) for arch in RESNET_DEPTHS for head in (False, True)]
NETWORKS += [(f"{arch}_paper", {}) for arch in TUTORIAL]


def full(arch="fcn8s", classes=21, backbone="vgg16"):
    return VggDimensions(arch, classes, BACKBONES[backbone], VGG_WIDTHS, 4096)


def shapes_of(network):
    return {one.name: tuple(one.shape) for one in network.get_parameters()}


@pytest.mark.parametrize(("arch", "arguments"), NETWORKS)
def test_parameters_are_those_of_the_network(arch, arguments):
    shapes = shapes_of(tiny_network(arch, 5, **arguments))
    found = architectures.recognise(shapes)
    assert (found.arch, found.num_classes) == (arch, 5)
    if "depths" in arguments:
        assert found.depths == arguments["depths"]
    assert found.facts.get("auxiliary") == arguments.get("auxiliary")
    assert list(layers.parameters(found).items()) == list(shapes.items())
    counted = sum(one.parameters for one in layers.layers(found, 64, 64))
    factors = 2 if "scales" in shapes else 0
    assert counted == sum(map(math.prod, shapes.values())) - factors


def test_full_size():
    """Counted by hand: VGG-16 at 512×512, with its fully connected layers at 16×16."""
    of = {one.name: one for one in layers.layers(full(), 512, 512)}
    assert (of["conv1.0"].height, of["conv1.0"].width, of["conv1.0"].channels) == (512, 512, 64)
    assert of["conv1.0"].macs == 512 * 512 * 64 * 3 * 9
    assert (of["conv5.6"].height, of["conv6.0"].channels) == (32, 4096)
    assert of["conv6.0"].macs == 16 * 16 * 4096 * 512 * 49
    assert of["conv6.0"].parameters == 4096 * 512 * 49 + 4 * 4096
    assert (of["upscore8"].height, of["upscore8"].channels) == (512, 21)
    assert of["upscore8"].macs == 64 * 64 * 21 * 21 * 16 * 16
    # The convolutions of VGG-16 take 15.35 GMAC at 224×224, wherever they are published.
    of = {one.name: one for one in layers.layers(full(), 224, 224)}
    backbone = sum(one.macs for name, one in of.items() if name[:5] in layers.BACKBONE)
    assert backbone / 1e9 == pytest.approx(15.35, abs=0.01)


@pytest.mark.parametrize(
    ("arch", "published"), [("fcn_resnet50", 152.717), ("fcn_resnet101", 232.738)]
)
def test_operations_of_a_resnet(arch, published):
    """torchvision publishes them with its weights: at 520×520, the auxiliary head included."""
    of_file = ResNetDimensions(arch, 21, RESNET_DEPTHS[arch], RESNET_WIDTH, True)
    counted = sum(one.macs for one in layers.layers(of_file, 520, 520))
    assert counted / 1e9 == pytest.approx(published, abs=0.001)


@pytest.mark.parametrize("arch", model.NETWORKS)
def test_sizes_and_operations_are_those_of_the_exported_graph(arch):
    """Sizes by ONNX's own inference of shapes, operations from its nodes."""
    onnx = pytest.importorskip("onnx")
    from fcn8s_ms.deployment import onnx_graph
    from fcn8s_ms.network.batch_norm import fold_batch_norm

    height, width = (64, 96) if arch in TUTORIAL else (75, 101)
    network = tiny_network(arch, 5)
    dimensions = architectures.recognise(shapes_of(network))
    graph = onnx_graph.build(fold_batch_norm(network))
    for axis, side in zip(graph.graph.input[0].type.tensor_type.shape.dim, (1, 3, height, width)):
        axis.dim_value = side
    inferred = onnx.shape_inference.infer_shapes(graph, data_prop=True).graph
    sizes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input)
    }
    weights = {one.name: list(one.dims) for one in inferred.initializer}
    # Without BatchNorm every second layer of a stage is a convolution, not every third; the last
    # layer of a ResNet's head is one place earlier.
    found = {one.name: one for one in layers.layers(dimensions, height, width)}
    if arch in TUTORIAL:
        found = {
            re.sub(r"\.(\d+)$", lambda place: f".{int(place[1]) // 3 * 2}", name): one
            for name, one in found.items()
        }
    elif arch in RESNET_DEPTHS:
        found["classifier.3"] = found.pop("classifier.4")
    nodes = [node for node in inferred.node if node.op_type in ("Conv", "ConvTranspose")]
    assert {node.name for node in nodes} == set(found)
    for node in nodes:
        layer, weight = found[node.name], weights[node.input[1]]
        # Of what is cut out of another, ONNX infers no size of the batch.
        expected = [layer.channels, layer.height, layer.width]
        assert sizes[node.output[0]][1:] == expected, node.name
        where = node.output[0] if node.op_type == "Conv" else node.input[0]
        assert layer.macs == math.prod(weight) * math.prod(sizes[where][2:]), node.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upscore8.weight": None}, "it has none of the parameters"),
        ({"score_fr.weight": None}, "parameter 'score_fr.weight' is missing"),
        ({"conv6.0.weight": (4, 4)}, r"parameter 'conv6.0.weight' has shape \(4, 4\)"),
        ({"score_fr.weight": (1, 16, 1, 1)}, "it has 1 classes"),
    ],
)
def test_other_weights(change, message):
    shapes = {**layers.parameters(full()), **change}
    with pytest.raises(ValueError, match=message):
        architectures.recognise({name: one for name, one in shapes.items() if one is not None})
