"""Optimizers, with or without clipping; none of them treats biases apart, for there are none.

The FCN paper doubles the learning rate of biases. Every convolution here is followed by BatchNorm
or is a score or upsampling layer, and none has a bias.
"""

import mindspore as ms
from mindspore import nn, ops

__all__ = ["AdamW", "make_optimizer"]


class _ClippedMomentum(nn.Momentum):
    """Momentum on a gradient whose norm over all weights is at most `clip_norm`."""

    def __init__(self, clip_norm: float, **kwargs):
        super().__init__(**kwargs)
        self.clip_norm = clip_norm

    # In PyNative mode nn.Momentum compiles `construct` of the class that it is given.
    @ms.jit
    def construct(self, gradients):
        return super().construct(ops.clip_by_global_norm(gradients, self.clip_norm))


class AdamW(nn.Adam):
    """Adam with decoupled weight decay: weights shrink by learning rate x decay before each update.

    `nn.AdamWeightDecay` of MindSpore leaves out the bias correction of the first steps; this one
    has it.

    Args:
        params: trainable parameters.
        learning_rate: one value a step, or one for all.
        weight_decay: as above.
        clip_norm: largest norm of the gradient over all weights; None for any.

    Inputs:
        gradients: tuple of Tensors, one for each parameter.

    Source: https://arxiv.org/abs/1711.05101, algorithm 2, with a schedule that includes the
    learning rate.
    """

    def __init__(self, params, learning_rate, weight_decay: float, clip_norm: float | None = None):
        super().__init__(params=params, learning_rate=learning_rate, weight_decay=0.0)
        self.decoupled_decay = weight_decay
        self.clip_norm = clip_norm

    @ms.jit
    def construct(self, gradients):
        if self.clip_norm is not None:
            gradients = ops.clip_by_global_norm(gradients, self.clip_norm)
        kept = 1 - self.get_lr() * self.decoupled_decay
        for parameter in self._parameters:
            ops.assign(parameter, parameter * kept)
        return super().construct(gradients)


def make_optimizer(
    name: str,
    params,
    learning_rate,
    *,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    clip_norm: float | None = None,
):
    """Optimizer of a name.

    Args:
        name: 'momentum' (the tutorial's) or 'adamw'.
        params: trainable parameters.
        learning_rate: one value a step.
        momentum: for 'momentum'.
        weight_decay: L2 penalty for 'momentum', decoupled decay for 'adamw'.
        clip_norm: largest norm of the gradient over all weights; None for any.

    Returns:
        `nn.Optimizer`.

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
