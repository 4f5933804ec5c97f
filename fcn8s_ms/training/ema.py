"""Moving average of the weights, which generalises better than the weights of the last step."""

import contextlib
from collections.abc import Iterator
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.train import Callback

__all__ = ["MovingAverage"]


class _Update(nn.Cell):
    def __init__(self, averages: list[Parameter], weights: list[Parameter]):
        super().__init__(auto_prefix=False)
        self.averages = ms.ParameterTuple(averages)
        self.weights = ms.ParameterTuple(weights)

    def construct(self, rate: Tensor) -> Tensor:
        for average, weight in zip(self.averages, self.weights):
            # In this form a weight that never changes keeps its bits.
            ops.assign_add(average, rate * (weight - average))
        return rate


class MovingAverage(Callback):
    """Exponential moving average of a network's parameters, statistics of BatchNorm included.

    After step t it moves to the weights by 1 - min(decay, (1 + t) / (10 + t)): the first steps,
    far from the final weights, are soon forgotten. A step that an overflow skips does not count.

    Args:
        network: network that is trained.
        decay: share of the average that a step keeps, above 0 and below 1.

    Attributes:
        stored: parameters `trained.NAME`. They hold the average; while that is in use, the weights
            that are trained: so they are called in checkpoints.

    Source: TensorFlow's `ExponentialMovingAverage` with `num_updates`.
    """

    def __init__(self, network: nn.Cell, decay: float):
        super().__init__()
        self.decay = decay
        self._weights = list(network.get_parameters())
        self.stored = [
            Parameter(Tensor(one.asnumpy()), name=f"trained.{one.name}", requires_grad=False)
            for one in self._weights
        ]
        self._update = _Update(self.stored, self._weights)

    def on_train_step_end(self, run_context: Any) -> None:
        context = run_context.original_args()
        outputs = context.net_outputs
        if isinstance(outputs, (tuple, list)) and bool(outputs[1].asnumpy()):
            return
        step = context.cur_step_num
        kept = min(self.decay, (1 + step) / (10 + step))
        self._update(Tensor(np.float32(1 - kept)))

    def swap(self) -> None:
        """Exchanges the network's parameters and the stored ones."""
        for one, other in zip(self._weights, self.stored):
            value = Tensor(one.asnumpy().copy())
            ops.assign(one, other)
            ops.assign(other, value)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Gives the network the average, and in the end its own weights again."""
        self.swap()
        try:
            yield
        finally:
            self.swap()
