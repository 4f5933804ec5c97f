"""Pictures to try the page with, drawn as those of the sample dataset are."""

from pathlib import Path

import numpy as np

from ..records.scenes import CLASSES, draw_scene
from ..visualize import write_picture

__all__ = ["draw_examples"]

_SEED = 20  # pictures that the sample dataset does not have
_OBJECTS = ((1, 3, 6), (2, 4, 5), (6, 1, 4, 2), (3, 5, 2), (4, 6, 3, 5))  # by class


def draw_examples(folder: Path) -> list[Path]:
    """Draws example pictures into a folder and returns their paths."""
    rng = np.random.RandomState(_SEED)
    paths = []
    for objects in _OBJECTS:
        path = folder / f"{'-'.join(CLASSES[label] for label in objects)}.png"
        write_picture(path, draw_scene(rng, objects)[0])
        paths.append(path)
    return paths
