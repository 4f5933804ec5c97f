"""Cross-entropy over labelled pixels."""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from .voc import IGNORE_LABEL

__all__ = ["CrossEntropyLoss"]


class CrossEntropyLoss(nn.Cell):
    """Mean cross-entropy of the pixels that are not ignored.

    Differs from `nn.CrossEntropyLoss` in one case: a batch without a valid pixel has loss 0 (and
    gradient 0) instead of NaN.

    Args:
        ignore_label: label that does not count.
        class_weights: a weight for every class, or None for equal ones. The sum of the losses is
            divided by the sum of the valid pixels' weights, as `nn.CrossEntropyLoss` does: without
            weights by the number of valid pixels.

    Inputs:
        logits: Tensor (N, C, H, W); computed in float32 whatever its type.
        label: int32 Tensor (N, H, W), values 0…C-1 or `ignore_label`.

    Outputs:
        float32 Tensor (): the loss.
    """

    def __init__(self, ignore_label: int = IGNORE_LABEL, class_weights=None):
        super().__init__()
        self.ignore_label = ignore_label
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = Tensor(np.asarray(class_weights, np.float32))

    def construct(self, logits, label):
        log_probability = ops.log_softmax(ops.cast(logits, ms.float32), 1)
        valid = ops.not_equal(label, self.ignore_label)
        label = ops.select(valid, label, ops.zeros_like(label))
        picked = ops.gather_elements(log_probability, 1, ops.expand_dims(label, 1))
        weight = ops.cast(valid, ms.float32)
        if self.class_weights is not None:
            weight = weight * ops.gather(self.class_weights, label, 0)
        total = ops.reduce_sum(weight)
        # Nothing valid: the numerator is 0, and so is the loss.
        total = ops.select(total > 0, total, ops.ones_like(total))
        return -ops.reduce_sum(ops.squeeze(picked, 1) * weight) / total
