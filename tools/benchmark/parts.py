"""The table of what is raced against what."""

from collections.abc import Callable
from dataclasses import dataclass

from .contestants import files, infer, loss, metrics, pipeline, records, startup, train


@dataclass(frozen=True)
class Part:
    """Work that is raced.

    Attributes:
        round: description of one round; `{arch}`, `{crop}`, `{loss}`, `{workers}`, `{augment}`
            and `{pictures}` stand for options.
        contestants: name to a function that takes the options, sets up, and returns a function
            which does one round and returns the number of things done (images, batches).
    """

    round: str
    contestants: dict[str, Callable]


PARTS = {
    "train": Part(
        "training step of {arch}, batch 4, crop {crop}",
        {"ours": train.ours, "plain": train.plain, **train.PYTORCH},
    ),
    "infer": Part(
        "class ids of one {crop}x{crop} image, {arch}",
        {
            "ours": infer.ours,
            "plain": infer.plain,
            "onnx": infer.onnx,
            "int8": infer.int8,
            **infer.PYTORCH,
        },
    ),
    "predict": Part(
        "mask and overlay of {pictures} JPEGs of 360x480, {arch}",
        {"ours": files.predict, "plain": files.predict_in_turn, "network": files.network},
    ),
    "eval": Part(
        "scores of {pictures} images of 360x480, {arch}",
        {"ours": files.evaluate, "network": files.network},
    ),
    "pipeline": Part(
        "512 training crops of 512, {workers} worker(s), augmentation {augment}",
        {"ours": pipeline.ours, "plain": pipeline.plain, "torch": pipeline.pytorch},
    ),
    "loss": Part(
        "value and gradient of the loss {loss}, 4x21x{crop}x{crop} (others: ce)",
        {"ours": loss.ours, "plain": loss.plain, "torch": loss.pytorch},
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
