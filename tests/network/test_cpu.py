import os
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from fcn8s_ms.model import NETWORKS, FCN8s
from fcn8s_ms.network.architectures import TUTORIAL
from fcn8s_ms.network.batch_norm import fold_batch_norm
from fcn8s_ms.network.cpu import CpuConv2d, CpuResize, CpuStage, MatMulConv2d, accelerate

from ..helpers import TINY, clean_environment, fill, tiny_network


@pytest.mark.parametrize("arch", TUTORIAL)
def test_parameters_are_adopted(arch):
    """The same objects, under the same names, in the same order; once more changes nothing."""
    network = NETWORKS[arch](3, **TINY)
    before = [(parameter, parameter.name) for parameter in network.get_parameters()]
    for _ in range(2):
        assert accelerate(network) is network
        after = [(parameter, parameter.name) for parameter in network.get_parameters()]
        assert [name for _, name in after] == [name for _, name in before]
        assert all(one is other for (one, _), (other, _) in zip(after, before))
    own = [cell for _, cell in network.cells_and_names() if isinstance(cell, nn.Conv2d)]
    assert {cell.kernel_size for cell in own} == {(1, 1)}  # the scores


def test_only_the_resize_of_a_resnet_is_replaced():
    network = tiny_network("fcn_resnet50", 3)
    before = [name for name, _ in network.parameters_and_names()]
    cells = dict(network.cells_and_names())
    resize = accelerate(accelerate(network)).resize
    assert isinstance(resize, CpuResize) and isinstance(resize.resize, ms.ops.ResizeBilinearV2)
    assert [name for name, _ in network.parameters_and_names()] == before
    assert all(cells[name] is cell for name, cell in network.cells_and_names() if name in cells)


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE])
@pytest.mark.parametrize(
    ("before", "after"),
    [((4, 6), (32, 48)), ((5, 3), (33, 20)), ((7, 9), (4, 5)), ((1, 1), (3, 8))],
)
def test_resize_equals_resize(before, after, mode):
    """Larger, smaller, by no whole factor; and from one pixel."""
    rng = np.random.RandomState(0)
    x = Tensor(rng.standard_normal((2, 3, *before)).astype(np.float32))
    scale = Tensor(rng.standard_normal((2, 3, *after)).astype(np.float32))
    plain = ms.ops.ResizeBilinearV2(align_corners=False, half_pixel_centers=True)

    def result(resize):
        def weighted(x):
            return (resize(x, after) * scale).sum()

        value, gradient = ms.value_and_grad(weighted)(x)
        return resize(x, after).asnumpy(), value.asnumpy(), gradient.asnumpy()

    ms.set_context(mode=mode)
    try:
        found, expected = result(CpuResize(plain)), result(plain)
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    assert np.array_equal(found[0], expected[0])
    assert np.abs(found[2] - expected[2]).max() <= 1e-5 * np.abs(expected[2]).max()


