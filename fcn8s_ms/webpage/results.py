"""An answer as the page shows it, and as the files that it hands out."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import files, visualize
from ..formats import png
from ..inference.annotations import labelme_content
from ..inference.polygons import shapes_of
from ..voc import IGNORE_LABEL
from .answers import Answer

__all__ = ["Results"]

_FILES = {
    "mask": ("Mask", ".png"),
    "overlay": ("Overlay as shown", ".png"),
    "certainty": ("Certainty", ".png"),
    "polygons": ("Polygons for labelme", ".json"),
}  # kinds of files that are handed out: title, ending


class Results:
    """Makes what is shown and handed out of answers.

    Args:
        classes: class names; the position is the class id.
        palette: uint8 (256, 3), RGB.
    """

    def __init__(self, classes: tuple[str, ...], palette: np.ndarray):
        self._classes = classes
        self._palette = palette
        self._background = visualize.background_id(classes)

    def summary(self, answer: Answer) -> dict[str, Any]:
        """Facts about an answer, as JSON takes them.

        Returns:
            `name`; `width` and `height` of the picture, `shown` and `seen` as [width, height];
            `certainty`, whether it is known; `seconds` and `network_seconds`; and `classes`, those
            present, the largest first: `id`, `name`, `colour` (RGB), `share` of the pixels, `on`,
            whether it is coloured unless the user chooses otherwise; and `files`, what is handed
            out: kind, title, end of the address, name of the file.
        """
        height, width = answer.ids.shape
        counts = np.bincount(answer.ids.ravel(), minlength=len(self._classes))
        present = sorted(np.flatnonzero(counts).tolist(), key=lambda label: -counts[label])
        return {
            "name": answer.name,
            "width": width,
            "height": height,
            "shown": answer.shown_size[::-1],
            "seen": answer.seen[::-1],
            "certainty": answer.certainty is not None,
            "seconds": round(answer.seconds, 3),
            "network_seconds": round(answer.network_seconds, 3),
            "classes": [
                {
                    "id": label,
                    "name": self._classes[label],
                    "colour": self._palette[label].tolist(),
                    "share": counts[label] / answer.ids.size,
                    "on": label != self._background,
                }
                for label in present
            ],
            "files": [
                [kind, title, f"{kind}{suffix}", self.file_name(answer, kind)]
                for kind, (title, suffix) in _FILES.items()
                if kind != "certainty" or answer.certainty is not None
            ],
        }

    def mask(self, answer: Answer) -> bytes:
        """Class ids as a palette PNG, as `predict` writes it."""
        return png.indexed(answer.ids, self._palette)

    def overlay(self, answer: Answer, opacity: float, hidden: Collection[int]) -> bytes:
        """The picture with its classes over it and a legend, as a PNG of the picture's own size.

        Args:
            answer: of the picture.
            opacity: opacity of the colours, 0…1.
            hidden: classes that get no colour, nor a place in the legend.
        """
        ids = answer.ids
        if hidden:
            ids = np.where(np.isin(ids, list(hidden)), np.uint8(IGNORE_LABEL), ids)
        # The background has a colour only for those who ask for it.
        picture = visualize.overlay(answer.image, ids, self._palette, opacity, background=None)
        picture = visualize.draw_legend(picture, ids, self._classes, self._palette)
        return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1])

    def certainty(self, answer: Answer) -> bytes | None:
        """The certainty as a grey PNG, 255 for 1; None if it is not known."""
        if answer.certainty is None:
            return None
        return bytes(cv2.imencode(".png", answer.certainty)[1])

    def polygons(self, answer: Answer) -> bytes:
        """Outlines of the classes as labelme's JSON, to be corrected next to the picture."""
        height, width = answer.ids.shape
        name = Path(answer.name).name
        content = labelme_content(shapes_of(answer.ids), (height, width), self._classes, name)
        return files.json_text(content).encode()

    @staticmethod
    def file_name(answer: Answer, kind: str) -> str:
        """Name of a file that is made of an answer: that of `predict`, or labelme's own."""
        stem, suffix = Path(answer.name).stem, _FILES[kind][1]
        return f"{stem}{suffix}" if kind == "polygons" else f"{stem}_{kind}{suffix}"
