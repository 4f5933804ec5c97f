"""Bilinear interpolation as the weight of a transposed convolution."""

import numpy as np

__all__ = ["bilinear_kernel"]


def bilinear_kernel(channels: int, kernel_size: int) -> np.ndarray:
    """Weight of a transposed convolution that interpolates each channel bilinearly.

    Args:
        channels: input and output channels of the layer.
        kernel_size: side of the kernel, twice the stride.

    Returns:
        float32 array (channels, channels, kernel_size, kernel_size): the triangle filter where
        input and output channel agree, 0 elsewhere.

    Source: section 3.3 of the paper (initialisation of the upsampling layers).
    """
    centre = (kernel_size - 1) / 2
    factor = (kernel_size + 1) // 2
    line = 1 - np.abs(np.arange(kernel_size) - centre) / factor
    weight = np.zeros((channels, channels, kernel_size, kernel_size), np.float32)
    diagonal = np.arange(channels)
    weight[diagonal, diagonal] = np.outer(line, line)
    return weight
