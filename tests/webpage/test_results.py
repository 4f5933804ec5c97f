"""What is shown and handed out of an answer."""

import json

import cv2
import numpy as np
import pytest

from fcn8s_ms import build, records, transforms, visualize
from fcn8s_ms.webpage.answers import Answerer
from fcn8s_ms.webpage.results import Results

from .pictures import (
    BLUE,
    CERTAINTY,
    CLASSES,
    GREEN,
    PALETTE,
    RED,
    ChannelIds,
    halves,
    segmenter,
)


def results_and_answer(folder, left, right, engine=None):
    used = segmenter(engine)
    path = halves(folder / "my field.jpeg.png", left, right)
    return Results(used.classes, used.palette), Answerer(used)(path)


def decoded(content, flag=cv2.IMREAD_COLOR):
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


def test_summary(tmp_path):
    results, answer = results_and_answer(tmp_path, BLUE, GREEN)
    found = json.loads(json.dumps(results.summary(answer)))
    assert (found["name"], found["width"], found["height"]) == ("my field.jpeg.png", 80, 60)
    assert found["shown"] == found["seen"] == [80, 60]
    assert found["certainty"] is True
    background = {"id": 0, "name": "background", "colour": [0, 0, 0], "share": 0.5, "on": False}
    meadow = {"id": 1, "name": "meadow", "colour": [0, 0, 255], "share": 0.5, "on": True}
    assert found["classes"] == [background, meadow]
    assert found["files"][0] == ["mask", "Mask", "mask.png", "my field.jpeg_mask.png"]


def test_certainty_only_where_it_is_known(tmp_path):
    results, answer = results_and_answer(tmp_path, RED, GREEN)
    assert (decoded(results.certainty(answer), -1) == round(255 * CERTAINTY)).all()
    results, answer = results_and_answer(tmp_path, RED, GREEN, ChannelIds())
    assert results.certainty(answer) is None
    assert [kind for kind, *_ in results.summary(answer)["files"]] == [
        "mask",
        "overlay",
        "polygons",
    ]


def test_the_mask_is_that_of_predict(tmp_path):
    results, answer = results_and_answer(tmp_path, RED, GREEN)
    visualize.write_mask(tmp_path / "mask.png", answer.ids, segmenter().palette)
    assert results.mask(answer) == (tmp_path / "mask.png").read_bytes()


@pytest.mark.parametrize(
    ("opacity", "hidden", "left", "right"),
    [
        (1, (), PALETTE[0], PALETTE[1]),
        (0.5, {0}, BLUE, (0, 120, 128)),
        (1, {0, 1}, BLUE, GREEN),
        (0, (), BLUE, GREEN),
    ],
)
def test_the_overlay_is_as_shown(opacity, hidden, left, right, tmp_path):
    results, answer = results_and_answer(tmp_path, BLUE, GREEN)
    picture = decoded(results.overlay(answer, opacity, hidden))[:, :80, ::-1]
    assert picture[30, 5].tolist() == list(left)
    assert np.abs(picture[30, 75].astype(int) - right).max() <= 1


def test_the_legend_of_the_overlay_names_what_is_shown(tmp_path):
    results, answer = results_and_answer(tmp_path, RED, GREEN)
    both, one, none = (
        decoded(results.overlay(answer, 0.5, hidden)).shape[1] for hidden in ((), {2}, {1, 2})
    )
    assert none == 80 and both > one > 80  # the legend of a small picture is beside it


def test_polygons_are_built_again(tmp_path):
    """By `build --labelme`, with the picture next to them."""
    results, answer = results_and_answer(tmp_path, RED, GREEN)
    (tmp_path / "my field.jpeg.json").write_bytes(results.polygons(answer))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    build.main(
        ["--labelme", str(tmp_path), "--classes", str(tmp_path / "classes.txt")]
        + ["--output", str(tmp_path / "field.mindrecord")]
    )
    ((_, _, label),) = records.read_samples(tmp_path / "field.mindrecord")
    assert (transforms.decode_label(label) == answer.ids).all()
