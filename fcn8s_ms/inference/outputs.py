"""Writes the results of a prediction: masks, colours, overlays, probabilities, videos."""

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from .. import files, visualize
from ..errors import InputError
from ..formats import paths
from ..voc import IGNORE_LABEL
from . import geotiff, video
from .annotations import Annotations, labelme_file
from .certainty import ignored_below, in_grey, in_heat
from .engine import Engine, has_logits
from .inputs import Picture
from .predictor import Predictor
from .result_options import ENDINGS, IN_VIDEO, OF_LOGITS, ResultOptions

__all__ = ["Saver"]

UNCERTAIN = "uncertain"
"""Name of pixels below `min_certainty` in legends and lines."""

Result: TypeAlias = "np.ndarray | tuple[np.ndarray, np.ndarray]"
"""What a prediction gives for a picture, see `Saver`."""


class Saver:
    """Writes the results of pictures.

    A result is what `predictions` yields: uint8 (H, W), class ids; where certainty is needed a
    pair, with float32 (H, W); where `needs_probabilities`, float32 (C, H, W).

    Args:
        options: what to write, and where.
        classes: class names.
        palette: uint8 (256, 3), RGB.

    Attributes:
        folder: where the results go.
        needs_probabilities: whether results have to be probabilities.
    """

    def __init__(self, options: ResultOptions, classes: Sequence[str], palette: np.ndarray):
        self._options = options
        self.folder = options.output.absolute()
        self._classes = classes
        self._palette = palette
        self._background = visualize.background_id(classes)
        # As pictures and lines show them; the label of ignored pixels follows the classes.
        self._shown_classes = (*classes, UNCERTAIN)
        self._shown_palette = palette.copy()
        self._shown_palette[len(classes)] = palette[IGNORE_LABEL]
        self.needs_probabilities = "probability" in options.save
        self.needs_certainty = options.min_certainty > 0 or bool(
            {"certainty", "heatmap"} & {*options.save}
        )
        self._state: tuple[int, ...] | None = None
        self._annotations: Annotations | None = None

    @contextlib.contextmanager
    def folder_made(self, pictures: Sequence[Picture]) -> Iterator[None]:
        """Creates the folder for a `with` block, in which a result is an error if it has gone.

        At the end the files of all pictures together are written, and a folder that was made and
        stayed empty is removed again.

        Args:
            pictures: all pictures of the run.

        Raises:
            InputError: it cannot be created, or a file of all pictures not written.
        """
        with paths.kept_if_used(self.folder, "--output"), contextlib.ExitStack() as stack:
            self._state = files.state_of(self.folder)
            if "polygons" in self._options.save:
                self._annotations = Annotations(
                    self.folder, pictures, self._classes, self._palette, self._options.tolerance
                )
                stack.enter_context(self._annotations.collected())
            yield

    def _make_parent(self, path: Path) -> None:
        if self._state is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            return
        try:
            if files.state_of(self.folder) != self._state:
                raise FileNotFoundError
            # Step by step, so that the folder itself is not made again should it go right now.
            for part in reversed(path.absolute().relative_to(self.folder).parents[:-1]):
                (self.folder / part).mkdir(exist_ok=True)
        except FileNotFoundError:
            raise InputError(
                f"--output {self.folder} was deleted, renamed or replaced during the prediction, "
                "which stops: its results so far are not there; predict again"
            ) from None

    def check_engine(self, engine: Engine) -> None:
        """Checks that an engine computes what the results need.

        Raises:
            InputError: they need logits, and it computes class ids only.
        """
        needed = self.needs_probabilities or self.needs_certainty or self._options.geotiff
        if has_logits(engine) or not needed:
            return
        kinds = [kind for kind in self._options.save if kind in OF_LOGITS]
        wish = f"--save {','.join(kinds)}" if kinds else "--min-certainty"
        if self._options.geotiff:
            wish = "--geotiff"
        raise InputError(
            f"{wish} needs logits, and this network was exported with --argmax: it computes class "
            "ids only; export it without"
        )

    def predictions(
        self, predictor: Predictor, images: Iterable[tuple[Any, np.ndarray]], **options: Any
    ) -> Iterator[tuple[Any, Any]]:
        """Results with their keys, of the kind that is needed.

        Args:
            predictor: computes them.
            images: as for `Predictor.many`, as are the options.
            options: `batch_size`, `on_error` and `pool`.
        """
        if self.needs_certainty and not self.needs_probabilities:
            return predictor.many_with_certainty(images, **options)
        return predictor.many(images, probabilities=self.needs_probabilities, **options)

    @property
    def summary(self) -> str:
        """Line to print at the end about files of all pictures together; empty without any."""
        return "" if self._annotations is None else self._annotations.summary

    def paths(self, picture: Picture) -> list[Path]:
        """Files that are written for a picture; for a video also folders."""
        path = self._video_path if picture.is_video else self._path
        return [path(picture.name, kind) for kind in self._options.save]

    def _path(self, name: str, kind: str) -> Path:
        ending = ENDINGS[kind]
        if kind == "polygons":
            return labelme_file(self._options.output, name)
        if self._options.plain_names:
            ending = Path(ending).suffix
        if self._options.geotiff:
            ending = ending.replace(".png", ".tif")
        return self._options.output / f"{name}{ending}"

    def _video_path(self, name: str, kind: str) -> Path:
        ending = "" if self._options.plain_names else f"_{kind}"
        suffix = ".mp4" if kind in IN_VIDEO else ""
        return self._options.output / f"{name}{ending}{suffix}"

    def check_inputs_stay(self, pictures: Iterable[Picture]) -> None:
        """Checks that no result takes the place of a picture.

        Raises:
            InputError: one would; names both. Or a file is none for `--geotiff`, or a video has no
                file that polygons can name.
        """
        pictures = list(pictures)
        if self._options.geotiff:
            geotiff.check_installed()
            others = [one for one in pictures if one.path.suffix.lower() not in geotiff.SUFFIXES]
            if others:
                raise InputError(
                    f"--geotiff is for TIFF files, and {others[0].path} is none; predict it without"
                )
        videos = [picture for picture in pictures if picture.is_video]
        if "polygons" in self._options.save and videos:
            raise InputError(
                "--save polygons is for images: labelme's and COCO's files name an image file, and "
                f"{videos[0].path} has none for its frames; save them as images and predict those"
            )
        inputs = {os.path.realpath(picture.path): picture.path for picture in pictures}
        for picture in pictures:
            for path in self.paths(picture):
                overwritten = inputs.get(os.path.realpath(path))
                if overwritten is not None:
                    raise InputError(
                        f"the result of {picture.path} would overwrite {overwritten}, one of the "
                        "pictures to predict; choose another --output"
                    )

    def save(self, name: str, image: np.ndarray, result: Result) -> str:
        """Writes the files of an image.

        Args:
            name: name of the picture.
            image: uint8 (H, W, 3), BGR.
            result: see the class.

        Returns:
            A line to print: the first file, and the classes present.

        Raises:
            OSError: a file cannot be written.
            InputError: the folder has gone.
        """
        ids, certainty, probabilities = self._split(result)
        paths = [self._path(name, kind) for kind in self._options.save]
        for path, kind in zip(paths, self._options.save):
            self._make_parent(path)
            if kind == "polygons":
                assert self._annotations is not None, "polygons are written inside folder_made()"
                self._annotations.write(name, ids)
            else:
                self._write(path, kind, image, ids, certainty, probabilities)
        # A histogram of OpenCV's: neither a copy eight times as large nor Python's lock.
        counts = cv2.calcHist([ids], [0], None, [256], [0, 256])
        return f"{paths[0]}: {self._present(counts)}"

    def segment_in_parts(self, predictor: Predictor, picture: Picture, batch_size: int) -> str:
        """Segments a TIFF file part by part, and writes its files; returns a line to print.

        Args:
            predictor: computes the windows.
            picture: the file.
            batch_size: largest number of windows at once.

        Raises:
            OSError: a file cannot be written.
            InputError: the file cannot be read in parts, or the folder has gone.
        """

        def draw(
            kind: str, image: np.ndarray, ids: np.ndarray, certainty: np.ndarray
        ) -> np.ndarray:
            if self._options.min_certainty:
                ids = ignored_below(ids, certainty, self._options.min_certainty)
            if kind == "mask":
                return ids
            if kind == "certainty":
                return in_grey(certainty)
            return self._drawn(kind, image, ids, certainty, legend=False)

        targets = {self._path(picture.name, kind): kind for kind in self._options.save}
        for path in targets:
            self._make_parent(path)
        results = {path: partial(draw, kind) for path, kind in targets.items()}
        counts = geotiff.segment(predictor, picture.path, results, batch_size)
        return f"{next(iter(targets))}: {self._present(counts)}"

    def _present(self, counts: np.ndarray) -> str:
        """Names of the labels that have pixels."""
        labels = [min(label, len(self._classes)) for label in np.flatnonzero(counts)]
        return ", ".join(self._shown_classes[label] for label in labels)

    @contextlib.contextmanager
    def video(self, name: str, fps: float) -> Iterator[Callable[[np.ndarray, Result], None]]:
        """Writes the files of a video; they get their names at the end of the `with` block.

        Args:
            name: name of the picture.
            fps: frames per second.

        Yields:
            Function to call with the image and the result of every frame, in order.

        Raises:
            OSError: a file cannot be written.
            InputError: OpenCV cannot write videos here, or the folder has gone.
        """
        targets = {kind: self._video_path(name, kind) for kind in self._options.save}
        writers = {kind: video.Writer(targets[kind], fps) for kind in targets if kind in IN_VIDEO}
        number = 0

        def add(image: np.ndarray, result: Result) -> None:
            nonlocal number
            if not number:
                self._make_parent(self._options.output / name)
            ids, certainty, probabilities = self._split(result)
            for kind, target in targets.items():
                if kind in writers:
                    # In one place: a legend that jumps from frame to frame cannot be read.
                    writers[kind].write(self._drawn(kind, image, ids, certainty, "top left"))
                else:
                    frame = target / f"{number:06d}{Path(ENDINGS[kind]).suffix}"
                    self._make_parent(frame)
                    self._write(frame, kind, image, ids, certainty, probabilities)
            number += 1

        is_complete = False
        try:
            yield add
            is_complete = True
        finally:
            for writer in writers.values():
                writer.close(is_complete)

    def _split(self, result: Result) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Class ids, and certainty and probabilities if they are needed."""
        certainty = probabilities = None
        if self.needs_probabilities:
            assert isinstance(result, np.ndarray)
            probabilities = result
            ids = result.argmax(axis=0).astype(np.uint8)
            if self.needs_certainty:
                certainty = result.max(axis=0)
        elif isinstance(result, tuple):
            ids, certainty = result
        else:
            ids = result
        if certainty is not None and self._options.min_certainty:
            ids = ignored_below(ids, certainty, self._options.min_certainty)
        return ids, certainty, probabilities

    def _write(
        self,
        path: Path,
        kind: str,
        image: np.ndarray,
        ids: np.ndarray,
        certainty: np.ndarray | None,
        probabilities: np.ndarray | None,
    ) -> None:
        if kind == "mask":
            visualize.write_mask(path, ids, self._palette)
        elif certainty is not None and kind == "certainty":
            files.write_bytes(path, cv2.imencode(".png", in_grey(certainty))[1].tobytes())
        elif probabilities is not None and kind == "probability":
            _write_probabilities(path, probabilities, self._classes)
        else:
            visualize.write_picture(path, self._drawn(kind, image, ids, certainty))

    def _drawn(
        self,
        kind: str,
        image: np.ndarray,
        ids: np.ndarray,
        certainty: np.ndarray | None,
        corner: str | None = None,
        legend: bool = True,
    ) -> np.ndarray:
        legend = legend and self._options.legend
        if certainty is not None and kind == "heatmap":
            return in_heat(certainty, legend, corner)
        if kind == "color":
            return self._palette[ids]
        palette = self._shown_palette
        if self._options.min_certainty:
            ids = np.minimum(ids, np.uint8(len(self._classes)))
        picture = visualize.overlay(image, ids, palette, self._options.opacity, self._background)
        if not legend:
            return picture
        return visualize.draw_legend(picture, ids, self._shown_classes, palette, corner)


def _write_probabilities(path: Path, probabilities: np.ndarray, classes: Sequence[str]) -> None:
    content = io.BytesIO()
    # Half the size, and still four decimals of what matters.
    np.savez(content, probabilities=probabilities.astype(np.float16), classes=np.array(classes))
    files.write_bytes(path, content.getvalue())
