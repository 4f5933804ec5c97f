"""Losses against their definitions in NumPy, sorted and by differences, and against PyTorch."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from fcn8s_ms.loss import CrossEntropyLoss
from fcn8s_ms.training import losses
from fcn8s_ms.training.losses import make_loss

TERMS = ("focal", "ohem", "dice", "lovasz")
WEIGHTS = np.array([0.5, 1.0, 2.0, 4.0, 1.5], np.float32)


@pytest.fixture
def batch():
    """Pixels of easy and hard kinds, ignored ones, and a class (4) that does not occur."""
    rng = np.random.RandomState(3)
    label = rng.randint(0, 4, (2, 9, 10)).astype(np.int32)
    logits = rng.standard_normal((2, 5, 9, 10)).astype(np.float32)
    easy = rng.uniform(size=label.shape) < 0.7
    logits += 4 * easy[:, None] * (label[:, None] == np.arange(5)[:, None, None])
    label[0, :3] = 255
    return logits, label


def rows(logits, label):
    """Probabilities (pixels, C) of the valid pixels in float64, and their labels."""
    valid = label != 255
    scores = logits.transpose(0, 2, 3, 1)[valid].astype(np.float64)
    raised = np.exp(scores)
    return raised / raised.sum(1, keepdims=True), label[valid]


def by_definition(name, logits, label, weights=None):
    p, y = rows(logits, label)
    w = np.ones(p.shape[1]) if weights is None else weights.astype(np.float64)
    right = p[np.arange(len(y)), y]
    own = y[:, None] == np.arange(p.shape[1])
    if name == "focal":
        return (w[y] * (1 - right) ** 2 * -np.log(right)).sum() / w[y].sum()
    if name == "ohem":
        least = -(-len(y) // 16)
        kept = right < max(0.7, np.sort(right)[least - 1] + 1e-12)
        return (w[y] * -np.log(right))[kept].sum() / w[y][kept].sum()
    found = []
    for c in range(p.shape[1]):
        if name == "dice":
            found.append(1 - 2 * p[own[:, c], c].sum() / (p[:, c].sum() + own[:, c].sum()))
        else:  # every prefix of the pixels by falling error, as sets
            errors = np.abs(own[:, c] - p[:, c])
            order, loss, before = np.argsort(-errors), 0.0, 0.0
            truth = set(np.flatnonzero(own[:, c]))
            for count in range(1, len(order) + 1):
                wrong = set(order[:count])
                jaccard = 1 - len(truth - wrong) / max(len(truth | wrong), 1)
                loss += errors[order[count - 1]] * (jaccard - before)
                before = jaccard
            found.append(loss)
    w = w * own.any(0)
    return (w * found).sum() / w.sum()


def value_and_gradient(loss, logits, label):
    target = Tensor(label)

    def of(scores):
        return loss(scores, target)

    value, gradient = ms.value_and_grad(of)(Tensor(logits))
    return float(value.asnumpy()), gradient.asnumpy()


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", TERMS)
def test_value_and_gradient_by_definition(batch, name, weights):
    logits, label = batch
    value, gradient = value_and_gradient(
        make_loss([(1.0, name)], class_weights=weights), logits, label
    )
    assert value == pytest.approx(by_definition(name, logits, label, weights), rel=1e-5)
    # The derivative in a direction, and at single logits; nothing where a pixel is ignored.
    rng = np.random.RandomState(1)
    for direction in (rng.standard_normal(logits.shape), np.eye(1, logits.size, 140)):
        direction, h = direction.reshape(logits.shape), 1e-6
        higher, lower = (
            by_definition(name, logits + sign * h * direction, label, weights) for sign in (1, -1)
        )
        slope = (gradient * direction).sum()
        assert slope == pytest.approx((higher - lower) / (2 * h), rel=2e-4, abs=1e-7)
    assert not gradient.transpose(0, 2, 3, 1)[label == 255].any()


def test_hardest_sixteenth_where_all_is_easy(batch):
    logits, label = batch
    target = np.where(label == 255, 0, label)[:, None]
    np.put_along_axis(logits, target, np.take_along_axis(logits, target, 1) + 12, 1)
    p, y = rows(logits, label)
    assert (p[np.arange(len(y)), y] > 0.7).all()
    value, gradient = value_and_gradient(make_loss([(1.0, "ohem")]), logits, label)
    assert value == pytest.approx(by_definition("ohem", logits, label), rel=1e-3)
    assert gradient.any(1).sum() == -(-len(y) // 16)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_smoothing_agrees_with_pytorch(batch, weights):
    torch = pytest.importorskip("torch")
    logits, label = batch
    scores = torch.tensor(logits, requires_grad=True)
    reference = torch.nn.functional.cross_entropy(
        scores,
        torch.tensor(label, dtype=torch.int64),
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=255,
        label_smoothing=0.2,
    )
    reference.backward()
    loss = make_loss([(1.0, "ce")], class_weights=weights, smoothing=0.2)
    value, gradient = value_and_gradient(loss, logits, label)
    assert value == pytest.approx(float(reference.detach()), rel=1e-5)
    assert gradient == pytest.approx(scores.grad.numpy(), abs=1e-7)


def test_smoothed_target_of_a_pixel():
    """By hand: 0.9 + 0.1 / 2 for the label, 0.1 / 2 for the other class."""
    logits = np.log(np.array([0.8, 0.2], np.float32)).reshape(1, 2, 1, 1)
    loss = make_loss([(1.0, "ohem")], smoothing=0.1)
    found, _ = value_and_gradient(loss, logits, np.ones((1, 1, 1), np.int32))
    assert found == pytest.approx(-0.95 * np.log(0.2) - 0.05 * np.log(0.8), rel=1e-6)


def test_sum_of_terms(batch):
    logits, label = batch
    ce = value_and_gradient(CrossEntropyLoss(), logits, label)
    dice = value_and_gradient(losses.DiceLoss(), logits, label)
    found = value_and_gradient(make_loss([(1.0, "ce"), (0.5, "dice")]), logits, label)
    assert found[0] == pytest.approx(ce[0] + 0.5 * dice[0], rel=1e-6)
    assert found[1] == pytest.approx(ce[1] + 0.5 * dice[1], abs=1e-7)
    assert type(make_loss([(1.0, "ce")])) is CrossEntropyLoss


@pytest.mark.parametrize("name", TERMS)
def test_half_precision_and_nothing_labelled(batch, name):
    logits, label = batch
    loss = make_loss([(1.0, name)])
    half = logits.astype(np.float16)
    found = loss(Tensor(half), Tensor(label))
    assert found.dtype == ms.float32
    expected = by_definition(name, half.astype(np.float32), label)
    assert float(found.asnumpy()) == pytest.approx(expected, rel=1e-5)
    value, gradient = value_and_gradient(loss, logits, np.full_like(label, 255))
    assert value == 0 and not gradient.any()


@pytest.mark.parametrize("name", TERMS)
def test_mean_over_ranks_is_the_loss_of_all_images(batch, monkeypatch, name):
    """Each rank has one image. What the other contributes comes from a first pass over both."""
    logits, label = batch
    expected, expected_gradient = value_and_gradient(
        make_loss([(1.0, name)], class_weights=WEIGHTS), logits, label
    )
    sent = {0: [], 1: []}
    rank, turn = [0], [0]

    def exchange(join, own):
        """Collects what a rank sends; in the last pass joins it with what the other has sent."""
        sent[rank[0]].append(ops.stop_gradient(own).asnumpy())
        turn[0] += 1
        other = sent[1 - rank[0]][turn[0] - 1 : turn[0]]
        return join(own, Tensor(other[0]) if other else own)

    # The gradient of a sum over the ranks is the sum of their gradients, which are the same.
    def total(own, other):
        return 2 * own + ops.stop_gradient(other - own)

    def in_order(own, other):
        return ops.concat((own, other) if rank[0] == 0 else (other, own))

    monkeypatch.setattr(ops, "AllReduce", lambda: lambda own: exchange(total, own))
    monkeypatch.setattr(ops, "AllGather", lambda: lambda own: exchange(in_order, own))
    monkeypatch.setattr(losses, "get_rank", lambda: rank[0])
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        # What is sent depends on what was received before: until nothing changes any more.
        for _ in range(26 if name == "ohem" else 4):
            found = []
            for rank[0] in range(2):
                turn[0], sent[rank[0]] = 0, []
                one = slice(rank[0], rank[0] + 1)
                loss = make_loss([(1.0, name)], class_weights=WEIGHTS, ranks=2)
                found.append(value_and_gradient(loss, logits[one], label[one]))
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    assert np.mean([value for value, _ in found]) == pytest.approx(expected, rel=1e-5)
    gradient = np.concatenate([gradient for _, gradient in found]) / 2
    assert gradient == pytest.approx(expected_gradient, rel=1e-4, abs=1e-8)
