"""How long images take, with and without the network."""

import time

__all__ = ["Stopwatch", "TimedEngine"]


class TimedEngine:
    """An engine that remembers how long it computed."""

    def __init__(self, engine):
        self._engine = engine
        self.n_class = engine.n_class
        self.name = engine.name
        self.seconds = 0.0

    def _timed(self, compute, batch):
        started = time.perf_counter()
        result = compute(batch)
        self.seconds += time.perf_counter() - started
        return result

    def class_ids(self, batch):
        return self._timed(self._engine.class_ids, batch)

    def logits(self, batch):
        return self._timed(self._engine.logits, batch)


class Stopwatch:
    """Time an image takes, without the first, for which the network is compiled.

    Args:
        engine: `TimedEngine`.
    """

    def __init__(self, engine):
        self._engine = engine
        self._started = time.perf_counter()
        self._first = (
            None  # number of images, seconds in all and in the engine, at the first result
        )
        self.images = 0

    def lap(self, images: int) -> None:
        """Notes that more images are done."""
        self.images += images
        if self._first is None:
            seconds = time.perf_counter() - self._started
            self._first = self.images, seconds, self._engine.seconds

    def __str__(self):
        total = time.perf_counter() - self._started
        text = f"{self.images} image{'s' * (self.images != 1)} in {total:.1f} s"
        if self._first is None:
            return f"{text}."
        first_images, first_seconds, first_engine = self._first
        images = self.images - first_images
        if not images:
            return f"{text}, compiling the network included."
        seconds, model = total - first_seconds, self._engine.seconds - first_engine
        return (
            f"{text}. After the first, which took {first_seconds:.1f} s as the network was "
            f"compiled: {images / seconds:.2f} images/s, {1000 * seconds / images:.0f} ms an "
            f"image, {1000 * model / images:.0f} ms of it the network ({self._engine.name})."
        )
