import json
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms.model import BACKBONES, NETWORKS, FCN8s, FCN16s, FCN32s, bilinear_kernel
from fcn8s_ms.network import cpu
from fcn8s_ms.network.architectures import ARCHITECTURES, TUTORIAL

from .helpers import TINY, fill, tiny_network

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def full_network():
    return FCN8s(21)


def test_golden_parameters(full_network):
    expected = json.loads((GOLDEN / "parameters.json").read_text())
    found = {name: list(value.shape) for name, value in full_network.parameters_dict().items()}
    assert list(found.items()) == list(expected.items())
    assert sum(np.prod(shape) for shape in found.values()) == 134_526_944


def test_golden_forward(full_network):
    golden = np.load(GOLDEN / "forward.npz")
    fill(full_network)
    full_network.set_train(False)
    logits = full_network(Tensor(golden["x"])).asnumpy()
    assert logits.shape == golden["logits"].shape
    assert np.abs(logits - golden["logits"]).max() <= 1e-4 * np.abs(golden["logits"]).max()


def upsampled(x, weight, stride):
    """Transposed convolution of (N, C, H, W) by its definition, a pixel of input at a time."""
    side = weight.shape[2]
    n, _, height, width = x.shape
    out = np.zeros((n, weight.shape[1], height * stride + stride, width * stride + stride))
    for row in range(height):
        for column in range(width):
            part = np.einsum("nc,cdkl->ndkl", x[:, :, row, column], weight)
            top, left = row * stride, column * stride
            out[:, :, top : top + side, left : left + side] += part
    return out[:, :, stride // 2 : -(stride // 2), stride // 2 : -(stride // 2)]


@pytest.mark.parametrize("arch", TUTORIAL)
def test_heads_by_their_definition(arch):
    """Scores of the fused maps, from the largest stride to the smallest, in numpy."""
    network = NETWORKS[arch](3, **TINY).set_train(False)
    fill(network)
    x = Tensor(np.random.RandomState(0).standard_normal((2, 3, 64, 96)).astype(np.float32))
    pool3, pool4, conv7 = (feature.asnumpy() for feature in network.features(x))
    assert (pool3.shape[2:], pool4.shape[2:], conv7.shape[2:]) == ((8, 12), (4, 6), (2, 3))
    weights = {name: value.asnumpy() for name, value in network.parameters_dict().items()}

    def score(feature, name):
        return np.einsum("nchw,dc->ndhw", feature, weights[f"{name}.weight"][:, :, 0, 0])

    def up(scores, name, stride):
        return upsampled(scores, weights[f"{name}.weight"], stride)

    deepest = score(conv7, "score_fr")
    if arch == "fcn32s":
        expected = up(deepest, "upscore32", 32)
    elif arch == "fcn16s":
        expected = up(up(deepest, "upscore2", 2) + score(pool4, "score_pool4"), "upscore16", 16)
    else:
        fused = up(deepest, "upscore2", 2) + score(pool4, "score_pool4")
        fused = up(fused, "upscore_pool4", 2) + score(pool3, "score_pool3")
        expected = up(fused, "upscore8", 8)
    found = network(x).asnumpy()
    assert found.shape == (2, 3, 64, 96)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_architectures_name_the_networks():
    assert list(NETWORKS) == list(ARCHITECTURES)
    for name, network_class in NETWORKS.items():
        assert network_class.__name__ == ARCHITECTURES[name].class_name
        parameters = {one.name for one in tiny_network(name, 3).get_parameters()}
        assert parameters >= set(ARCHITECTURES[name].marks)


def test_layers_are_plain_on_a_cpu_too(full_network):
    layers = [type(cell) for _, cell in full_network.cells_and_names()][1:]
    assert {layer.__module__.partition(".")[0] for layer in layers} == {"mindspore"}
    names = [f"{kind}{number}" for number in range(1, 6) for kind in ("conv", "pool")]
    assert list(full_network.name_cells())[:12] == [*names, "conv6", "conv7"]


def test_family_shares_names_and_shapes():
    shapes = {
        arch: {name: value.shape for name, value in tiny_network(arch, 3).parameters_dict().items()}
        for arch in TUTORIAL
    }
    own = {"fcn32s": {"upscore32.weight"}, "fcn16s": {"upscore16.weight"}}
    for arch, expected in own.items():
        assert set(shapes[arch]) - set(shapes["fcn8s"]) == expected
        shared = set(shapes[arch]) & set(shapes["fcn8s"])
        assert {shapes[arch][name] == shapes["fcn8s"][name] for name in shared} == {True}
    assert set(shapes["fcn16s"]) - set(shapes["fcn32s"]) == {
        "score_pool4.weight",
        "upscore2.weight",
        "upscore16.weight",
    }


def test_vgg19_has_sixteen_convolutions():
    network = FCN8s(3, depths=BACKBONES["vgg19"], **TINY)
    names = [name for name in network.parameters_dict() if name.endswith(".weight")]
    backbone = [
        name for name in names if name.startswith(("conv1", "conv2", "conv3", "conv4", "conv5"))
    ]
    assert len(backbone) == 16 and "conv5.9.weight" in backbone
    x = Tensor(np.zeros((1, 3, 32, 64), np.float32))
    assert network.set_train(False)(x).shape == (1, 3, 32, 64)


def test_skips_that_start_as_zeros_change_nothing():
    x = Tensor(np.random.RandomState(0).standard_normal((1, 3, 64, 64)).astype(np.float32))
    network = FCN16s(3, skip_init="zeros", **TINY).set_train(False)
    before = network(x).asnumpy()
    _, _, conv7 = network.features(x)
    alone = network.upscore16(network.upscore2(network.score_fr(conv7))).asnumpy()
    assert before.any() and np.array_equal(before, alone)


@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_bilinear_initialisation_interpolates(stride):
    network_class = {16: FCN16s, 32: FCN32s}.get(stride, FCN8s)
    network = network_class(3, upsample_init="bilinear", **TINY)
    layer = getattr(network, f"upscore{stride}")
    picture = np.random.RandomState(1).rand(10, 12).astype(np.float32)
    x = np.stack([picture, 2 * picture, -picture])[np.newaxis]
    found = layer(Tensor(x)).asnumpy()[0]
    size = (12 * stride, 10 * stride)
    expected = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    inside = (slice(stride, -stride), slice(stride, -stride))
    for channel, factor in enumerate((1, 2, -1)):
        assert found[channel].shape == expected.shape
        assert np.allclose(found[channel][inside], factor * expected[inside], atol=1e-5)


def test_bilinear_kernel_by_hand():
    line = np.array([0.25, 0.75, 0.75, 0.25])
    kernel = bilinear_kernel(2, 4)
    assert np.allclose(kernel[0, 0], np.outer(line, line))
    assert not kernel[0, 1].any()


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE])
def test_side_that_is_no_multiple_of_32(mode):
    network = FCN8s(3, **TINY)
    ms.set_context(mode=mode)
    try:
        with pytest.raises(ValueError, match="height 64 and width 50.*pad_to_multiple"):
            network(Tensor(np.zeros((1, 3, 64, 50), np.float32)))
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_class": 1}, "at least 2 classes"),
        ({"n_class": 3, "widths": (4, 4)}, "each of conv1…conv5"),
        ({"n_class": 3, "depths": (1, 1)}, "each of conv1…conv5"),
        ({"n_class": 3, "skip_init": "ones"}, "choose 'xavier_uniform' or 'zeros'"),
        ({"n_class": 3, "upsample_init": "nearest"}, "choose 'xavier_uniform' or 'bilinear'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FCN8s(**arguments)


@pytest.mark.parametrize("arch", TUTORIAL)
def test_dropout_follows_conv6_and_conv7_in_training_only(arch):
    x = Tensor(np.random.RandomState(0).standard_normal((2, 3, 64, 64)).astype(np.float32))
    without, network = NETWORKS[arch](3, **TINY), NETWORKS[arch](3, dropout=0.75, **TINY)
    for one in (without, network):
        fill(one)
    assert list(network.parameters_dict()) == list(without.parameters_dict())
    found, expected = (one.set_train(False)(x).asnumpy() for one in (network, without))
    assert np.array_equal(found, expected)

    cpu.accelerate(network).set_train()
    # BatchNorm and ReLU leave about half of the numbers above 0.
    features = Tensor(np.random.RandomState(0).standard_normal((2, 8, 16, 16)).astype(np.float32))
    conv6 = network.conv6(features)
    kept = [(one.asnumpy() > 0) for one in (conv6, network.conv7(conv6))]
    assert all(0.05 < one.mean() < 0.2 for one in kept)
