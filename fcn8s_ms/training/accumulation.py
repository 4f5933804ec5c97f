"""Gradient accumulation: a step over several batches, in the memory of one.

`mindspore.train.Model` accumulates gradients only in its automatic parallel modes.
"""

from collections.abc import Callable
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.amp import build_train_network

__all__ = ["AccumulatedStep"]


class _AddGradients(nn.Cell):
    """Forward and backward pass of one batch; adds its gradient, scaled like the loss, to sums."""

    def __init__(self, step: nn.Cell, sums: ms.ParameterTuple, is_scaled: bool):
        super().__init__(auto_prefix=False)
        self.step = step
        self.weights = step.weights
        self.sums = sums
        self.is_scaled = is_scaled
        self.gradient = ops.GradOperation(get_by_list=True, sens_param=True)

    def construct(self, images: Tensor, label: Tensor) -> Tensor:
        loss = self.step.network(images, label)
        sens = ops.ones_like(loss)
        if self.is_scaled:
            sens = sens * ops.cast(self.step.scale_sense, loss.dtype)
        gradients = self.gradient(self.step.network, self.weights)(images, label, sens)
        for total, gradient in zip(self.sums, gradients):
            ops.assign_add(total, ops.cast(gradient, total.dtype))
        return loss


class _Update(nn.Cell):
    """Optimizer step with the mean of the gradients; sets the sums to 0."""

    def __init__(self, step: nn.Cell, sums: ms.ParameterTuple, batches: int, is_scaled: bool):
        super().__init__(auto_prefix=False)
        self.step = step
        self.sums = sums
        self.batches = float(batches)
        self.is_scaled = is_scaled

    def construct(self) -> Any:
        divisor = self.batches
        if self.is_scaled:
            divisor = divisor * self.step.scale_sense
        gradients: tuple[Any, ...] = ()
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
    """Training step with the mean gradient of several batches, computed one after the other.

    The mean of the batches' gradients is the gradient of the mean of their losses. BatchNorm
    normalises, and updates its statistics, with each batch on its own. Clipping and overflow checks
    see the mean.

    Args:
        step: `nn.TrainOneStepCell` or `nn.TrainOneStepWithLossScaleCell`, as
            `mindspore.amp.build_train_network` returns them.
        batches: number of batches that the inputs are divided into.
        after_batch: called after the forward and backward pass of each batch.

    Inputs:
        images: Tensor (batches x N, 3, H, W).
        label: Tensor (batches x N, H, W).

    Outputs:
        Mean loss; with loss scaling a tuple of mean loss, whether the gradient overflowed, and loss
        scale.
    """

    def __init__(
        self, step: nn.Cell, batches: int, after_batch: Callable[[], object] = lambda: None
    ):
        super().__init__(auto_prefix=False)
        self.step = step
        self.batches = batches
        self.after_batch = after_batch
        self.is_scaled = isinstance(step, nn.TrainOneStepWithLossScaleCell)
        self.sums = step.weights.clone(prefix="accumulated", init="zeros")
        self.add = _AddGradients(step, self.sums, self.is_scaled)
        self.update = _Update(step, self.sums, batches, self.is_scaled)

    @classmethod
    def build(
        cls,
        network: nn.Cell,
        loss: nn.Cell,
        optimizer: nn.Optimizer,
        batches: int,
        *,
        after_batch: Callable[[], object] = lambda: None,
        amp_level: str = "O0",
        **precision: Any,
    ) -> "AccumulatedStep":
        """Builds the step from its parts.

        Args:
            network: network to train.
            loss: loss function.
            optimizer: optimizer of the network's parameters.
            batches: number of batches per step.
            after_batch: called after each batch.
            amp_level: level of mixed precision.
            precision: other arguments of `device.model_arguments`.
        """
        step = build_train_network(network, optimizer, loss, level=amp_level, **precision)
        return cls(step, batches, after_batch)

    def __call__(self, images: Tensor, label: Tensor) -> Any:
        # Two compiled cells in turn: one graph of all batches would take several times as long to
        # compile, and could hold all their activations at once.
        size = images.shape[0] // self.batches
        losses = []
        for start in range(0, images.shape[0], size):
            losses.append(self.add(images[start : start + size], label[start : start + size]))
            self.after_batch()
        scale = self.step.scale_sense.asnumpy().copy() if self.is_scaled else None
        overflow = self.update()
        loss = sum(losses) / self.batches
        return (loss, overflow, Tensor(scale)) if self.is_scaled else loss
