"""Figures drawn with matplotlib: grids of images, and one image with its errors."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .. import confusion, files
from ..voc import IGNORE_LABEL
from . import fonts
from .canvas import PRINT, new_figure, save_figure
from .overlays import overlay
from .palette import background_id

if TYPE_CHECKING:  # loaded when a figure is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison", "panels", "prediction_grid", "sample_grid"]

_VOID_COLOUR = (224, 224, 192)  # VOC's tone for ignored pixels
_LEGEND_COLUMNS = 6
_LONGEST_CAPTION = 36
_TALLEST = 30_000  # pixels of a grid
# For wrong pixels, in order of preference.
_ERROR_COLOURS = {
    "red": (230, 0, 0),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "orange": (255, 128, 0),
    "green": (0, 255, 0),
}
_CLEARLY_APART = 30.0  # in CIE Lab


def prediction_grid(
    path: files.PathLike,
    rows: Sequence[Sequence[Any]],
    classes: Sequence[str],
    palette: np.ndarray,
    title: str = "",
    networks: Sequence[str] = ("prediction",),
    dpi: int = 110,
) -> None:
    """Writes rows of image, truth and predictions, with a legend of the classes that occur.

    Above each image stands its name, above a prediction its mean IoU in this image.

    Args:
        path: PNG file to write.
        rows: sequence of (name, image, truth, prediction, …): str, uint8 (H, W, 3) BGR, then uint8
            (H, W); a prediction for each network.
        classes: class names.
        palette: uint8 (256, 3), RGB.
        title: text above the grid.
        networks: headings of the predictions.
        dpi: dots per inch; a picture of many rows has fewer.
    """
    captions = [
        [name, "truth"]
        + [
            f"{network}, {_score(truth, prediction, len(classes))}"
            for network, prediction in zip(networks, predictions)
        ]
        for name, _, truth, *predictions in rows
    ]
    _grid(path, [row[1:] for row in rows], captions, classes, palette, title, dpi)


def _score(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> str:
    """Mean IoU of one image as text."""
    counts = confusion.ConfusionMatrix(num_classes)
    counts.update(truth, prediction)
    iou = confusion.mean_iou(counts.matrix)
    return "nothing labelled" if np.isnan(iou) else f"mean IoU {iou:.4f}"


def sample_grid(
    path: files.PathLike,
    samples: Sequence[tuple[np.ndarray, np.ndarray]],
    classes: Sequence[str],
    palette: np.ndarray,
    title: str = "",
    names: Sequence[str] = (),
) -> None:
    """Writes images with their labels next to them, and a legend of the classes that occur.

    Args:
        path: PNG file to write.
        samples: sequence of (image, label): uint8 (H, W, 3) BGR, uint8 (H, W).
        classes: class names.
        palette: uint8 (256, 3), RGB.
        title: text above the grid.
        names: names of the images, if they have any.
    """
    across = 1 if len(samples) < 2 else 2 if len(samples) < 9 else 4
    firsts = range(0, len(samples), across)
    rows = [[cell for pair in samples[at : at + across] for cell in pair] for at in firsts]
    names = names or ["image"] * len(samples)
    texts = [
        [text for name in names[at : at + across] for text in (name, "label")] for at in firsts
    ]
    _grid(path, rows, texts, classes, palette, title)


def comparison(
    path: files.PathLike,
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    classes: Sequence[str],
    palette: np.ndarray,
    title: str = "",
) -> None:
    """Writes an image, its truth and prediction as overlays, and the wrong pixels.

    These have a colour that no class has, red if possible; the heading names it.

    Args:
        path: PNG file to write.
        image: uint8 (H, W, 3), BGR.
        truth: uint8 (H, W).
        prediction: uint8 (H, W).
        classes: class names.
        palette: uint8 (256, 3), RGB.
        title: text above the pictures.
    """
    cells = panels(image, truth, prediction, classes, palette)
    height, width = truth.shape
    across = 2 if width > 0.8 * height else 4
    down = len(cells) // across
    side = 5 if across == 2 else 3
    aspect = min(max(height / width, 0.2), 4)  # of ribbons it would be meters
    figure = new_figure(side * across, side * down * aspect + 1.2, PRINT)
    axes = figure.subplots(down, across, squeeze=False)
    for axis, (name, cell) in zip(axes.flat, cells.items()):
        _show(axis, cell)
        axis.set_title(name)
    present = np.union1d(truth, prediction)
    _finish(figure, path, present, classes, _with_void(palette), title)


def panels(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    classes: Sequence[str],
    palette: np.ndarray,
) -> dict[str, np.ndarray]:
    """Draws the pictures of `comparison`.

    Args:
        image: uint8 (H, W, 3), BGR.
        truth: uint8 (H, W).
        prediction: uint8 (H, W).
        classes: class names.
        palette: uint8 (256, 3), RGB.

    Returns:
        Heading to uint8 (H, W, 3), RGB: `image`, `truth` and `prediction` as overlays, and `wrong
        pixels`, which names their colour.
    """
    colours = _with_void(palette)
    ignored = truth == IGNORE_LABEL
    true, predicted = (
        overlay(image, ids, colours, 0.6, background_id(classes)) for ids in (truth, prediction)
    )
    errors = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2RGB) // 2
    error_name = _error_colour(palette[: len(classes)])
    errors[~ignored & (truth != prediction)] = _ERROR_COLOURS[error_name]
    true[ignored] = errors[ignored] = _VOID_COLOUR
    return {
        "image": cv2.cvtColor(image, cv2.COLOR_BGR2RGB),
        "truth": true,
        "prediction": predicted,
        f"wrong pixels ({error_name})": errors,
    }


def _error_colour(colours: np.ndarray) -> str:
    """Name of the first error colour clearly apart from those of the classes, or of the farthest.

    Args:
        colours: RGB, uint8 (C, 3).
    """

    def lab(rgb: Any) -> np.ndarray:
        pixels = np.asarray(rgb, np.float32).reshape(1, -1, 3) / 255
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]

    distance = {
        name: float(np.linalg.norm(lab(colours) - lab(colour), axis=1).min())
        for name, colour in _ERROR_COLOURS.items()
    }
    clear = (name for name, apart in distance.items() if apart >= _CLEARLY_APART)
    return next(clear, max(distance, key=lambda name: distance[name]))


def _grid(
    path: files.PathLike,
    rows: Sequence[Sequence[np.ndarray]],
    captions: Sequence[Sequence[str]],
    classes: Sequence[str],
    palette: np.ndarray,
    title: str,
    dpi: int = 110,
) -> None:
    """Writes rows of images (H, W, 3) and labels (H, W) with captions; the last may be shorter."""
    across = max(map(len, rows), default=1)
    heights = [max(_aspect(cell) for cell in row) for row in rows]
    tall = sum(3 * height + 0.3 for height in heights) + 1.2
    figure = new_figure(3 * across, tall, min(dpi, round(_TALLEST / tall)))
    axes = figure.subplots(len(rows), across, squeeze=False, height_ratios=heights)
    colours = _with_void(palette)
    present: set[int] = set()
    for axis in axes.flat:
        axis.set_axis_off()
    for axes_row, row, texts in zip(axes, rows, captions):
        for axis, cell, text in zip(axes_row, row, texts):
            if cell.ndim == 2:
                present.update(np.unique(cell).tolist())
                _show(axis, colours[cell])
            else:
                _show(axis, cv2.cvtColor(cell, cv2.COLOR_BGR2RGB))
            axis.set_title(_shortened(text), fontsize=9)
    _finish(figure, path, present, classes, colours, title)


def _aspect(cell: np.ndarray) -> float:
    """Height of a picture where its width is 1; of ribbons that of a cell that they leave empty."""
    return min(max(cell.shape[0] / cell.shape[1], 0.4), 1.2)


def _shortened(text: str) -> str:
    """Text that fits above a cell: its beginning and its end, which tell files apart."""
    half = _LONGEST_CAPTION // 2
    return text if len(text) <= _LONGEST_CAPTION else f"{text[:half]}…{text[-half:]}"


def _show(axis: "Axes", picture: np.ndarray) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_axis_off()


def _with_void(palette: np.ndarray) -> np.ndarray:
    colours = palette.copy()
    colours[IGNORE_LABEL] = _VOID_COLOUR
    return colours


def _finish(
    figure: "Figure",
    path: files.PathLike,
    present: Collection[int] | np.ndarray,
    classes: Sequence[str],
    colours: np.ndarray,
    title: str,
) -> None:
    """Adds the legend of the labels present and the title, and writes the figure."""
    from matplotlib.patches import Patch

    shown = fonts.readable(classes)
    names = [(label, name) for label, name in enumerate(shown) if label in present]
    if IGNORE_LABEL in present:
        names.append((IGNORE_LABEL, "ignored"))
    patches = [Patch(facecolor=colours[label] / 255, edgecolor="gray") for label, _ in names]
    more_rows = max(-(-len(patches) // _LEGEND_COLUMNS) - 4, 0)  # than the figure has room for
    figure.set_figheight(figure.get_figheight() + 0.25 * more_rows)
    legend = figure.legend(
        patches,
        ["class"] * len(patches),
        loc="outside lower center",
        ncols=_LEGEND_COLUMNS,
        frameon=False,
    )
    # Afterwards: Matplotlib would leave out a name that begins with _, as labelme's background.
    for text, (_, name) in zip(legend.get_texts(), names):
        text.set_text(name)
    if title:
        figure.suptitle(title)
    save_figure(figure, path)
