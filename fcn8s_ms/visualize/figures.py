"""Figures drawn with matplotlib: grids, confusion matrices, training curves."""

from pathlib import Path

import cv2
import numpy as np

from ..voc import IGNORE_LABEL
from .pictures import background, overlay

__all__ = [
    "comparison",
    "confusion_plot",
    "curves",
    "networks_curves",
    "networks_grid",
    "prediction_grid",
    "sample_grid",
]


_VOID_COLOUR = (224, 224, 192)  # VOC's tone for what is ignored


def _figure(columns: float, rows: float, **kwargs):
    # The figure class itself: pyplot would keep every figure alive and look for a screen.
    from matplotlib.figure import Figure

    return Figure(figsize=(columns, rows), layout="constrained", **kwargs)


def prediction_grid(path, samples, classes, palette: np.ndarray, title: str = "") -> None:
    """Writes rows of image, truth and prediction with a legend of the classes that occur.

    Args:
        path: PNG file to write.
        samples: sequence of (image, truth, prediction): uint8 (H, W, 3) BGR, uint8 (H, W) twice.
        classes: class names.
        palette: uint8 (256, 3), RGB.
        title: above the grid.
    """
    _grid(path, samples, ("image", "truth", "prediction"), classes, palette, title)


def networks_grid(path, rows, names, classes, palette: np.ndarray, title: str = "") -> None:
    """Writes rows of image, truth and the predictions of several networks, with a legend.

    Args:
        path: PNG file to write.
        rows: sequence of (image, truth, prediction, …): uint8 (H, W, 3) BGR, then uint8 (H, W).
        names: of the networks, in the order of the predictions.
        classes: class names.
        palette: uint8 (256, 3), RGB.
        title: above the grid.
    """
    _grid(path, rows, ("image", "truth", *names), classes, palette, title)


def sample_grid(path, samples, classes, palette: np.ndarray, title: str = "") -> None:
    """Writes images with their labels beside them, and a legend of the classes that occur.

    Args:
        path: PNG file to write.
        samples: sequence of (image, label): uint8 (H, W, 3) BGR, uint8 (H, W).
        classes: class names.
        palette: uint8 (256, 3), RGB.
        title: above the grid.
    """
    across = 1 if len(samples) < 2 else 2 if len(samples) < 9 else 4
    rows = [
        [cell for sample in samples[first : first + across] for cell in sample]
        for first in range(0, len(samples), across)
    ]
    _grid(path, rows, ("image", "label") * across, classes, palette, title)


def _grid(path, rows, headings, classes, palette, title) -> None:
    """Writes rows of images (H, W, 3) and labels (H, W); the last row may be shorter."""
    figure = _figure(3 * len(headings), 2.6 * len(rows) + 1.2, dpi=110)
    axes = figure.subplots(len(rows), len(headings), squeeze=False)
    colours = _with_void(palette)
    present = set()
    for axis in axes.flat:
        axis.set_axis_off()
    for axes_row, row in zip(axes, rows):
        for axis, cell in zip(axes_row, row):
            if cell.ndim == 2:
                present.update(np.unique(cell))
                cell = colours[cell]
            else:
                cell = cv2.cvtColor(cell, cv2.COLOR_BGR2RGB)
            axis.imshow(cell, interpolation="nearest")
    for axis, heading in zip(axes[0], headings):
        axis.set_title(heading)
    _legend_below(figure, present, classes, colours)
    if title:
        figure.suptitle(title)
    figure.savefig(path)


def _with_void(palette: np.ndarray) -> np.ndarray:
    colours = palette.copy()
    colours[IGNORE_LABEL] = _VOID_COLOUR
    return colours


def _legend_below(figure, present, classes, colours: np.ndarray) -> None:
    from matplotlib.patches import Patch

    names = [(label, name) for label, name in enumerate(classes) if label in present]
    if IGNORE_LABEL in present:
        names.append((IGNORE_LABEL, "ignored"))
    patches = [
        Patch(facecolor=colours[label] / 255, edgecolor="gray", label=name) for label, name in names
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False)


