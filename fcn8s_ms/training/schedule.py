"""Schedules: the length of a training, and learning rates as plain lists, one value per step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .options import OptimizerOptions

__all__ = ["MAX_STEPS", "Length", "constant_lr", "cosine_lr", "learning_rates", "polynomial_lr"]

MAX_STEPS = 10_000_000
"""Largest number of steps of a training: each has a learning rate."""


@dataclass(frozen=True)
class Length:
    """Length of a training.

    Attributes:
        total_steps: steps of the whole run.
        epoch_steps: steps per epoch.
    """

    total_steps: int
    epoch_steps: int

    @classmethod
    def of(cls, options: "OptimizerOptions", epoch_steps: int) -> "Length":
        """Returns the length that `--steps` or `--epochs` asks for.

        Raises:
            InputError: there are more than 10 million steps, each of which has a learning rate.
        """
        total_steps = options.steps or epoch_steps * options.epochs
        if total_steps > MAX_STEPS:
            raise InputError(
                f"--epochs {options.epochs} makes {total_steps:,} steps; up to {MAX_STEPS:,} are "
                "possible: choose less, and train longer with --pretrained"
            )
        return cls(total_steps, epoch_steps)

    @property
    def epochs(self) -> int:
        """Number of epochs; the last one may be incomplete."""
        return -(-self.total_steps // self.epoch_steps)


def learning_rates(options: "OptimizerOptions", total_steps: int, factor: int = 1) -> list[float]:
    """Returns the learning rates of the schedule that `--schedule` names, one per step.

    Args:
        options: schedule, its limits and its warm-up; a warm-up ends with the training at the
            latest.
        total_steps: steps of the whole run.
        factor: factor on both limits.
    """
    base_lr, min_lr = factor * options.base_lr, factor * options.min_lr
    warmup_steps = min(options.warmup_steps, total_steps)
    if options.schedule == "constant":
        return constant_lr(base_lr, total_steps, warmup_steps=warmup_steps)
    if options.schedule == "polynomial":
        return polynomial_lr(
            base_lr, min_lr, total_steps, power=options.power, warmup_steps=warmup_steps
        )
    return cosine_lr(base_lr, min_lr, total_steps, warmup_steps=warmup_steps)


def _warmed_up(
    decay: Callable[[float], float],
    base_lr: float,
    min_lr: float,
    total_steps: int,
    warmup_steps: int,
) -> list[float]:
    """Returns a linear rise, followed by a fall from `base_lr` to `min_lr`.

    Args:
        decay: maps progress of the fall, 0 to 1, to the share of the fall that is still to come, 1
            to 0.
        base_lr: end of the rise.
        min_lr: end of the fall.
        total_steps: length of the list.
        warmup_steps: steps of the rise.
    """
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps}; at least one step is needed")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps is {warmup_steps}; choose 0…{total_steps}")
    if not 0 <= min_lr <= base_lr:
        raise ValueError(f"min_lr {min_lr} and base_lr {base_lr}: need 0 <= min_lr <= base_lr")
    warmup = [base_lr * (step + 1) / warmup_steps for step in range(warmup_steps)]
    last = total_steps - warmup_steps - 1
    return warmup + [
        min_lr + (base_lr - min_lr) * decay(step / max(last, 1)) for step in range(last + 1)
    ]


def cosine_lr(
    base_lr: float, min_lr: float, total_steps: int, *, warmup_steps: int = 0
) -> list[float]:
    """Returns half a cosine from `base_lr` to `min_lr`, after a linear warm-up.

    Args:
        base_lr: learning rate at the top of the cosine.
        min_lr: learning rate of the last step.
        total_steps: length of the list, including the warm-up.
        warmup_steps: steps of linear rise to `base_lr`; the first is base_lr / warmup_steps.

    Returns:
        One learning rate per step.

    Raises:
        ValueError: there are no steps, more warm-up than steps, or `min_lr` is above `base_lr`.

    Source: https://arxiv.org/abs/1608.03983, equation 5, without restarts.
    """
    return _warmed_up(
        lambda progress: (1 + math.cos(math.pi * progress)) / 2,
        base_lr,
        min_lr,
        total_steps,
        warmup_steps,
    )


def polynomial_lr(
    base_lr: float,
    min_lr: float,
    total_steps: int,
    *,
    power: float = 0.9,
    warmup_steps: int = 0,
) -> list[float]:
    """Returns a fall as (1 - progress)^power from `base_lr` to `min_lr`, after a linear warm-up.

    Args:
        base_lr: learning rate after the warm-up.
        min_lr: learning rate of the last step.
        total_steps: length of the list, including the warm-up.
        power: 1 falls in a straight line; less keeps the learning rate high for longer.
        warmup_steps: as in `cosine_lr`.

    Returns:
        One learning rate per step.

    Raises:
        ValueError: as `cosine_lr`.

    Source: https://arxiv.org/abs/1606.00915, section 4.1 ("poly", power 0.9).
    """
    return _warmed_up(
        lambda progress: (1 - progress) ** power, base_lr, min_lr, total_steps, warmup_steps
    )


def constant_lr(base_lr: float, total_steps: int, *, warmup_steps: int = 0) -> list[float]:
    """Returns `base_lr` for every step after a linear warm-up, as in the FCN paper.

    Args:
        base_lr: the learning rate.
        total_steps: length of the list, including the warm-up.
        warmup_steps: as in `cosine_lr`.

    Returns:
        One learning rate per step.

    Raises:
        ValueError: there are no steps, or more warm-up than steps.
    """
    return _warmed_up(lambda progress: 1, base_lr, base_lr, total_steps, warmup_steps)
