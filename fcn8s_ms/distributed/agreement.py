"""Agreement of the ranks after every training step, in addition to averaging the gradients.

The ranks agree on the loss of the whole batch, on the moving statistics of BatchNorm, and on
whether one of them has been asked to stop.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.train import Callback

from .ranks import Ranks

if TYPE_CHECKING:  # it lies in a higher layer
    from ..training.interruption import StopRequest

__all__ = ["Agreement"]


class _MeanOverRanks(nn.Cell):
    """Replaces one-dimensional parameters by their mean over the ranks, all in one message."""

    def __init__(self, parameters: Sequence[Parameter], ranks: int):
        super().__init__(auto_prefix=False)
        self.averaged = ParameterTuple(parameters)
        self.sizes = [parameter.size for parameter in parameters]
        self.ranks = ranks
        self.all_reduce = ops.AllReduce()

    def construct(self) -> Tensor:
        mean = self.all_reduce(ops.concat(self.averaged)) / self.ranks
        for parameter, values in zip(self.averaged, ops.split(mean, self.sizes)):
            ops.assign(parameter, values)
        return mean[0]


class Agreement(Callback):
    """Makes loss, moving statistics and stop requests the same on all ranks after each step.

    It must come before the callbacks that use any of them. The loss becomes the mean over the
    ranks. Moving statistics become their mean over the ranks, so that all ranks validate, save and
    resume with the same values. They are linear in the statistics of each batch, so averaging after
    every step equals averaging once at the end. A signal that one rank has received counts for all
    of them, after the same step.

    Args:
        ranks: the processes that train together.
        statistics: moving statistics as `network.batch_norm.moving_statistics` returns them; empty
            after `synchronize_batch_norm`.
        request: this rank's request to stop.
    """

    def __init__(self, ranks: Ranks, statistics: Sequence[Parameter], request: "StopRequest"):
        super().__init__()
        self.ranks = ranks
        self.request = request
        self._average: _MeanOverRanks | None = None
        if statistics and ranks.size > 1:
            self._average = _MeanOverRanks(statistics, ranks.size)

    def average_statistics(self) -> None:
        """Replaces the moving statistics by their mean over the ranks."""
        if self._average is not None:
            self._average()

    def on_train_step_end(self, run_context: Any) -> None:
        if self.ranks.size == 1:
            return
        context = run_context.original_args()
        outputs = context.net_outputs
        is_scaled = isinstance(outputs, (tuple, list))
        loss = outputs[0] if is_scaled else outputs
        self.average_statistics()
        own = np.array([float(loss.asnumpy()), self.request.signum or 0])
        losses, signals = np.array(self.ranks.gather(own)).T
        if signals.any():
            self.request.ask(int(signals.max()))
        loss = Tensor(np.float32(losses.mean()))
        context.net_outputs = (loss, *outputs[1:]) if is_scaled else loss
