import json

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from fcn8s_ms import loss as loss_module
from fcn8s_ms.errors import InputError
from fcn8s_ms.loss import (
    AuxiliaryLoss,
    CrossEntropyLoss,
    median_frequency_weights,
    read_class_weights,
)


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


def _no():
    return False


@pytest.fixture
def batch():
    rng = np.random.RandomState(3)
    logits = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    label = rng.randint(0, 4, (2, 5, 6)).astype(np.int32)
    label[0, :3] = 255
    return logits, label


@pytest.mark.parametrize("reductions", ["own", "MindSpore's"])
def test_by_definition(batch, reductions, monkeypatch):
    """On a CPU, and with the reductions over the classes that other devices compute fast."""
    if reductions != "own":
        monkeypatch.setattr(loss_module, "_on_cpu", ms.ops.constexpr(_no))
    logits, label = batch
    found = CrossEntropyLoss()(Tensor(logits), Tensor(label))
    assert found.dtype == ms.float32
    assert float(found.asnumpy()) == pytest.approx(expected_loss(logits, label), rel=1e-5)


def test_class_weights(batch):
    logits, label = batch
    weights = [0.5, 1.0, 2.0, 4.0]
    found = CrossEntropyLoss(class_weights=weights)(Tensor(logits), Tensor(label))
    assert float(found.asnumpy()) == pytest.approx(expected_loss(logits, label, weights), rel=1e-5)


def test_sum_over_pixels_is_averaged_over_images(batch):
    logits, label = batch
    weights = [0.5, 1.0, 2.0, 4.0]
    loss = CrossEntropyLoss(class_weights=weights, reduction="sum")
    total = expected_loss(logits, label, weights) * np.take(weights, label[label != 255]).sum()
    assert float(loss(Tensor(logits), Tensor(label))) == pytest.approx(total / 2, rel=1e-5)
    with pytest.raises(ValueError, match="reduction is 'all'"):
        CrossEntropyLoss(reduction="all")


def test_mean_over_ranks_is_the_loss_of_all_images(batch, monkeypatch):
    """One rank has far fewer valid pixels than the other; gradients add up alike."""
    logits, label = batch
    weights = np.array([0.5, 1.0, 2.0, 4.0], np.float32)
    sums = [weights[one[one != 255]].sum() for one in label]
    assert sums[0] < 0.6 * sums[1]
    others = {"sum": None}
    monkeypatch.setattr(ops, "AllReduce", lambda: lambda total: total + others["sum"])
    whole = CrossEntropyLoss(class_weights=weights)
    rank_loss = CrossEntropyLoss(class_weights=weights, ranks=2)

    def value_and_gradient(loss_function, logits, label):
        value, gradient = ms.value_and_grad(lambda x: loss_function(x, Tensor(label)))(
            Tensor(logits)
        )
        return float(value), gradient.asnumpy()

    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        expected, expected_gradient = value_and_gradient(whole, logits, label)
        found = []
        for rank in range(2):
            others["sum"] = float(sums[1 - rank])
            one = slice(rank, rank + 1)
            found.append(value_and_gradient(rank_loss, logits[one], label[one]))
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    assert np.mean([value for value, _ in found]) == pytest.approx(expected, rel=1e-5)
    gradient = np.concatenate([gradient for _, gradient in found]) / 2
    assert gradient == pytest.approx(expected_gradient, rel=1e-4, abs=1e-8)


def test_class_weights_agree_with_mindspores_own_loss(batch):
    logits, label = batch
    weights = np.array([0.5, 1.0, 0.0, 4.0], np.float32)
    reference = nn.CrossEntropyLoss(weight=Tensor(weights), ignore_index=255)
    ours = CrossEntropyLoss(class_weights=weights)
    target = Tensor(label)

    def value_and_gradient(loss_function):
        def loss(logits):
            return loss_function(logits, target)

        value, gradient = ms.value_and_grad(loss)(Tensor(logits))
        return float(value.asnumpy()), gradient.asnumpy()

    values, gradients = zip(*map(value_and_gradient, (ours, reference)))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert np.abs(gradients[0] - gradients[1]).max() < 1e-6
    assert not gradients[0].transpose(0, 2, 3, 1)[(label == 255) | (label == 2)].any()


def test_pixels_of_weight_0_alone_have_loss_0(batch):
    logits, label = batch
    loss_function = CrossEntropyLoss(class_weights=[0, 1, 1, 1])
    found = loss_function(Tensor(logits), Tensor(np.where(label == 255, 255, 0).astype(np.int32)))
    assert float(found.asnumpy()) == 0


def test_median_frequency_weights():
    """Class 0: half of all pixels. Class 1: a quarter of the half it is in. Class 2: none."""
    found = median_frequency_weights([500, 125, 0, 100], [1000, 500, 0, 1000])
    # Frequencies 0.5, 0.25 and 0.1 with the median 0.25.
    assert found.dtype == np.float32
    assert found == pytest.approx([0.5, 1.0, 1.0, 2.5])
    assert median_frequency_weights([0, 0], [0, 0]).tolist() == [1, 1]


def test_class_weights_of_a_file(tmp_path):
    path = tmp_path / "w.json"
    for content in ([1, 2.5], {"sky": 2.5, "road": 1}):
        path.write_text(json.dumps(content))
        assert read_class_weights(path, ("road", "sky")).tolist() == [1, 2.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2, 3]", "w.json needs a list of 2 numbers"),
        ('[1, "2"]', "w.json needs a list of 2 numbers"),
        ("[1, -2]", "weights must be finite, 0 or more"),
        ("[0, 0]", "not all 0"),
        ("[1, 1e39]", "weights must be finite"),
        (f"[1, 1{'0' * 400}]", "weights must be finite"),
        ("[1, NaN]", "w.json is not valid JSON"),
        ('{"road": 1, "moon": 1}', "different classes: moon, sky"),
        ("3", "w.json needs a list"),
        ("", "w.json is not valid JSON"),
    ],
)
def test_bad_class_weights_files(tmp_path, content, message):
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_class_weights(tmp_path / "w.json", ("road", "sky"))


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


def test_auxiliary_loss_adds_a_share():
    rng = np.random.RandomState(0)
    main, auxiliary = (Tensor(rng.standard_normal((1, 3, 4, 4)).astype(np.float32)) for _ in "ab")
    label = Tensor(rng.randint(0, 3, (1, 4, 4)).astype(np.int32))
    loss = CrossEntropyLoss()
    expected = float(loss(main, label)) + 0.25 * float(loss(auxiliary, label))
    found = AuxiliaryLoss(loss, 0.25)((main, auxiliary), label)
    assert float(found) == pytest.approx(expected, rel=1e-6)
