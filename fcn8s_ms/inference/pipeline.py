"""From image and video files to results: read ahead, predicted in batches, written behind.

The network runs in the caller's thread, and only it: reading and decoding, what follows the
network, drawing, encoding and writing are left to others, a few pictures before and behind it.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from .. import files
from ..errors import Faults, InputError, reason_of
from ..images.reader import MAX_PIXELS
from ..system import threads
from . import geotiff, video
from .images import read_image
from .inputs import Picture
from .outputs import Saver
from .predictor import Predictor
from .stopwatch import Stopwatch, TimedEngine

__all__ = ["Pipeline", "ProgressBar"]


class ProgressBar(Protocol):
    """Shows how far a prediction is; a tqdm bar fits."""

    def update(self, n: int) -> Any:
        """Counts images that are done."""

    def write(self, s: str) -> Any:
        """Prints a line above the bar."""

    def close(self) -> Any:
        """Ends the bar."""


class Pipeline:
    """Predicts files and writes the results; a file that cannot be used does not stop the others.

    Args:
        predictor: computes the images.
        saver: writes the results.
        batch_size: largest number of images that go through the network at once.
        bar: shows the progress.
        max_pixels: largest number of pixels of an image; 0 for any.

    Attributes:
        faults: the files that could not be predicted, with the reasons.
        stopwatch: times the images; started when the pipeline is made.
    """

    def __init__(
        self,
        predictor: Predictor,
        saver: Saver,
        batch_size: int,
        bar: ProgressBar,
        max_pixels: int = MAX_PIXELS,
    ):
        engine = TimedEngine(predictor.engine)
        self._predictor = predictor.with_engine(engine)
        self._saver = saver
        self._batch_size = batch_size
        self._bar = bar
        self._max_pixels = max_pixels
        self.stopwatch = Stopwatch(engine)
        self.faults = Faults()

    def images(self, pictures: Iterable[Picture]) -> None:
        """Predicts image files.

        Raises:
            InputError: the disk takes no more files.
        """
        ahead = 2 * self._batch_size + 2
        # The probabilities of a large picture are hundreds of megabytes.
        behind = 2 if self._saver.needs_probabilities else ahead

        def on_error(keys: list[tuple[Picture, np.ndarray]], error: Exception) -> None:
            for picture, _ in keys:
                self._engine_fault(picture, error)

        def save(
            item: tuple[tuple[Picture, np.ndarray], np.ndarray],
        ) -> tuple[Picture, str, bool]:
            (picture, image), result = item
            try:
                return picture, self._saver.save(picture.name, image, result), True
            except OSError as error:
                return picture, self._write_fault(picture, error), False

        with ThreadPoolExecutor(max(threads.available_cpus(), 2)) as pool:
            read = threads.map_ahead(pool, self._read, pictures, ahead)
            predicted = self._predicted(self._usable(read), on_error, pool)
            for picture, line, is_saved in threads.map_ahead(pool, save, predicted, behind):
                if is_saved:
                    self._bar.update(1)
                    self._bar.write(line)
                else:
                    self._fault(line, picture)

    def geotiff(self, picture: Picture) -> None:
        """Predicts a TIFF file part by part.

        Raises:
            InputError: the disk takes no more files.
        """
        try:
            line = self._saver.segment_in_parts(self._predictor, picture, self._batch_size)
        except InputError as error:
            self._fault(str(error), picture)
        except (RuntimeError, MemoryError) as error:
            self._engine_fault(picture, error)
        except OSError as error:
            self._fault(self._write_fault(picture, error), picture)
        else:
            self.stopwatch.lap(1)
            self._bar.update(1)
            self._bar.write(line)

    def video(self, picture: Picture) -> None:
        """Predicts a video file.

        Raises:
            InputError: the disk takes no more files.
        """
        try:
            frames = self._video_frames(picture)
            self._bar.write(f"{self._saver.paths(picture)[0]}: {frames} frames")
        except InputError as error:
            self._fault(str(error), picture, 0)
        except (RuntimeError, MemoryError) as error:
            self._engine_fault(picture, error, 0)
        except OSError as error:
            self._fault(self._write_fault(picture, error), picture, 0)

    def _video_frames(self, picture: Picture) -> int:
        """Predicts the frames of a video; returns how many there are."""
        failures: list[Exception] = []
        done = 0
        reader = video.Reader(picture.path)
        try:
            with (
                self._saver.video(picture.name, reader.fps) as add,
                # One thread each, as frames come and go in order; they end before the files do.
                ThreadPoolExecutor(1) as reading,
                ThreadPoolExecutor(1) as finishing,
                ThreadPoolExecutor(1) as writing,
            ):
                frames = threads.read_ahead(reading, reader, self._batch_size + 2)
                predicted = self._predicted(
                    ((frame, frame) for frame in frames),
                    lambda keys, error: failures.append(error),
                    finishing,
                )
                for _ in threads.map_ahead(writing, lambda one: add(*one), predicted, 2):
                    done += 1
                    self._bar.update(1)
                if failures:
                    raise failures[0]
        finally:
            reader.close()
        return done

    def _read(self, picture: Picture) -> tuple[Picture, np.ndarray | Exception]:
        try:
            return picture, read_image(picture.path, self._max_pixels)
        except (InputError, MemoryError) as error:
            if "--max-pixels" in str(error) and picture.path.suffix.lower() in geotiff.SUFFIXES:
                error = InputError(f"{error}, or read it in parts with --geotiff")
            return picture, error

    def _usable(
        self, read: Iterable[tuple[Picture, np.ndarray | Exception]]
    ) -> Iterator[tuple[tuple[Picture, np.ndarray], np.ndarray]]:
        """Images that could be read, each with its key."""
        for picture, image in read:
            if isinstance(image, np.ndarray):
                yield (picture, image), image
            else:
                self._fault(str(image) or f"{picture.path} is too large for the memory", picture)

    def _predicted(
        self,
        images: Iterable[tuple[Any, np.ndarray]],
        on_error: Callable[[list[Any], Exception], None],
        pool: Executor,
    ) -> Iterator[tuple[Any, np.ndarray]]:
        """Results with their keys, timed."""
        for result in self._saver.predictions(
            self._predictor,
            images,
            batch_size=self._batch_size,
            on_error=on_error,
            pool=pool,
        ):
            self.stopwatch.lap(1)
            yield result

    def _fault(self, text: str, picture: Picture, images: int = 1) -> None:
        self.faults.add(text, picture.path.absolute(), picture.path)
        self._bar.update(images)

    def _engine_fault(self, picture: Picture, error: Exception, images: int = 1) -> None:
        reason = reason_of(error)
        self._fault(
            f"{picture.path} could not be segmented ({reason}); try --resize or --sliding",
            picture,
            images,
        )

    def _write_fault(self, picture: Picture, error: OSError) -> str:
        """Describes a result that cannot be written.

        Raises:
            InputError: the disk takes no more files.
        """
        if error.errno in files.DISK_ERRORS:
            raise InputError(
                f"{self._saver.folder} takes no more files: {error.strerror}; free some space, and "
                "predict the rest"
            ) from error
        return f"the result of {picture.path} cannot be written: {error}"
