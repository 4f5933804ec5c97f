"""BatchNorm for weights that were trained without it, from statistics of one's own images.

A BatchNorm that only adds the source's bias keeps the features in evaluation mode, and changes all
of them as soon as training normalises with the statistics of the batch. Here each gets the mean m
and the variance v that the output y of its convolution has on crops of the data to train on:

    relu(gamma (y - m) / sqrt(v + eps) + beta),  gamma = sqrt(v + eps) / s,  beta = (m + bias) / s

are the source's features relu(y + bias), divided by s, in both modes: m and v are what a batch has,
about. The divisor s is the standard deviation of the layer's features, so that every layer gives
numbers of about 1: those of the original VGG reach thousands, which layers after it that have no
BatchNorm, such as the scores of pool3 and pool4, turn into a loss that diverges. The next layer
sees features divided by s; its m, v and bias follow from that.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from mindspore import Tensor, ops

from ..errors import InputError
from .vgg_weights import BATCH_NORM_EPSILON

__all__ = ["calibrate"]

_BATCH = 4
_STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "conv7")
_POOLED = _STAGES[:5]


def calibrate(
    parameters: Mapping[str, np.ndarray], crops: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Gives the BatchNorms of a converted backbone the statistics of crops.

    Args:
        parameters: float32 arrays by this network's names, as `vgg_weights.convert` returns them
            for a source without BatchNorm: beta is the source's bias.
        crops: normalised images, float32 (3, H, W) of one size, a multiple of 32.

    Returns:
        The same names with new gamma, beta, moving_mean and moving_variance. In evaluation mode the
        features of each layer are the source's, divided by one number per layer.

    Raises:
        InputError: there are fewer than two crops, or a layer gives the same number everywhere.
    """
    if len(crops) < 2:
        raise InputError(f"{len(crops)} crops give no statistics; take at least 2")
    found = dict(parameters)
    features = [np.stack(crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
    before = 1.0  # what the features that enter a layer are divided by
    for stage in _STAGES:
        for layer, norm in _layers(parameters, stage):
            weight = Tensor(parameters[f"{layer}.weight"])
            side = weight.shape[2]
            bias = parameters[f"{norm}.beta"].astype(np.float64)
            conv = ops.Conv2D(out_channel=weight.shape[0], kernel_size=side, pad_mode="same")
            outputs = [conv(Tensor(one), weight).asnumpy() for one in features]
            mean, variance = _moments(outputs)
            # Of the source's features: the outputs are its own, divided by `before`.
            shift = (bias / before).astype(np.float32)[:, np.newaxis, np.newaxis]
            features = [np.maximum(one + shift, 0, out=one) for one in outputs]
            scale = _deviation(features)
            if not scale > 0:
                raise InputError(
                    f"{layer} gives the same number everywhere on the crops; are the weights and "
                    "the images those that belong together?"
                )
            for one in features:
                one /= np.float32(scale)
            deviation = np.sqrt(variance + BATCH_NORM_EPSILON)
            new = {
                "gamma": deviation / scale,
                "beta": (mean + bias / before) / scale,
                "moving_mean": mean,
                "moving_variance": variance,
            }
            found.update({f"{norm}.{name}": one.astype(np.float32) for name, one in new.items()})
            before *= scale
        if stage in _POOLED:
            features = [_pooled(one) for one in features]
    return found


def _layers(parameters: Mapping[str, np.ndarray], stage: str) -> Iterator[tuple[str, str]]:
    """Names of a stage's convolutions and of the BatchNorms after them."""
    place = 0
    while f"{stage}.{place}.weight" in parameters:
        yield f"{stage}.{place}", f"{stage}.{place + 1}"
        place += 3


def _pooled(array: np.ndarray) -> np.ndarray:
    """Maximum of each 2x2 block."""
    n, c, h, w = array.shape
    blocks: np.ndarray = array.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))
    return blocks


def _moments(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel: float64 (C,)."""
    count = sum(one.size // one.shape[1] for one in arrays)
    axes = (0, 2, 3)
    mean = sum(one.sum(axis=axes, dtype=np.float64) for one in arrays) / count
    squares = sum(
        np.square(one - mean.astype(np.float32)[:, np.newaxis, np.newaxis]).sum(
            axis=axes, dtype=np.float64
        )
        for one in arrays
    )
    return mean, squares / count


def _deviation(arrays: Sequence[np.ndarray]) -> float:
    """Standard deviation of all numbers together."""
    count = sum(one.size for one in arrays)
    mean = sum(float(one.sum(dtype=np.float64)) for one in arrays) / count
    squares = sum(float(np.square(one - np.float32(mean)).sum(dtype=np.float64)) for one in arrays)
    return float(np.sqrt(squares / count))
