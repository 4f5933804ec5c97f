"""Optimizers, with or without gradient clipping and learning rates of single parameters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn, ops

__all__ = ["AdamW", "is_bias", "make_optimizer"]


def is_bias(name: str) -> bool:
    """Returns whether a parameter is the bias of a layer, by its name; BatchNorm has none."""
    return name.endswith(".bias")


def _is_batch_norms(name: str) -> bool:
    return name.endswith((".gamma", ".beta"))


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
        params: trainable parameters, or groups of them with a learning rate each.
        learning_rate: one value per step, or one for all.
        weight_decay: decay per step, times the learning rate; for groups, one per parameter.
        clip_norm: upper limit for the norm of the gradient over all weights; None for no limit.

    Inputs:
        gradients: tuple of Tensors, one per parameter.

    Source: https://arxiv.org/abs/1711.05101, algorithm 2, with a schedule that includes the
    learning rate.
    """

    def __init__(
        self,
        params: Sequence[Parameter] | Sequence[dict[str, Any]],
        learning_rate: Sequence[float] | float,
        weight_decay: float | tuple[float, ...],
        clip_norm: float | None = None,
    ):
        # Its own decay is an L2 penalty.
        if isinstance(params[0], dict):
            params = [
                {key: value for key, value in group.items() if key != "weight_decay"}
                for group in params
            ]
        super().__init__(params=params, learning_rate=learning_rate, weight_decay=0.0)
        self.decoupled_decay: Any = weight_decay
        self.clip_norm = clip_norm

    @ms.jit
    def construct(self, gradients: tuple[ms.Tensor, ...]) -> Any:
        if self.clip_norm is not None:
            gradients = ops.clip_by_global_norm(gradients, self.clip_norm)
        if self.is_group:
            for parameter, rate, decay in zip(
                self._parameters, self.get_lr(), self.decoupled_decay
            ):
                if decay > 0:
                    ops.assign(parameter, parameter * (1 - rate * decay))
        else:
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
    factors: Mapping[str, float] | None = None,
    bias_decay: bool = True,
) -> nn.Optimizer:
    """Returns the optimizer of a name.

    Args:
        name: 'momentum' (the tutorial's) or 'adamw'.
        params: trainable parameters.
        learning_rate: one value per step.
        momentum: coefficient, for 'momentum' only.
        weight_decay: L2 penalty for 'momentum', which gamma and beta of BatchNorm do not get;
            decoupled decay for 'adamw'.
        clip_norm: upper limit for the norm of the gradient over all weights; None for no limit.
        factors: factors on the learning rate by name of the parameter; without one it is 1.
        bias_decay: whether biases, and with 'adamw' gamma and beta, get the weight decay.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in ("momentum", "adamw"):
        raise ValueError(f"optimizer {name!r} is unknown; choose 'momentum' or 'adamw'")
    groups: Any = params
    decays: Any = weight_decay
    if factors or not bias_decay:
        params = list(params)

        def decays_of(one: Parameter) -> bool:
            # Without groups, MindSpore's momentum makes the same exception.
            if _is_batch_norms(one.name):
                return bias_decay and name == "adamw"
            return bias_decay or not is_bias(one.name)

        decays = tuple(weight_decay if decays_of(one) else 0.0 for one in params)
        groups = _groups(params, learning_rate, factors or {}, decays)
    if name == "adamw":
        return AdamW(groups, learning_rate, decays, clip_norm)
    arguments = {
        "params": groups,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "weight_decay": weight_decay,
    }
    if clip_norm is None:
        return nn.Momentum(**arguments)
    return _ClippedMomentum(clip_norm, **arguments)


def _groups(
    params: Sequence[Parameter],
    learning_rate: Sequence[float],
    factors: Mapping[str, float],
    decays: Iterable[float],
) -> list[dict[str, Any]]:
    """Groups parameters by factor and decay; the optimizer still keeps their order."""
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for parameter, decay in zip(params, decays):
        groups.setdefault((factors.get(parameter.name, 1.0), decay), []).append(parameter)
    rates = np.asarray(learning_rate)
    return [
        *(
            {"params": members, "lr": factor * rates, "weight_decay": decay}
            for (factor, decay), members in groups.items()
        ),
        {"order_params": params},
    ]
