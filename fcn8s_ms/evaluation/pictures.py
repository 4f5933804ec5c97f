"""Pictures of an evaluation: confusion matrix, certainty, worst images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import visualize
from .scoring import Worst

__all__ = ["draw"]

_MOST_ROWS = 100  # of worst.png; more make a picture that few programs open


def draw(
    folder: Path, result: dict[str, Any], worst: Worst, classes: Sequence[str], palette: np.ndarray
) -> list[str]:
    """Draws the pictures of an evaluation.

    Args:
        folder: an existing folder.
        result: as `fcn8s_ms.eval` writes it as JSON.
        worst: the worst images, each of which gets a picture.
        classes: class names.
        palette: uint8 (C, 3), RGB.

    Returns:
        Names of the files, `worst*.png` standing for the worst images.
    """
    title = f"{Path(result['data']).name}: mean IoU {result['mean IoU']:.4f}"
    matrix = np.array(result["confusion matrix"])
    visualize.confusion_plot(folder / "confusion.png", matrix, classes, title)
    visualize.class_bars(folder / "class_bars.png", result, title)
    names = ["confusion.png", "class_bars.png"]
    if "certainty" in result:
        error = f"expected calibration error {result['calibration error']:.4f}"
        visualize.reliability_plot(folder / "certainty.png", result["certainty"], error)
        names.append("certainty.png")
    for place, (iou, prediction) in enumerate(worst.sorted(), start=1):
        name = prediction.name.replace("/", "_").replace("\\", "_")
        visualize.comparison(
            folder / f"worst_{place:03d}_{name}.png",
            prediction.image,
            prediction.label,
            prediction.ids,
            classes,
            palette,
            f"{prediction.name}: mean IoU {iou:.4f}",
        )
    shown = [one for _, one in worst.sorted()[:_MOST_ROWS]]
    if shown:
        visualize.prediction_grid(
            folder / "worst.png",
            [(one.name, one.image, one.label, one.ids) for one in shown],
            classes,
            palette,
            f"{title}; the {len(shown)} worst images",
        )
        names.append("worst*.png")
    return names
