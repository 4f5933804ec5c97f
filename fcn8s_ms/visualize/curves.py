"""Curves of trainings, drawn with matplotlib: one run, or several over one another."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import files
from .canvas import new_figure, save_figure

if TYPE_CHECKING:  # loaded when a figure is drawn
    from matplotlib.axes import Axes

__all__ = ["CROSS_ENTROPY", "Course", "course_curves", "curves", "runs_curves"]

CROSS_ENTROPY = "cross-entropy"
_SCORES = ("pixel accuracy", "mean IoU")
_WIDTH = 9.0
_PANEL_HEIGHT = 2.0

# Okabe and Ito's colours, which all kinds of colour vision tell apart; without their yellow, which
# is too light on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_TRAINING, _VALIDATION, _BEST, _NEW_SCHEDULE = *_COLOURS[:3], "#6A3D9A"
_LINES = ("-", "--", "-.", ":")

_Records: TypeAlias = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Course:
    """Course of a training, as its curves show it.

    Attributes:
        steps: dicts with `step`, `loss` and `lr`.
        validations: dicts with `step`, `pixel accuracy`, `mean IoU` and perhaps `cross-entropy`.
        means: dicts with `step` and mean `loss` of every `span` steps, where `steps` are only some
            of all; None where they are all.
        span: see `means`.
        scores: dicts with `step`, `pixel accuracy` and `mean IoU` of the training.
        epoch_steps: steps per epoch; None where it is not known.
        new_schedules: first steps after the learning rates were made to follow another length.
        loss: what the training minimises. Only cross-entropy can be compared with that of the
            validation, and is drawn with it.
    """

    steps: _Records
    validations: _Records = ()
    means: _Records | None = None
    span: int = 1
    scores: _Records = ()
    epoch_steps: int | None = None
    new_schedules: Sequence[int] = ()
    loss: str = CROSS_ENTROPY

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The first validation of the highest mean IoU; None without one."""
        known = [one for one in self.validations if not math.isnan(one["mean IoU"])]
        return max(known, key=lambda one: one["mean IoU"], default=None)


def curves(
    path: files.PathLike,
    steps: _Records,
    validations: _Records = (),
    means: _Records | None = None,
    span: int = 1,
) -> None:
    """Writes the curves of a training, see `course_curves`.

    Args:
        path: PNG file to write.
        steps: as in `Course`, and so are the others.
        validations: see `steps`.
        means: see `steps`.
        span: see `steps`.
    """
    course_curves(path, Course(steps, validations, means, span))


def course_curves(path: files.PathLike, course: Course) -> None:
    """Writes loss, scores and learning rate over the steps, of training and validation.

    The best validation and a new length of the schedule are marked. Without validations and scores
    there are only loss and learning rate.

    Args:
        path: PNG file to write.
        course: course of the training.
    """
    with_scores = [
        name for name in _SCORES if any(True for _ in _known(course, name)) or course.scores
    ]
    has_own_loss = course.loss != CROSS_ENTROPY and any(True for _ in _known(course, CROSS_ENTROPY))
    figure = new_figure(_WIDTH, _PANEL_HEIGHT * (2 + has_own_loss + len(with_scores)) + 0.5)
    axes = figure.subplots(2 + has_own_loss + len(with_scores), 1, sharex=True, squeeze=False)
    panels: list[Axes] = list(axes[:, 0])
    left = iter(panels)

    axis = next(left)
    is_plain = course.loss == CROSS_ENTROPY
    axis.set_ylabel(CROSS_ENTROPY if is_plain else f"training:\n{course.loss}")
    numbers = _column(course.steps, "step")
    averaged = _window(course) * course.span
    if averaged > 1:
        style: dict[str, Any] = {"color": _TRAINING, "alpha": 0.3, "label": "step"}
        axis.plot(numbers, _column(course.steps, "loss"), **style)
    label = "training" + (f", mean of {averaged} steps" if averaged > 1 else "")
    _plot_mean_loss(axis, course, color=_TRAINING, label=label)
    if has_own_loss:
        axis = next(left)
        axis.set_ylabel(f"validation:\n{CROSS_ENTROPY}")
    if has_own_loss or is_plain:
        _plot_validations(axis, course, CROSS_ENTROPY)
    for name in with_scores:
        axis = next(left)
        axis.set_ylabel(name)
        if course.scores:
            values = _column(course.scores, name)
            style = {"marker": "." if len(values) == 1 else "", "label": "training"}
            axis.plot(_column(course.scores, "step"), values, color=_TRAINING, **style)
        _plot_validations(axis, course, name)
        _from_zero(axis, 1.03)
    _mark_best(axis if with_scores else None, panels, course)
    axis = next(left)
    axis.set_ylabel("learning rate")
    axis.plot(numbers, _column(course.steps, "lr"), color="0.25", label="learning rate")
    _from_zero(axis)
    _mark_new_schedules(axis, panels, course)
    _finish(panels, course.epoch_steps, numbers[-1] if numbers else 0)
    save_figure(figure, path)


