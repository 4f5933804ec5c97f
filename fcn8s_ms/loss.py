"""Cross-entropy over labelled pixels, and class weights that make up for rare classes."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Tensor, nn, ops

from . import files
from .errors import InputError, listing
from .voc import IGNORE_LABEL

__all__ = [
    "REDUCTIONS",
    "AuxiliaryLoss",
    "CrossEntropyLoss",
    "median_frequency_weights",
    "negative_log_likelihood",
    "read_class_weights",
    "relative_to_largest",
    "sum_of_classes",
]

REDUCTIONS = ("mean", "sum")
"""Ways to one number from the losses of the pixels."""


def median_frequency_weights(
    pixel_counts: npt.ArrayLike, present_pixels: npt.ArrayLike
) -> np.ndarray:
    """Weights that make up for rare classes: median(f) / f of every class.

    f is the share of the class in the labelled pixels of those images that hold it.

    Args:
        pixel_counts: labelled pixels of every class.
        present_pixels: labelled pixels of all classes in the images that hold the class.

    Returns:
        float32 array (C,); 1 for a class that does not occur.

    Source: Eigen and Fergus (arXiv 1411.4734); SegNet (arXiv 1511.00561) uses them on CamVid.
    """
    pixels = np.asarray(pixel_counts, np.float64)
    occurs = pixels > 0
    weights = np.ones(len(pixels))
    if occurs.any():
        frequency = pixels[occurs] / np.asarray(present_pixels, np.float64)[occurs]
        weights[occurs] = np.median(frequency) / frequency
    return weights.astype(np.float32)


def read_class_weights(path: files.PathLike, classes: Sequence[str]) -> np.ndarray:
    """Reads class weights: a JSON list in the order of the classes, or an object by their names.

    Args:
        path: the file.
        classes: class names.

    Returns:
        float32 array (C,).

    Raises:
        InputError: the file is missing, or does not have one weight of at least 0 per class.
    """
    found = files.read_json(path)
    if isinstance(found, dict):
        if set(found) != set(classes):
            odd = listing(sorted(set(found) ^ set(classes)))
            raise InputError(f"{path} and the data have different classes: {odd}")
        found = [found[name] for name in classes]
    numbers = isinstance(found, list) and all(type(value) in (int, float) for value in found)
    if not numbers or len(found) != len(classes):
        raise InputError(
            f"{path} needs a list of {len(classes)} numbers, or an object by class name"
        )
    # Compared before they are converted: Python's integers have no largest value.
    largest = float(np.finfo(np.float32).max)
    weights = np.asarray([value if 0 <= value <= largest else -1 for value in found], np.float32)
    if (weights < 0).any() or not weights.any():
        raise InputError(f"{path}: weights must be finite, 0 or more, and not all 0")
    return weights


def relative_to_largest(logits: Tensor) -> Tensor:
    """Returns float32 logits (N, C, H, W) minus the largest of each pixel: exp cannot overflow."""
    logits = ops.cast(logits, ms.float32)
    # The maximum is expanded explicitly: an operator that broadcasts keeps 16 bytes of indices per
    # logit.
    largest = ops.stop_gradient(_largest_class(logits))
    return logits - ops.broadcast_to(largest, logits.shape)


@ops.constexpr
def _on_cpu() -> bool:
    return ms.get_context("device_target") == "CPU"


def _largest_class(logits: Tensor) -> Tensor:
    """Returns the largest number of each pixel, (N, 1, H, W)."""
    if not _on_cpu():
        return ops.amax(logits, 1, keepdims=True)
    # One class after the other takes an eighth of the time of a CPU's own reduction.
    classes = ops.split(logits, 1, 1)
    largest = classes[0]
    for scores in classes[1:]:
        largest = ops.maximum(largest, scores)
    return largest


def sum_of_classes(numbers: Tensor) -> Tensor:
    """Returns the sums over axis 1 of float32 numbers (N, C, H, W), (N, H, W)."""
    if not _on_cpu():
        return ops.reduce_sum(numbers, 1)
    # A matrix product with ones takes a twelfth of the time of a CPU's own reduction.
    n, c, h, w = numbers.shape
    total = ops.bmm(ops.ones((n, 1, c), ms.float32), ops.reshape(numbers, (n, c, h * w)))
    return ops.reshape(total, (n, h, w))


def negative_log_likelihood(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of every pixel.

    Args:
        logits: Tensor (N, C, H, W) of any float type.
        label: int32 Tensor (N, H, W), values 0…C-1.

    Returns:
        float32 Tensor (N, H, W).
    """
    # log(sum(exp)) by hand: the gradient of log_softmax over an axis that is not the last takes
    # a fifth of a second per step on a CPU at crop 128, this a tenth of that.
    logits = relative_to_largest(logits)
    log_sum = ops.log(sum_of_classes(ops.exp(logits)))
    return log_sum - ops.squeeze(ops.gather_elements(logits, 1, ops.expand_dims(label, 1)), 1)


