"""What is written of a prediction: masks, colours, overlays, probabilities, videos."""

import contextlib
from pathlib import Path

from .. import files, visualize
from . import video

__all__ = ["ENDINGS", "Saver"]


ENDINGS = {
    "mask": "_mask.png",
    "color": "_color.png",
    "overlay": "_overlay.png",
    "probability": "_probability.npz",
}
"""What can be saved, and how the file's name ends."""


_IN_VIDEO = ("color", "overlay")  # as a video; the others as a folder of files, one a frame


class Saver:
    """Writes what was asked for of a picture.

    Args:
        config: what the command line says.
        segmenter: `fcn8s_ms.inference.Segmenter`.
    """

    def __init__(self, config, segmenter):
        self._config = config
        self._segmenter = segmenter
        self._background = visualize.background(segmenter.classes)
        self.needs_probabilities = "probability" in config.save

    def path(self, name: str, kind: str) -> Path:
        """File of a picture's result."""
        return self._config.output / f"{name}{self._config.ending(kind)}"

    def paths(self, picture) -> list[Path]:
        """Everything that is written of a picture; of a video folders too."""
        if not picture.is_video:
            return [self.path(picture.name, kind) for kind in self._config.save]
        return [self._of_video(picture.name, kind) for kind in self._config.save]

    def _of_video(self, name: str, kind: str) -> Path:
        suffix = ".mp4" if kind in _IN_VIDEO else ""
        ending = "" if self._config.plain_names else f"_{kind}"
        return self._config.output / f"{name}{ending}{suffix}"

    def save(self, name: str, image, result) -> str:
        """Writes the files of an image.

        Returns:
            What to print of it.
        """
        ids, probabilities = self._split(result)
        paths = [self.path(name, kind) for kind in self._config.save]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, kind in zip(paths, self._config.save):
            self._write(path, kind, image, ids, probabilities)
        present = ", ".join(self._segmenter.classes[label] for label in sorted(set(ids.flat)))
        return f"{paths[0]}: {present}"

    def _split(self, result):
        """Class ids, and probabilities or None."""
        if not self.needs_probabilities:
            return result, None
        return result.argmax(axis=0).astype("uint8"), result

    def _write(self, path: Path, kind: str, image, ids, probabilities) -> None:
        if kind == "mask":
            visualize.write_mask(path, ids, self._segmenter.palette)
        elif kind == "probability":
            _write_probabilities(path, probabilities, self._segmenter.classes)
        else:
            visualize.write_picture(path, self._drawn(kind, image, ids))

    def _drawn(self, kind: str, image, ids, corner=None):
        palette = self._segmenter.palette
        if kind == "color":
            return palette[ids]
        picture = visualize.overlay(image, ids, palette, self._config.opacity, self._background)
        if not self._config.legend:
            return picture
        return visualize.draw_legend(picture, ids, self._segmenter.classes, palette, corner)

    @contextlib.contextmanager
    def video(self, name: str, fps: float):
        """Gives a function that takes the frames of a video in turn: image and result."""
        targets = {kind: self._of_video(name, kind) for kind in self._config.save}
        writers = {kind: video.Writer(targets[kind], fps) for kind in targets if kind in _IN_VIDEO}
        number = 0

        def add(image, result):
            nonlocal number
            ids, probabilities = self._split(result)
            for kind, target in targets.items():
                if kind in writers:
                    # In one place: a legend that jumps from frame to frame cannot be read.
                    writers[kind].write(self._drawn(kind, image, ids, "top left"))
                else:
                    frame = target / f"{number:06d}{Path(ENDINGS[kind]).suffix}"
                    frame.parent.mkdir(parents=True, exist_ok=True)
                    self._write(frame, kind, image, ids, probabilities)
            number += 1

        is_complete = False
        try:
            (self._config.output / name).parent.mkdir(parents=True, exist_ok=True)
            yield add
            is_complete = True
        finally:
            for writer in writers.values():
                writer.close(is_complete)


def _write_probabilities(path: Path, probabilities, classes) -> None:
    import io

    import numpy as np

    content = io.BytesIO()
    # Half the size, and still four decimals of what matters.
    np.savez(content, probabilities=probabilities.astype(np.float16), classes=np.array(classes))
    files.write_bytes(path, content.getvalue())