def runs_curves(path: files.PathLike, runs: Mapping[str, Course]) -> None:
    """Writes losses, scores and learning rates of several trainings over their steps.

    The curves of a run have one colour: thin for training, with markers for validation. A star is
    the best validation of a run.

    Args:
        path: PNG file to write.
        runs: name to course, at least one.
    """
    losses = sorted({course.loss for course in runs.values()})
    panels = ["loss", CROSS_ENTROPY, *_SCORES, "lr"]
    if not any(True for course in runs.values() for _ in _known(course, CROSS_ENTROPY)):
        panels.remove(CROSS_ENTROPY)
    height = _PANEL_HEIGHT * 1.1 * len(panels) + 0.6 + 0.25 * len(runs)
    figure = new_figure(_WIDTH, height)
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, name in zip(axes, panels):
        axis.set_ylabel({"loss": "training loss", "lr": "learning rate"}.get(name, name))
    for number, (name, course) in enumerate(runs.items()):
        style = {
            "color": _COLOURS[number % len(_COLOURS)],
            "linestyle": _LINES[number // len(_COLOURS) % len(_LINES)],
        }
        for axis, panel in zip(axes, panels):
            if panel == "loss":
                own = f" ({course.loss})" if len(losses) > 1 else ""
                _plot_mean_loss(axis, course, label=f"{name}{own}", **style)
            elif panel == "lr":
                axis.plot(_column(course.steps, "step"), _column(course.steps, "lr"), **style)
            else:
                _plot_run(axis, course, panel, style)
    if len(losses) == 1:
        axes[0].set_ylabel(f"training:\n{losses[0]}")
    if CROSS_ENTROPY in panels:
        axes[panels.index(CROSS_ENTROPY)].set_ylabel(f"validation:\n{CROSS_ENTROPY}")
    for panel, axis in zip(panels, axes):
        if panel in _SCORES:
            _from_zero(axis, 1.03)
        elif panel == "lr":
            _from_zero(axis)
    lengths = {course.epoch_steps for course in runs.values()}
    last = max((course.steps[-1]["step"] for course in runs.values() if course.steps), default=0)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside upper left",
        frameon=False,
        title="scores: thin of training, ● of validation, ★ the best validation",
        alignment="left",
    )
    _finish(axes, lengths.pop() if len(lengths) == 1 else None, last, legends=False)
    save_figure(figure, path)


def _from_zero(axis: "Axes", most: float = math.inf) -> None:
    """Has an axis begin at 0, with room for markers above its curves."""
    top = 1.08 * axis.dataLim.y1
    if math.isfinite(top) and top > 0:
        axis.set_ylim(0, min(top, most))