class CrossEntropyLoss(nn.Cell):
    """Mean, or sum, of the cross-entropy of the pixels that are not ignored.

    The mean differs from `nn.CrossEntropyLoss` in one case: a batch without a valid pixel has loss
    0 (and gradient 0) instead of NaN.

    Args:
        ignore_label: label of pixels that do not count.
        class_weights: one weight per class, or None for equal ones. The sum of the losses is
            divided by the sum of the valid pixels' weights, as in `nn.CrossEntropyLoss`: by the
            number of valid pixels without weights.
        ranks: number of processes that train together. Each divides by the mean of their sums of
            weights, so that the mean of their losses is the loss of all their images as one batch,
            and the mean of their gradients its gradient: a rank with few valid pixels counts less.
        reduction: 'mean' over pixels; or 'sum' over the pixels of each image, of which the images
            have the mean: the unnormalised loss of the FCN paper, 10^5 times as large.

    Inputs:
        logits: Tensor (N, C, H, W) of any float type; the loss is computed in float32.
        label: int32 Tensor (N, H, W), values 0…C-1 or `ignore_label`.

    Outputs:
        float32 Tensor (): the loss.
    """

    def __init__(
        self,
        ignore_label: int = IGNORE_LABEL,
        class_weights: "npt.ArrayLike | None" = None,
        ranks: int = 1,
        reduction: str = "mean",
    ):
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction is {reduction!r}; choose 'mean' or 'sum'")
        self.is_sum = reduction == "sum"
        self.ignore_label = ignore_label
        self.ranks = ranks
        self.all_reduce = ops.AllReduce() if ranks > 1 else None
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = Tensor(np.asarray(class_weights, np.float32))

    def construct(self, logits: Tensor, label: Tensor) -> Tensor:
        """Loss of logits (N, C, H, W) against labels (N, H, W): a number."""
        label, weight = self.weigh(label)
        losses = negative_log_likelihood(logits, label) * weight
        return self.divided(ops.reduce_sum(losses), weight)

    def weigh(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the label with class 0 in place of the ignore label, and each pixel's weight."""
        valid = ops.not_equal(label, self.ignore_label)
        label = ops.select(valid, label, ops.zeros_like(label))
        weight = ops.cast(valid, ms.float32)
        if self.class_weights is not None:
            weight = weight * ops.gather(self.class_weights, label, 0)
        return label, weight

    def divided(self, loss: Tensor, weight: Tensor) -> Tensor:
        """Divides a sum of losses by the sum of the pixels' weights, of all ranks, or by images."""
        if self.is_sum:
            return loss / weight.shape[0]
        total = ops.reduce_sum(weight)
        if self.all_reduce is not None:
            total = ops.reshape(self.all_reduce(ops.reshape(total, (1,))), ()) / self.ranks
        # Without a valid pixel the sum of losses is 0; so is the mean.
        return loss / ops.select(total > 0, total, ops.ones_like(total))


class AuxiliaryLoss(nn.Cell):
    """Loss of a network with an auxiliary head: loss(logits) + weight x loss(auxiliary logits).

    Args:
        loss: from logits and label to a number.
        weight: factor of the auxiliary head's loss.

    Inputs:
        outputs: tuple of two Tensors (N, C, H, W), the logits and those of the auxiliary head.
        label: as `loss` takes it.

    Outputs:
        As of `loss`.
    """

    def __init__(self, loss: nn.Cell, weight: float):
        super().__init__()
        self.loss = loss
        self.weight = weight

    def construct(self, outputs: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
        return self.loss(outputs[0], label) + self.weight * self.loss(outputs[1], label)
