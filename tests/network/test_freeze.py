import numpy as np
import pytest
from mindspore import Tensor, nn

from fcn8s_ms import device
from fcn8s_ms.loss import AuxiliaryLoss, CrossEntropyLoss
from fcn8s_ms.model import FCN8s
from fcn8s_ms.network import cpu, freeze
from fcn8s_ms.network.architectures import ARCHITECTURES

from ..helpers import TINY, tiny_network

PARTS = ARCHITECTURES["fcn8s"].parts


def changed_by_training(network, loss=None):
    """Names of the parameters that two steps change."""
    before = {one.name: one.asnumpy().copy() for one in network.get_parameters()}
    optimizer = nn.Momentum(
        params=network.trainable_params(), learning_rate=0.1, momentum=0.9, weight_decay=1e-4
    )
    with_loss = nn.WithLossCell(network, loss or CrossEntropyLoss())
    step = nn.TrainOneStepCell(with_loss, optimizer).set_train()
    rng = np.random.RandomState(0)
    for _ in range(2):
        images = rng.standard_normal((2, 3, 64, 64)).astype(np.float32)
        step(Tensor(images), Tensor(rng.randint(0, 5, (2, 64, 64)).astype(np.int32)))
    after = {one.name: one.asnumpy() for one in network.get_parameters()}
    return {name for name in before if not np.array_equal(before[name], after[name])}


def names(network, *prefixes):
    return {one.name for one in network.get_parameters() if one.name.startswith(prefixes)}


def test_backbone_stays_as_it_is():
    network = FCN8s(5, **TINY)
    frozen = freeze.freeze_part(network, PARTS["backbone"])
    # 13 convolutions with gamma and beta.
    assert len(frozen) == 39 and len(set(frozen)) == 39
    backbone = names(network, "conv1.", "conv2.", "conv3.", "conv4.", "conv5.")
    assert set(frozen) < backbone
    assert changed_by_training(network) == names(network, "") - backbone


def test_batch_norms_stay_as_they_are_and_normalise_with_their_statistics():
    network = FCN8s(5, **TINY)
    # As after a training: statistics that are not those of any batch.
    norms = [cell for _, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    for norm in norms:
        norm.moving_mean.set_data(Tensor(np.full(norm.num_features, 0.1, np.float32)))
    frozen = freeze.freeze_batch_norm(network)
    assert len(frozen) == 2 * len(norms) == 30
    changed = changed_by_training(network)
    assert changed == {name for name in names(network, "") if name.endswith("weight")}
    images = Tensor(np.random.RandomState(1).standard_normal((2, 3, 64, 64)).astype(np.float32))
    training = network.set_train(True)(images).asnumpy()
    assert np.array_equal(training, network.set_train(False)(images).asnumpy())


def test_upsampling_stays_as_it_is():
    network = FCN8s(5, upsample_init="bilinear", **TINY)
    frozen = freeze.freeze_part(network, PARTS["upsampling"])
    assert frozen == ["upscore2.weight", "upscore_pool4.weight", "upscore8.weight"]
    assert changed_by_training(network) == names(network, "") - set(frozen)


def test_fully_connected_layers_stay_as_they_are():
    """In the layers for a CPU too; the backbone below them is trained through them."""
    network = FCN8s(5, **TINY)
    frozen = freeze.freeze_part(network, PARTS["fc"])
    own = names(network, "conv6.", "conv7.")
    assert set(frozen) == {name for name in own if "moving" not in name} and len(frozen) == 6
    assert changed_by_training(cpu.accelerate(network)) == names(network, "") - own


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_weight_is_of_one_part(arch):
    """And every part has some."""
    architecture = ARCHITECTURES[arch]
    given = {"auxiliary": True} if architecture.has_auxiliary else {}
    network = tiny_network(arch, 3, **given)
    for name in [one.name for one in network.trainable_params()]:
        own = [part for part in architecture.parts.values() if name.startswith(part)]
        assert own == [architecture.parts[architecture.part_of(name)]]
    assert all(names(network, *prefixes) for prefixes in architecture.parts.values())


@pytest.fixture
def pynative():
    """Compiling a ResNet would take longer than its steps."""
    device.configure("CPU", mode="pynative")
    yield
    device.configure("CPU")


@pytest.mark.parametrize("part", ["backbone", "head", "aux"])
def test_parts_of_a_resnet_stay_as_they_are(pynative, part):
    network = tiny_network("fcn_resnet50", 5, auxiliary=True)
    prefixes = ARCHITECTURES["fcn_resnet50"].parts[part]
    freeze.freeze_part(network, prefixes)
    changed = changed_by_training(cpu.accelerate(network), AuxiliaryLoss(CrossEntropyLoss(), 0.5))
    assert changed == names(network, "") - names(network, *prefixes)


def test_both():
    network = FCN8s(5, **TINY)
    assert (
        len(freeze.freeze_part(network, PARTS["backbone"]) + freeze.freeze_batch_norm(network))
        == 39 + 4
    )
    weights = names(network, "conv6", "conv7", "score", "upscore")
    assert changed_by_training(network) == {name for name in weights if name.endswith("weight")}