def _plot_run(axis: "Axes", course: Course, name: str, style: Mapping[str, Any]) -> None:
    """Draws a score of a run: of training as a thin line, of validation with markers."""
    if name in _SCORES and course.scores:
        found = _column(course.scores, name)
        axis.plot(_column(course.scores, "step"), found, alpha=0.6, linewidth=0.8, **style)
    known = list(_known(course, name))
    steps, values = [step for step, _ in known], [value for _, value in known]
    axis.plot(steps, values, marker="o", markersize=4, **style)
    if name == "mean IoU" and course.best is not None:
        place = [course.best["step"]], [course.best[name]]
        axis.plot(*place, marker="*", markersize=13, markeredgecolor="white", **style)


def _column(records: _Records, name: str) -> list[Any]:
    return [record[name] for record in records]


def _known(course: Course, name: str) -> Iterator[tuple[int, float]]:
    """Yields step and value of every validation that has a number of this name."""
    for one in course.validations:
        if not math.isnan(one.get(name, math.nan)):
            yield one["step"], one[name]


def _window(course: Course) -> int:
    """Number of points over which the curve of the loss is averaged."""
    return max(len(course.means or course.steps) // 20, 1)


def _plot_mean_loss(axis: "Axes", course: Course, **style: Any) -> None:
    points, window = course.means or course.steps, _window(course)
    # Steps without a loss, whose gradient overflowed, count for nothing.
    losses = np.array(_column(points, "loss"), float)
    known, ones = np.isfinite(losses), np.ones(window)
    counts = np.convolve(known, ones, mode="valid")
    sums = np.convolve(np.where(known, losses, 0), ones, mode="valid")
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    axis.plot(_column(points, "step")[window - 1 :], means, **style)


def _plot_validations(axis: "Axes", course: Course, name: str) -> None:
    known = list(_known(course, name))
    if known:
        steps, values = zip(*known)
        marker = "o" if len(known) <= 60 else ""
        style: dict[str, Any] = {"color": _VALIDATION, "marker": marker, "markersize": 4}
        axis.plot(steps, values, label="validation", **style)


def _mark_best(axis: "Axes | None", axes: Sequence["Axes"], course: Course) -> None:
    """Marks the best validation by a line in all panels and a star in that of its mean IoU."""
    best = course.best
    if axis is None or best is None:
        return
    for one in axes:
        one.axvline(best["step"], color=_BEST, linewidth=1, linestyle="--", zorder=0)
    label = f"best: {best['mean IoU']:.4f}\nstep {best['step']:,}"
    if "epoch" in best:
        label += f", epoch {best['epoch']:,}"
    place = [best["step"]], [best["mean IoU"]]
    axis.plot(*place, marker="*", markersize=13, color=_BEST, linestyle="none", label=label)


def _mark_new_schedules(axis: "Axes", axes: Sequence["Axes"], course: Course) -> None:
    """Marks where a resumed run got another length, by a line in all panels."""
    for number, step in enumerate(course.new_schedules):
        for one in axes:
            label = "new length of\nthe schedule" if one is axis and not number else None
            style: dict[str, Any] = {
                "color": _NEW_SCHEDULE,
                "linewidth": 1.2,
                "linestyle": ":",
                "zorder": 0,
            }
            one.axvline(step - 0.5, label=label, **style)


def _finish(
    axes: Sequence["Axes"], epoch_steps: int | None, last_step: int, legends: bool = True
) -> None:
    """Adds grids, legends next to the panels, and the epochs above the first one."""
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        axis.grid(alpha=0.3)
        if legends:
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if epoch_steps and last_step >= epoch_steps:
        epochs = axes[0].secondary_xaxis(
            "top",
            functions=(
                lambda x: np.asarray(x, float) / epoch_steps,
                lambda x: np.asarray(x, float) * epoch_steps,
            ),
        )
        epochs.set_xlabel("epoch")
        epochs.xaxis.set_major_locator(MaxNLocator(integer=True))
