"""Optimizers against the same arithmetic in numpy."""

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
