"""What training on several devices adds to a step, beside the mean of the gradients.

After every step the ranks agree on the loss of the whole batch, on the moving statistics of
BatchNorm, and on whether one of them has been asked to stop.
"""

import numpy as np
from mindspore import ParameterTuple, Tensor, nn, ops
from mindspore.train import Callback

__all__ = ["Agreement"]


class _Mean(nn.Cell):
    """Replaces parameters of one axis by their mean over the ranks, in one message for all."""

    def __init__(self, parameters, ranks: int):
        super().__init__(auto_prefix=False)
        self.averaged = ParameterTuple(parameters)
        self.sizes = [parameter.size for parameter in parameters]
        self.ranks = ranks
        self.all_reduce = ops.AllReduce()

    def construct(self):
        mean = self.all_reduce(ops.concat(self.averaged)) / self.ranks
        for parameter, values in zip(self.averaged, ops.split(mean, self.sizes)):
            ops.assign(parameter, values)
        return mean[0]


class Agreement(Callback):
    """What the ranks agree on after a step; comes before the callbacks that use it.

    The loss becomes the mean over the ranks. Moving statistics become their mean over the ranks, so
    that all ranks validate, save and go on with the same. They grow linearly from what each batch
    gives: it makes no difference whether the mean is taken after every step or once at the end. A
    signal that one rank has received counts for all of them, after the same step.

    Args:
        ranks: `fcn8s_ms.ranks.Ranks`.
        statistics: of `moving_statistics`; none with `synchronize_batch_norm`.
        request: `fcn8s_ms.interruption.StopRequest`.
    """

    def __init__(self, ranks, statistics, request):
        super().__init__()
        self.ranks = ranks
        self.request = request
        self._mean = _Mean(statistics, ranks.size) if statistics and ranks.size > 1 else None

    def on_train_step_end(self, run_context):
        if self.ranks.size == 1:
            return
        context = run_context.original_args()
        outputs = context.net_outputs
        is_scaled = isinstance(outputs, (tuple, list))
        loss = outputs[0] if is_scaled else outputs
        if self._mean is not None:
            self._mean()
        said = np.array([float(loss.asnumpy()), self.request.signum or 0])
        losses, signals = np.array(self.ranks.gather(said)).T
        if signals.any():
            self.request.ask(int(signals.max()))
        loss = Tensor(np.float32(losses.mean()))
        context.net_outputs = (loss, *outputs[1:]) if is_scaled else loss
