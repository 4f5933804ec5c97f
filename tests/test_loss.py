import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms.loss import CrossEntropyLoss


def expected_loss(logits, label, weights=None):
    """By the definition, pixel by pixel, in float64."""
    total = count = 0.0
    for n, row, column in np.argwhere(label != 255):
        scores = logits[n, :, row, column].astype(np.float64)
        target = label[n, row, column]
        weight = 1.0 if weights is None else weights[target]
        total += weight * (np.log(np.exp(scores).sum()) - scores[target])
        count += weight
    return total / count


@pytest.fixture
def batch():
    rng = np.random.RandomState(3)
    logits = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    label = rng.randint(0, 4, (2, 5, 6)).astype(np.int32)
    label[0, :3] = 255
    return logits, label


def test_by_definition(batch):
    logits, label = batch
    found = CrossEntropyLoss()(Tensor(logits), Tensor(label))
    assert found.dtype == ms.float32
    assert float(found.asnumpy()) == pytest.approx(expected_loss(logits, label), rel=1e-5)


def test_class_weights(batch):
    logits, label = batch
    weights = [0.5, 1.0, 2.0, 4.0]
    found = CrossEntropyLoss(class_weights=weights)(Tensor(logits), Tensor(label))
    assert float(found.asnumpy()) == pytest.approx(expected_loss(logits, label, weights), rel=1e-5)


def test_another_ignore_label(batch):
    logits, label = batch
    found = CrossEntropyLoss(ignore_label=9)(
        Tensor(logits), Tensor(np.where(label == 255, 9, label).astype(np.int32))
    )
    assert float(found.asnumpy()) == pytest.approx(expected_loss(logits, label), rel=1e-5)


def test_all_ignored_is_zero_with_zero_gradient(batch):
    logits, label = batch
    ignored = Tensor(np.full_like(label, 255))
    loss_function = CrossEntropyLoss()

    def loss(logits):
        return loss_function(logits, ignored)

    value, gradient = ms.value_and_grad(loss)(Tensor(logits))
    assert float(value.asnumpy()) == 0
    assert not gradient.asnumpy().any()


def test_gradient_is_softmax_minus_one_hot(batch):
    logits, label = batch
    loss_function = CrossEntropyLoss()
    target = Tensor(label)

    def loss(logits):
        return loss_function(logits, target)

    _, gradient = ms.value_and_grad(loss)(Tensor(logits))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    one_hot = np.stack([label == c for c in range(4)], axis=1)
    expected = (softmax - one_hot) * (label != 255)[:, np.newaxis] / (label != 255).sum()
    assert np.allclose(gradient.asnumpy(), expected, atol=1e-6)


def test_half_precision_logits_are_summed_in_float32():
    # 70,000 pixels of loss log(2) sum to 48,520; the mean would lose digits in float16.
    logits = Tensor(np.zeros((1, 2, 250, 280), np.float16))
    label = Tensor(np.zeros((1, 250, 280), np.int32))
    found = CrossEntropyLoss()(logits, label)
    assert found.dtype == ms.float32
    assert float(found.asnumpy()) == pytest.approx(np.log(2), rel=1e-5)
