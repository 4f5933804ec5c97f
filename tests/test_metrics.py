import json
from pathlib import Path

import mindspore.dataset as ds
import numpy as np
import pytest
from mindspore import Tensor, nn
from mindspore.train import Model

from fcn8s_ms import confusion, metrics

GOLDEN = Path(__file__).parent / "golden"
CLASSES = (
    metrics.PixelAccuracy,
    metrics.PixelAccuracyClass,
    metrics.MeanIntersectionOverUnion,
    metrics.FrequencyWeightedIntersectionOverUnion,
)


@pytest.fixture(scope="module")
def golden():
    arrays = np.load(GOLDEN / "metrics.npz")
    return arrays["pred"], arrays["label"], json.loads((GOLDEN / "metrics.json").read_text())


@pytest.mark.parametrize("metric_class", CLASSES)
def test_golden_scores(metric_class, golden):
    prediction, label, expected = golden
    metric = metric_class(num_class=21)
    for one_prediction, one_label in zip(prediction, label):
        metric.update(Tensor(one_prediction[np.newaxis].astype(np.int32)), one_label[np.newaxis])
    assert metric.eval() == pytest.approx(expected[metric_class.__name__], abs=1e-12)


def test_shared_matrix_is_built_once_a_batch(golden, monkeypatch):
    prediction, label, expected = golden
    calls = []
    update = confusion.ConfusionMatrix.update
    monkeypatch.setattr(
        confusion.ConfusionMatrix, "update", lambda *args: calls.append(1) or update(*args)
    )
    group = metrics.segmentation_metrics(21)
    for _ in range(2):  # once more after clear
        for metric in group.values():
            metric.clear()
        for start in (0, 3):  # batches of 3 and 1
            for metric in group.values():
                metric.update(prediction[start : start + 3], label[start : start + 3])
    assert len(calls) == 4
    for metric in group.values():
        assert metric.eval() == pytest.approx(expected[type(metric).__name__], abs=1e-12)
        assert metric.counts is group["mean IoU"].counts
    assert group["mean IoU"].confusion_matrix.dtype == np.int64
    assert group["mean IoU"].counts.num_images == 4


def test_the_same_batch_twice_counts_twice():
    group = metrics.segmentation_metrics(2)
    ids, label = np.array([[[0, 1]]]), np.array([[[0, 0]]])
    for _ in range(2):
        for metric in group.values():
            metric.update(ids, label)
    assert group["pixel accuracy"].confusion_matrix.tolist() == [[2, 2], [0, 0]]


def test_logits_and_ids_are_the_same_to_it():
    rng = np.random.RandomState(0)
    logits = rng.standard_normal((2, 5, 7, 9)).astype(np.float32)
    label = rng.randint(0, 5, (2, 7, 9))
    one, other = metrics.PixelAccuracy(5), metrics.PixelAccuracy(5)
    one.update(Tensor(logits), Tensor(label.astype(np.int32)))
    other.update(logits.argmax(1), label)
    assert (one.confusion_matrix == other.confusion_matrix).all()


def test_per_class():
    metric = metrics.MeanIntersectionOverUnion(3)
    metric.update(np.array([[0, 0, 1]]), np.array([[0, 1, 1]]))
    found = metric.per_class(["sky", "tree", "car"])
    assert found["sky"] == 0.5 and found["tree"] == 0.5 and np.isnan(found["car"])
    accuracy = metrics.PixelAccuracy(3)
    accuracy.update(np.array([[0, 0, 1]]), np.array([[0, 1, 1]]))
    assert accuracy.per_class()[1] == 0.5
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        metric.per_class(["sky", "tree"])


def test_works_before_clear_and_counts_nothing_as_nan():
    assert np.isnan(metrics.PixelAccuracy(4).eval())


def test_bad_inputs():
    metric = metrics.PixelAccuracy(4)
    with pytest.raises(ValueError, match="prediction and label"):
        metric.update(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="logits of 3 classes for a metric of 4"):
        metric.update(np.zeros((1, 3, 2, 2)), np.zeros((1, 2, 2), int))


def test_model_eval_with_a_ragged_last_batch():
    rng = np.random.RandomState(1)
    logits = rng.standard_normal((5, 3, 4, 6)).astype(np.float32)
    label = rng.randint(0, 3, (5, 4, 6)).astype(np.int32)
    label[0, 0] = 255
    data = ds.NumpySlicesDataset((logits, label), ["data", "label"], shuffle=False).batch(2)
    model = Model(
        nn.Identity(),
        loss_fn=nn.CrossEntropyLoss(ignore_index=255),
        metrics=metrics.segmentation_metrics(3),
    )
    found = model.eval(data, dataset_sink_mode=False)
    valid = label != 255
    assert found["pixel accuracy"] == pytest.approx((logits.argmax(1) == label)[valid].mean())
    assert set(found) == {
        "pixel accuracy",
        "mean pixel accuracy",
        "mean IoU",
        "frequency weighted IoU",
    }
