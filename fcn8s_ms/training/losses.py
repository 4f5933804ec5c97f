"""Losses of a training: cross-entropy and its variants, losses of regions, and sums of them.

Every loss leaves out ignored pixels and computes in float32 whatever the type of the logits. With
several ranks the mean of their losses is the loss of all their images as one batch, and the mean of
their gradients its gradient.
"""

import math
from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Tensor, nn, ops
from mindspore.communication import get_rank

from .. import loss as cross_entropy
from ..loss import negative_log_likelihood, relative_to_largest, sum_of_classes
from ..voc import IGNORE_LABEL

__all__ = [
    "DiceLoss",
    "FocalLoss",
    "LovaszLoss",
    "OhemLoss",
    "SmoothedLoss",
    "SumOfLosses",
    "make_loss",
]

_FOCUS = 2  # gamma of the focal loss
_EASY = 0.7  # probability of the right class from which OHEM leaves a pixel out
_LEAST_KEPT = 1 / 16  # share of the pixels that OHEM keeps at least
_HALVINGS = 20  # of the range in which OHEM's threshold is searched


class SmoothedLoss(cross_entropy.CrossEntropyLoss):
    """Cross-entropy with label smoothing: a share of the target is spread over all classes.

    Args:
        smoothing: that share, 0 to below 1.
        class_weights: weights by which the parts of a smoothed target count too, as in PyTorch.
        ignore_label: as for `CrossEntropyLoss`.
        ranks: as for `CrossEntropyLoss`.

    Source: Szegedy et al. (arXiv 1512.00567).
    """

    def __init__(
        self,
        smoothing: float,
        class_weights: npt.ArrayLike | None = None,
        ranks: int = 1,
        ignore_label: int = IGNORE_LABEL,
    ):
        super().__init__(ignore_label, class_weights, ranks)
        self.smoothing = smoothing

    def construct(self, logits: Tensor, label: Tensor) -> Tensor:
        valid = ops.cast(ops.not_equal(label, self.ignore_label), ms.float32)
        label, weight = self.weigh(label)
        losses = negative_log_likelihood(logits, label)
        chosen = self.choose(losses, valid)
        weight = weight * chosen
        loss = ops.reduce_sum(losses * weight)
        if self.smoothing > 0:
            # Every class has its own weight here; the divisor is of the labels' weights.
            spread = ops.reduce_sum(self.of_all_classes(logits) * chosen)
            loss = (1 - self.smoothing) * loss + self.smoothing * spread
        return self.divided(loss, weight)

    def choose(self, losses: Tensor, valid: Tensor) -> Tensor:
        """Returns the pixels that count, as float32 (N, H, W) of 0 and 1."""
        return valid

    def of_all_classes(self, logits: Tensor) -> Tensor:
        """Returns each pixel's mean over the classes of weight x cross-entropy, (N, H, W)."""
        logits = relative_to_largest(logits)
        classes = logits.shape[1]
        log_sum = ops.log(sum_of_classes(ops.exp(logits)))
        if self.class_weights is None:
            return log_sum - sum_of_classes(logits) / classes
        weights = ops.reshape(self.class_weights, (1, classes, 1, 1))
        weighted = sum_of_classes(logits * ops.broadcast_to(weights, logits.shape))
        return (ops.reduce_sum(self.class_weights) * log_sum - weighted) / classes


class FocalLoss(cross_entropy.CrossEntropyLoss):
    """Cross-entropy in which a pixel counts by (1 - p)^2, p being the probability of its label.

    The divisor is that of `CrossEntropyLoss`. Class weights take the place of the paper's alpha.

    Source: Lin et al. (arXiv 1708.02002), for one of several classes.
    """

    def construct(self, logits: Tensor, label: Tensor) -> Tensor:
        label, weight = self.weigh(label)
        losses = negative_log_likelihood(logits, label)
        losses = ops.pow(1 - ops.exp(-losses), _FOCUS) * losses
        return self.divided(ops.reduce_sum(losses * weight), weight)


