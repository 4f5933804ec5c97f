import cv2
import numpy as np
import pytest

from fcn8s_ms import train, visualize
from fcn8s_ms.training import arguments
from fcn8s_ms.training.data import open_data
from fcn8s_ms.training.preview import ALONE, draw_preview

from ..helpers import error_of


@pytest.mark.parametrize(
    "more",
    [
        ["--resize-to", "32", "96"],
        ["--resize-short", "40", "90", "--cat-max-ratio", "0.6", "--crop-size", "64"],
        ["--augment", "photometric,rotate", "--crop-size", "64"],
    ],
)
def test_the_picture_shows_the_samples_of_the_training(record, tmp_path, more, monkeypatch):
    shown = []
    monkeypatch.setattr(visualize, "sample_grid", lambda path, *given: shown.append((path, given)))
    given = ["--data", str(record), "--batch-size", "2", "--workers", "1", *more]
    config = arguments.parse([*given, "--preview", str(tmp_path / "new" / "a.png")])
    assert draw_preview(config) == tmp_path / "new" / "a.png"
    (path, (samples, classes, _, title)) = shown[0]
    assert path.parent == tmp_path / "new" and "cat" in classes
    height, width = config.data.sample_size
    assert title == f"all.mindrecord: training samples of {height}×{width}"
    batches = open_data(config.data, config.optimizer, ALONE).train.get_dataset()
    trained = [
        label
        for _, labels in batches.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for label in labels
    ]
    assert len(samples) == len(trained) == 4
    for (image, label), expected in zip(samples, trained):
        assert image.shape == (height, width, 3) and np.array_equal(label, expected)


def test_nothing_is_trained(record, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.png"
    given = ["--data", str(record), "--crop-size", "64", "--workers", "1", "--preview", str(path)]
    train.main(given)
    assert f"Look at {path}. Nothing was trained." in capsys.readouterr().out
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]
    assert cv2.imread(str(path)).std() > 10
    (tmp_path / "b.png").mkdir()
    error = error_of(train.main, [*given[:-1], tmp_path / "b.png"], capsys)
    assert "b.png cannot be written: Is a directory; choose another name" in error
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.png", "b.png"]
