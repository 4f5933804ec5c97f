"""The program that evaluates, with an engine that needs no time."""

import json

import cv2
import numpy as np
import pytest

from fcn8s_ms import checkpoint, eval, evaluation, files, inference, voc
from fcn8s_ms.evaluation.crops import count_crops, tutorial_crops
from fcn8s_ms.inference import Predictor, Segmenter

from .helpers import Spread, overflowing, record_data, write_mask


@pytest.fixture
def weights(monkeypatch):
    """Stands for a checkpoint of VOC's classes."""
    monkeypatch.setattr(
        Segmenter, "from_checkpoint", lambda path, device, **options: Segmenter(Spread(), **options)
    )
    return "FCN8s.ckpt"


def run(record, *arguments):
    """Runs the program; returns its exit status."""
    given = ["--data", record, "--device", "CPU", "--workers", "2", *arguments]
    try:
        eval.main([str(one) for one in given])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_protocol_files_and_pictures(weights, record, tmp_path, capsys, batch_size):
    paths = [tmp_path / f"scores.{kind}" for kind in ("json", "csv", "md")]
    arguments = ("--checkpoint", weights, "--output", *paths, "--worst", "2", "--best", "1")
    arguments += ("--per-image", tmp_path / "images.csv")
    assert run(record, *arguments, "--batch-size", batch_size) == 0
    found = json.loads(paths[0].read_text())
    data = record_data(record)
    expected = evaluation.evaluate_dataset(Predictor(Spread()), data, voc.CLASSES)
    for name, value in expected.items():
        if name != "per class":
            assert found[name] == value
    assert found["checkpoint"] == weights and found["images"] == 5
    assert found["engine"] == "spread" and found["trimap width"] == 5
    assert np.sum(found["confusion matrix"]) == sum(
        row["pixels"] for row in found["per class"].values()
    )
    worst = found["worst"]
    assert len(worst) == 2 and worst[0]["mean IoU"] <= worst[1]["mean IoU"]
    assert found["best"][0]["mean IoU"] >= worst[1]["mean IoU"]
    assert found["most confused"][0]["pixels"] == np.max(
        np.array(found["confusion matrix"]) * (1 - np.eye(21, dtype=int))
    )
    printed = capsys.readouterr().out
    assert f"mean IoU                 {found['mean IoU']:.4f}" in printed
    assert (
        "Protocol: every image once, whole, at its own size (padded to a multiple of 32, scored "
        "without the padding), one scale, no mirroring; trimap: within 5 pixels of another label; "
        "boundary IoU: bands of 0.02 of the diagonal; "
        f"5 images of {record.name}; spread."
    ) in printed
    assert "images/s" in printed and "boundary width" not in printed
    assert len((tmp_path / "images.csv").read_text().splitlines()) == 6
    assert 0 < found["calibration error"] < 1 and 0 < found["mean boundary IoU"] < 1
    for path in paths[1:]:
        assert "trimap mean IoU" in path.read_text()


def test_folder_of_a_run(weights, record, tmp_path, caplog):
    folder = tmp_path / "runs" / "voc"
    folder.mkdir(parents=True)
    (folder / "FCN8s-best.ckpt").touch()
    output = tmp_path / "scores.json"
    assert run(record, "--checkpoint", folder, "--output", output) == 0
    assert json.loads(output.read_text())["checkpoint"] == "FCN8s-best.ckpt"
    assert f"{folder} is a folder; its checkpoint FCN8s-best.ckpt is taken" in caplog.text


def test_file_in_place_of_a_folder_of_masks(record, tmp_path, capsys):
    (tmp_path / "a.png").touch()
    assert run(record, "--predictions", tmp_path / "a.png") == 2
    assert "a.png is not a folder; give the folder that holds" in capsys.readouterr().err


