"""Several networks on the same images, in turn: their scores and times next to one another."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import confusion
from ..confusion import ConfusionMatrix
from ..formats.columns import columns
from ..inference import Engine, Predictor, has_logits
from ..inference.stopwatch import TimedEngine

__all__ = ["Standing", "score_in_turn", "table"]


@dataclass
class Standing:
    """A network's results so far.

    Attributes:
        counts: confusion matrix of all images.
        other_ids: pixels whose class id is not the first network's.
        pixels: all pixels.
        seconds: time in the network, of each image.
    """

    counts: ConfusionMatrix
    other_ids: int = 0
    pixels: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of all images together; NaN without a labelled pixel."""
        return confusion.mean_iou(self.counts.matrix)

    @property
    def milliseconds(self) -> float:
        """Median time of an image in the network."""
        return 1000 * statistics.median(self.seconds)


class _Votes:
    """Stands for an engine of class ids where logits are wanted: 1 for the class, 0 for others.

    Resized bilinearly, the class with the largest share around a pixel wins.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.n_class, self.multiple, self.name = engine.n_class, engine.multiple, engine.name
        self.takes_pixels = getattr(engine, "takes_pixels", False)
        self.class_ids = engine.class_ids

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Votes of a batch: float32 (N, n_class, H, W)."""
        ids = self._engine.class_ids(batch)
        return (ids[:, None] == np.arange(self.n_class)[:, None, None]).astype(np.float32)


def score_in_turn(
    engines: Mapping[str, Engine],
    samples: Iterable[tuple[str, np.ndarray, np.ndarray]],
    *,
    resize: str | None = None,
) -> dict[str, Standing]:
    """Scores networks on the same images, each image by one after the other.

    What else the machine does meanwhile slows all of them alike.

    Args:
        engines: the networks by name; class ids are compared with those of the first.
        samples: name, image, uint8 (H, W, 3) BGR, and label, uint8 (H, W).
        resize: as of `Predictor`; class ids are then scaled to the image's own size.

    Returns:
        Results by name. The time of the first image, which includes preparations, counts only if
        there is no other.
    """
    timed = {
        name: TimedEngine(_Votes(one) if resize and not has_logits(one) else one)
        for name, one in engines.items()
    }
    predictors = {name: Predictor(one, resize=resize) for name, one in timed.items()}
    found = {name: Standing(ConfusionMatrix(one.n_class)) for name, one in engines.items()}
    for _, image, label in samples:
        first: np.ndarray | None = None
        for name, standing in found.items():
            before = timed[name].seconds
            ids = predictors[name](image)
            standing.seconds.append(timed[name].seconds - before)
            standing.counts.update(label, ids)
            first = ids if first is None else first
            standing.other_ids += int(np.count_nonzero(ids != first))
            standing.pixels += ids.size
    for standing in found.values():
        del standing.seconds[: len(standing.seconds) > 1]
    return found


def table(standings: Mapping[str, Standing]) -> str:
    """Results as text: mean IoU, pixel accuracy, other class ids than the first, time."""
    rows: list[Sequence[str]] = [
        ("", "mean IoU", "pixel accuracy", "other class ids", "ms per image")
    ]
    for place, (name, one) in enumerate(standings.items()):
        other = f"{100 * one.other_ids / max(one.pixels, 1):.2f} %" if place else "-"
        accuracy = confusion.pixel_accuracy(one.counts.matrix)
        rows.append(
            (name, f"{one.mean_iou:.4f}", f"{accuracy:.4f}", other, f"{one.milliseconds:.0f}")
        )
    return columns(rows)