def _smoothing(count: int) -> int:
    """Steps over which a curve of so many is averaged."""
    return max(count // 20, 1)


def _running_mean(values, window: int) -> np.ndarray:
    return np.convolve(values, np.ones(window) / window, mode="valid")


def networks_curves(path, runs) -> None:
    """Writes loss, mean IoU and pixel accuracy of several trainings over their steps.

    Args:
        path: PNG file to write.
        runs: name to (steps, validations), as `curves` takes them.
    """
    figure = _figure(13.5, 3.8, dpi=110)
    axes = figure.subplots(1, 3)
    for name, (steps, validations) in runs.items():
        window = _smoothing(len(steps))
        numbers = [step["step"] for step in steps][window - 1 :]
        axes[0].plot(numbers, _running_mean([step["loss"] for step in steps], window), label=name)
        points = [validation["step"] for validation in validations]
        for axis, score in zip(axes[1:], ("mean IoU", "pixel accuracy")):
            values = [validation[score] for validation in validations]
            axis.plot(points, values, marker="o", label=name)
    window = max(_smoothing(len(steps)) for steps, _ in runs.values())
    loss = "training loss" + (f", mean of {window} steps" if window > 1 else "")
    axes[0].set(title=loss, xlabel="step", ylabel="cross-entropy")
    for axis, score in zip(axes[1:], ("mean IoU", "pixel accuracy")):
        axis.set(title=f"validation: {score}", xlabel="step", ylim=(0, 1))
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(Path(path))


def comparison(
    path, image: np.ndarray, truth, prediction, classes, palette: np.ndarray, title: str = ""
) -> None:
    """Writes an image, its truth and its prediction laid over it, and where the two differ in red.

    Args:
        path: PNG file to write.
        image: uint8 (H, W, 3), BGR.
        truth: uint8 (H, W).
        prediction: uint8 (H, W).
        classes: class names.
        palette: uint8 (256, 3), RGB.
        title: above the pictures.
    """
    colours = _with_void(palette)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2RGB) // 2
    errors = gray.copy()
    errors[truth == IGNORE_LABEL] = _VOID_COLOUR
    errors[(truth != IGNORE_LABEL) & (truth != prediction)] = (230, 0, 0)
    cells = {
        "image": cv2.cvtColor(image, cv2.COLOR_BGR2RGB),
        "truth": overlay(image, truth, colours, 0.6, background(classes)),
        "prediction": overlay(image, prediction, colours, 0.6, background(classes)),
        "wrong pixels (red)": errors,
    }
    cells["truth"][truth == IGNORE_LABEL] = _VOID_COLOUR
    height, width = truth.shape
    across = 2 if width > 0.8 * height else 4
    down = len(cells) // across
    side = 5 if across == 2 else 3
    figure = _figure(side * across, side * down * height / width + 1.2, dpi=110)
    for axis, (name, cell) in zip(figure.subplots(down, across, squeeze=False).flat, cells.items()):
        axis.imshow(cell, interpolation="nearest")
        axis.set_title(name)
        axis.set_axis_off()
    present = {*np.unique(truth).tolist(), *np.unique(prediction).tolist()}
    _legend_below(figure, present, classes, colours)
    if title:
        figure.suptitle(title)
    figure.savefig(path)


def confusion_plot(path, matrix: np.ndarray, classes, title: str = "") -> None:
    """Writes a confusion matrix as a picture, each row normalised: what became of every class.

    Args:
        path: PNG file to write.
        matrix: integers (C, C), rows are the true classes.
        classes: class names.
        title: above the matrix.
    """
    count = len(classes)
    pixels = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, pixels, out=np.zeros(matrix.shape), where=pixels > 0)
    side = max(0.4 * count, 3)
    longest = max(len(name) for name in classes) * 0.09
    figure = _figure(side + longest + 1.2, side + longest + 0.8, dpi=120)
    axis = figure.subplots()
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(share >= 0.005):
        value = share[row, column]
        axis.text(
            column,
            row,
            f"{100 * value:.0f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if value > 0.55 else "black",
        )
    absent = np.flatnonzero(pixels[:, 0] == 0)
    for row in absent:
        axis.axhspan(row - 0.5, row + 0.5, facecolor="0.93", edgecolor="none")
    axis.set_xticks(range(count), classes, rotation=90)
    axis.set_yticks(range(count), classes)
    axis.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="0.85", linewidth=0.5)
    axis.tick_params(which="both", length=0)
    axis.set_xlabel("predicted as, % of the pixels of the true class")
    axis.set_ylabel("true class" + (" (gray: no pixels)" if absent.size else ""))
    if title:
        axis.set_title(title, fontsize=10)
    figure.savefig(path)


def curves(path, steps, validations=(), means=None, span=1) -> None:
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
    figure = _figure(4.5 * count, 3.4, dpi=110)
    axes = figure.subplots(1, count)
    numbers = [step["step"] for step in steps]
    losses = [step["loss"] for step in steps]
    axes[0].plot(numbers, losses, color="tab:blue", alpha=0.35, label="step")
    means = steps if means is None else means
    window = _smoothing(len(means))
    if window > 1:
        smooth = _running_mean([mean["loss"] for mean in means], window)
        ends = [mean["step"] for mean in means[window - 1 :]]
        axes[0].plot(ends, smooth, color="tab:blue", label=f"mean of {window * span}")
        axes[0].legend(frameon=False)
    axes[0].set(title="training loss", xlabel="step", ylabel="cross-entropy")
    axes[1].plot(numbers, [step["lr"] for step in steps], color="tab:orange")
    axes[1].set(title="learning rate", xlabel="step")
    if validations:
        for score in ("mean IoU", "pixel accuracy"):
            points = [validation["step"] for validation in validations]
            values = [validation[score] for validation in validations]
            axes[2].plot(points, values, marker="o", label=score)
        axes[2].set(title="validation", xlabel="step", ylim=(0, 1))
        axes[2].legend(frameon=False)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(Path(path))
