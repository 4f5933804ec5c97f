"""Weights of others under this package's names, and the reading of their arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, listing

__all__ = ["AGAIN", "NORM_NAMES", "Conversion", "array_of", "without_wrapper"]

AGAIN = "fetch or save it again, complete"

NORM_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""PyTorch's names of a BatchNorm's arrays, by MindSpore's."""

# Of DataParallel, torch.compile and training programs.
_WRAPPERS = ("module.", "_orig_mod.", "model.")
_COUNTER = "num_batches_tracked"  # PyTorch counts batches in every BatchNorm


@dataclass(frozen=True)
class Conversion:
    """Weights under this package's names.

    Attributes:
        parameters: float32 arrays by name.
        layout: description of the source.
        left: names in the source that are not used, such as the classifier of 1000 classes.
    """

    parameters: dict[str, np.ndarray]
    layout: str
    left: tuple[str, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for the JSON next to the checkpoint."""
        return {}

    @property
    def lines(self) -> list[str]:
        """What was found, in words, a sentence per line."""
        raise NotImplementedError

    @property
    def flags(self) -> str:
        """Flags of the training program for a network that takes these weights."""
        raise NotImplementedError

    @property
    def segments(self) -> bool:
        """Whether it is a whole network, which can predict without training."""
        return False

    @property
    def report(self) -> str:
        """What was found, converted and left out, in a few lines."""
        numbers = sum(array.size for array in self.parameters.values())
        lines = [*self.lines]
        lines.insert(1, f"converted: {len(self.parameters)} parameters ({numbers:,} numbers)")
        left = [name for name in self.left if not name.endswith(_COUNTER)]
        if left:
            lines.append(f"left out: {listing(left, 8)}")
        return "\n".join(lines)


def without_wrapper(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays by their names in the network, without what a wrapper puts before each of them."""
    named = dict(arrays)
    while prefix := next(
        (one for one in _WRAPPERS if named and all(name.startswith(one) for name in named)), None
    ):
        named = {name.removeprefix(prefix): array for name, array in named.items()}
    return named


def array_of(
    arrays: Mapping[str, np.ndarray], name: str, shape: Sequence[int] | None = None
) -> np.ndarray:
    """An array of a source as float32.

    Args:
        arrays: the source's arrays by name.
        name: name in the source.
        shape: the shape it must have; None for any.

    Raises:
        InputError: the array is missing, has another shape or numbers that are not finite.
    """
    if name not in arrays:
        raise InputError(f"{name} is missing; {AGAIN}")
    array = np.asarray(arrays[name], np.float32)
    if shape is not None and array.shape != tuple(shape):
        raise InputError(
            f"{name} has shape {array.shape}, the network's is {tuple(shape)}; it is of another "
            "network, or damaged"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name} has numbers that are not finite; fetch or save it again")
    return array
