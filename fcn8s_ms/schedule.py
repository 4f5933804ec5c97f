"""Learning rates as plain lists, one value a step."""

import math

__all__ = ["cosine_lr"]


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
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps}; at least one step is needed")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps is {warmup_steps}; choose 0…{total_steps}")
    if not 0 <= min_lr <= base_lr:
        raise ValueError(f"min_lr {min_lr} and base_lr {base_lr}: need 0 <= min_lr <= base_lr")
    warmup = [base_lr * (step + 1) / warmup_steps for step in range(warmup_steps)]
    decay_steps = total_steps - warmup_steps
    decay = [
        min_lr + (base_lr - min_lr) * (1 + math.cos(math.pi * step / max(decay_steps - 1, 1))) / 2
        for step in range(decay_steps)
    ]
    return warmup + decay
