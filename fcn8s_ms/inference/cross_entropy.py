"""Cross-entropy of logits on the host."""

import numpy as np

from ..voc import IGNORE_LABEL

__all__ = ["cross_entropy"]


def cross_entropy(logits: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Cross-entropy of every pixel, in natural logarithms.

    NumPy takes a tenth of the time that MindSpore's operators take on a CPU.

    Args:
        logits: float32 (N, C, H, W), finite.
        label: integers (N, H, W), 0…C-1, or the ignore label.

    Returns:
        float32 array (N, H, W); 0 where the label is ignored.
    """
    largest = logits.max(axis=1)
    total = np.zeros_like(largest)
    for number in range(logits.shape[1]):  # all planes of a large picture at once take gigabytes
        plane = logits[:, number] - largest
        total += np.exp(plane, out=plane)
    valid = label != IGNORE_LABEL
    chosen = np.where(valid, label, 0)[:, np.newaxis].astype(np.int64)
    losses = np.log(total) + largest - np.take_along_axis(logits, chosen, axis=1)[:, 0]
    return np.where(valid, losses, np.float32(0))
