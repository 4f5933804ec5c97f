"""Scores on images that were made worse."""

import json

import cv2
import numpy as np
import pytest

from fcn8s_ms import confusion, eval, evaluation, voc
from fcn8s_ms.evaluation import Corruption, corruptions
from fcn8s_ms.images import corruption
from fcn8s_ms.inference import Predictor, Segmenter

from ..helpers import Spread, error_of, record_data


def test_kinds_and_strengths_of_the_flag():
    assert corruptions("jpeg, blur:2-3") == [
        Corruption("jpeg", 2),
        Corruption("jpeg", 3),
        Corruption("blur", 2),
        Corruption("blur", 3),
    ]
    assert corruptions("noise:4") == [Corruption("noise", 4)]
    assert len(corruptions("noise,blur,jpeg,brightness,contrast")) == 25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fog", "--corrupt fog: 'fog' is not known; choose from noise, blur, jpeg, brightness"),
        ("", "'' is not known"),
        ("blur,", "'' is not known"),
        ("blur,noise,blur", "blur stands there twice"),
        ("blur:6", "strengths are '6'; after the kinds, and once for all of them, write"),
        ("blur:0-2", "strengths are '0-2'"),
        ("blur:3-1", "strengths are '3-1'"),
        ("blur:", "strengths are ''"),
        ("blur:1-5,noise", "strengths are '1-5,noise'"),
    ],
)
def test_unknown_kinds_and_strengths(tmp_path, capsys, text, message):
    missing = tmp_path / "none.mindrecord"  # the flag is read first
    assert message in error_of(eval.main, ["--data", missing, "--corrupt", text], capsys)


def test_counts_are_those_of_each_corrupted_image(record):
    chosen = corruptions("noise,contrast:2-3")
    predictor = Predictor(Spread())
    data = record_data(record)
    found = evaluation.count_corrupted(predictor, data, chosen)
    assert list(found) == chosen
    for one in chosen:
        expected = confusion.ConfusionMatrix(21)
        for name, image, label in data.whole_samples():
            rng = evaluation.robustness.samples.generator(0, corruption.KINDS.index(one.kind), name)
            worse = corruption.corrupt(image, *one, rng)
            of_image = confusion.ConfusionMatrix(21)
            of_image.update(label, predictor(worse))
            expected.add(of_image)
        assert np.array_equal(found[one].matrix, expected.matrix)
        assert np.array_equal(found[one].class_images, expected.class_images)
    assert not np.array_equal(found[chosen[0]].matrix, found[chosen[1]].matrix)
    # In other batches, and so in another order.
    again = evaluation.count_corrupted(predictor, record_data(record, 3), chosen)
    assert all(np.array_equal(again[one].matrix, found[one].matrix) for one in chosen)


def test_program(record, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        Segmenter, "from_checkpoint", lambda path, device, **options: Segmenter(Spread(), **options)
    )
    paths = [tmp_path / f"scores.{kind}" for kind in ("json", "csv", "md")]
    arguments = ["--checkpoint", "a.ckpt", "--data", record, "--device", "CPU", "--fast"]
    arguments += ["--corrupt", "blur,jpeg:1-2", "--pictures", tmp_path, "--output", *paths]
    eval.main([str(one) for one in arguments])
    result = json.loads(paths[0].read_text())
    found = result["corruptions"]
    assert list(found) == ["blur", "jpeg"]
    assert [row["strength"] for row in found["jpeg"]] == [1, 2]
    counts = evaluation.count_corrupted(
        Predictor(Spread()), record_data(record), [Corruption("blur", 2)]
    )[Corruption("blur", 2)]
    row = found["blur"][1]
    assert row["mean IoU"] == counts.scores()["mean IoU"]
    assert row["per class"]["background"] == confusion.class_iou(counts.matrix)[0]
    assert list(row["per class"]) == list(voc.CLASSES)
    means = [np.mean([one["mean IoU"] for one in rows]) for rows in found.values()]
    assert result["corrupted mean IoU"] == pytest.approx(np.mean(means), abs=1e-12)
    cells = [result["mean IoU"], *(one["mean IoU"] for one in found["blur"]), means[0]]
    (line,) = (one for one in capsys.readouterr().out.splitlines() if one.startswith("blur "))
    assert line.split()[1:] == [f"{value:.4f}" for value in cells]
    shown = " | ".join(f"{value:.4f}" for value in cells)
    assert f"| blur | {shown} |" in paths[2].read_text()
    assert f"# mean IoU under blur 2: {row['mean IoU']!r}\n" in paths[1].read_text()
    assert cv2.imread(str(tmp_path / "corruptions.png")) is not None


def test_masks_have_no_images_to_change(record, tmp_path, capsys):
    arguments = ["--data", record, "--predictions", tmp_path, "--corrupt", "blur"]
    assert "--predictions has none; give a --checkpoint" in error_of(eval.main, arguments, capsys)
    arguments = ["--data", record, "--protocol", "tutorial", "--corrupt", "blur"]
    assert "are for whole images" in error_of(eval.main, arguments, capsys)
