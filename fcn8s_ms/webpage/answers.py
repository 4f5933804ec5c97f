"""Pictures that the page gets, and what it shows and hands out of each: an answer."""

import secrets
import threading
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .. import files
from ..errors import InputError, reason_of
from ..images import reader
from ..inference import Segmenter, has_logits, read_image
from ..inference.certainty import in_grey
from ..inference.stopwatch import TimedEngine
from ..transforms import scaled_size

__all__ = ["Answer", "Answerer", "Kept"]

_SHOWN_SIDE = 2048  # pixels; more than a screen has, and less than the canvas of any browser
_JPEG_QUALITY = 92

_Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Answer:
    """A picture and what the network says of it.

    Attributes:
        name: name of the picture, for people and for the files made of the answer.
        image: uint8 (H, W, 3), BGR.
        ids: class ids, uint8 (H, W).
        certainty: probability of that class, uint8 (H, W), 255 for 1; None if the network does not
            tell.
        seen: height and width at which the network saw the picture.
        seconds: time from file to answer.
        network_seconds: part of that in the network.
    """

    name: str
    image: np.ndarray
    ids: np.ndarray
    certainty: np.ndarray | None
    seen: _Size
    seconds: float
    network_seconds: float

    @property
    def nbytes(self) -> int:
        """Memory that its arrays take."""
        arrays = (self.image, self.ids, self.certainty)
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def shown_size(self) -> _Size:
        """Height and width on the page: the picture's own, or smaller for a large one."""
        height, width = self.ids.shape
        return scaled_size((height, width), min(_SHOWN_SIDE / max(height, width), 1))

    def picture(self) -> bytes:
        """The picture of the page, a JPEG of `shown_size`."""
        image = self.image
        if image.shape[:2] != self.shown_size:
            image = cv2.resize(image, self.shown_size[::-1], interpolation=cv2.INTER_AREA)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        return bytes(cv2.imencode(".jpg", image, quality)[1])

    def planes(self) -> bytes:
        """Class ids, and after them the certainty if it is known, of `shown_size`, zlib's."""
        size = self.shown_size[::-1]
        arrays = [self.ids] if self.certainty is None else [self.ids, self.certainty]
        if self.ids.shape != self.shown_size:
            arrays = [cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) for one in arrays]
        return zlib.compress(b"".join(one.tobytes() for one in arrays), 1)


class Answerer:
    """Answers pictures with one network, one after the other whoever asks.

    Args:
        segmenter: the network with its classes.
        longest_side: a picture whose longer side has more pixels is shown to the network at this
            length; the answer has the picture's own size. 0 for never. A file that was exported for
            a fixed size sees larger pictures at what fits into it. Neither has an effect if the
            segmenter resizes pictures itself or runs windows over them.
        max_pixels: largest number of pixels of a picture; 0 for any.

    Attributes:
        segmenter: as given.
        has_certainty: whether its network tells how certain it is.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        longest_side: int = 0,
        max_pixels: int = reader.MAX_PIXELS,
    ):
        self.segmenter = segmenter
        self.has_certainty = has_logits(segmenter.predictor.engine)
        self._max_pixels = max_pixels
        self._engine = TimedEngine(segmenter.predictor.engine)
        view = segmenter.predictor.view
        self._shrinks = view.resize is None and view.sliding is None
        self._longest_side = longest_side
        size = getattr(segmenter.predictor.engine, "size", None)  # of an exported file: fixed
        self._most: _Size | None = None if size is None else size[1:]
        self._predictor = segmenter.predictor.with_engine(self._engine)
        self._lock = threading.Lock()

    def __call__(self, path: files.PathLike, name: str | None = None) -> Answer:
        """Reads a picture and computes its answer; may be called from any thread.

        Args:
            path: the picture's file.
            name: its name, in the answer and in errors; the file's by default.

        Raises:
            InputError: the file is not a picture that can be read, is too large, or cannot be
                computed; the message has `name` where others have the path.
        """
        path = Path(path).absolute()
        name = name or path.name
        started = time.perf_counter()
        try:
            image = read_image(path, self._max_pixels)
            with self._lock:
                before = self._engine.seconds
                ids, certainty, seen = self._computed(image)
                network_seconds = self._engine.seconds - before
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None
        except (RuntimeError, MemoryError, cv2.error) as error:
            reason = reason_of(error)
            raise InputError(
                f"{name} could not be segmented ({reason}); take a smaller picture"
            ) from error
        seconds = time.perf_counter() - started
        return Answer(name, image, ids, certainty, seen, seconds, network_seconds)

    def _computed(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, _Size]:
        height, width = image.shape[:2]
        longest = self._longest(height, width)
        factor = longest / max(height, width)
        seen = scaled_size((height, width), factor)
        if not self.has_certainty:
            # Class ids cannot be interpolated, so the picture is resized here.
            if factor < 1:
                image = cv2.resize(image, seen[::-1], interpolation=cv2.INTER_AREA)
            ids = self._predictor(image)
            if factor < 1:
                ids = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
            return ids, None, seen
        predictor = self._predictor
        if factor < 1:
            predictor = predictor.with_engine(self._engine, resize=longest)
        ((_, (ids, certainty)),) = predictor.many_with_certainty([(None, image)])
        return ids, in_grey(certainty), predictor.view.size(height, width)

    def _longest(self, height: int, width: int) -> int:
        """Length of the longer side at which the network sees a picture."""
        longest = max(height, width)
        if not self._shrinks:
            return longest
        found = min(self._longest_side or longest, longest)
        if self._most is not None:
            most = min(self._most[0] / height, self._most[1] / width)
            found = min(found, max(int(most * longest), 1))
        return found


class Kept:
    """The latest answers, each under a key that cannot be guessed.

    Args:
        most_bytes: memory that the answers may take together; the latest one is always kept.
    """

    def __init__(self, most_bytes: int = 400_000_000):
        self._most_bytes = most_bytes
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, answer: Answer) -> str:
        """Keeps an answer, for which the oldest ones may go, and returns its key."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._answers[key] = answer
            while len(self._answers) > 1 and self._size > self._most_bytes:
                self._answers.popitem(last=False)
        return key

    @property
    def _size(self) -> int:
        return sum(answer.nbytes for answer in self._answers.values())

    def get(self, key: str) -> Answer | None:
        """The answer of a key; None if it has gone."""
        with self._lock:
            return self._answers.get(key)
