"""Curves of a training, drawn with matplotlib."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import files
from .canvas import new_figure, save_figure

if TYPE_CHECKING:  # loaded when a figure is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves", "networks_curves"]

_SCORES = ("mean IoU", "pixel accuracy")

_Records: TypeAlias = Sequence[Mapping[str, Any]]


def curves(
    path: files.PathLike,
    steps: _Records,
    validations: _Records = (),
    means: _Records | None = None,
    span: int = 1,
) -> None:
    """Writes loss and learning rate over the steps, and the validation scores if there are any.

    Args:
        path: PNG file to write.
        steps: dicts with `step`, `loss` and `lr`.
        validations: dicts with `step`, `mean IoU` and `pixel accuracy`.
        means: dicts with `step` and mean `loss` of every `span` steps, where `steps` are only some
            of all; None where they are all.
        span: see `means`.
    """
    count = 3 if validations else 2
    figure = new_figure(4.5 * count, 3.4)
    axes = figure.subplots(1, count)
    numbers = _column(steps, "step")
    axes[0].plot(numbers, _column(steps, "loss"), color="tab:blue", alpha=0.35, label="step")
    means = steps if means is None else means
    window = _smoothing(len(means))
    if window > 1:
        label = f"mean of {window * span}"
        _plot_mean_loss(axes[0], means, window, color="tab:blue", label=label)
        axes[0].legend(frameon=False)
    axes[0].set(title="training loss", xlabel="step", ylabel="cross-entropy")
    axes[1].plot(numbers, _column(steps, "lr"), color="tab:orange")
    axes[1].set(title="learning rate", xlabel="step")
    if validations:
        for score in _SCORES:
            _plot_score(axes[2], validations, score, label=score)
        axes[2].set(title="validation", xlabel="step", ylim=(0, 1))
        axes[2].legend(frameon=False)
    _finish_curves(figure, axes, path)


def networks_curves(path: files.PathLike, runs: Mapping[str, tuple[_Records, _Records]]) -> None:
    """Writes loss, mean IoU and pixel accuracy of several trainings over their steps.

    Args:
        path: PNG file to write.
        runs: name to (steps, validations), as `curves` takes them.
    """
    figure = new_figure(13.5, 3.8)
    axes = figure.subplots(1, 3)
    for name, (steps, validations) in runs.items():
        _plot_mean_loss(axes[0], steps, _smoothing(len(steps)), label=name)
        for axis, score in zip(axes[1:], _SCORES):
            _plot_score(axis, validations, score, label=name)
    window = max(_smoothing(len(steps)) for steps, _ in runs.values())
    loss = "training loss" + (f", mean of {window} steps" if window > 1 else "")
    axes[0].set(title=loss, xlabel="step", ylabel="cross-entropy")
    for axis, score in zip(axes[1:], _SCORES):
        axis.set(title=f"validation: {score}", xlabel="step", ylim=(0, 1))
    axes[0].legend(frameon=False)
    _finish_curves(figure, axes, path)


def _column(records: _Records, name: str) -> list[Any]:
    return [record[name] for record in records]


def _smoothing(count: int) -> int:
    """Number of steps over which a curve of `count` steps is averaged."""
    return max(count // 20, 1)


def _plot_mean_loss(axis: "Axes", steps: _Records, window: int, **style: Any) -> None:
    means = np.convolve(_column(steps, "loss"), np.ones(window) / window, mode="valid")
    axis.plot(_column(steps, "step")[window - 1 :], means, **style)


def _plot_score(axis: "Axes", validations: _Records, score: str, label: str) -> None:
    axis.plot(_column(validations, "step"), _column(validations, score), marker="o", label=label)


def _finish_curves(figure: "Figure", axes: Iterable["Axes"], path: files.PathLike) -> None:
    for axis in axes:
        axis.grid(alpha=0.3)
    save_figure(figure, path)
