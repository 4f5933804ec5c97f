"""Optimizers, with or without gradient clipping.

The FCN paper doubles the learning rate of biases. This network has no biases, so no optimizer here
treats them separately.
"""

from collections.abc import Sequence
from typing import Any

import mindspore as ms
from mindspore import Parameter, nn, ops

__all__ = ["AdamW", "make_optimizer"]


class _ClippedMomentum(nn.Momentum):
    """Momentum with the gradient clipped to a norm of `clip_norm` over all weights."""

    def __init__(self, clip_norm: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.clip_norm = clip_norm

    # nn.Momentum decorates its `construct` in this way; in PyNative mode that compiles it.
    @ms.jit
    def construct(self, gradients: tuple[ms.Tensor, ...]) -> Any:
        return super().construct(ops.clip_by_global_norm(gradients, self.clip_norm))


class AdamW(nn.Adam):
    """Adam with decoupled weight decay: weights shrink by learning rate x decay before each update.

    MindSpore's `nn.AdamWeightDecay` omits the bias correction of the first steps; this class
    applies it.

    Args:
        params: trainable parameters.
        learning_rate: one value per step, or one for all.
        weight_decay: decay per step, times the learning rate.
        clip_norm: upper limit for the norm of the gradient over all weights; None for no limit.

    Inputs:
        gradients: tuple of Tensors, one per parameter.

    Source: https://arxiv.org/abs/1711.05101, algorithm 2, with a schedule that includes the
    learning rate.
    """

    def __init__(
        self,
        params: Sequence[Parameter],
        learning_rate: Sequence[float] | float,
        weight_decay: float,
        clip_norm: float | None = None,
    ):
        super().__init__(params=params, learning_rate=learning_rate, weight_decay=0.0)
        self.decoupled_decay = weight_decay
        self.clip_norm = clip_norm

    @ms.jit
    def construct(self, gradients: tuple[ms.Tensor, ...]) -> Any:
        if self.clip_norm is not None:
            gradients = ops.clip_by_global_norm(gradients, self.clip_norm)
        kept = 1 - self.get_lr() * self.decoupled_decay
        for parameter in self._parameters:
            ops.assign(parameter, parameter * kept)
        return super().construct(gradients)


def make_optimizer(
    name: str,
    params: Sequence[Parameter],
    learning_rate: Sequence[float],
    *,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    clip_norm: float | None = None,
) -> nn.Optimizer:
    """Returns the optimizer of a name.

    Args:
        name: 'momentum' (the tutorial's) or 'adamw'.
        params: trainable parameters.
        learning_rate: one value per step.
        momentum: coefficient, for 'momentum' only.
        weight_decay: L2 penalty for 'momentum', decoupled decay for 'adamw'.
        clip_norm: upper limit for the norm of the gradient over all weights; None for no limit.

    Raises:
        ValueError: the name is unknown.
    """
    if name == "adamw":
        return AdamW(params, learning_rate, weight_decay, clip_norm)
    if name != "momentum":
        raise ValueError(f"optimizer {name!r} is unknown; choose 'momentum' or 'adamw'")
    arguments = {
        "params": params,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "weight_decay": weight_decay,
    }
    if clip_norm is None:
        return nn.Momentum(**arguments)
    return _ClippedMomentum(clip_norm, **arguments)
