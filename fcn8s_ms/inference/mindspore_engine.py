"""The engine that computes a network with MindSpore."""

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from .. import files
from ..errors import InputError
from ..loss import negative_log_likelihood
from ..network.architectures import multiple_of
from ..voc import IGNORE_LABEL
from .cross_entropy import cross_entropy

__all__ = ["ClassIds", "MindSporeEngine", "is_finite"]

# Of any size, so that graph mode compiles once instead of for every size.
_ANY_BATCH = {"shape": [None, 3, None, None], "dtype": ms.float32}


class _Logits(nn.Cell):
    """The network unchanged, with inputs of any size.

    The network checks sizes that are known while it is compiled; these are known only when it
    runs. On a CPU the branch also saves time: MindSpore's main thread waits for a graph without
    branches in a loop that takes a core from the kernels.
    """

    def __init__(self, network: nn.Cell):
        super().__init__(auto_prefix=False)
        self.network = network
        self.multiple = multiple_of(network)

    def construct(self, x: Tensor) -> Tensor:
        if x.shape[2] % self.multiple != 0 or x.shape[3] % self.multiple != 0:
            raise ValueError("height and width of the images must be multiples of 32")
        return self.network(x)


class ClassIds(_Logits):
    """Logits reduced to class ids on the device: it sends one number per pixel, not n_class.

    A second result tells whether all logits are finite (`is_finite`): on a CPU the logits
    themselves, which lie in the host's memory already, elsewhere their sum. MindSpore's reductions
    on a CPU take longer than the argmax; NumPy reads the logits in a millisecond. The third are the
    logits, which stay on the device unless someone reads them.
    """

    def __init__(self, network: nn.Cell):
        super().__init__(network)
        self.in_host_memory = ms.get_context("device_target") == "CPU"

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = super().construct(x)
        ids = ops.cast(ops.argmax(logits, 1), ms.int32)
        return ids, logits if self.in_host_memory else logits.sum(), logits


def is_finite(array: np.ndarray) -> bool:
    """Tells whether all numbers are finite, plane by plane: large pictures have gigabytes."""
    planes = array.reshape(-1, *array.shape[-2:])
    return all(np.isfinite(plane).all() for plane in planes)


class MindSporeEngine:
    """Runs a Cell in evaluation mode; between calls it may be trained.

    Args:
        network: `FCN8s` or another Cell from (N, 3, H, W) to logits (N, C, H, W), with `n_class`.
        path: file that the network was loaded from, for errors; None for a network in memory.

    Attributes:
        network: as given.
        n_class: number of classes.
        multiple: height and width of a batch are multiples of it.
    """

    def __init__(self, network: nn.Cell, path: files.PathLike | None = None):
        self.network = network
        self._path = path
        self.n_class: int = network.n_class
        self.multiple = multiple_of(network)
        self._class_ids = ClassIds(network)
        self._logits = _Logits(network)
        for cell in (self._class_ids, self._logits):
            cell.set_inputs(Tensor(**_ANY_BATCH))

    @property
    def name(self) -> str:
        """MindSpore's version, the device and the mode."""
        mode = "graph" if ms.get_context("mode") == ms.GRAPH_MODE else "pynative"
        return f"MindSpore {ms.__version__}, {ms.get_context('device_target')}, {mode} mode"

    def _run(self, cell: nn.Cell, batch: np.ndarray | Tensor) -> Any:
        was_training = self.network.training
        cell.set_train(False)
        try:
            return cell(batch if isinstance(batch, Tensor) else Tensor(batch))
        finally:
            cell.set_train(was_training)

    def class_ids(self, batch: np.ndarray | Tensor) -> np.ndarray:
        """Computes the class ids of a normalised batch.

        Args:
            batch: float32 (N, 3, H, W), H and W multiples of `multiple`; array or Tensor.

        Returns:
            int32 array (N, H, W).

        Raises:
            InputError: a logit is not finite.
        """
        return self._ids_and_logits(batch)[0].asnumpy()

    def class_ids_and_losses(
        self, batch: np.ndarray | Tensor, label: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Computes the class ids of a normalised batch, and the cross-entropy of every pixel.

        Args:
            batch: as for `class_ids`.
            label: int32 (N, H, W), 0…n_class-1, or the ignore label.

        Returns:
            int32 array and float32 array (N, H, W); the loss of an ignored pixel is 0.

        Raises:
            InputError: a logit is not finite.
        """
        ids, logits = self._ids_and_logits(batch)
        if self._class_ids.in_host_memory:
            return ids.asnumpy(), cross_entropy(logits.asnumpy(), label)
        valid = label != IGNORE_LABEL
        losses = negative_log_likelihood(logits, Tensor(np.where(valid, label, 0).astype(np.int32)))
        return ids.asnumpy(), np.where(valid, losses.asnumpy(), np.float32(0))

    def _ids_and_logits(self, batch: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        ids, evidence, logits = self._run(self._class_ids, batch)
        if not is_finite(evidence.asnumpy()):
            self.logits(batch)  # raises, unless only the sum is too large
        return ids, logits

    def logits(self, batch: np.ndarray | Tensor) -> np.ndarray:
        """Computes the logits of a normalised batch.

        Args:
            batch: as for `class_ids`.

        Returns:
            float32 array (N, n_class, H, W).

        Raises:
            InputError: a logit is not finite.
        """
        logits: np.ndarray = self._run(self._logits, batch).asnumpy()
        if not is_finite(logits):
            raise self.not_finite()
        return logits

    def not_finite(self) -> InputError:
        """The error of a network that computes logits that are not finite."""
        what = "the network" if self._path is None else f"checkpoint {self._path}"
        return InputError(
            f"{what} computes logits that are not finite: its weights are damaged or too large; "
            "take an older checkpoint, or train again with a lower --base-lr"
        )
