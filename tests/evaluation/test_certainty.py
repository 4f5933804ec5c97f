"""Calibration of probabilities, against the definitions pixel by pixel."""

import csv
import io

import numpy as np
import pytest

from fcn8s_ms import evaluation, voc
from fcn8s_ms.confusion import ConfusionMatrix
from fcn8s_ms.evaluation import Certainty, Prediction
from fcn8s_ms.inference import Predictor
from fcn8s_ms.visualize import reliability_plot

from ..helpers import Spread, record_data


def predictions(seed, count=3):
    rng = np.random.RandomState(seed)
    for number in range(count):
        label = rng.randint(0, 4, (40, 50)).astype(np.uint8)
        certainty = rng.beta(6, 1, label.shape).astype(np.float32)
        right = rng.uniform(size=label.shape) < certainty**2
        ids = np.where(right, label, (label + 1) % 4).astype(np.uint8)
        label[rng.uniform(size=label.shape) < 0.2] = 255
        yield Prediction(str(number), None, label, ids, certainty=certainty)


def counted(found):
    result = Certainty()
    evaluation.count(found, 4, [result])
    return result


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_their_definitions(seed):
    found = counted(predictions(seed))
    labelled = [(one, one.label != 255) for one in predictions(seed)]
    certainty = np.concatenate([one.certainty[mask] for one, mask in labelled]).astype(float)
    correct = np.concatenate([(one.label == one.ids)[mask] for one, mask in labelled])
    error = 0
    for number in range(15):
        chosen = (certainty >= number / 15) & (certainty < (number + 1) / 15)
        if chosen.any():
            distance = abs(correct[chosen].mean() - certainty[chosen].mean())
            error += chosen.mean() * distance
    assert found.expected_error() == pytest.approx(error, abs=1e-6)
    assert error > 0.02
    least = np.argsort(certainty)[: len(certainty) // 10]
    share = (~correct[least]).sum() / (~correct).sum()
    # The steps of a hundredth of the doubt hold a few pixels each.
    assert found.errors_of_least_certain() == pytest.approx(share, abs=0.005)
    assert 0.2 < share < 0.9
    assert sum(one["pixels"] for one in found.bins()) == len(certainty)


def test_by_hand():
    label = np.zeros((1, 10), np.uint8)
    ids = np.array([[0, 0, 0, 0, 1, 0, 0, 0, 0, 1]], np.uint8)
    certainty = np.array([[0.9, 0.9, 0.9, 0.9, 0.9, 1, 1, 1, 1, 0.3]], np.float32)
    found = counted([Prediction("x", None, label, ids, certainty=certainty)])
    # 5 pixels: 0.8 right at 0.9; 4: right at 1; 1: wrong at 0.3.
    assert found.expected_error() == pytest.approx(0.5 * 0.1 + 0.1 * 0.3, abs=1e-6)
    assert found.errors_of_least_certain() == pytest.approx(0.5)
    assert found.latest == pytest.approx(0.88)


def test_nothing_labelled_and_nothing_wrong():
    label, certainty = np.full((2, 2), 255, np.uint8), np.ones((2, 2), np.float32)
    found = counted([Prediction("x", None, label, label * 0, certainty=certainty)])
    assert np.isnan(list(found.scores().values())).all() and not found.bins()
    found = counted([Prediction("x", None, label * 0, label * 0, certainty=certainty)])
    assert found.expected_error() == 0 and np.isnan(found.errors_of_least_certain())


@pytest.mark.parametrize(
    "view", [{}, {"flip": True}, {"resize": 50}, {"sliding": (32, 16)}, {"scales": (0.5,)}]
)
def test_certainty_is_the_probability_of_the_class(record, view):
    predictor = Predictor(Spread(), **view)
    data = record_data(record, 2)
    for one in evaluation.predict_dataset(predictor, data, certainty=True):
        assert (one.ids == predictor(one.image)).all()
        expected = predictor.probabilities(one.image).max(axis=0)
        assert one.certainty.dtype == np.float32
        np.testing.assert_allclose(one.certainty, expected, atol=1e-6)


def test_table_of_images(record):
    data = record_data(record)
    boundaries, certainty = evaluation.Boundaries(21), Certainty()
    images = evaluation.PerImage(boundaries, certainty)
    found = evaluation.predict_dataset(Predictor(Spread()), data, certainty=True)
    evaluation.count(found, 21, [boundaries, certainty, images])
    rows = list(csv.DictReader(io.StringIO(images.csv_text())))
    samples = {name: label for name, _, label in data.whole_samples()}
    assert [row["image"] for row in rows] == list(samples)
    for row, one in zip(
        rows, evaluation.predict_dataset(Predictor(Spread()), data, certainty=True), strict=True
    ):
        alone = ConfusionMatrix(21)
        alone.update(one.label, one.ids)
        assert float(row["mean IoU"]) == alone.scores()["mean IoU"]
        assert (int(row["height"]), int(row["width"])) == one.label.shape
        labelled = one.label < 21
        assert int(row["pixels"]) == labelled.sum()
        assert float(row["mean certainty"]) == pytest.approx(
            one.certainty[labelled].mean(), abs=1e-5
        )
        only = evaluation.Boundaries(21)
        scored = evaluation.scores(
            evaluation.count([one], 21, [only]), voc.CLASSES, boundaries=only
        )
        assert float(row["mean boundary IoU"]) == scored["mean boundary IoU"]
        assert float(row["seconds"]) >= 0


def test_image_without_a_label_has_empty_cells():
    images = evaluation.PerImage()
    label = np.full((2, 3), 255, np.uint8)
    evaluation.count([Prediction("x", None, label, label * 0)], 2, [images])
    assert images.csv_text().splitlines()[1].startswith("x,3,2,0,,,,,")


def test_reliability_plot(tmp_path):
    from PIL import Image

    reliability_plot(tmp_path / "a.png", counted(predictions(0)).bins(), "title")
    assert Image.open(tmp_path / "a.png").size == (900, 1100)
