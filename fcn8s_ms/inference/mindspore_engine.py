"""The engine that computes a network with MindSpore."""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ..transforms import STRIDE

__all__ = ["MindSporeEngine"]

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

    def construct(self, x: Tensor) -> Tensor:
        if x.shape[2] % STRIDE != 0 or x.shape[3] % STRIDE != 0:
            raise ValueError("height and width of the images must be multiples of 32")
        return self.network(x)


class _ClassIds(_Logits):
    """Logits reduced to class ids on the device: it sends one number per pixel, not n_class."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.cast(ops.argmax(super().construct(x), 1), ms.int32)


class MindSporeEngine:
    """Runs a Cell in evaluation mode; between calls it may be trained.

    Args:
        network: `FCN8s` or another Cell from (N, 3, H, W) to logits (N, C, H, W), with `n_class`.

    Attributes:
        network: as given.
        n_class: number of classes.
    """

    def __init__(self, network: nn.Cell):
        self.network = network
        self.n_class: int = network.n_class
        self._class_ids = _ClassIds(network)
        self._logits = _Logits(network)
        for cell in (self._class_ids, self._logits):
            cell.set_inputs(Tensor(**_ANY_BATCH))

    @property
    def name(self) -> str:
        """MindSpore's version, the device and the mode."""
        mode = "graph" if ms.get_context("mode") == ms.GRAPH_MODE else "pynative"
        return f"MindSpore {ms.__version__}, {ms.get_context('device_target')}, {mode} mode"

    def _run(self, cell: nn.Cell, batch: np.ndarray | Tensor) -> np.ndarray:
        was_training = self.network.training
        cell.set_train(False)
        try:
            return cell(batch if isinstance(batch, Tensor) else Tensor(batch)).asnumpy()
        finally:
            cell.set_train(was_training)

    def class_ids(self, batch: np.ndarray | Tensor) -> np.ndarray:
        """Computes the class ids of a normalised batch.

        Args:
            batch: float32 (N, 3, H, W), H and W multiples of 32; array or Tensor.

        Returns:
            int32 array (N, H, W).
        """
        return self._run(self._class_ids, batch)

    def logits(self, batch: np.ndarray | Tensor) -> np.ndarray:
        """Computes the logits of a normalised batch.

        Args:
            batch: as for `class_ids`.

        Returns:
            float32 array (N, n_class, H, W).
        """
        return self._run(self._logits, batch)