def test_options_reach_the_predictor(weights, record, tmp_path, capsys):
    options = ("--resize", "64", "--scales", "0.5,1.0", "--flip", "--sliding", "32", "16")
    arguments = ("--checkpoint", weights, "--trimap", "0", "--output", tmp_path / "a.json")
    assert run(record, *arguments, *options) == 0
    found = json.loads((tmp_path / "a.json").read_text())
    predictor = Predictor(Spread(), resize=64, scales=(0.5, 1.0), flip=True, sliding=(32, 16))
    expected = evaluation.evaluate_dataset(predictor, record_data(record), voc.CLASSES)
    assert found["mean IoU"] == expected["mean IoU"]
    assert found["protocol"] == predictor.protocol
    assert "trimap mean IoU" not in found and "trimap width" not in found


def test_a_folder_of_masks(record, tmp_path, capsys):
    predictor = Predictor(Spread())
    for name, image, _ in record_data(record).whole_samples():
        write_mask(tmp_path / f"{name}.png", predictor(image))
    output = tmp_path / "scores.json"
    assert run(record, "--predictions", tmp_path, "--output", output) == 0
    found = json.loads(output.read_text())
    expected = evaluation.evaluate_dataset(predictor, record_data(record), voc.CLASSES)
    assert found["mean IoU"] == expected["mean IoU"]
    assert found["predictions"] == tmp_path.name and "checkpoint" not in found
    assert "masks read from files" in capsys.readouterr().out
    (tmp_path / "a.png").unlink()
    assert run(record, "--predictions", tmp_path) == 2
    assert "lacks 1 of 5 masks: a.png" in capsys.readouterr().err


def test_the_tutorials_protocol_says_so(weights, record, tmp_path, capsys):
    output = tmp_path / "scores.json"
    arguments = ("--checkpoint", weights, "--protocol", "tutorial", "--crop-size", "64")
    assert run(record, *arguments, "--seed", "3", "--output", output) == 0
    found = json.loads(output.read_text())
    assert found["images"] == 4  # one batch of 4
    data = tutorial_crops(record, 21, 2, batch_size=4, crop_size=64, seed=3)
    counts = count_crops(Spread(), data)
    expected = json.loads(files.json_text(evaluation.scores(counts, voc.CLASSES)))
    assert {name: found[name] for name in expected} == expected
    assert found["confusion matrix"] == counts.matrix.tolist()
    assert "trimap width" not in found
    printed = capsys.readouterr().out
    assert "Protocol: the tutorial's: random crops of 64x64" in printed
    assert "Not comparable with scores of whole images" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "tutorial", "--flip"), "are for whole images"),
        (("--protocol", "tutorial", "--worst", "3"), "are for whole images"),
        (
            ("--protocol", "tutorial", "--crop-size", "100"),
            "--crop-size 100 is not a multiple of 32; take 128",
        ),
        (("--data", ""), "no record is named: give SegDataset the path"),
        (("--output", "scores.txt"), "ends in none of .json, .csv, .md"),
        (("--trimap", "-1"), "--trimap is -1; it must be at least 0"),
        (("--batch-size", "0"), "--batch-size is 0; it must be at least 1"),
        (("--trimap", "100000"), "--trimap is 100000; it must be at most 100"),
        (("--seed", str(2**70)), f"--seed is {2**70}; it must be at most 4,294,967,295"),
        (("--seed", "-1"), "--seed is -1; it must be at least 0"),
        (("--crop-size", "320000"), "--crop-size is 320000; it must be at most 10,000"),
        (("--batch-size", str(10**9)), "--batch-size is 1000000000; it must be at most 1,024"),
        (("--worst", str(10**9)), "--worst is 1000000000; it must be at most 1,000"),
        (
            ("--protocol", "tutorial", "--crop-size", "9984", "--batch-size", "2"),
            "--batch-size and --crop-size make 2 crops of 9,984x9,984 pixels",
        ),
        (("--scales", "1,9"), "give one or more between 0 and 8"),
        (("--max-pixels", "-1"), "take 0 for no limit, or a positive number"),
        (("--resize", "1000000"), "more than 10,000 pixels on a side take too much memory"),
        (("--scales", "0"), "give one or more between 0 and 8"),
    ],
)
def test_arguments_out_of_range(weights, record, capsys, arguments, message):
    assert run(record, "--checkpoint", weights, *arguments) == 2
    assert message in capsys.readouterr().err


