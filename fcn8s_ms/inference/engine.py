"""Engines: what computes a network, and which of them reads a file."""

from pathlib import Path
from typing import Protocol

import numpy as np

from .. import files
from ..errors import InputError, command

__all__ = [
    "ENGINES",
    "Engine",
    "LossEngine",
    "engine_for",
    "has_logits",
    "reduces_on_host",
    "takes_pixels",
]

ENGINES = ("mindspore", "onnx")
"""Names of the engines: MindSpore computes a checkpoint, ONNX Runtime an exported file."""


class Engine(Protocol):
    """Anything that computes a network for `fcn8s_ms.inference.Predictor`.

    Batches are normalised: float32 (N, 3, H, W), BGR, H and W multiples of `multiple`. An engine
    with an attribute `takes_pixels` that is true normalises and pads them itself: its batches are
    uint8 (N, H, W, 3), BGR, of any size. One whose `has_logits` is false computes class ids only.
    One whose `reduces_on_host` is true computes logits, and class ids from them with NumPy: that
    can be left to another thread.
    """

    @property
    def n_class(self) -> int:
        """Number of classes."""
        ...

    @property
    def multiple(self) -> int:
        """Number that height and width of a batch are multiples of; 1 for any size."""
        ...

    @property
    def name(self) -> str:
        """Name of the engine, with version and device, for the protocol of a score."""
        ...

    def class_ids(self, batch: np.ndarray) -> np.ndarray:
        """Class ids of a batch: int32 (N, H, W)."""
        ...

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Logits of a batch: float32 (N, n_class, H, W)."""
        ...


def takes_pixels(engine: Engine) -> bool:
    """Whether batches of an engine are pixels, not normalised."""
    return bool(getattr(engine, "takes_pixels", False))


def reduces_on_host(engine: Engine) -> bool:
    """Whether an engine computes class ids from logits with NumPy, not in the network."""
    return bool(getattr(engine, "reduces_on_host", False))


class LossEngine(Engine, Protocol):
    """Engine that also computes the loss, for validation."""

    def class_ids_and_losses(
        self, batch: np.ndarray, label: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Class ids of a batch, and the cross-entropy of every pixel, 0 where it is ignored.

        `label` is int32 (N, H, W), the ids int32 and the losses float32 (N, H, W).
        """
        ...


def has_logits(engine: Engine) -> bool:
    """Whether an engine computes logits, which probabilities follow from."""
    return bool(getattr(engine, "has_logits", True))


def engine_for(path: files.PathLike, engine: str | None = None) -> str:
    """Name of the engine that computes a file.

    Args:
        path: a checkpoint, or an exported file whose name ends in `.onnx`.
        engine: one of `ENGINES` to insist on; None accepts the one that fits the file.

    Raises:
        InputError: the engine insisted on does not read such files.
    """
    found = "onnx" if Path(path).suffix.lower() == ".onnx" else "mindspore"
    if engine is not None and engine != found:
        remedy = (
            f"export it first: {command('export', '--checkpoint', path, '--output', 'NAME.onnx')}"
            if engine == "onnx"
            else "it is for --engine onnx"
        )
        raise InputError(f"{path} cannot be computed by the engine {engine}; {remedy}")
    return found
