import threading

import numpy as np
import pytest

from fcn8s_ms import confusion, evaluation, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import Predictor

from ..helpers import SIZES, Spread, record_data


def brute_force(pairs, num_classes):
    """The scores by counting pixel after pixel, without a matrix."""
    right, truth, predicted = ([0] * num_classes for _ in range(3))
    for label, ids in pairs:
        for true_class, found in zip(label.ravel().tolist(), ids.ravel().tolist()):
            if true_class >= num_classes:
                continue
            truth[true_class] += 1
            predicted[found] += 1
            right[true_class] += true_class == found
    total = sum(truth)
    iou, accuracy, precision = {}, {}, {}
    for number in range(num_classes):
        union = truth[number] + predicted[number] - right[number]
        if union:
            iou[number] = right[number] / union
        if truth[number]:
            accuracy[number] = right[number] / truth[number]
        if predicted[number]:
            precision[number] = right[number] / predicted[number]
    return {
        "pixel accuracy": sum(right) / total,
        "mean pixel accuracy": sum(accuracy.values()) / len(accuracy),
        "mean IoU": sum(iou.values()) / len(iou),
        "frequency weighted IoU": sum(truth[n] / total * iou[n] for n in iou),
        "IoU": iou,
        "accuracy": accuracy,
        "precision": precision,
        "pixels": truth,
    }


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("options", [{}, {"scales": (0.5, 1.0), "flip": True}])
def test_scores_equal_those_counted_pixel_after_pixel(record, batch_size, options):
    predictor = Predictor(Spread(), **options)
    data = record_data(record, batch_size)
    found = evaluation.evaluate_dataset(predictor, data, voc.CLASSES)
    pairs = [(label, predictor(image)) for _, image, label in data.whole_samples()]
    expected = brute_force(pairs, 21)
    assert len({int(one) for _, ids in pairs for one in ids.flat}) > 2
    for name in ("pixel accuracy", "mean pixel accuracy", "mean IoU", "frequency weighted IoU"):
        assert found[name] == pytest.approx(expected[name], abs=1e-9)
    for number, row in enumerate(found["per class"].values()):
        for column in ("IoU", "accuracy", "precision"):
            value = expected[column].get(number, float("nan"))
            assert row[column] == pytest.approx(value, abs=1e-9, nan_ok=True)
        assert row["pixels"] == expected["pixels"][number]
        assert row["share"] == pytest.approx(row["pixels"] / sum(expected["pixels"]))
        assert row["images"] == sum((label == number).any() for label, _ in pairs)


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learns(seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.RandomState(seed)
    label = rng.randint(0, 21, (4, 60, 80)).astype(np.uint8)
    label[rng.uniform(size=label.shape) < 0.1] = 255
    ids = np.where(rng.uniform(size=label.shape) < 0.6, label, rng.randint(0, 19, label.shape))
    ids = np.where(label == 255, rng.randint(0, 21, label.shape), ids).astype(np.uint8)
    predicted = [evaluation.Prediction("x", None, one, other) for one, other in zip(label, ids)]
    counts = evaluation.count(predicted, 21)
    found = evaluation.scores(counts, voc.CLASSES)
    y_true, y_pred = label[label != 255], ids[label != 255]
    matrix = sklearn.confusion_matrix(y_true, y_pred, labels=range(21))
    assert (counts.matrix == matrix).all()
    assert found["pixel accuracy"] == pytest.approx(
        sklearn.accuracy_score(y_true, y_pred), abs=1e-9
    )
    accuracy = sklearn.recall_score(y_true, y_pred, labels=range(21), average="macro")
    assert found["mean pixel accuracy"] == pytest.approx(accuracy, abs=1e-9)
    iou = sklearn.jaccard_score(y_true, y_pred, labels=range(21), average="macro")
    assert found["mean IoU"] == pytest.approx(iou, abs=1e-9)
    weighted = sklearn.jaccard_score(y_true, y_pred, labels=range(21), average="weighted")
    assert found["frequency weighted IoU"] == pytest.approx(weighted, abs=1e-9)
    precision = sklearn.precision_score(
        y_true, y_pred, labels=range(21), average=None, zero_division=np.nan
    )
    recall = sklearn.recall_score(y_true, y_pred, labels=range(21), average=None)
    f1 = sklearn.f1_score(y_true, y_pred, labels=range(21), average=None, zero_division=np.nan)
    for name, expected in (("precision", precision), ("recall", recall), ("F1", f1)):
        column = [row[name] for row in found["per class"].values()]
        np.testing.assert_allclose(column, expected, atol=1e-9)
    assert found["mean F1"] == pytest.approx(np.nanmean(f1), abs=1e-9)
    assert found["mean precision"] == pytest.approx(np.nanmean(precision), abs=1e-9)


@pytest.mark.parametrize("num_shards", [2, 3])
def test_counts_of_shards_add_up(record, num_shards):
    predictor = Predictor(Spread())
    whole = evaluation.count(evaluation.predict_dataset(predictor, record_data(record)), 21)
    total, packed = confusion.ConfusionMatrix(21), 0
    for shard in range(num_shards):
        data = record_data(record, num_shards=num_shards, shard_id=shard)
        part = evaluation.count(evaluation.predict_dataset(predictor, data), 21)
        total.add(part)
        packed += part.to_vector()
    assert total.num_images == whole.num_images == len(SIZES)
    assert (total.matrix == whole.matrix).all()
    assert (total.class_images == whole.class_images).all()
    unpacked = confusion.ConfusionMatrix.from_vector(packed, 21)
    assert (unpacked.matrix == whole.matrix).all() and unpacked.matrix.dtype == np.int64
    assert (unpacked.class_images == whole.class_images).all()
    assert unpacked.num_images == len(SIZES)


def test_trimap_scores_count_what_is_close_to_a_boundary(record):
    data = record_data(record)
    predictor = Predictor(Spread())
    pairs = [(label, predictor(image)) for _, image, label in data.whole_samples()]
    close = []
    for label, ids in pairs:
        band = confusion.trimap(label, 3)
        assert 0 < band.mean() < 1
        close.append((label[band], ids[band]))
    trimap = evaluation.Trimap(3, 21)
    counts = evaluation.count(evaluation.predict_dataset(predictor, data), 21, [trimap])
    found = evaluation.scores(counts, voc.CLASSES, trimap.counts)
    expected = brute_force(close, 21)
    assert found["trimap mean IoU"] == pytest.approx(expected["mean IoU"], abs=1e-9)
    assert found["trimap pixel accuracy"] == pytest.approx(expected["pixel accuracy"], abs=1e-9)
    row = found["per class"]["person"]
    assert row["trimap IoU"] == pytest.approx(expected["IoU"][15], abs=1e-9)
    assert "trimap mean IoU" not in evaluation.evaluate_dataset(predictor, data, voc.CLASSES)


def test_images_are_counted_while_the_next_is_computed():
    """The second prediction waits until the first is counted, in another thread."""
    counted, waits = threading.Event(), []

    class Noting:
        threads = []

        def add(self, prediction, counts):
            self.threads.append(threading.current_thread())
            counted.set()

    def predictions():
        for number in range(3):
            if number:
                waits.append(counted.wait(20))
            label = np.array([[0, 1, number % 2]], np.uint8)
            yield evaluation.Prediction(str(number), None, label, label)

    counts = evaluation.count(predictions(), 2, [Noting()])
    assert waits == [True, True] and threading.current_thread() not in Noting.threads
    assert len(set(Noting.threads)) == 1 and counts.matrix.tolist() == [[5, 0], [0, 4]]


def test_a_counter_that_fails_is_heard():
    class Failing:
        def add(self, prediction, counts):
            raise InputError("this one")

    label = np.zeros((1, 2), np.uint8)
    predictions = [evaluation.Prediction("a", None, label, label)]
    with pytest.raises(InputError, match="this one"):
        evaluation.count(predictions, 2, [Failing()])


def test_worst_images_whatever_the_order():
    label = np.array([[0, 0, 1, 1]], np.uint8)
    ids = {
        "right": [0, 0, 1, 1],
        "half": [0, 1, 1, 1],
        "wrong": [1, 1, 0, 0],
        "also wrong": [1, 1, 0, 0],
        "ignored": [1, 1, 1, 1],
    }
    labels = {name: label for name in ids} | {"ignored": np.full_like(label, 255)}
    for names in (list(ids), list(reversed(ids))):
        worst, best = evaluation.Worst(3), evaluation.Best(2)
        evaluation.count(
            (
                evaluation.Prediction(name, None, labels[name], np.array([ids[name]], np.uint8))
                for name in names
            ),
            2,
            [worst, best],
        )
        found = [(prediction.name, iou) for iou, prediction in worst.sorted()]
        assert found == [("also wrong", 0), ("wrong", 0), ("half", (1 / 2 + 2 / 3) / 2)]
        found = [(prediction.name, iou) for iou, prediction in best.sorted()]
        assert found == [("right", 1), ("half", (1 / 2 + 2 / 3) / 2)]
