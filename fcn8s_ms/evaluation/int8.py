"""An exported file in 8-bit integers: calibrated on a record, and scored against its original."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import records
from ..deployment import fixed_size, onnx_graph, quantise
from ..deployment.arguments import Config
from ..errors import InputError, flag
from ..inference import Predictor
from ..inference.onnx_engine import OnnxEngine
from . import in_turn
from .predictions import spread_samples

__all__ = ["check_records", "write"]

_Item = TypeVar("_Item")


def check_records(checkpoint: Path, num_classes: int, **given: Path | None) -> None:
    """Checks before minutes of work that records are there and fit a network.

    Args:
        checkpoint: the network's file, for the message.
        num_classes: number of classes of the network.
        given: the record of a flag, by the flag's name with underscores; None for none.

    Raises:
        InputError: a record cannot be used, or has another number of classes.
    """
    for name, path in given.items():
        if path is None:
            continue
        records.open_record(path)
        metadata = records.read_metadata(path)
        if metadata is not None and len(metadata.classes) != num_classes:
            raise InputError(
                f"checkpoint {checkpoint} has {num_classes} classes, {flag(name)} {path} "
                f"{len(metadata.classes)}; they do not belong together"
            )


def write(config: Config, original: Path, output: Path, resize: str | None) -> None:
    """Writes the int8 file of a float32 one, prints the scores of both and compares them.

    Args:
        config: arguments of the export.
        original: ONNX file in float32, of any size.
        output: file to write.
        resize: how the training saw images, as of `Predictor`; None for their own size.

    Raises:
        InputError: a record or a layer's name cannot be used, the mean IoU falls by more than
            `max_drop`, or the scored images have no labelled pixel.
    """
    assert config.calibration_data is not None  # Config sees to it
    engine = OnnxEngine(original, "CPU")
    classes = engine.n_class
    chosen = spread_samples(config.calibration_data, config.calibration_images, classes)
    total = min(records.open_record(config.calibration_data)[1], config.calibration_images)
    activations = config.activations
    if activations == "auto":
        activations = quantise.activations_here()
    model = quantise.quantise(
        original,
        output,
        _shown(_batches(chosen, engine, resize), "calibrating", total),
        activations=activations,
        reduce_range=config.reduce_range,
        float_layers=config.float_layers,
    )
    _describe(model, config, activations, total)
    onnx_graph.write(model, output)

    data = config.check_data or config.calibration_data
    labelled = spread_samples(data, config.check_images, classes)
    total = min(records.open_record(data)[1], config.check_images)
    standings = in_turn.score_in_turn(
        {"float32": engine, "int8": OnnxEngine(output, "CPU")},
        _shown(labelled, "scoring", total),
        resize=resize,
    )
    print(f"Scored on {total} images of {data}, both files in turn:")
    print(in_turn.table(standings))
    _check_drop(config, standings["float32"].mean_iou, standings["int8"].mean_iou, data)
    if config.size is not None:
        _fix_size(model, output, config.size, engine)


class _Inputs:
    """Stands for an engine, and computes nothing but keeps its input."""

    def __init__(self, engine: OnnxEngine):
        self.n_class, self.multiple, self.name = engine.n_class, engine.multiple, engine.name
        self.takes_pixels = engine.takes_pixels
        self.latest = np.empty(0)

    def class_ids(self, batch: np.ndarray) -> np.ndarray:
        return self.logits(batch)[:, 0].astype(np.int32)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        self.latest = batch
        size = batch.shape[1:3] if self.takes_pixels else batch.shape[2:]
        return np.zeros((len(batch), self.n_class, *size), np.float32)


def _batches(
    samples: Iterator[tuple[str, np.ndarray, np.ndarray]], engine: OnnxEngine, resize: str | None
) -> Iterator[np.ndarray]:
    """Inputs of the network for images, as a predictor makes them."""
    inputs = _Inputs(engine)
    predictor = Predictor(inputs, resize=resize)
    for _, image, _ in samples:
        predictor(image)
        yield inputs.latest


def _shown(items: Iterator[_Item], what: str, total: int) -> Iterator[_Item]:
    """Items, with a progress bar from the first on."""
    from tqdm import tqdm

    yield from tqdm(items, desc=what, total=total, unit="image")


def _describe(model: Any, config: Config, activations: str, count: int) -> None:
    """Notes in the metadata of a file what it computes in."""
    bits = 7 if config.reduce_range else 8
    text = f"int8: weights of {bits} bits per channel, {activations} activations"
    if config.float_layers:
        text += f", {' '.join(config.float_layers)} in float32"
    assert config.calibration_data is not None
    text += f", calibrated on {count} images of {config.calibration_data.name}"
    (entry,) = (one for one in model.metadata_props if one.key == "precision")
    entry.value = text


def _check_drop(config: Config, before: float, after: float, data: Path) -> None:
    if np.isnan(before) or np.isnan(after):
        raise InputError(
            f"the images of {data} that were scored have no labelled pixel, so that nobody can say "
            "what int8 costs; pass --check-data with a record that has some"
        )
    if before - after > config.max_drop:
        raise InputError(
            f"in int8 the mean IoU falls by {before - after:.4f}, from {before:.4f} to "
            f"{after:.4f}, and --max-drop is {config.max_drop:g}; nothing was written. Calibrate "
            "on more images (--calibration-images) like those it will see, leave layers in float32 "
            "(--float-layers conv1), try --reduce-range on a processor without VNNI, or take "
            "--fp16; a larger --max-drop accepts the loss"
        )


def _fix_size(model: Any, output: Path, size: tuple[int, int, int], engine: OnnxEngine) -> None:
    """Rewrites a file for one size, and compares it with what it was before."""
    count, height, width = size
    rng = np.random.RandomState(0)
    shape = (height, width, 3) if engine.takes_pixels else (3, height, width)
    batch = rng.standard_normal((count, *shape)).astype(np.float32)
    if engine.takes_pixels:
        batch = rng.randint(0, 256, (count, *shape)).astype(np.uint8)
    expected = onnx_graph.run(output, batch).astype(np.float64)
    onnx_graph.write(fixed_size.with_fixed_size(model, *size), output)
    found = onnx_graph.run(output, batch)
    if not np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max():
        raise InputError(
            f"of {height}x{width} and of any size, the int8 file does not compute the same; "
            "nothing was written. Leave out --height and --width"
        )
