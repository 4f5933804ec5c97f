"""From image and video files to results: read ahead, predicted in batches, written behind."""

from concurrent.futures import ThreadPoolExecutor

from .. import files, threads
from ..errors import InputError
from ..threads import map_ahead
from . import video
from .images import read_image
from .stopwatch import Stopwatch, TimedEngine

__all__ = ["Pipeline"]


class Pipeline:
    """One prediction of many pictures.

    Attributes:
        faults: what was wrong with pictures that could not be segmented.
        stopwatch: `Stopwatch`.
    """

    def __init__(self, config, segmenter, saver, bar):
        self._config = config
        self._saver = saver
        self._bar = bar
        self._predictor = segmenter.predictor
        self._predictor.engine = TimedEngine(segmenter.predictor.engine)
        self.stopwatch = Stopwatch(self._predictor.engine)
        self.faults = []

    def _fault(self, text: str, images: int = 1) -> None:
        self.faults.append(text)
        self._bar.update(images)

    def _engine_fault(self, what, error: Exception, images: int = 1) -> None:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        self._fault(f"{what} could not be segmented ({reason}); try --resize or --sliding", images)

    def _many(self, images, on_error):
        return self._predictor.many(
            images,
            self._config.batch_size,
            probabilities=self._saver.needs_probabilities,
            on_error=on_error,
        )

    def images(self, found) -> None:
        """Predicts image files: read ahead and written behind in threads of their own."""
        ahead = 2 * self._config.batch_size + 2

        def read(picture):
            try:
                return picture, read_image(picture.path)
            except (InputError, MemoryError) as error:
                return picture, error

        def usable(items):
            for picture, image in items:
                if isinstance(image, Exception):
                    self._fault(str(image) or f"{picture.path} is too large for the memory")
                else:
                    yield (picture, image), image

        def failed(keys, error):
            for picture, _ in keys:
                self._engine_fault(picture.path, error)

        def timed(results):
            for result in results:
                self.stopwatch.lap(1)
                yield result

        def save(item):
            (picture, image), result = item
            try:
                return self._saver.save(picture.name, image, result), None
            except OSError as error:
                if error.errno in files.DISK_ERRORS:
                    raise InputError(
                        f"{self._config.output.absolute()} takes no more files: {error.strerror}; "
                        "free some space, and predict the rest"
                    ) from error
                return None, f"the result of {picture.path} cannot be written: {error}"

        with ThreadPoolExecutor(max(threads.available_cpus(), 2)) as pool:
            readable = usable(map_ahead(pool, read, found, ahead))
            predicted = timed(self._many(readable, failed))
            # The probabilities of a large picture are hundreds of megabytes.
            behind = 2 if self._saver.needs_probabilities else ahead
            for line, fault in map_ahead(pool, save, predicted, behind):
                if fault is not None:
                    self._fault(fault)
                    continue
                self._bar.update(1)
                self._bar.write(line)

    def video(self, picture) -> None:
        """Predicts a video file."""
        reader, failures = None, []

        def failed(keys, error):
            failures.append(error)

        done = 0
        try:
            reader = video.Reader(picture.path)
            with self._saver.video(picture.name, reader.fps) as add:
                for image, result in self._many(((frame, frame) for frame in reader), failed):
                    self.stopwatch.lap(1)
                    add(image, result)
                    done += 1
                    self._bar.update(1)
                if failures:
                    raise failures[0]
            self._bar.write(f"{self._saver.paths(picture)[0]}: {done} frames")
        except InputError as error:
            self._fault(str(error), 0)
        except (RuntimeError, MemoryError) as error:
            self._engine_fault(picture.path, error, 0)
        finally:
            if reader is not None:
                reader.close()
