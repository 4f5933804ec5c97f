import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from fcn8s_ms import device, evaluation, model, voc
from fcn8s_ms.inference import Predictor
from fcn8s_ms.inference.cross_entropy import cross_entropy
from fcn8s_ms.inference.mindspore_engine import MindSporeEngine

from ..helpers import TINY, record_data


def by_hand(logits, label):
    """−log of the softmax, in float64, pixel by pixel."""
    found = np.zeros(label.shape)
    for place in np.ndindex(*label.shape):
        if label[place] != 255:
            values = logits[(place[0], slice(None), *place[1:])].astype(np.float64)
            found[place] = np.log(np.exp(values - values.max()).sum()) - (
                values[label[place]] - values.max()
            )
    return found


def test_loss_of_every_pixel():
    rng = np.random.RandomState(0)
    logits = (30 * rng.standard_normal((2, 5, 4, 3))).astype(np.float32)
    logits[0, 1, 0, 0] = 3e4  # exp of it is infinite
    label = rng.randint(0, 5, (2, 4, 3)).astype(np.int32)
    label[1, :2] = 255
    found = cross_entropy(logits, label)
    assert found.dtype == np.float32
    assert found == pytest.approx(by_hand(logits, label), rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def engine():
    device.configure("CPU", mode="pynative")
    ms.set_seed(0)
    yield MindSporeEngine(model.FCN8s(21, **TINY).set_train(False))
    device.configure("CPU")


def test_engine_computes_losses_on_host_and_device_alike(engine, monkeypatch):
    rng = np.random.RandomState(1)
    batch = rng.standard_normal((2, 3, 32, 64)).astype(np.float32)
    label = rng.randint(0, 21, (2, 32, 64)).astype(np.int32)
    label[0, :5] = 255
    logits = engine.logits(batch)
    mean = nn.CrossEntropyLoss(ignore_index=255)(Tensor(logits), Tensor(label)).asnumpy()
    for in_host_memory in (True, False):
        monkeypatch.setattr(engine._class_ids, "in_host_memory", in_host_memory)
        ids, losses = engine.class_ids_and_losses(batch, label)
        assert np.array_equal(ids, logits.argmax(1))
        assert losses.sum() / (label != 255).sum() == pytest.approx(mean, rel=1e-5)
        assert not losses[0, :5].any() and losses.shape == label.shape


@pytest.mark.parametrize(
    ("batch_size", "view"),
    [(1, {}), (3, {}), (2, {"resize": "32x64"}), (1, {"resize": 50, "flip": True})],
)
def test_cross_entropy_of_a_dataset(record, engine, batch_size, view):
    """Over whole images: padding does not count, and images count by their labelled pixels."""
    predictor, data = Predictor(engine, **view), record_data(record, batch_size)
    found = evaluation.evaluate_dataset(predictor, data, voc.CLASSES, losses=True)
    total, pixels = 0.0, 0
    for _, image, label in data.whole_samples():
        logits = np.log(predictor.probabilities(image))
        total += by_hand(logits[np.newaxis], label[np.newaxis]).sum()
        pixels += int((label != 255).sum())
    assert found["cross-entropy"] == pytest.approx(total / pixels, rel=1e-5)
    plain = evaluation.evaluate_dataset(predictor, data, voc.CLASSES)
    assert "cross-entropy" not in plain and plain["mean IoU"] == found["mean IoU"]
    halves = evaluation.evaluate_dataset(
        predictor, data, voc.CLASSES, None, lambda counted: 2 * counted, True
    )
    assert halves["cross-entropy"] == found["cross-entropy"]
    assert halves["per class"]["person"]["pixels"] == 2 * found["per class"]["person"]["pixels"]