def test_pictures_have_the_records_colours(weights, record, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "fcn8s_ms.visualize.comparison",
        lambda path, image, truth, prediction, classes, palette, title: shown.append(
            (path.name, image, truth, prediction, classes, title)
        ),
    )
    arguments = ("--checkpoint", weights, "--worst", "1", "--best", "1", "--pictures", tmp_path)
    assert run(record, *arguments) == 0
    (name, image, truth, prediction, classes, title), (best, *_) = shown
    assert best.startswith("best_001_") and best.removeprefix("best_001_") not in name
    stem = name.removeprefix("worst_001_").removesuffix(".png")
    expected = {
        one: (picture, label) for one, picture, label in record_data(record).whole_samples()
    }
    assert np.array_equal(image, expected[stem][0]) and np.array_equal(truth, expected[stem][1])
    assert np.array_equal(prediction, Predictor(Spread())(image))
    assert classes == voc.CLASSES and title.startswith(f"{stem}: mean IoU 0.")
    for name in ("class_bars.png", "confusion.png", "worst.png", "best.png"):
        assert cv2.imread(str(tmp_path / name)) is not None


def test_flags_and_predictor_agree():
    """Every option of the predictor has its flag."""
    parsed = vars(eval.get_parser().parse_args([]))
    options = inference.options_of(type("Config", (), parsed))
    predictor = Predictor(Spread(), **options)
    assert predictor.protocol == Predictor(Spread()).protocol


@pytest.mark.parametrize("error", [RuntimeError("Allocate memory failed\nmore"), MemoryError()])
def test_images_that_the_network_fails_on(weights, record, monkeypatch, capsys, error):
    def fails(self, batch):
        raise error

    monkeypatch.setattr(Spread, "logits", fails)
    assert run(record, "--checkpoint", weights) == 2
    said = capsys.readouterr().err
    reason = str(error).partition("\n")[0] or "MemoryError"
    assert f"all.mindrecord: a could not be segmented ({reason}); if memory ran out" in said


@pytest.mark.parametrize("protocol", ["whole", "tutorial"])
def test_a_network_whose_logits_are_not_finite(record, tmp_path, capsys, protocol):
    checkpoint.save(overflowing(21), tmp_path / "FCN8s.ckpt", {})
    arguments = ("--checkpoint", tmp_path / "FCN8s.ckpt", "--output", tmp_path / "scores.json")
    assert run(record, *arguments, "--protocol", protocol, "--crop-size", "64") == 2
    assert "FCN8s.ckpt computes logits that are not finite" in capsys.readouterr().err
    assert not (tmp_path / "scores.json").exists()


def test_fast_leaves_out_what_takes_time(weights, record, tmp_path):
    """The other scores stay the same."""
    paths = [tmp_path / "fast.json", tmp_path / "all.json"]
    assert run(record, "--checkpoint", weights, "--output", paths[0], "--fast") == 0
    assert run(record, "--checkpoint", weights, "--output", paths[1]) == 0
    fast, whole = (json.loads(path.read_text()) for path in paths)
    extra = {"mean boundary IoU", "calibration error", "errors in doubtful tenth"}
    assert set(whole) - set(fast) == extra | {"boundary width", "certainty"}
    for row in whole["per class"].values():
        del row["boundary IoU"]
    assert {name: whole[name] for name in fast} == fast


def test_table_of_images_has_its_ending(weights, record, tmp_path, capsys):
    output = tmp_path / "images.json"
    assert run(record, "--checkpoint", weights, "--per-image", output) == 2
    assert "images.json does not end in .csv" in capsys.readouterr().err
    assert not output.exists()
    output = tmp_path / "images.csv"
    output.mkdir()
    assert run(record, "--checkpoint", weights, "--per-image", output) == 2
    assert "images.csv is a folder; name a file" in capsys.readouterr().err
