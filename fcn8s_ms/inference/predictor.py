"""One predictor for images of any size, used by evaluation, prediction and validation."""

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from .. import transforms, voc
from ..errors import InputError
from ..transforms import STRIDE

__all__ = ["Predictor"]

# Images that wait for others of their size at the same time, in batches.
_WAITING_BATCHES = 8


@dataclass(frozen=True)
class _Job:
    """An image on its way: what the network sees of it at scale 1, and the size to give back."""

    key: object
    image: np.ndarray
    size: tuple[int, int]


class Predictor:
    """Class ids and probabilities of images, from an engine that wants sides of multiples of 32.

    An image is padded at the bottom and right, by the mean colour, to the next multiple of 32; what
    the network says of the padding is dropped. With `resize`, `scales` or `flip` the logits of
    every view are brought to the image's own size, and the softmax of all views is averaged there.

    Args:
        engine: `fcn8s_ms.engine.MindSporeEngine`, or another object with `n_class`,
            `class_ids(batch)`, int32 (N, H, W), and `logits(batch)`, float32 (N, n_class, H, W), of
            a float32 batch (N, 3, H, W).
        mean: of the channels, BGR, 0…255.
        std: of the channels, BGR.
        resize: length of the image's longer side as the network sees it; None leaves every image at
            its own size.
        scales: factors on that size, a view for each.
        flip: a mirrored view of every scale, too.
        sliding: (crop, stride): windows of crop x crop pixels every stride pixels, the last ones
            moved inwards to the border; logits are averaged where windows overlap. None: whole.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        engine,
        mean=voc.IMAGE_MEAN,
        std=voc.IMAGE_STD,
        *,
        resize: int | None = None,
        scales=(1.0,),
        flip: bool = False,
        sliding: tuple[int, int] | None = None,
    ):
        if resize is not None and resize < 1:
            raise InputError(f"resize is {resize}; the longer side has at least one pixel")
        scales = tuple(float(scale) for scale in scales)
        if not scales or not all(0 < scale <= 8 for scale in scales):
            raise InputError(f"scales are {scales}; give one or more between 0 and 8")
        if sliding is not None:
            crop, stride = sliding
            if crop < 1 or crop % STRIDE:
                raise InputError(f"sliding window of {crop} pixels; take a multiple of {STRIDE}")
            if not 0 < stride <= crop:
                raise InputError(f"sliding stride of {stride} pixels; take 1…{crop}, the window")
        self.engine = engine
        self.resize = resize
        self.scales = scales
        self.flip = flip
        self.sliding = sliding
        self._table = transforms.normalization_table(mean, std)

    @property
    def n_class(self) -> int:
        """Number of classes."""
        return self.engine.n_class

    @property
    def protocol(self) -> str:
        """How an image is seen: belongs beside every score."""
        size = "at its own size"
        if self.resize is not None:
            size = f"resized to a longer side of {self.resize} pixels"
        if self.sliding is None:
            size = f"whole, {size} (padded to a multiple of 32, scored without the padding)"
        else:
            crop, stride = self.sliding
            size = f"in windows of {crop}x{crop} every {stride} pixels, {size} (overlaps averaged)"
        if self.resize is not None:
            size += ", scored at its own size"
        scales = "one scale"
        if self.scales != (1.0,):
            scales = f"scales {', '.join(f'{scale:g}' for scale in self.scales)}"
        mirrored = "with mirroring" if self.flip else "no mirroring"
        return f"every image once, {size}, {scales}, {mirrored}"

    @property
    def _views(self) -> list[tuple[float, bool]]:
        mirrored = (False, True) if self.flip else (False,)
        return [(scale, mirror) for scale in self.scales for mirror in mirrored]

    @property
    def _is_plain(self) -> bool:
        """Whether the network's own class ids are the result."""
        return self.resize is None and self.sliding is None and self._views == [(1.0, False)]

    # --- one image, or many --------------------------------------------------------------------

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class ids of one image at its own size.

        Args:
            image: uint8 (H, W, 3), BGR.

        Returns:
            uint8 array (H, W).
        """
        return self._class_ids([self._job(None, image)], 1)[0]

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Probability of every class in every pixel of one image: the mean softmax of the views.

        Args:
            image: uint8 (H, W, 3), BGR.

        Returns:
            float32 array (n_class, H, W).
        """
        return self._probabilities([self._job(None, image)], 1)[0]

    def many(self, images, batch_size: int = 1, probabilities: bool = False, on_error=None):
        """Class ids or probabilities of many images, several at once where their sizes allow.

        Only images that are padded to one size go through the network together, so none sees more
        padding than it would alone.

        Args:
            images: iterable of (key, image); the key says which image a result belongs to.
            batch_size: largest number of images at once; with `sliding`, of windows.
            probabilities: give these and not class ids.
            on_error: called with (keys, exception) if memory runs out or the engine fails on a
                batch; the others follow. Without it the exception is raised.

        Yields:
            (key, result) in the order in which batches are complete: that of the images for a batch
            size of 1. The result is that of `__call__`, or of `probabilities`.
        """
        compute = self._probabilities if probabilities else self._class_ids
        groups = OrderedDict()

        def done(size):
            jobs = groups.pop(size)
            keys = [job.key for job in jobs]
            try:
                return zip(keys, compute(jobs, batch_size))
            except (RuntimeError, MemoryError, cv2.error) as error:
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
            elif sum(map(len, groups.values())) > _WAITING_BATCHES * batch_size:
                yield from done(next(iter(groups)))  # the one that has waited longest
        while groups:
            yield from done(next(iter(groups)))

    def _job(self, key, image: np.ndarray) -> _Job:
        size = image.shape[:2]
        if self.resize is not None:
            image = _resized(image, _scaled(size, self.resize / max(size)))
        return _Job(key, image, size)

    def _padded_sizes(self, job: _Job) -> tuple:
        sizes = (_scaled(job.image.shape[:2], scale) for scale in self.scales)
        return tuple(_padded(size) for size in sizes)

    # --- views ---------------------------------------------------------------------------------

    def _class_ids(self, jobs: list[_Job], batch_size: int) -> list[np.ndarray]:
        if self._is_plain:
            ids = self.engine.class_ids(self._batch([job.image for job in jobs]))
            return [_cropped(one, job.size).astype(np.uint8) for one, job in zip(ids, jobs)]
        if len(self._views) > 1:
            mean = self._probabilities(jobs, batch_size)
            return [one.argmax(axis=0).astype(np.uint8) for one in mean]
        logits = self._view_logits(jobs, *self._views[0], batch_size)
        return [_best_class(one, job.size) for one, job in zip(logits, jobs)]

    def _probabilities(self, jobs: list[_Job], batch_size: int) -> list[np.ndarray]:
        total = [np.zeros((self.n_class, *job.size), np.float32) for job in jobs]
        for scale, mirror in self._views:
            logits = self._view_logits(jobs, scale, mirror, batch_size)
            for one, job, sum_ in zip(logits, jobs, total):
                sum_ += _softmax(_planes_resized(one, job.size))
        return [sum_ / np.float32(len(self._views)) for sum_ in total]

    def _view_logits(self, jobs, scale: float, mirror: bool, batch_size: int) -> list[np.ndarray]:
        """Logits (n_class, h, w) of one view of every image, at the view's size, not mirrored."""
        images = [_resized(job.image, _scaled(job.image.shape[:2], scale)) for job in jobs]
        if mirror:
            images = [cv2.flip(image, 1) for image in images]
        if self.sliding is None:
            batch = self.engine.logits(self._batch(images))
            logits = [_cropped(one, image.shape[:2]) for one, image in zip(batch, images)]
        else:
            logits = [self._sliding_logits(image, batch_size) for image in images]
        return [one[..., ::-1] for one in logits] if mirror else logits

    def _sliding_logits(self, image: np.ndarray, batch_size: int) -> np.ndarray:
        crop, stride = self.sliding
        height, width = image.shape[:2]
        corners = [
            (top, left)
            for top in _window_starts(height, crop, stride)
            for left in _window_starts(width, crop, stride)
        ]
        total = np.zeros((self.n_class, height, width), np.float32)
        counts = np.zeros((height, width), np.float32)
        for first in range(0, len(corners), batch_size):
            chosen = corners[first : first + batch_size]
            windows = [image[top : top + crop, left : left + crop] for top, left in chosen]
            for (top, left), window, logits in zip(
                chosen, windows, self.engine.logits(self._batch(windows))
            ):
                place = (..., slice(top, top + crop), slice(left, left + crop))
                total[place] += _cropped(logits, window.shape[:2])
                counts[place] += 1
        total /= counts  # in place: of a large picture these are gigabytes
        return total

    def _batch(self, images) -> np.ndarray:
        """Normalised images, padded to their common size: float32 (N, 3, H, W)."""
        height, width = _padded(images[0].shape[:2])
        batch = np.zeros((len(images), len(self._table), height, width), np.float32)
        for place, image in zip(batch, images):
            place[:, : image.shape[0], : image.shape[1]] = transforms.normalize(image, self._table)
        return batch


