"""Dropout whose masks follow from the numbers that enter it, so that a resumed run repeats them."""

import mindspore as ms
from mindspore import Tensor, nn, ops

__all__ = ["Dropout"]


class Dropout(nn.Cell):
    """Zeros in training a share of the numbers, and enlarges the others to keep the mean.

    MindSpore's own dropout draws from a generator that runs on within a process: a resumed run
    would draw other masks than one that was never interrupted. Here the mask is a hash of the seed,
    the position, and the digits of the sum of all numbers that enter, which differs from step to
    step and from rank to rank. There is no state to save.

    Args:
        p: share of the numbers that become 0; 0 for none.
        seed: sets the masks of layers apart.

    Inputs:
        x: float Tensor of any shape, with fewer than 2^31 numbers.

    Outputs:
        Tensor like `x`; `x` itself in evaluation mode.

    Raises:
        ValueError: `p` is not in 0…1, or is 1.
    """

    def __init__(self, p: float, seed: int = 0):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; a share below 1 of the numbers can become 0")
        self.p = p
        self.factor = 1 / (1 - p)
        self.limit = int(p * 2**64) - 2**63  # of int64 numbers, this share is below
        self.offset = (2 * seed + 1) * 0x9E3779B1

    def construct(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        total = ops.reduce_sum(ops.cast(ops.stop_gradient(x), ms.float32))
        # The 24 binary digits of the sum, whatever its size.
        exponent = ops.floor(ops.log(ops.abs(total) + 1e-37) / 0.6931471805599453)
        key = ops.cast(total * ops.pow(2.0, 23 - exponent), ms.int64)
        numbers = ops.arange(0, x.size, 1, dtype=ms.int64)
        mixed = _mixed(numbers + _mixed(key * 0x85EBCA6B + self.offset))
        kept = ops.cast(mixed >= self.limit, x.dtype)
        return x * ops.stop_gradient(ops.reshape(kept, x.shape) * self.factor)


def _mixed(numbers: Tensor) -> Tensor:
    """Hash of int64 numbers to int64, by its upper half: products, without their overflow."""
    numbers = numbers * -0x00AE502812AA7333
    return ops.bitwise_xor(numbers, numbers // 2**32) * -0x3B314601E57A13AD
