"""Two evaluations side by side."""

import json

import numpy as np
import pytest

from fcn8s_ms import eval, evaluation
from fcn8s_ms.evaluation import Prediction, comparison

from ..helpers import error_of

CLASSES = ["sky", "road", "tree"]


def evaluated(seed, wrong, names="abcdef"):
    """A result, and its labels and predictions by name."""
    pairs = {}
    for name in names:
        label = np.random.RandomState(ord(name)).randint(0, 3, (8, 9)).astype(np.uint8)
        rng = np.random.RandomState(1000 * seed + ord(name))
        ids = np.where(rng.uniform(size=label.shape) < wrong, (label + 1) % 3, label)
        pairs[name] = label, ids.astype(np.uint8)
    images = evaluation.PerImage()
    found = (Prediction(name, None, *pair) for name, pair in pairs.items())
    counts = evaluation.count(found, 3, [images])
    result = evaluation.scores(counts, CLASSES)
    return {**result, "data": "d", "protocol": "p", "per image": images.counts}, pairs


def mean_iou(pairs):
    label, ids = (np.concatenate([one[place].ravel() for one in pairs]) for place in (0, 1))
    return np.mean(
        [((label == k) & (ids == k)).sum() / ((label == k) | (ids == k)).sum() for k in range(3)]
    )


def test_differences_and_interval_equal_those_of_the_pixels():
    first, pairs = evaluated(1, 0.5)
    second, others = evaluated(2, 0.3)
    found = comparison.compare(first, second)
    whole = found["mean IoU"]
    assert whole["first"] == pytest.approx(mean_iou(list(pairs.values())), abs=1e-12)
    assert whole["second"] == pytest.approx(mean_iou(list(others.values())), abs=1e-12)
    differences = []
    rng = np.random.RandomState(7)
    for _ in range(2000):
        names = rng.choice(list(pairs), len(pairs))
        differences.append(
            mean_iou([others[name] for name in names]) - mean_iou([pairs[name] for name in names])
        )
    assert whole["interval"] == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=0.012)
    assert whole["interval"][0] < whole["difference"] < whole["interval"][1]
    assert whole["share"] == pytest.approx(np.mean(np.array(differences) > 0), abs=0.03)
    assert list(found["per image"]) == sorted(
        pairs, key=lambda name: mean_iou([pairs[name]]) - mean_iou([others[name]])
    )
    for name in CLASSES:
        row = found["per class"][name]
        assert row["first"] == pytest.approx(first["per class"][name]["IoU"], abs=1e-12)
        assert row["second"] == pytest.approx(second["per class"][name]["IoU"], abs=1e-12)


def test_the_same_twice():
    first, _ = evaluated(1, 0.5)
    found = comparison.compare(first, first)
    assert found["mean IoU"]["interval"] == [0, 0] and found["mean IoU"]["share"] == 0
    assert "better: 0 of 6 images" in comparison.text(found)


def written(folder, name, result):
    path = folder / name
    path.write_text(json.dumps(result))
    return path


def test_program(tmp_path, capsys):
    first = written(tmp_path, "a.json", evaluated(1, 0.5)[0])
    second = written(tmp_path, "b.json", {**evaluated(2, 0.1)[0], "protocol": "q"})
    output = tmp_path / "c.json"
    eval.main(["--compare", str(first), str(second), "--output", str(output)])
    found = json.loads(output.read_text())
    printed = capsys.readouterr().out
    assert f"{found['mean IoU']['difference']:+.4f}, 95 % interval" in printed
    assert "the interval is on one side of 0" in printed and "better: 6 of 6 images" in printed
    assert "The protocols differ: p; q." in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per image": 3}, "per image is 3; need"),
        ({"per image": []}, "has no counts per image"),
        ({"per class": {}}, "an image has class 2 of 0"),
        ({"per image": [{"image": "a", "counts": [[0, 1, 2]]}]}, "counts"),
    ],
)
def test_damaged_files(tmp_path, capsys, change, message):
    first = written(tmp_path, "a.json", evaluated(1, 0.5)[0])
    second = written(tmp_path, "b.json", {**evaluated(2, 0.1)[0], **change})
    line = error_of(eval.main, ["--compare", first, second], capsys)
    assert "b.json" in line and message in line


def test_files_that_do_not_belong_together(tmp_path, capsys):
    first = written(tmp_path, "a.json", evaluated(1, 0.5)[0])
    second = written(tmp_path, "b.json", evaluated(2, 0.1, "abcdeg")[0])
    line = error_of(eval.main, ["--compare", first, second], capsys)
    assert "they are of other images: f, g is in one of them only; score both" in line
    old = {name: one for name, one in evaluated(1, 0.5)[0].items() if name != "per image"}
    old = written(tmp_path, "old.json", old)
    line = error_of(eval.main, ["--compare", old, first], capsys)
    assert "old.json has no counts per image" in line
    output = tmp_path / "c.csv"
    line = error_of(eval.main, ["--compare", first, first, "--output", output], capsys)
    assert "c.csv does not end in .json, as comparisons" in line and not output.exists()