def _scaled(size, factor: float) -> tuple[int, int]:
    return tuple(max(round(side * factor), 1) for side in size)


def _padded(size) -> tuple[int, int]:
    return tuple(transforms.next_multiple(side) for side in size)


def _cropped(array: np.ndarray, size) -> np.ndarray:
    return array[..., : size[0], : size[1]]


def _resized(image: np.ndarray, size) -> np.ndarray:
    """The image at another size: cubic as in training, by areas where it shrinks."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, size[::-1], interpolation=interpolation)


def _plane_resized(plane: np.ndarray, size) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(plane), size[::-1], interpolation=cv2.INTER_LINEAR)


def _planes_resized(planes: np.ndarray, size) -> np.ndarray:
    """Logits (C, h, w) at another size, bilinear."""
    if planes.shape[-2:] == size:
        return planes
    return np.stack([_plane_resized(plane, size) for plane in planes])


def _best_class(logits: np.ndarray, size) -> np.ndarray:
    """Class ids at `size` of logits (C, h, w): uint8 (H, W).

    Plane by plane: all planes of a large picture at once are gigabytes.
    """
    if logits.shape[-2:] == size:
        return logits.argmax(axis=0).astype(np.uint8)
    best = _plane_resized(logits[0], size)
    ids = np.zeros(size, np.uint8)
    for label in range(1, len(logits)):
        plane = _plane_resized(logits[label], size)
        ids[plane > best] = label
        np.maximum(best, plane, out=best)
    return ids


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=0))
    exponentials /= exponentials.sum(axis=0)
    return exponentials


def _window_starts(side: int, crop: int, stride: int) -> list[int]:
    """Where windows begin along a side, so that they cover it and none leaves it."""
    last = max(side - crop, 0)
    return [*range(0, last, stride), last]
