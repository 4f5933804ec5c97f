"""Statistics for a VGG without BatchNorm: features that last in training, and a loss that falls."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from fcn8s_ms.errors import InputError
from fcn8s_ms.loss import CrossEntropyLoss
from fcn8s_ms.model import FCN8s
from fcn8s_ms.network.calibration import calibrate
from fcn8s_ms.network.vgg_weights import BATCH_NORM_EPSILON

SIZES = {"widths": [8, 8, 16, 16, 16], "fc_width": 32}
STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")


@pytest.fixture(autouse=True)
def _operator_by_operator():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


def network_of(parameters, bilinear=False):
    ms.set_seed(1)
    network = FCN8s(3, upsample_init="bilinear" if bilinear else "xavier_uniform", **SIZES)
    for name, array in parameters.items():
        network.parameters_dict()[name].set_data(Tensor(array))
    return network


def without_batch_norm(loudness):
    """conv1 to conv5 as converted from a source without BatchNorm, whose activations are large."""
    rng = np.random.RandomState(0)
    parameters = {}
    for name, value in FCN8s(3, **SIZES).parameters_dict().items():
        if not name.startswith(STAGES):
            continue
        kind = name.rsplit(".", 1)[1]
        if kind == "weight":
            array = rng.standard_normal(value.shape) * np.sqrt(2 / np.prod(value.shape[1:]))
            if name == "conv1.0.weight":
                array *= loudness
        elif kind == "beta":
            array = rng.standard_normal(value.shape) * 0.3 * loudness
        else:
            array = np.full(value.shape, {"gamma": 1, "moving_mean": 0}.get(kind, 1 - 1e-5))
        parameters[name] = array.astype(np.float32)
    return parameters


def crops(count=4, size=64):
    """Two halves of unlike colour and texture, so that there is something to learn."""
    rng = np.random.RandomState(1)
    images = rng.standard_normal((count, 3, size, size)) * 0.3
    images[:, :, :, size // 2 :] += np.array([1.0, -1.0, 0.5])[:, np.newaxis, np.newaxis]
    return images.astype(np.float32)


def features(network, x):
    found = {}
    x = Tensor(x)
    for number in range(1, 6):
        for layer in getattr(network, f"conv{number}"):
            x = layer(x)
        found[f"conv{number}"] = x.asnumpy()
        x = getattr(network, f"pool{number}")(x)
    return found


def test_features_are_the_sources_in_both_modes():
    parameters, x = without_batch_norm(300), crops()
    source = features(network_of(parameters).set_train(False), x)
    assert max(np.abs(one).max() for one in source.values()) > 500
    network = network_of(calibrate(parameters, list(x)))
    for training in (False, True):  # the batch is all of the crops
        found = features(network.set_train(training), x)
        for stage in STAGES:
            assert found[stage].std() == pytest.approx(1, abs=0.01)
            factor = source[stage].std() / found[stage].std()
            expected = source[stage] / factor
            assert np.abs(found[stage] - expected).max() <= 2e-3 * np.abs(expected).max(), stage
    # On other images, too, with the stored statistics.
    other = crops(2)[:, ::-1, ::-1].copy()
    source = features(network_of(parameters).set_train(False), other)
    network = network_of(calibrate(parameters, list(x))).set_train(False)
    found = features(network, other)
    for stage in STAGES:
        expected = source[stage] * (found[stage].std() / source[stage].std())
        assert np.abs(found[stage] - expected).max() <= 2e-3 * np.abs(expected).max(), stage


def test_statistics_are_those_of_the_convolutions_output():
    parameters, x = without_batch_norm(1), crops(3, 32)
    found = calibrate(parameters, list(x))
    conv = network_of(parameters).conv1[0]
    output = conv(Tensor(x)).asnumpy().astype(np.float64)
    mean, variance = output.mean(axis=(0, 2, 3)), output.var(axis=(0, 2, 3))
    assert found["conv1.1.moving_mean"] == pytest.approx(mean, rel=1e-4, abs=1e-6)
    assert found["conv1.1.moving_variance"] == pytest.approx(variance, rel=1e-4)
    bias = parameters["conv1.1.beta"][:, np.newaxis, np.newaxis]
    scale = np.maximum(output + bias, 0).std()
    assert found["conv1.1.gamma"] == pytest.approx(
        np.sqrt(variance + BATCH_NORM_EPSILON) / scale, rel=1e-4
    )
    assert list(found) == list(parameters)
    assert np.array_equal(found["conv1.0.weight"], parameters["conv1.0.weight"])


def losses(parameters, steps=25):
    x = crops(4)
    label = np.zeros((4, 64, 64), np.int32)
    label[:, :, 32:] = 1
    label[:, :8] = 2
    network = network_of(parameters, bilinear=True)
    optimizer = nn.Momentum(network.trainable_params(), learning_rate=0.01, momentum=0.9)
    step = nn.TrainOneStepCell(nn.WithLossCell(network, CrossEntropyLoss()), optimizer).set_train()
    return [float(step(Tensor(x), Tensor(label))) for _ in range(steps)]


def test_training_diverges_without_and_converges_with_it():
    parameters = without_batch_norm(300)
    without = losses(parameters)
    with_it = losses(calibrate(parameters, list(crops())))
    assert not np.isfinite(without).all() or max(without[-5:]) > 2 * with_it[0]
    assert max(with_it[-5:]) < 0.7 * with_it[0] and max(with_it) < 1.5 * with_it[0]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_crops(count):
    with pytest.raises(InputError, match=f"{count} crops give no statistics"):
        calibrate(without_batch_norm(1), list(crops()[:count]))


def test_crops_that_show_nothing():
    parameters = without_batch_norm(1)
    parameters["conv1.1.beta"][:] = -100
    with pytest.raises(InputError, match="conv1.0 gives the same number everywhere"):
        calibrate(parameters, [np.zeros((3, 32, 32), np.float32)] * 2)
