import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from fcn8s_ms import device
from fcn8s_ms.training.accumulation import AccumulatedStep
from fcn8s_ms.training.optimizer import make_optimizer

RATES = [0.1, 0.05, 0.02, 0.01]
START = np.array([1.0, 2.0, 3.0], np.float32)
RNG = np.random.RandomState(0)
X, Y = RNG.rand(4, 6, 3).astype(np.float32), RNG.rand(4, 6).astype(np.float32)


class Squares(nn.Cell):
    """Mean squared error of a linear function."""

    def __init__(self):
        super().__init__()
        self.w = Parameter(Tensor(START), name="w")

    def construct(self, x, y):
        return ((self.w * x).sum(1) - y).pow(2).mean()


def in_numpy(skipped=()):
    """Momentum on the clipped mean gradient of each whole batch."""
    weight, velocity, rates = START.astype(float), 0, iter(RATES)
    losses = []
    for number, (x, y) in enumerate(zip(X, Y)):
        error = x @ weight - y
        losses.append((error**2).mean())
        if number in skipped:
            continue
        found = 2 * (error[:, np.newaxis] * x).mean(axis=0)
        found = found * min(1, 0.5 / np.linalg.norm(found))
        velocity = 0.9 * velocity + found
        weight = weight - next(rates) * velocity
    return weight, losses


def make_step(scaling=None):
    network = Squares()
    optimizer = make_optimizer(
        "momentum",
        network.trainable_params(),
        RATES,
        weight_decay=0.0,
        clip_norm=0.5,
        factors=None if scaling is None else {"w": 1.0},  # groups
    )
    if scaling is None:
        return network, nn.TrainOneStepCell(network, optimizer)
    step = nn.TrainOneStepWithLossScaleCell(network, optimizer, scaling)
    # The check for overflows that a CPU can do too.
    step.ascend_910b_target, step.gpu_target, step.enable_allfinite = True, False, False
    return network, step


@pytest.fixture(params=["graph", "pynative"])
def mode(request):
    device.configure("CPU", mode=request.param)
    yield
    device.configure("CPU")


@pytest.mark.parametrize("batches", [1, 3])
def test_mean_gradient(mode, batches):
    network, step = make_step()
    accumulated = AccumulatedStep(step, batches).set_train()
    losses = [float(accumulated(Tensor(x), Tensor(y)).asnumpy()) for x, y in zip(X, Y)]
    weight, expected = in_numpy()
    assert network.w.asnumpy() == pytest.approx(weight, rel=1e-5)
    assert losses == pytest.approx(expected, rel=1e-5)


def test_scaled_loss_skips_a_step_that_overflows(mode):
    scaling = nn.DynamicLossScaleUpdateCell(loss_scale_value=256, scale_factor=2, scale_window=2)
    network, step = make_step(scaling)
    accumulated = AccumulatedStep(step, 3).set_train()
    overflows, scales = [], []
    for number, (x, y) in enumerate(zip(X, Y)):
        if number == 1:
            x = x.copy()
            x[5] = np.inf  # in the last of its three batches
        _, overflow, scale = accumulated(Tensor(x), Tensor(y))
        overflows.append(bool(overflow))
        scales.append(float(scale.asnumpy()))
    assert overflows == [False, True, False, False]
    assert scales == [256, 256, 128, 128]
    assert network.w.asnumpy() == pytest.approx(in_numpy(skipped=[1])[0], rel=1e-5)
    assert step.scale_sense.asnumpy() == 256  # up again after a window of two
