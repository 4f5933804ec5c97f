"""The networks of the paper's authors: their interface, and the same numbers as in PyTorch."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms import checkpoint
from fcn8s_ms.errors import InputError
from fcn8s_ms.loss import CrossEntropyLoss
from fcn8s_ms.network.cpu import accelerate

from ..helpers import TINY, assert_same_probabilities, load_tool, tiny_network

PAPER = ["fcn32s_paper", "fcn16s_paper", "fcn8s_paper"]
VARIANTS = [
    ("fcn32s_paper", {}),
    ("fcn16s_paper", {}),
    ("fcn8s_paper", {}),
    ("fcn8s_paper", {"at_once": True}),
]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def picture(height, width, seed=0):
    return np.random.RandomState(seed).standard_normal((2, 3, height, width)).astype(np.float32)


def randomise(network):
    """Random weights, but for the interpolation and the factors on pool4 and pool3."""
    for number, (name, parameter) in enumerate(network.parameters_dict().items()):
        if name.startswith(("upscore", "scales")):
            continue
        rng, shape = np.random.RandomState(number), parameter.shape
        value = rng.standard_normal(shape) * np.sqrt(2 / max(np.prod(shape[1:]), 2))
        parameter.set_data(Tensor(value.astype(np.float32)))


def in_torch(arch, network, **sizes):
    tool = load_tool("torch_fcn_paper")
    there = tool.FCNPaper(arch, network.n_class, **(sizes or TINY), dropout=0)
    tool.from_mindspore(
        there, {name: value.asnumpy() for name, value in network.parameters_dict().items()}
    )
    return there


def scale_logits(torch, arch, network, to):
    """Every class has mean 0, the largest logit is about `to`: they are linear in the scores."""
    parameters, x = network.parameters_dict(), torch.from_numpy(picture(96, 128))
    for centred in (False, True):
        with torch.no_grad():
            logits = in_torch(arch, network, **sizes_of(network)).eval()(x).numpy()
        if not centred:
            bias = parameters["score_fr.bias"]
            bias.set_data(Tensor(bias.asnumpy() - logits.mean((0, 2, 3))))
    for name, parameter in parameters.items():
        if name.startswith("score_"):
            parameter.set_data(Tensor(parameter.asnumpy() * np.float32(to / np.abs(logits).max())))


def sizes_of(network):
    convs = [getattr(network, f"conv{stage}_1").out_channels for stage in range(1, 6)]
    return {"widths": convs, "fc_width": network.fc6.out_channels}


@pytest.mark.parametrize(("arch", "arguments"), VARIANTS)
def test_probabilities_are_those_of_pytorch(torch, tmp_path, arch, arguments):
    check_probabilities(torch, tmp_path, arch, tiny_network(arch, 21, **arguments))


def check_probabilities(torch, folder, arch, network):
    randomise(network)
    scale_logits(torch, arch, network, 10)
    there = in_torch(arch, network, **sizes_of(network)).eval()
    checkpoint.save(network, folder / "a.ckpt", {})
    assert_same_probabilities(torch, there, folder / "a.ckpt")


def difference_of_gradients(torch, arch, arguments, x, label, accelerated):
    """Largest difference of a gradient, relative to its largest number."""
    network = tiny_network(arch, 5, dropout=0.0, train_upsampling=True, **arguments)
    randomise(network)
    scale_logits(torch, arch, network, 3)
    there = in_torch(arch, network)
    if accelerated:
        accelerate(network)
    network.set_train()
    loss_here = CrossEntropyLoss()

    def forward(x):
        return loss_here(network(x), Tensor(label))

    parameters = network.trainable_params()
    loss, gradients = ms.value_and_grad(forward, None, parameters)(Tensor(x))
    expected = torch.nn.functional.cross_entropy(
        there(torch.from_numpy(x)), torch.from_numpy(label).long(), ignore_index=255
    )
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    of_torch = dict(there.named_parameters())
    assert {one.name for one in parameters} == set(of_torch)
    worst = 0
    for parameter, gradient in zip(parameters, gradients):
        other = of_torch[parameter.name].grad.numpy()
        worst = max(worst, np.abs(gradient.asnumpy() - other).max() / np.abs(other).max())
    return worst


@pytest.mark.parametrize(
    ("arch", "arguments", "accelerated"),
    [
        ("fcn32s_paper", {}, True),
        ("fcn16s_paper", {}, False),
        ("fcn8s_paper", {"at_once": True}, True),
    ],
)
def test_gradients_are_those_of_pytorch(torch, arch, arguments, accelerated):
    """Odd sizes; see test_torch_fcn8s on the seeds."""
    label = np.random.RandomState(1).randint(0, 5, (2, 33, 41)).astype(np.int32)
    label[:, :10] = 255
    for seed in range(6):
        x = picture(33, 41, seed)
        worst = difference_of_gradients(torch, arch, arguments, x, label, accelerated)
        if worst <= 1e-3:
            break
    assert worst <= 1e-3


def test_new_network_scores_nothing_and_keeps_its_interpolation():
    network = tiny_network("fcn8s_paper", 5, at_once=True)
    assert not network.set_train(False)(Tensor(picture(20, 31))).asnumpy().any()
    trained = {one.name for one in network.trainable_params()}
    fixed = {one.name for one in network.get_parameters()} - trained
    assert fixed == {"scales", "upscore2.weight", "upscore_pool4.weight", "upscore8.weight"}
    assert network.scales.asnumpy() == pytest.approx([0.01, 0.0001])
    # Four neighbours of a new pixel count by 9, 3, 3 and 1 sixteenths.
    assert network.upscore2.weight.asnumpy()[1, 1, :2, :2].tolist() == [
        [1 / 16, 3 / 16],
        [3 / 16, 9 / 16],
    ]


@pytest.mark.parametrize("arch", PAPER)
@pytest.mark.parametrize("size", [(1, 1), (33, 31), (64, 40)])
def test_any_size(arch, size):
    network = tiny_network(arch, 3)
    assert network.set_train(False)(Tensor(picture(*size))).shape == (2, 3, *size)


def test_checkpoint_without_its_factors_is_refused(tmp_path):
    network = tiny_network("fcn16s_paper", 3)
    parameters = [one for one in network.get_parameters() if one.name != "scales"]
    checkpoint.save(ms.nn.CellList(), tmp_path / "a.ckpt", {}, parameters)
    with pytest.raises(InputError, match="a.ckpt is not of an FCN: parameter 'scales' is missing"):
        checkpoint.load_network(tmp_path / "a.ckpt")


def test_wrong_arguments():
    with pytest.raises(ValueError, match="n_class is 1"):
        tiny_network("fcn8s_paper", 1)
    with pytest.raises(ValueError, match="widths has 2 values"):
        tiny_network("fcn8s_paper", 3, widths=(4, 4))
