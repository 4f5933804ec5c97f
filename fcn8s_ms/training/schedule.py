"""Learning rates as plain lists, one value a step."""

import math

__all__ = ["constant_lr", "cosine_lr", "polynomial_lr"]


def _warmed_up(decay, base_lr: float, min_lr: float, total_steps: int, warmup_steps: int):
    """A linear rise, then `decay` of the way from 0 to 1 between `base_lr` and `min_lr`."""
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
    """Half a cosine from `base_lr` to `min_lr`, after a linear warm-up.

    Args:
        base_lr: learning rate at the top of the cosine.
        min_lr: learning rate that the cosine ends at (reached in the last step).
        total_steps: length of the list, warm-up included.
        warmup_steps: steps that rise linearly to `base_lr`; the first is base_lr / warmup_steps.

    Returns:
        One learning rate a step.

    Raises:
        ValueError: no steps, more warm-up than steps, or `min_lr` above `base_lr`.

    Source: https://arxiv.org/abs/1608.03983, equation 5, without restarts.
    """
    return _warmed_up(
        lambda way: (1 + math.cos(math.pi * way)) / 2, base_lr, min_lr, total_steps, warmup_steps
    )


def polynomial_lr(
    base_lr: float,
    min_lr: float,
    total_steps: int,
    *,
    power: float = 0.9,
    warmup_steps: int = 0,
) -> list[float]:
    """(1 - the way covered)^power from `base_lr` to `min_lr`, after a linear warm-up.

    Args:
        base_lr: learning rate to begin with.
        min_lr: learning rate of the last step.
        total_steps: length of the list, warm-up included.
        power: 1 is a straight line; less keeps the learning rate up for longer.
        warmup_steps: as in `cosine_lr`.

    Returns:
        One learning rate a step.

    Raises:
        ValueError: as `cosine_lr`.

    Source: https://arxiv.org/abs/1606.00915, section 4.1 ("poly", power 0.9).
    """
    return _warmed_up(lambda way: (1 - way) ** power, base_lr, min_lr, total_steps, warmup_steps)


def constant_lr(base_lr: float, total_steps: int, *, warmup_steps: int = 0) -> list[float]:
    """`base_lr` in every step after a linear warm-up, as in the FCN paper.

    Args:
        base_lr: the learning rate.
        total_steps: length of the list, warm-up included.
        warmup_steps: as in `cosine_lr`.

    Returns:
        One learning rate a step.

    Raises:
        ValueError: no steps, or more warm-up than steps.
    """
    return _warmed_up(lambda way: 1, base_lr, base_lr, total_steps, warmup_steps)
