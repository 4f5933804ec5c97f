import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import visualize
from fcn8s_ms.visualize import Course

BLUE, ORANGE, GREEN, PURPLE = (0, 114, 178), (213, 94, 0), (0, 158, 115), (106, 61, 154)

STEPS = [{"step": i + 1, "loss": 3 / (i + 1), "lr": 0.1} for i in range(60)]
VALIDATIONS = [
    {"step": 20, "mean IoU": math.nan, "pixel accuracy": math.nan, "cross-entropy": math.nan},
    {"step": 40, "mean IoU": 0.3, "pixel accuracy": 0.6, "cross-entropy": 1.5, "epoch": 2},
    {"step": 60, "mean IoU": 0.2, "pixel accuracy": 0.7, "cross-entropy": 1.0, "epoch": 3},
]
SCORES = [{"step": step, "mean IoU": 0.4, "pixel accuracy": 0.8} for step in (20, 40, 60)]
WHOLE = Course(STEPS, VALIDATIONS, scores=SCORES, epoch_steps=20, new_schedules=[31])


def figure_of(monkeypatch, draw, *given):
    """The figure that would be written."""
    figures = []
    module = importlib.import_module("fcn8s_ms.visualize.curves")  # not the function of that name
    monkeypatch.setattr(module, "save_figure", lambda figure, path: figures.append(figure))
    draw("unused.png", *given)
    return figures[0]


def panels(figure):
    return {axis.get_ylabel(): axis for axis in figure.axes}


def points(axis, label):
    (line,) = (line for line in axis.lines if line.get_label() == label)
    return list(zip(*(np.asarray(one).tolist() for one in line.get_data())))


def test_panels_of_training_and_validation(monkeypatch):
    found = panels(figure_of(monkeypatch, visualize.course_curves, WHOLE))
    assert list(found) == ["cross-entropy", "pixel accuracy", "mean IoU", "learning rate"]
    assert points(found["cross-entropy"], "validation") == [(40, 1.5), (60, 1.0)]
    assert points(found["pixel accuracy"], "validation") == [(40, 0.6), (60, 0.7)]
    assert points(found["pixel accuracy"], "training") == [(20, 0.8), (40, 0.8), (60, 0.8)]
    (mean,) = (one for one in found["cross-entropy"].lines if "mean of 3" in one.get_label())
    assert mean.get_ydata()[0] == pytest.approx((3 + 1.5 + 1) / 3) and mean.get_xdata()[0] == 3
    assert {tuple(axis.get_xlim()) for axis in found.values()} == {found["mean IoU"].get_xlim()}


def test_marks_of_the_best_and_of_a_new_schedule(monkeypatch):
    found = panels(figure_of(monkeypatch, visualize.course_curves, WHOLE))
    label = "best: 0.3000\nstep 40, epoch 2"
    assert points(found["mean IoU"], label) == [(40, 0.3)]
    marked = [[one.get_xdata() for one in axis.lines] for axis in found.values()]
    for lines in marked:
        assert [40, 40] in [list(one) for one in lines]
        assert [30.5, 30.5] in [list(one) for one in lines]  # between the steps 30 and 31


def test_another_loss_is_not_drawn_with_cross_entropy(monkeypatch):
    other = replace(WHOLE, loss="dice")
    found = panels(figure_of(monkeypatch, visualize.course_curves, other))
    assert list(found)[:2] == ["training:\ndice", "validation:\ncross-entropy"]
    assert len(found) == 5
    assert points(found["validation:\ncross-entropy"], "validation") == [(40, 1.5), (60, 1.0)]


def test_run_without_validations_and_scores(monkeypatch):
    assert list(panels(figure_of(monkeypatch, visualize.curves, STEPS))) == [
        "cross-entropy",
        "learning rate",
    ]


def test_overflows_leave_no_gap_in_the_mean(monkeypatch):
    steps = [{**one, "loss": math.nan if one["step"] == 2 else 1.0} for one in STEPS]
    found = panels(figure_of(monkeypatch, visualize.curves, steps))["cross-entropy"]
    (mean,) = (one for one in found.lines if "mean of 3" in one.get_label())
    assert mean.get_ydata() == pytest.approx(np.ones(58))


def test_epochs_are_above_the_steps(monkeypatch):
    figure = figure_of(monkeypatch, visualize.course_curves, WHOLE)
    (epochs,) = figure.axes[0].child_axes
    figure.draw_without_rendering()
    assert epochs.get_xlim() == pytest.approx([x / 20 for x in figure.axes[0].get_xlim()])


def test_picture_has_the_colours_of_all_curves(tmp_path):
    visualize.course_curves(tmp_path / "c.png", WHOLE)
    picture = np.asarray(Image.open(tmp_path / "c.png").convert("RGB"))
    assert all((picture == colour).all(axis=2).any() for colour in (BLUE, ORANGE, GREEN))


def test_runs_over_one_another(monkeypatch):
    runs = {
        "a": WHOLE,
        "b": replace(WHOLE, steps=STEPS[:30], validations=[VALIDATIONS[1]], scores=()),
    }
    figure = figure_of(monkeypatch, visualize.runs_curves, runs)
    names = ["training:\ncross-entropy", "validation:\ncross-entropy"]
    assert list(panels(figure)) == [*names, "pixel accuracy", "mean IoU", "learning rate"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["a", "b"]
    colours = [{line.get_color() for line in axis.lines} for axis in figure.axes]
    assert all(len(found) == 2 for found in colours)
    stars = [line for line in panels(figure)["mean IoU"].lines if line.get_marker() == "*"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in stars] == [(40, 0.3)] * 2


def test_runs_with_different_losses_name_them(monkeypatch):
    runs = {"a": replace(WHOLE, validations=()), "b": replace(WHOLE, validations=(), loss="dice")}
    figure = figure_of(monkeypatch, visualize.runs_curves, runs)
    assert list(panels(figure))[0] == "training loss" and len(panels(figure)) == 4
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["a (cross-entropy)", "b (dice)"]


def test_more_runs_than_colours_differ_in_their_lines(monkeypatch):
    runs = {str(number): replace(WHOLE, scores=()) for number in range(15)}
    axis = figure_of(monkeypatch, visualize.runs_curves, runs).axes[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == 15
