import math

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import visualize
from fcn8s_ms.visualize import class_scores


def figure_of(monkeypatch, draw, *given):
    figures = []
    monkeypatch.setattr(class_scores, "save_figure", lambda figure, path: figures.append(figure))
    draw("unused.png", *given)
    return figures[0]


def scores(**iou):
    rows = {name: {"IoU": value, "pixels": 1234567, "images": 1449} for name, value in iou.items()}
    return {"step": 7, "mean IoU": 0.5, "per class": rows}


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_bars_are_sorted_and_have_their_numbers(monkeypatch):
    result = scores(road=0.25, bird=math.nan, sky=0.9)
    (axis,) = figure_of(monkeypatch, visualize.class_bars, result, "title").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["sky", "road", "bird"]
    assert [bar.get_width() for bar in axis.patches[:3]] == [0.9, 0.25, 0]
    counts = "1.23 M px, 1,449 im."
    assert texts(axis) == ["0.900", counts, "0.250", counts, "none", counts, "mean 0.500"]


@pytest.mark.parametrize(("count", "columns"), [(2, 1), (50, 1), (51, 2), (150, 3), (255, 6)])
def test_many_bars_stand_in_columns(monkeypatch, count, columns):
    result = scores(**{f"c{number}": number / count for number in range(count)})
    figure = figure_of(monkeypatch, visualize.class_bars, result)
    assert len(figure.axes) == columns
    names = [label.get_text() for axis in figure.axes for label in axis.get_yticklabels()]
    assert names == [f"c{number}" for number in reversed(range(count))]


def test_a_class_has_a_panel_or_a_row(monkeypatch):
    for count, axes in ((2, 2), (11, 15), (30, 30), (31, 2)):  # the last: heat map and its scale
        names = [f"c{number}" for number in range(count)]
        validations = [scores(**dict.fromkeys(names, 0.1 * step)) for step in (1, 2, 3)]
        figure = figure_of(monkeypatch, visualize.class_iou, validations)
        assert len(figure.axes) == axes
        if count == 31:
            values = figure.axes[0].images[0].get_array()
            assert values.shape == (31, 3) and values[5].tolist() == [0.1, 0.2, 0.1 * 3]
        else:
            assert figure.axes[0].lines[0].get_ydata().tolist() == [0.1, 0.2, 0.1 * 3]
            assert figure.axes[1].get_title(loc="left") == "c1  0.300"


def test_heat_map_of_very_many_validations(monkeypatch):
    validations = [scores(**{f"c{number}": 0.5 for number in range(40)})] * 3000
    figure = figure_of(monkeypatch, visualize.class_iou, validations)
    assert figure.axes[0].images[0].get_array().shape == (40, 1000)


@pytest.mark.parametrize("draw", [visualize.class_bars, visualize.class_iou])
def test_picture_is_written(tmp_path, draw):
    result = scores(sky=0.5, road=math.nan)
    draw(tmp_path / "a.png", result if draw is visualize.class_bars else [result])
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert (picture == (0, 114, 178)).all(axis=2).any()