class OhemLoss(SmoothedLoss):
    """Cross-entropy of the hard pixels only: online hard example mining.

    Hard are the pixels whose label has a probability below 0.7, or else the sixteenth of all valid
    pixels with the largest losses. The threshold is found by halving an interval, not by sorting;
    it is one for the images of all ranks.

    Source: Shrivastava et al. (arXiv 1604.03540), with the threshold and the least number of pixels
    that BiSeNet (arXiv 1808.00897) trains with.
    """

    def choose(self, losses: Tensor, valid: Tensor) -> Tensor:
        losses = ops.stop_gradient(losses)
        needed = _LEAST_KEPT * self.count(valid)
        low = ops.zeros_like(needed)
        high = low - math.log(_EASY)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_low = self.count(ops.cast(losses > middle, ms.float32) * valid) >= needed
            low = ops.select(is_low, middle, low)
            high = ops.select(is_low, high, middle)
        return ops.cast(losses > low, ms.float32) * valid

    def count(self, chosen: Tensor) -> Tensor:
        """Returns the number of chosen pixels of all ranks."""
        found = ops.reduce_sum(chosen)
        if self.all_reduce is not None:
            found = ops.reshape(self.all_reduce(ops.reshape(found, (1,))), ())
        return found


class _RegionLoss(nn.Cell):
    """Base of the losses that compare a class's region in the label with the predicted one.

    Args:
        class_weights: one weight per class in the mean over the classes, or None for equal ones.
        ranks: number of processes that train together.
        ignore_label: label of pixels that do not count.
    """

    def __init__(
        self,
        class_weights: npt.ArrayLike | None = None,
        ranks: int = 1,
        ignore_label: int = IGNORE_LABEL,
    ):
        super().__init__()
        self.ignore_label = ignore_label
        self.ranks = ranks
        self.all_reduce = ops.AllReduce() if ranks > 1 else None
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = Tensor(np.asarray(class_weights, np.float32))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns float32 probabilities (N, C, H, W)."""
        raised = ops.exp(relative_to_largest(logits))
        return raised / ops.broadcast_to(
            ops.expand_dims(ops.reduce_sum(raised, 1), 1), raised.shape
        )

    def regions(self, label: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Returns what is of each class, and what is valid: float32 (N, C, H, W), 0 and 1."""
        valid = ops.not_equal(label, self.ignore_label)
        label = ops.select(valid, label, ops.zeros_like(label))
        own = ops.one_hot(label, classes, Tensor(1.0, ms.float32), Tensor(0.0, ms.float32), 1)
        valid = ops.expand_dims(ops.cast(valid, ms.float32), 1)
        valid = ops.broadcast_to(valid, own.shape)
        return own * valid, valid

    def over_classes(self, losses: Tensor, pixels: Tensor) -> Tensor:
        """Returns the mean loss of the classes that occur, weighted by the class weights.

        Args:
            losses: loss of every class, (C,).
            pixels: number of its pixels in the labels of all ranks, (C,).
        """
        weight = ops.cast(pixels > 0, ms.float32)
        if self.class_weights is not None:
            weight = weight * self.class_weights
        total = ops.reduce_sum(weight)
        total = ops.select(total > 0, total, ops.ones_like(total))
        return ops.reduce_sum(losses * weight) / total


class DiceLoss(_RegionLoss):
    """1 - 2 |A and B| / (|A| + |B|) of each class, A being the label's region, B the predicted one.

    Regions are of all images of a step together, the predicted one made of probabilities; the loss
    is the mean over the classes that occur in the labels.

    Source: Milletari et al. (arXiv 1606.04797), with |B| as the sum of probabilities.
    """

    def construct(self, logits: Tensor, label: Tensor) -> Tensor:
        predicted = self.probabilities(logits)
        own, valid = self.regions(label, predicted.shape[1])
        common = _per_class(predicted * own)
        predicted = _per_class(predicted * valid)
        pixels = _per_class(own)
        if self.all_reduce is not None:
            # Its gradient is the sum over the ranks, of whose gradients the mean is taken.
            sums = self.all_reduce(ops.concat((common, predicted, pixels)))
            common, predicted, pixels = ops.split(sums, common.shape[0])
        both = predicted + pixels
        both = ops.select(both > 0, both, ops.ones_like(both))
        return self.over_classes(1 - 2 * common / both, pixels)


