"""Two evaluations side by side, in pictures."""

import json
import math

import cv2
import numpy as np
import pytest

from fcn8s_ms import eval, visualize, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.evaluation import Prediction, SavedMasks
from fcn8s_ms.inference import Predictor, Segmenter

from ..helpers import Spread, error_of, read_mask, record_data


@pytest.fixture
def two(record, tmp_path, monkeypatch):
    """Scores and masks of two evaluations, written by the program: [a.json, b.json], [a, b]."""
    monkeypatch.setattr(
        Segmenter, "from_checkpoint", lambda path, device, **options: Segmenter(Spread(), **options)
    )
    for name, more in (("a", []), ("b", ["--resize", "32"])):
        arguments = ["--checkpoint", "x.ckpt", "--data", record, "--device", "CPU", "--fast"]
        arguments += ["--output", tmp_path / f"{name}.json", "--save-masks", tmp_path / name]
        eval.main([str(one) for one in [*arguments, *more]])
    return [tmp_path / "a.json", tmp_path / "b.json"], [tmp_path / "a", tmp_path / "b"]


def compared(record, files, folder, *more):
    arguments = ["--compare", *files, "--data", record, "--pictures", folder, *more]
    return [str(one) for one in arguments]


def test_saved_masks_are_the_predictions_and_can_be_scored(two, record, tmp_path):
    files, folders = two
    predictor = Predictor(Spread(), resize=32)
    for name, image, _ in record_data(record).whole_samples():
        assert np.array_equal(read_mask(folders[1] / f"{name}.png"), predictor(image))
    output = tmp_path / "again.json"
    arguments = ["--predictions", folders[1], "--data", record, "--fast", "--output", output]
    eval.main([str(one) for one in arguments])
    found, before = (json.loads(path.read_text()) for path in (output, files[1]))
    assert found["confusion matrix"] == before["confusion matrix"]


def test_the_most_changed_images_are_drawn(two, record, tmp_path, monkeypatch, capsys):
    files, folders = two
    drawn, bars = {}, {}
    monkeypatch.setattr(
        visualize,
        "prediction_grid",
        lambda path, rows, classes, palette, title, networks, dpi: drawn.update(
            {path.name: (rows, classes, networks)}
        ),
    )
    monkeypatch.setattr(
        visualize, "change_bars", lambda path, rows, *more: bars.update({path.name: list(rows)})
    )
    folder = tmp_path / "pictures"
    output = tmp_path / "c.json"
    more = ("--masks", *folders, "--worst", "2", "--output", output)
    eval.main(compared(record, files, folder, *more))
    result = json.loads(output.read_text())
    images = list(result["per image"].items())
    better = [name for name, row in images if row["difference"] > 0][:2]
    worse = [name for name, row in reversed(images) if row["difference"] < 0][:2]
    samples = {name: (image, label) for name, image, label in record_data(record).whole_samples()}
    assert better or worse
    for end, names in (("better.png", better), ("worse.png", worse)):
        rows, classes, networks = drawn.get(end, ([], voc.CLASSES, ["a", "b"]))
        assert tuple(classes) == voc.CLASSES and networks == ["a", "b"]
        assert [row[0] for row in rows] == [
            f"{name}: {result['per image'][name]['difference']:+.4f}" for name in names
        ]
        for name, (_, image, label, first, second) in zip(names, rows):
            assert np.array_equal(image, samples[name][0])
            assert np.array_equal(label, samples[name][1])
            assert np.array_equal(first, Predictor(Spread())(image))
            assert np.array_equal(second, Predictor(Spread(), resize=32)(image))
    assert bars["class_changes.png"] == list(result["per class"])
    changed = [name for name, row in images if row["difference"]]
    assert bars["image_changes.png"] == changed
    assert (
        f"Look at {folder / 'class_changes.png'} and image_changes.png" in capsys.readouterr().out
    )


def test_bars_alone_need_no_record(two, tmp_path):
    files, _ = two
    eval.main(compared(tmp_path / "none.mindrecord", files, tmp_path / "p"))
    names = ["class_changes.png", "image_changes.png"]
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == names
    assert all(cv2.imread(str(tmp_path / "p" / name)) is not None for name in names)


def test_masks_of_another_evaluation(two, record, tmp_path, capsys):
    files, (first, second) = two
    folder = tmp_path / "p"
    wrong = compared(record, files, folder, "--masks", second, first)
    line = error_of(eval.main, wrong, capsys)
    assert "is not what" in line and "a.json scored; give --masks the folders" in line
    gone = sorted(second.glob("*.png"))[0]
    for path in second.glob("*.png"):
        path.unlink()
    line = error_of(eval.main, compared(record, files, folder, "--masks", first, second), capsys)
    assert f"{second} lacks" in line and gone.name in line
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--masks", "a", "b"), "--masks has the images of --compare A.json B.json drawn"),
        (("--compare", "a", "b", "--masks", "a", "b"), "into the folder of --pictures; give both"),
        (("--compare", "a", "b", "--corrupt", "blur"), "scores nothing; leave out --corrupt"),
        (("--compare", "a", "b", "--save-masks", "c"), "scores nothing; leave out --save-masks"),
        (("--predictions", "a", "--save-masks", "c"), "--save-masks saves what a network predicts"),
    ],
)
def test_what_does_not_go_together(capsys, arguments, message):
    assert message in error_of(eval.main, arguments, capsys)


def test_names_that_cannot_be_files_of_their_own(tmp_path):
    palette = voc.palette()
    with pytest.raises(InputError, match=r"'a.jpg' and 'a.png' would share the mask a.png"):
        SavedMasks(tmp_path, ["a.jpg", "a.png"], palette)
    for name in ("../a", "/etc/a", ""):
        with pytest.raises(InputError, match="has a name that leaves"):
            SavedMasks(tmp_path / "masks", [name], palette)
    ids = np.array([[3, 20]], np.uint8)
    SavedMasks(tmp_path, ["b/c.jpg"], palette).add(Prediction("b/c.jpg", None, ids, ids), None)
    assert read_mask(tmp_path / "b" / "c.png").tolist() == [[3, 20]]
    (tmp_path / "d").touch()
    with pytest.raises(InputError, match="cannot be written.*choose another --save-masks"):
        SavedMasks(tmp_path / "d", ["e"], palette).add(Prediction("e", None, ids, ids), None)


def test_bars_have_their_numbers(monkeypatch):
    figures = []
    monkeypatch.setattr(
        "fcn8s_ms.visualize.changes.save_figure", lambda figure, path: figures.append(figure)
    )
    rows = {
        "sky": {"first": 0.25, "second": 0.5, "difference": 0.25},
        "road": {"first": 0.5, "second": 0.375, "difference": -0.125},
        "bird": {"first": math.nan, "second": 0.5, "difference": math.nan},
    }
    visualize.change_bars("unused.png", rows, "IoU")
    (axis,) = figures[0].axes
    assert [bar.get_width() for bar in axis.patches] == [0.25, -0.125]
    assert [text.get_text() for text in axis.texts] == [
        "+0.250",
        "0.250 → 0.500",
        "-0.125",
        "0.500 → 0.375",
        "none → 0.500",
    ]
    visualize.change_bars("unused.png", {}, "IoU")
    visualize.change_bars("unused.png", {str(k): rows["sky"] for k in range(150)}, "IoU")
    assert [len(figure.axes) for figure in figures] == [1, 1, 3]
