"""A training step over several batches: the gradient of a larger one in the memory of a small one.

`mindspore.train.Model` accumulates gradients only together with its automatic parallel modes.
"""

import mindspore as ms
from mindspore import Tensor, nn, ops

__all__ = ["AccumulatedStep"]


class _AddGradients(nn.Cell):
    """Forward and backward pass of one batch; adds its gradient, scaled as the loss is, to sums."""

    def __init__(self, step, sums, is_scaled: bool):
        super().__init__(auto_prefix=False)
        self.step = step
        self.weights = step.weights
        self.sums = sums
        self.is_scaled = is_scaled
        self.gradient = ops.GradOperation(get_by_list=True, sens_param=True)

    def construct(self, images, label):
        loss = self.step.network(images, label)
        sens = ops.ones_like(loss)
        if self.is_scaled:
            sens = sens * ops.cast(self.step.scale_sense, loss.dtype)
        gradients = self.gradient(self.step.network, self.weights)(images, label, sens)
        for total, gradient in zip(self.sums, gradients):
            ops.assign_add(total, ops.cast(gradient, total.dtype))
        return loss


class _Update(nn.Cell):
    """The optimizer's step with the mean of the gradients; the sums are 0 after it."""

    def __init__(self, step, sums, batches: int, is_scaled: bool):
        super().__init__(auto_prefix=False)
        self.step = step
        self.sums = sums
        self.batches = float(batches)
        self.is_scaled = is_scaled

    def construct(self):
        divisor = self.batches
        if self.is_scaled:
            divisor = divisor * self.step.scale_sense
        gradients = ()
        for total in self.sums:
            gradients += (total / divisor,)
        gradients = self.step.grad_reducer(gradients)
        if self.is_scaled:
            # As nn.TrainOneStepWithLossScaleCell does after its backward pass.
            status = Tensor([0] * 8, ms.int32)
            overflow = self.step.get_overflow_status(status, gradients)
            if not self.step.process_loss_scale(overflow):
                self.step.optimizer(gradients)
        else:
            overflow = False
            self.step.optimizer(gradients)
        for total in self.sums:
            ops.assign(total, ops.zeros_like(total))
        return overflow


class AccumulatedStep(nn.Cell):
    """A training step whose gradient is the mean of those of several batches, one after the other.

    The mean of the batches' gradients is the gradient of the mean of their losses. BatchNorm
    normalises, and updates its statistics, with each batch alone. Clipping and overflow checks see
    the mean.

    Args:
        step: `nn.TrainOneStepCell` or `nn.TrainOneStepWithLossScaleCell`, as
            `mindspore.amp.build_train_network` makes them.
        batches: number of batches that the inputs are cut into.

    Inputs:
        images: Tensor (batches x N, 3, H, W).
        label: Tensor (batches x N, H, W).

    Outputs:
        Mean loss; with loss scaling a tuple of mean loss, whether the gradient overflowed, and the
        scale.
    """

    def __init__(self, step, batches: int):
        super().__init__(auto_prefix=False)
        self.step = step
        self.batches = batches
        self.is_scaled = isinstance(step, nn.TrainOneStepWithLossScaleCell)
        self.sums = step.weights.clone(prefix="accumulated", init="zeros")
        self.add = _AddGradients(step, self.sums, self.is_scaled)
        self.update = _Update(step, self.sums, batches, self.is_scaled)

    def __call__(self, images, label):
        # Two compiled cells in turn: one graph of all the batches would take as many times as long
        # to compile, and could hold all their activations at once.
        size = images.shape[0] // self.batches
        losses = [
            self.add(images[start : start + size], label[start : start + size])
            for start in range(0, images.shape[0], size)
        ]
        scale = self.step.scale_sense.asnumpy().copy() if self.is_scaled else None
        overflow = self.update()
        loss = sum(losses) / self.batches
        return (loss, overflow, Tensor(scale)) if self.is_scaled else loss
