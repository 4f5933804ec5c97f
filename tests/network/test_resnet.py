"""The networks on a ResNet: their interface, and the same numbers as in PyTorch."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms import checkpoint
from fcn8s_ms.loss import AuxiliaryLoss, CrossEntropyLoss
from fcn8s_ms.network.batch_norm import fold_batch_norm

from ..helpers import assert_same_probabilities, fill, load_tool, tiny_network


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def picture(height, width, seed=0):
    return np.random.RandomState(seed).standard_normal((2, 3, height, width)).astype(np.float32)


def test_auxiliary_head_is_for_training_only():
    network = tiny_network("fcn_resnet50", 5, auxiliary=True)
    fill(network)
    x = Tensor(picture(33, 47))
    logits, auxiliary = network.set_train()(x)
    assert logits.shape == auxiliary.shape == (2, 5, 33, 47)
    assert network.set_train(False)(x).shape == (2, 5, 33, 47)
    plain = tiny_network("fcn_resnet50", 5).set_train()
    assert plain(x).shape == (2, 5, 33, 47)


def test_weights_with_an_auxiliary_head_serve_inference(tmp_path):
    network = tiny_network("fcn_resnet50", 5, auxiliary=True)
    fill(network)
    checkpoint.save(network, tmp_path / "a.ckpt", {})
    loaded = checkpoint.load_network(tmp_path / "a.ckpt")
    assert not [one.name for one in loaded.get_parameters() if one.name.startswith("aux")]
    x = Tensor(picture(32, 40))
    expected = network.set_train(False)(x).asnumpy()
    assert np.array_equal(loaded(x).asnumpy(), expected)
    found = fold_batch_norm(loaded)(x).asnumpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_fewer_than_two_classes():
    with pytest.raises(ValueError, match="n_class is 1"):
        tiny_network("fcn_resnet50", 1)


def in_torch(torch, arch, n_class, network):
    tool = load_tool("torch_fcn_resnet")
    there = tool.FCNResNet(arch, n_class, 4, dropout=0, auxiliary=network.has_auxiliary)
    weights = {name: value.asnumpy() for name, value in network.parameters_dict().items()}
    tool.from_mindspore(there, weights)
    return there


@pytest.mark.parametrize(("arch", "n_class"), [("fcn_resnet50", 21), ("fcn_resnet101", 7)])
def test_probabilities_are_those_of_pytorch(torch, tmp_path, arch, n_class):
    network = tiny_network(arch, n_class, auxiliary=True)
    fill(network)
    there = in_torch(torch, arch, n_class, network).eval()
    with torch.no_grad():
        scale = 10 / float(there(torch.from_numpy(picture(96, 128))).abs().max())
    for name in ("weight", "bias"):
        one = network.parameters_dict()[f"classifier.4.{name}"]
        one.set_data(Tensor(one.asnumpy() * np.float32(scale)))
    there = in_torch(torch, arch, n_class, network).eval()
    checkpoint.save(network, tmp_path / "a.ckpt", {})
    assert_same_probabilities(torch, there, tmp_path / "a.ckpt")


def test_gradients_are_those_of_pytorch(torch):
    """Of a step with batch statistics and both losses; see test_torch_fcn8s on the seeds."""
    label = np.random.RandomState(1).randint(0, 5, (2, 33, 41)).astype(np.int32)
    label[:, :10] = 255
    for seed in range(6):
        worst = difference_of_gradients(torch, picture(33, 41, seed), label)
        if worst <= 1e-3:
            break
    assert worst <= 1e-3


def difference_of_gradients(torch, x, label):
    network = tiny_network("fcn_resnet50", 5, dropout=0.0, auxiliary=True).set_train()
    fill(network)
    there = in_torch(torch, "fcn_resnet50", 5, network).train()
    loss_here = AuxiliaryLoss(CrossEntropyLoss(), 0.5)

    def forward(x):
        return loss_here(network(x), Tensor(label))

    parameters = network.trainable_params()
    loss, gradients = ms.value_and_grad(forward, None, parameters)(Tensor(x))
    target = torch.from_numpy(label).long()
    main, auxiliary = (
        torch.nn.functional.cross_entropy(one, target, ignore_index=255)
        for one in there(torch.from_numpy(x))
    )
    expected = main + 0.5 * auxiliary
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    of_torch, names = dict(there.named_parameters()), {"gamma": "weight", "beta": "bias"}
    worst = 0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        head, tail = parameter.name.rsplit(".", 1)
        other = of_torch[f"{head}.{names.get(tail, tail)}"].grad.numpy()
        worst = max(worst, np.abs(gradient.asnumpy() - other).max() / np.abs(other).max())
    return worst
