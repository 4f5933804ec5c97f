"""Optimizers against the same arithmetic in numpy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from fcn8s_ms import device
from fcn8s_ms.training.optimizer import AdamW, make_optimizer

RATES = [0.1, 0.05, 0.02, 0.2]
X = np.array([1.0, -2.0, 0.5], np.float32)
START = np.array([1.0, 2.0, 3.0, 5.0])


class Product(nn.Cell):
    """A loss of two parameters: (w · x) v."""

    def __init__(self):
        super().__init__()
        self.w = Parameter(Tensor(START[:3].astype(np.float32)), name="w")
        self.v = Parameter(Tensor(START[3:].astype(np.float32)), name="v")

    def construct(self, x):
        return (self.w * x).sum() * self.v.sum()


def gradient(parameters, clip_norm):
    found = np.append(X * parameters[3], parameters[:3] @ X)
    if clip_norm is None:
        return found
    return found * min(1, clip_norm / np.linalg.norm(found))


def momentum_in_numpy(weight_decay, clip_norm):
    parameters, velocity = START.copy(), 0
    for rate in RATES:
        # The penalty is added to the clipped gradient.
        velocity = 0.9 * velocity + gradient(parameters, clip_norm) + weight_decay * parameters
        parameters = parameters - rate * velocity
    return parameters


def adamw_in_numpy(weight_decay, clip_norm):
    parameters, first, second = START.copy(), 0, 0
    for step, rate in enumerate(RATES, 1):
        found = gradient(parameters, clip_norm)
        parameters = parameters * (1 - rate * weight_decay)
        first = 0.9 * first + 0.1 * found
        second = 0.999 * second + 0.001 * found**2
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        parameters = parameters - rate * mean / (np.sqrt(square) + 1e-8)
    return parameters


@pytest.fixture(params=["graph", "pynative"])
def mode(request):
    device.configure("CPU", mode=request.param)
    yield
    device.configure("CPU")


@pytest.mark.parametrize("clip_norm", [None, 1.0, 1000.0])
@pytest.mark.parametrize(
    ("name", "reference"), [("momentum", momentum_in_numpy), ("adamw", adamw_in_numpy)]
)
def test_same_as_in_numpy(mode, name, reference, clip_norm):
    network = Product()
    optimizer = make_optimizer(
        name, network.trainable_params(), RATES, weight_decay=0.1, clip_norm=clip_norm
    )
    step = nn.TrainOneStepCell(network, optimizer).set_train()
    for _ in RATES:
        step(Tensor(X))
    found = np.append(network.w.asnumpy(), network.v.asnumpy())
    assert found == pytest.approx(reference(0.1, clip_norm), rel=1e-5)
    assert optimizer.global_step.asnumpy() == 4


def test_plain_momentum_is_mindspores():
    optimizer = make_optimizer("momentum", Product().trainable_params(), RATES)
    assert type(optimizer) is nn.Momentum


def test_state_is_found_by_name():
    """What a checkpoint has to hold to go on."""
    optimizer = make_optimizer("adamw", Product().trainable_params(), RATES)
    assert isinstance(optimizer, AdamW)
    names = {parameter.name for parameter in optimizer.get_parameters()}
    moments = {f"moment{number}.{name}" for number in (1, 2) for name in "wv"}
    assert {"global_step", "beta1_power", "beta2_power"} | moments <= names


def test_unknown_name():
    with pytest.raises(ValueError, match="optimizer 'sgd' is unknown"):
        make_optimizer("sgd", Product().trainable_params(), RATES)


class Layers(nn.Cell):
    """A loss whose gradient is 1 for each of four numbers, two of them of one part."""

    def __init__(self):
        super().__init__()
        names = ("conv.weight", "score.weight", "norm.gamma", "score.bias")
        values = [Parameter(Tensor([2.0], ms.float32), name=name) for name in names]
        self.conv, self.score, self.gamma, self.bias = values

    def construct(self, x):
        return (x * (self.conv + self.score + self.gamma + self.bias)).sum()


# Steps with rates 0.1 and 0.2, momentum 0.5 and decay 0.1; the score has factor 10, its bias 20.
@pytest.mark.parametrize(
    ("name", "bias_decay", "expected"),
    [
        # Gradient with penalty 1.2, then 1 + 0.188; velocity 1.2, then 0.6 + 1.188; and so on.
        ("momentum", True, [1.88 - 0.2 * 1.788, 0.8 - 2 * 1.68, 1.9 - 0.2 * 1.5, -0.4 - 4 * 1.56]),
        ("momentum", False, [1.88 - 0.2 * 1.788, 0.8 - 2 * 1.68, 1.9 - 0.2 * 1.5, 0 - 4 * 1.5]),
        # Each step multiplies by 1 - rate x decay, and subtracts the rate.
        ("adamw", True, [1.88 * 0.98 - 0.2, 0.8 * 0.8 - 2, 1.88 * 0.98 - 0.2, -0.4 * 0.6 - 4]),
        ("adamw", False, [1.88 * 0.98 - 0.2, 0.8 * 0.8 - 2, 1.9 - 0.2, 0 - 4.0]),
    ],
)
def test_rates_and_decay_of_single_parameters(mode, name, bias_decay, expected):
    network = Layers()
    optimizer = make_optimizer(
        name,
        network.trainable_params(),
        [0.1, 0.2],
        momentum=0.5,
        weight_decay=0.1,
        clip_norm=1000.0,
        factors={"score.weight": 10.0, "score.bias": 20.0},
        bias_decay=bias_decay,
    )
    step = nn.TrainOneStepCell(network, optimizer).set_train()
    for _ in range(2):
        step(Tensor([1.0], ms.float32))
    found = [parameter.asnumpy().item() for parameter in network.get_parameters()]
    assert found == pytest.approx(expected, rel=1e-5)
    # The order of the state in a checkpoint.
    assert [one.name for one in optimizer.parameters] == [
        one.name for one in network.trainable_params()
    ]


def test_factors_of_one_change_no_bit(mode):
    results = []
    for factors in (None, {"w": 1.0}):
        network = Product()
        optimizer = make_optimizer(
            "momentum", network.trainable_params(), RATES, clip_norm=1.0, factors=factors
        )
        step = nn.TrainOneStepCell(network, optimizer).set_train()
        for _ in RATES:
            step(Tensor(X))
        results.append(np.append(network.w.asnumpy(), network.v.asnumpy()))
    assert np.array_equal(*results)