def test_an_accelerated_network_is_not_folded():
    with pytest.raises(ValueError, match="conv1: .*fold a network before it is accelerated"):
        fold_batch_norm(accelerate(FCN8s(3, **TINY)))


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("FCN8s(21)", 32),
        pytest.param("FCNResNet50(21, auxiliary=True)", 33, marks=pytest.mark.slow),
    ],
)
def test_training_step_uses_no_reference_kernel(network, size):
    """The full network's forward and backward pass, by the names of the kernels oneDNN ran."""
    code = (
        "import numpy as np, mindspore as ms\n"
        "from fcn8s_ms.device import configure; configure('CPU')\n"
        "from fcn8s_ms.model import FCN8s, FCNResNet50\n"
        "from fcn8s_ms.network.cpu import accelerate\n"
        f"net = accelerate({network}).set_train()\n"
        f"x = ms.Tensor(np.ones((1, 3, {size}, {size}), np.float32))\n"
        "def loss(x):\n"
        "    found = net(x)\n"
        "    if isinstance(found, tuple):\n"
        "        return found[0].sum() + found[1].sum()\n"
        "    return found.sum()\n"
        "ms.value_and_grad(loss, None, net.trainable_params())(x)\n"
        "net.set_train(False)(x)\n"
    )
    script = Path(os.environ.get("PYTEST_TMP", "/tmp")) / f"kernels_{os.getpid()}.py"
    script.write_text(code)
    try:
        done = subprocess.run(
            [sys.executable, str(script)],
            env=clean_environment(ONEDNN_VERBOSE="1", DNNL_VERBOSE="1"),
            capture_output=True,
            text=True,
        )
    finally:
        script.unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    calls = [line for line in done.stdout.splitlines() if ",exec," in line]
    convolutions = [line for line in calls if ",convolution," in line]
    assert len(convolutions) > 30
    assert not [line for line in convolutions if ",ref" in line]


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("layer_class", "kernel_size"), [(CpuConv2d, 3), (MatMulConv2d, 7), (MatMulConv2d, 1)]
)
def test_convolutions_equal_convolution(layer_class, kernel_size, training, mode):
    rng = np.random.RandomState(0)
    arguments = {
        "in_channels": 3,
        "out_channels": 5,
        "kernel_size": kernel_size,
        "stride": 1,
        "pad_mode": "same",
        "has_bias": False,
    }
    plain = nn.Conv2d(**arguments).set_train(training)
    weight = rng.standard_normal((5, 3, kernel_size, kernel_size)).astype(np.float32)
    plain.weight.set_data(Tensor(weight))
    own = layer_class(plain).set_train(training)
    assert own.weight is plain.weight
    x = Tensor(rng.standard_normal((2, 3, 6, 9)).astype(np.float32))
    scale = Tensor(rng.standard_normal((2, 5, 6, 9)).astype(np.float32))

    def result(layer):
        def weighted(x):
            return (layer(x) * scale).sum()

        value, gradients = ms.value_and_grad(weighted, 0, layer.trainable_params())(x)
        return [layer(x), value, gradients[0], gradients[1][0]]

    ms.set_context(mode=mode)
    try:
        for one, other in zip(result(own), result(plain)):
            one, other = one.asnumpy(), other.asnumpy()
            assert one.shape == other.shape
            assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max()
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)


def _freeze(network, how):
    for _, cell in network.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            if how == "eval":
                cell.set_train(False)
            elif how == "flag":
                cell.use_batch_statistics = False


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE])
@pytest.mark.parametrize("frozen", [None, "eval", "flag"])
def test_accelerated_network_equals_the_plain_one(frozen, mode):
    """Logits, gradients and moving statistics."""
    rng = np.random.RandomState(0)
    x, scale = (Tensor(rng.standard_normal((2, 3, 32, 64)).astype(np.float32)) for _ in range(2))

    def result(accelerated):
        network = FCN8s(3, **TINY)
        fill(network)
        network.set_train()
        _freeze(network, frozen)
        if accelerated:
            accelerate(network)
        assert isinstance(network.conv1, CpuStage) == accelerated

        def weighted(x):
            return (network(x) * scale).sum()

        parameters = network.trainable_params()
        step = ms.value_and_grad(weighted, 0, parameters)
        for _ in range(3):
            value, (dx, gradients) = step(x)
        found = {"value": value, "x": dx}
        found.update({f"d {p.name}": grad for p, grad in zip(parameters, gradients)})
        moving = {name: p for name, p in network.parameters_dict().items() if "moving_" in name}
        found.update(moving)
        return {name: value.asnumpy() for name, value in found.items()}

    ms.set_context(mode=mode)
    try:
        own, plain = result(True), result(False)
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    assert list(own) == list(plain)
    for name, expected in plain.items():
        difference = np.abs(own[name] - expected).max()
        assert difference <= 1e-4 * np.abs(expected).max(), name
