"""Measures how long images take, in total and in the network."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .engine import Engine, has_logits, reduces_on_host, takes_pixels

__all__ = ["Stopwatch", "TimedEngine"]


class TimedEngine:
    """Runs another engine and adds up the time that it computes.

    Attributes:
        seconds: time spent in the engine so far.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.n_class = engine.n_class
        self.multiple = engine.multiple
        self.takes_pixels = takes_pixels(engine)
        self.has_logits = has_logits(engine)
        self.reduces_on_host = reduces_on_host(engine)
        self.name = engine.name
        self.seconds = 0.0

    def _timed(self, compute: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> np.ndarray:
        started = time.perf_counter()
        result = compute(batch)
        self.seconds += time.perf_counter() - started
        return result

    def class_ids(self, batch: np.ndarray) -> np.ndarray:
        """Class ids of a batch, as of the engine itself."""
        return self._timed(self._engine.class_ids, batch)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Logits of a batch, as of the engine itself."""
        return self._timed(self._engine.logits, batch)


class _Lap(NamedTuple):
    images: int
    seconds: float  # since the start
    engine_seconds: float


class Stopwatch:
    """Measures the time per image, without the first one, for which the network is compiled.

    It starts when it is made; as text it is a summary.

    Args:
        engine: the engine that computes the images.

    Attributes:
        images: number of images done.
    """

    def __init__(self, engine: TimedEngine):
        self._engine = engine
        self._started = time.perf_counter()
        self._first: _Lap | None = None  # at the first result
        self.images = 0

    def lap(self, images: int) -> None:
        """Counts images that are done."""
        self.images += images
        if self._first is None:
            seconds = time.perf_counter() - self._started
            self._first = _Lap(self.images, seconds, self._engine.seconds)

    def __str__(self) -> str:
        total = time.perf_counter() - self._started
        text = f"{self.images} image{'s' * (self.images != 1)} in {total:.1f} s"
        if self._first is None:
            return f"{text}."
        images = self.images - self._first.images
        if not images:
            return f"{text}, compiling the network included."
        seconds = total - self._first.seconds
        model = self._engine.seconds - self._first.engine_seconds
        return (
            f"{text}. After the first, which took {self._first.seconds:.1f} s as the network was "
            f"compiled: {images / seconds:.2f} images/s, {1000 * seconds / images:.0f} ms per "
            f"image, {1000 * model / images:.0f} ms of it the network ({self._engine.name})."
        )
