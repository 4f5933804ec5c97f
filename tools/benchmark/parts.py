"""The table of what is raced against what."""

from collections.abc import Callable
from dataclasses import dataclass

from .contestants import infer, metrics, pipeline, records, startup, train


@dataclass(frozen=True)
class Part:
    """Work that is raced.

    Attributes:
        round: description of one round; `{arch}`, `{crop}` and `{workers}` stand for options.
        contestants: name to a function that takes the options, sets up, and returns a function
            which does one round and returns the number of things done (images, batches).
    """

    round: str
    contestants: dict[str, Callable]


PARTS = {
    "train": Part(
        "training step of {arch}, batch 4, crop {crop}",
        {"ours": train.ours, "plain": train.plain, "torch": train.pytorch},
    ),
    "infer": Part(
        "class ids of one {crop}x{crop} image, {arch}",
        {"ours": infer.ours, "plain": infer.plain, "torch": infer.pytorch},
    ),
    "pipeline": Part(
        "512 training crops of 512, {workers} worker(s)",
        {"ours": pipeline.ours, "plain": pipeline.plain, "torch": pipeline.pytorch},
    ),
    "metrics": Part(
        "four scores of 4x21x512x512",
        {"ours": metrics.ours, "plain": metrics.plain},
    ),
    "records": Part(
        "200 images of VOC's size into a record",
        {"ours": records.ours, "plain": records.plain},
    ),
    "startup": Part(
        "--help / import",
        {"ours": startup.ours, "plain": startup.plain, "torch": startup.pytorch},
    ),
}