class LovaszLoss(_RegionLoss):
    """Lovász-Softmax: a convex extension of 1 - IoU of each class, over all images of a step.

    The loss is the mean over the classes that occur in the labels. It sorts the errors of every
    class; several ranks gather the errors of all.

    Source: Berman et al. (arXiv 1705.08790), algorithm 1.
    """

    def __init__(
        self,
        class_weights: npt.ArrayLike | None = None,
        ranks: int = 1,
        ignore_label: int = IGNORE_LABEL,
    ):
        super().__init__(class_weights, ranks, ignore_label)
        self.all_gather = ops.AllGather() if ranks > 1 else None
        # Which part of what all ranks gather is this one's.
        self.rank = get_rank() if ranks > 1 else 0

    def construct(self, logits: Tensor, label: Tensor) -> Tensor:
        predicted = self.probabilities(logits)
        classes = predicted.shape[1]
        own, valid = self.regions(label, classes)
        errors = _by_class(ops.abs(own - predicted) * valid)
        own, valid = _by_class(own), _by_class(valid)
        slopes, pixels = self.slopes(ops.stop_gradient(errors + valid - 1), own)
        # The loss is linear in the errors as long as their order stays.
        losses = ops.reduce_sum(errors * slopes, 1) * self.ranks
        return self.over_classes(losses, pixels)

    def slopes(self, errors: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the loss.

        Args:
            errors: errors of this rank, (C, pixels), -1 where a pixel is ignored.
            own: 1 for the pixels of the class, else 0.

        Returns:
            Derivatives by these errors, (C, pixels), and number of each class's pixels of all
            ranks, (C,).
        """
        count = errors.shape[1]
        if self.all_gather is not None:
            # Gathered along the first axis.
            errors = ops.transpose(self.all_gather(ops.transpose(errors, (1, 0))), (1, 0))
            own = ops.transpose(self.all_gather(ops.transpose(own, (1, 0))), (1, 0))
        _, order = ops.sort(errors, 1, True)
        hits = ops.gather_elements(own, 1, order)
        pixels = ops.reduce_sum(own, 1)
        total = ops.broadcast_to(ops.expand_dims(pixels, 1), hits.shape)
        # 1 - IoU if all pixels up to each one were wrong; the divisor is at least 1.
        jaccard = 1 - (total - ops.cumsum(hits, 1)) / (
            total + ops.cumsum(1 - hits, 1) + (total < 1)
        )
        steps = ops.concat((jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]), 1)
        slopes = ops.tensor_scatter_elements(ops.zeros_like(steps), order, steps, 1)
        slopes = slopes[:, self.rank * count : (self.rank + 1) * count]
        return ops.stop_gradient(slopes), pixels


def _per_class(planes: Tensor) -> Tensor:
    """Returns the sums (C,) of (N, C, H, W)."""
    # One after the other: over axes apart from one another, a CPU transposes first.
    return ops.reduce_sum(ops.reduce_sum(planes, (2, 3)), 0)


def _by_class(planes: Tensor) -> Tensor:
    """Returns (N, C, H, W) as (C, N x H x W)."""
    return ops.reshape(ops.transpose(planes, (1, 0, 2, 3)), (planes.shape[1], -1))


class SumOfLosses(nn.Cell):
    """Weighted sum of losses.

    Args:
        losses: from logits and label to a number each.
        weights: their factors.
    """

    def __init__(self, losses: Sequence[nn.Cell], weights: Sequence[float]):
        super().__init__()
        self.losses = nn.CellList(losses)
        self.weights = tuple(weights)

    def construct(self, logits: Tensor, label: Tensor) -> Tensor:
        total = ops.zeros((), ms.float32)
        for loss, weight in zip(self.losses, self.weights):
            total = total + weight * loss(logits, label)
        return total


def make_loss(
    terms: Sequence[tuple[float, str]],
    *,
    class_weights: npt.ArrayLike | None = None,
    smoothing: float = 0.0,
    ranks: int = 1,
    reduction: str = "mean",
) -> nn.Cell:
    """Returns the loss of a sum of terms.

    Args:
        terms: factor and name of each, as `OptimizerOptions.loss_terms` returns them.
        class_weights: one weight per class, or None for equal ones.
        smoothing: label smoothing of the terms 'ce' and 'ohem'.
        ranks: number of processes that train together.
        reduction: as for `CrossEntropyLoss`, of the term 'ce' without smoothing.
    """
    shared: dict[str, Any] = {"class_weights": class_weights, "ranks": ranks}

    def make(name: str) -> nn.Cell:
        if name == "focal":
            return FocalLoss(**shared)
        if name == "ohem":
            return OhemLoss(smoothing, **shared)
        if name == "dice":
            return DiceLoss(**shared)
        if name == "lovasz":
            return LovaszLoss(**shared)
        if smoothing:
            return SmoothedLoss(smoothing, **shared)
        return cross_entropy.CrossEntropyLoss(**shared, reduction=reduction)

    weights, names = zip(*terms)
    if weights == (1.0,):
        return make(names[0])
    return SumOfLosses([make(name) for name in names], weights)
