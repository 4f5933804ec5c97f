"""Pictures of an evaluation: confusion matrix, certainty, robustness, worst and best images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import visualize
from .scoring import Worst

__all__ = ["Picture", "draw", "draw_scores"]

_MOST_ROWS = 100  # of worst.png and best.png; more make a picture that few programs open


class Picture(NamedTuple):
    """A picture of scores.

    `name` is that of its file, `title` its heading, and `about` a sentence or two on how to read
    it.
    """

    name: str
    title: str
    about: str


def draw_scores(folder: Path, result: dict[str, Any]) -> list[Picture]:
    """Draws the scores of an evaluation.

    Args:
        folder: an existing folder.
        result: as `fcn8s_ms.eval` writes it as JSON.

    Returns:
        The pictures, in the order in which a reader wants them.
    """
    title = f"{Path(result['data']).name}: mean IoU {result['mean IoU']:.4f}"
    drawn = [
        Picture(
            "class_bars.png",
            "IoU of every class",
            "The best class is on top; next to each bar stand its labelled pixels and the number "
            "of images with the class.",
        ),
        Picture(
            "confusion.png",
            "Confusion matrix",
            "Each row is a true class: how many percent of its pixels were predicted as which "
            "class. Next to it stand the pairs with the most confused pixels.",
        ),
    ]
    visualize.class_bars(folder / drawn[0].name, result, title)
    matrix = np.array(result["confusion matrix"])
    visualize.confusion_plot(folder / drawn[1].name, matrix, list(result["per class"]), title)
    if "certainty" in result:
        error = f"expected calibration error {result['calibration error']:.4f}"
        visualize.reliability_plot(folder / "certainty.png", result["certainty"], error)
        drawn.append(
            Picture(
                "certainty.png",
                "Certainty",
                "How often predictions of each certainty are right. Bars below the diagonal: the "
                "network is more certain than it is right.",
            )
        )
    if "corruptions" in result:
        visualize.corruption_curves(
            folder / "corruptions.png", result["corruptions"], result["mean IoU"], title
        )
        drawn.append(
            Picture(
                "corruptions.png",
                "Robustness",
                "Mean IoU on the same images made worse, by kind and strength; dashed lines come "
                "from the unchanged images.",
            )
        )
    return drawn


def draw(
    folder: Path,
    result: dict[str, Any],
    ends: Mapping[str, Worst],
    classes: Sequence[str],
    palette: np.ndarray,
) -> list[str]:
    """Draws the pictures of an evaluation: its scores, and the images at the ends.

    Args:
        folder: an existing folder.
        result: as `fcn8s_ms.eval` writes it as JSON.
        ends: the worst images, each of which gets a picture, as `worst`, and the `best`.
        classes: class names.
        palette: uint8 (C, 3), RGB.

    Returns:
        Names of the files, `worst*.png` standing for the worst images.
    """
    title = f"{Path(result['data']).name}: mean IoU {result['mean IoU']:.4f}"
    names = [picture.name for picture in draw_scores(folder, result)]
    for end, kept in ends.items():
        found = kept.sorted()
        for place, (iou, prediction) in enumerate(found, start=1):
            name = prediction.name.replace("/", "_").replace("\\", "_")
            visualize.comparison(
                folder / f"{end}_{place:03d}_{name}.png",
                prediction.image,
                prediction.label,
                prediction.ids,
                classes,
                palette,
                f"{prediction.name}: mean IoU {iou:.4f}",
            )
        shown = [one for _, one in found[:_MOST_ROWS]]
        if shown:
            visualize.prediction_grid(
                folder / f"{end}.png",
                [(one.name, one.image, one.label, one.ids) for one in shown],
                classes,
                palette,
                f"{title}; the {len(shown)} {end} images",
                dpi=visualize.PRINT,
            )
            names.append(f"{end}*.png")
    return names
