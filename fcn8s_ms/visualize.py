"""Pictures: palette masks, overlays with a legend, grids, confusion matrices, training curves.

Images come in as BGR, as OpenCV decodes them; what is returned and written is RGB.
"""

from pathlib import Path

import cv2
import numpy as np

from . import files, png
from .voc import IGNORE_LABEL

__all__ = [
    "background",
    "comparison",
    "confusion_plot",
    "curves",
    "draw_legend",
    "networks_curves",
    "networks_grid",
    "overlay",
    "prediction_grid",
    "sample_grid",
    "write_mask",
    "write_picture",
]


_BACKGROUND_NAMES = ("background", "_background_")
_VOID_COLOUR = (224, 224, 192)  # VOC's tone for what is ignored


def background(classes) -> int | None:
    """Id of the class that stands for no object, which overlays leave as it is; None without one.

    Args:
        classes: class names. CamVid's have none: its first is sky.
    """
    return 0 if classes and classes[0].lower() in _BACKGROUND_NAMES else None


def write_mask(path, ids: np.ndarray, palette: np.ndarray) -> None:
    """Writes class ids as a palette PNG, the format of VOC's own masks.

    Args:
        path: file to write.
        ids: uint8 (H, W).
        palette: uint8 (256, 3), RGB.
    """
    if ids.dtype != np.uint8:
        raise ValueError(f"ids of type {ids.dtype}; class ids are uint8")
    files.write_bytes(path, png.indexed(ids, palette))


def write_picture(path, picture: np.ndarray) -> None:
    """Writes an RGB array (H, W, 3) as the image file that the name's ending asks for."""
    encoded = cv2.imencode(Path(path).suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    files.write_bytes(path, encoded.tobytes())


def overlay(
    image: np.ndarray,
    ids: np.ndarray,
    palette: np.ndarray,
    opacity: float = 0.5,
    background: int | None = 0,
) -> np.ndarray:
    """The image with its classes laid over; background and ignored pixels stay as they are.

    Args:
        image: uint8 (H, W, 3), BGR.
        ids: uint8 (H, W).
        palette: uint8 (256, 3), RGB.
        opacity: of the colours, 0…1.
        background: id of the class without a colour, as `background` finds it; None for none.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    picture = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    mixed = cv2.addWeighted(picture, 1 - opacity, palette[ids], opacity, 0)
    untouched = ids == IGNORE_LABEL
    if background is not None:
        untouched |= ids == background
    np.copyto(mixed, picture, where=untouched[..., np.newaxis])
    return mixed


def _present(ids: np.ndarray, classes) -> list[int]:
    """Ids of the classes in an array, without the background."""
    return [
        int(label)
        for label in np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
        if label < len(classes) and label != background(classes)
    ]


def draw_legend(
    picture: np.ndarray, ids: np.ndarray, classes, palette: np.ndarray, corner=None
) -> np.ndarray:
    """Draws the names and colours of the classes present.

    Args:
        picture: uint8 (H, W, 3), RGB; not changed.
        ids: uint8 (H, W), the classes of the picture's pixels.
        classes: class names.
        palette: uint8 (256, 3), RGB.
        corner: "top left", for pictures in a row that are compared or shown one after the other;
            None for the corner where it hides least of the objects.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    picture = picture.copy()
    present = _present(ids, classes)
    if not present:
        return picture
    height, width = ids.shape
    names = [classes[label] for label in present]
    font = cv2.FONT_HERSHEY_SIMPLEX

    def layout(scale):
        line = max(round(30 * scale), 7)
        text_width = max(cv2.getTextSize(name, font, scale, 1)[0][0] for name in names)
        return line, text_width + 2 * line, line * len(names) + line // 2

    # As large as reads well, smaller where it would cover more than half of a side.
    scale = min(max(min(height, width) / 700, 0.3), 1.5)
    while scale > 0.2 and (layout(scale)[1] > width / 2 or layout(scale)[2] > height / 2):
        scale *= 0.9
    line, box_width, box_height = layout(scale)
    box_width, box_height = min(box_width, width), min(box_height, height)

    corners = [(top, left) for top in (0, height - box_height) for left in (0, width - box_width)]
    if corner is None:
        objects = ids != (background(classes) or 0)
        top, left = min(
            corners,
            key=lambda place: np.count_nonzero(
                objects[place[0] : place[0] + box_height, place[1] : place[1] + box_width]
            ),
        )
    else:
        top, left = corners[0]
    box = picture[top : top + box_height, left : left + box_width]
    box[:] = (box * 0.25 + 255 * 0.75).astype(np.uint8)
    thickness = max(round(2 * scale), 1)
    for row, (label, name) in enumerate(zip(present, names)):
        y = line // 4 + row * line
        colour = tuple(int(value) for value in palette[label])
        cv2.rectangle(box, (line // 3, y + line // 6), (line + 1, y + line - line // 6), colour, -1)
        cv2.putText(
            box,
            name,
            (line + line // 2, y + round(line * 0.78)),
            font,
            scale,
            (0, 0, 0),
            thickness,
            cv2.LINE_AA,
        )
    return picture


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


def curves(path, steps, validations=()) -> None:
    """Writes loss and learning rate over the steps, and the validation scores if there are any.

    Args:
        path: PNG file to write.
        steps: dicts with `step`, `loss` and `lr`.
        validations: dicts with `step`, `mean IoU` and `pixel accuracy`.
    """
    count = 3 if validations else 2
    figure = _figure(4.5 * count, 3.4, dpi=110)
    axes = figure.subplots(1, count)
    numbers = [step["step"] for step in steps]
    losses = [step["loss"] for step in steps]
    axes[0].plot(numbers, losses, color="tab:blue", alpha=0.35, label="step")
    window = _smoothing(len(losses))
    if window > 1:
        smooth = _running_mean(losses, window)
        axes[0].plot(numbers[window - 1 :], smooth, color="tab:blue", label=f"mean of {window}")
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
