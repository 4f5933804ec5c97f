"""One predictor for images of any size, used by evaluation, prediction and validation."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import cv2
import numpy as np

from .. import transforms, voc
from ..errors import InputError
from ..system.threads import map_ahead
from . import from_logits, windows
from .cross_entropy import cross_entropy
from .engine import Engine, LossEngine, reduces_on_host, takes_pixels
from .from_logits import Size
from .view import ViewOptions

__all__ = ["Predictor"]

# Images that wait for others of their size at the same time, in batches.
_WAITING_BATCHES = 8

# Errors of one batch: MindSpore's and ONNX Runtime's, and memory that runs out.
_FAILURES = (RuntimeError, MemoryError, cv2.error)

# Numbers in the logits of a batch that may be kept while the network computes the next: 256 MB.
_LARGEST_KEPT = 1 << 26

_Rest: TypeAlias = Callable[[], Any]
"""What is left to compute for an image after the network: NumPy and OpenCV, in any thread."""


@dataclass(frozen=True)
class _Job:
    """An image on its way: the network's input at scale 1, and the size of the result."""

    key: Any
    image: np.ndarray
    size: Size


class Predictor:
    """Computes class ids and probabilities of images with an engine.

    An image is padded at the bottom and right, by the mean colour, to the next multiple that the
    engine takes: 32 for most networks, 1 (no padding) for those that take any size. The network's
    output for the padding is dropped. With `resize`, `scales` or `flip` the logits of every view
    are scaled to the image's own size, and the softmax of all views is averaged there.

    Args:
        engine: computes the network.
        mean: mean of the channels, BGR, 0…255.
        std: standard deviation of the channels, BGR.
        view: fields of `ViewOptions`: `resize`, `scales`, `flip`, `sliding`.

    Attributes:
        engine: as given.
        view: the options as a `ViewOptions`.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        engine: Engine,
        mean: Sequence[float] = voc.IMAGE_MEAN,
        std: Sequence[float] = voc.IMAGE_STD,
        **view: Any,
    ):
        self.engine = engine
        self.view = ViewOptions(**view)
        if self.view.sliding is not None and self.view.sliding[0] % engine.multiple:
            raise InputError(
                f"sliding window of {self.view.sliding[0]} pixels; this network takes multiples of "
                f"{engine.multiple}"
            )
        self._mean, self._std = mean, std
        self._table = transforms.normalization_table(mean, std)
        self._takes_pixels = takes_pixels(engine)
        self._reduces_here = reduces_on_host(engine)

    def with_engine(self, engine: Engine, **view: Any) -> "Predictor":
        """Returns a predictor that runs another engine and sees images alike, but for `view`."""
        return Predictor(engine, self._mean, self._std, **{**vars(self.view), **view})

    @property
    def n_class(self) -> int:
        """Number of classes."""
        return self.engine.n_class

    @property
    def protocol(self) -> str:
        """Description of how images are seen, to state with every score."""
        return self.view.protocol(self.engine.multiple)

    # --- one image, or many --------------------------------------------------------------------

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class ids of one image at its own size.

        Args:
            image: uint8 (H, W, 3), BGR.

        Returns:
            uint8 array (H, W).
        """
        return self._class_ids([self._job(None, image)], 1)[0]()

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Probabilities of all classes for every pixel of one image: the mean softmax of the views.

        Args:
            image: uint8 (H, W, 3), BGR.

        Returns:
            float32 array (n_class, H, W).
        """
        return self._probabilities([self._job(None, image)], 1)[0]()

    def many(
        self,
        images: Iterable[tuple[Any, np.ndarray]],
        batch_size: int = 1,
        probabilities: bool = False,
        on_error: Callable[[list[Any], Exception], None] | None = None,
        pool: Executor | None = None,
    ) -> Iterator[tuple[Any, np.ndarray]]:
        """Computes class ids or probabilities of many images, in batches where sizes allow.

        Only images that are padded to the same size go through the network together, so none gets
        more padding than it would alone.

        Args:
            images: pairs of key and image; the key identifies the result.
            batch_size: largest number of images at once; with `sliding`, of windows.
            probabilities: compute probabilities instead of class ids.
            on_error: called with (keys, exception) if memory runs out or the engine fails on a
                batch; the other batches follow. Without it the exception is raised.
            pool: computes what follows the network while the network computes the next batch; the
                network itself runs in the caller's thread. None computes one after the other.

        Yields:
            (key, result) in the order in which batches are complete: that of the images for a batch
            size of 1. The result is that of `__call__`, or of `probabilities`.
        """
        compute = self._probabilities if probabilities else self._class_ids
        return self._in_batches(images, batch_size, compute, on_error, pool)

    def many_with_losses(
        self,
        samples: Iterable[tuple[Any, np.ndarray, np.ndarray]],
        batch_size: int = 1,
        on_error: Callable[[list[Any], Exception], None] | None = None,
        pool: Executor | None = None,
    ) -> Iterator[tuple[Any, tuple[np.ndarray, np.ndarray]]]:
        """Computes class ids and cross-entropy of many images, as `many`.

        For images at their own size, in one view, the engine must be a `LossEngine`.

        Args:
            samples: triples of key, image, and label, uint8 (H, W).
            batch_size: as in `many`, as are the other arguments.

        Yields:
            (key, (ids, losses)): uint8 (H, W), and float32 (H, W), 0 for ignored pixels.
        """

        def compute(jobs: list[_Job], batch_size: int) -> list[_Rest]:
            labels = [job.key[1] for job in jobs]
            if self.view.is_plain:
                return _finished(self._ids_and_losses([job.image for job in jobs], labels))
            return _finished(
                (
                    logits.argmax(axis=0).astype(np.uint8),
                    cross_entropy(logits[None], label[None])[0],
                )
                for logits, label in zip(self._own_logits(jobs, batch_size), labels)
            )

        def on_labelled(keys: list[Any], error: Exception) -> None:
            if on_error is None:
                raise error
            on_error([key for key, _ in keys], error)

        images = (((key, label), image) for key, image, label in samples)
        for (key, _), found in self._in_batches(images, batch_size, compute, on_labelled, pool):
            yield key, found

    def many_with_certainty(
        self,
        images: Iterable[tuple[Any, np.ndarray]],
        batch_size: int = 1,
        on_error: Callable[[list[Any], Exception], None] | None = None,
        pool: Executor | None = None,
    ) -> Iterator[tuple[Any, tuple[np.ndarray, np.ndarray]]]:
        """Computes class ids and how certain they are, of many images.

        Args:
            images: as for `many`, as are the other arguments.
            batch_size: largest number of images at once.

        Yields:
            (key, (class ids, certainty)): uint8 (H, W); and float32 (H, W), the probability of that
            class.
        """
        yield from self._in_batches(images, batch_size, self._with_certainty, on_error, pool)

    def _in_batches(
        self,
        images: Iterable[tuple[Any, np.ndarray]],
        batch_size: int,
        compute: Callable[[list[_Job], int], list[_Rest]],
        on_error: Callable[[list[Any], Exception], None] | None,
        pool: Executor | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Computes images in batches where sizes allow, see `many`."""

        def finish(item: tuple[Any, _Rest]) -> tuple[Any, Any, Exception | None]:
            key, rest = item
            try:
                return key, rest(), None
            except _FAILURES as error:
                return key, None, error

        networks = self._network_in_batches(images, batch_size, compute, on_error)
        # Two: one is finished while the network computes the next.
        done = map(finish, networks) if pool is None else map_ahead(pool, finish, networks, 2)
        for key, result, error in done:
            if error is None:
                yield key, result
            elif on_error is None:
                raise error
            else:
                on_error([key], error)

    def _network_in_batches(
        self,
        images: Iterable[tuple[Any, np.ndarray]],
        batch_size: int,
        compute: Callable[[list[_Job], int], list[_Rest]],
        on_error: Callable[[list[Any], Exception], None] | None,
    ) -> Iterator[tuple[Any, _Rest]]:
        """Runs the network, see `many`; yields keys, and what is left to compute."""
        groups: OrderedDict[tuple[Size, ...], list[_Job]] = OrderedDict()

        def done(size: tuple[Size, ...]) -> Iterable[tuple[Any, _Rest]]:
            jobs = groups.pop(size)
            keys = [job.key for job in jobs]
            try:
                return zip(keys, compute(jobs, batch_size))
            except _FAILURES as error:
                if on_error is None:
                    raise
                on_error(keys, error)
                return ()

        for key, image in images:
            job = self._job(key, image)
            size = self._padded_sizes(job)
            groups.setdefault(size, []).append(job)
            if len(groups[size]) >= batch_size:
                yield from done(size)
            elif sum(len(jobs) for jobs in groups.values()) > _WAITING_BATCHES * batch_size:
                yield from done(next(iter(groups)))  # the one that has waited longest
        while groups:
            yield from done(next(iter(groups)))

    def _job(self, key: Any, image: np.ndarray) -> _Job:
        size = _size(image)
        if self.view.resize is not None:
            image = _resized(image, self.view.size(*size), squeezed=self.view.is_squeezed)
        return _Job(key, image, size)

    def _padded_sizes(self, job: _Job) -> tuple[Size, ...]:
        sizes = (transforms.scaled_size(_size(job.image), scale) for scale in self.view.scales)
        return tuple(self._padded(size) for size in sizes)

    # --- views ---------------------------------------------------------------------------------

    def _class_ids(self, jobs: list[_Job], batch_size: int) -> list[_Rest]:
        if self.view.is_plain and not self._reduces_here:
            ids = self.engine.class_ids(self._batch([job.image for job in jobs]))
            return _finished(
                _cropped(one, job.size).astype(np.uint8) for one, job in zip(ids, jobs)
            )
        if len(self.view.views) > 1:
            mean = self._mean_softmax(jobs, batch_size)
            return _finished(one.argmax(axis=0).astype(np.uint8) for one in mean)
        return self._rests(from_logits.class_ids, jobs, batch_size)

    def _rests(
        self, reduce: Callable[[np.ndarray, Size], Any], jobs: list[_Job], batch_size: int
    ) -> list[_Rest]:
        """Runs the network in its only view; `reduce`, of logits and the image's size, is left."""
        logits = self._view_logits(jobs, *self.view.views[0], batch_size)
        rests: list[_Rest] = [partial(reduce, one, job.size) for one, job in zip(logits, jobs)]
        if sum(one.size for one in logits) > _LARGEST_KEPT:
            return _finished(rest() for rest in rests)
        return rests

    def _own_logits(self, jobs: list[_Job], batch_size: int) -> Iterator[np.ndarray]:
        """Logits (n_class, H, W) at the image's own size, or the logarithm of the mean softmax."""
        if len(self.view.views) > 1:
            for mean in self._mean_softmax(jobs, batch_size):
                yield np.log(np.maximum(mean, np.finfo(np.float32).tiny))
            return
        for logits, job in zip(self._view_logits(jobs, *self.view.views[0], batch_size), jobs):
            yield from_logits.resized(logits, job.size)

    def _ids_and_losses(
        self, images: list[np.ndarray], labels: list[np.ndarray]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        engine = cast("LossEngine", self.engine)
        batch = self._batch(images)
        padded = np.full((len(batch), *batch.shape[2:]), voc.IGNORE_LABEL, np.int32)
        for place, label in zip(padded, labels):
            _cropped(place, _size(label))[:] = label
        found = zip(labels, *engine.class_ids_and_losses(batch, padded))
        return [
            (_cropped(ids, _size(label)).astype(np.uint8), _cropped(losses, _size(label)))
            for label, ids, losses in found
        ]

    def _with_certainty(self, jobs: list[_Job], batch_size: int) -> list[_Rest]:
        if len(self.view.views) > 1:
            mean = self._mean_softmax(jobs, batch_size)
            return _finished((one.argmax(axis=0).astype(np.uint8), one.max(axis=0)) for one in mean)
        return self._rests(from_logits.class_ids_and_certainty, jobs, batch_size)

    def _probabilities(self, jobs: list[_Job], batch_size: int) -> list[_Rest]:
        if len(self.view.views) > 1:
            return _finished(self._mean_softmax(jobs, batch_size))
        return self._rests(from_logits.probabilities, jobs, batch_size)

    def _mean_softmax(self, jobs: list[_Job], batch_size: int) -> list[np.ndarray]:
        total = [np.zeros((self.n_class, *job.size), np.float32) for job in jobs]
        for scale, mirror in self.view.views:
            logits = self._view_logits(jobs, scale, mirror, batch_size)
            for one, job, sum_ in zip(logits, jobs, total):
                sum_ += from_logits.probabilities(one, job.size)
        return [sum_ / np.float32(len(self.view.views)) for sum_ in total]

    def _view_logits(
        self, jobs: list[_Job], scale: float, mirror: bool, batch_size: int
    ) -> list[np.ndarray]:
        """Logits (n_class, h, w) of one view of every image, at the view's size, mirrored back."""
        most = transforms.LONGEST_SIDE
        for job in jobs:
            longest = round(max(_size(job.image)) * scale)
            if scale > 1 and longest > most:
                raise MemoryError(
                    f"{longest:,} pixels on a side at scale {scale:g}; up to {most:,}"
                )
        images = [
            _resized(job.image, transforms.scaled_size(_size(job.image), scale)) for job in jobs
        ]
        if mirror:
            images = [cv2.flip(image, 1) for image in images]
        if self.view.sliding is None:
            logits = self.logits_of(images)
        else:
            sliding = self.view.sliding
            logits = [
                windows.mean_logits(image, self.n_class, sliding, batch_size, self.logits_of)
                for image in images
            ]
        return [one[..., ::-1] for one in logits] if mirror else logits

    def logits_of(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Logits of images of one size: each float32 (n_class, H, W), of uint8 (H, W, 3), BGR."""
        batch = self.engine.logits(self._batch(images))
        return [_cropped(one, _size(image)) for one, image in zip(batch, images)]

    def _batch(self, images: list[np.ndarray]) -> np.ndarray:
        """Normalised images, padded to their common size: float32 (N, 3, H, W).

        Of an engine that takes pixels the images, which have one size: uint8 (N, H, W, 3).
        """
        if self._takes_pixels:
            return np.stack(images)
        height, width = self._padded(_size(images[0]))
        batch = np.zeros((len(images), len(self._table), height, width), np.float32)
        for place, image in zip(batch, images):
            place[:, : image.shape[0], : image.shape[1]] = transforms.normalize(image, self._table)
        return batch

    def _padded(self, size: Size) -> Size:
        multiple = 1 if self._takes_pixels else self.engine.multiple
        return transforms.next_multiple(size[0], multiple), transforms.next_multiple(
            size[1], multiple
        )


def _finished(results: Iterable[Any]) -> list[_Rest]:
    """Results of which nothing is left to compute."""
    return [partial(_same, result) for result in results]


def _same(result: Any) -> Any:
    return result


def _size(image: np.ndarray) -> Size:
    return image.shape[0], image.shape[1]


def _cropped(array: np.ndarray, size: Size) -> np.ndarray:
    return array[..., : size[0], : size[1]]


def _resized(image: np.ndarray, size: Size, squeezed: bool = False) -> np.ndarray:
    """Resizes an image as in training: cubic, by areas where it shrinks; squeezed, bilinear."""
    if _size(image) == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    if squeezed:
        interpolation = cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=interpolation)
