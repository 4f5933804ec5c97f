"""BatchNorm of a finished network: folded for inference, synchronised over devices."""

from collections.abc import Iterator

import numpy as np
from mindspore import Parameter, Tensor, nn

__all__ = ["fold_batch_norm", "moving_statistics", "synchronize_batch_norm"]


def fold_batch_norm(network: nn.Cell) -> nn.Cell:
    """Replaces every convolution followed by BatchNorm by one convolution with a bias.

    In evaluation mode BatchNorm is a factor and a shift for each channel, which the convolution's
    weight and a bias can carry: W' = W s, b' = beta - mean s with s = gamma / sqrt(variance + eps).

    Args:
        network: Cell whose children are `nn.SequentialCell`s with `nn.Conv2d` and `nn.BatchNorm2d`,
            such as `FCN8s`. It is changed in place, and is for inference only afterwards: its
            parameters have other names and no moving statistics.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: a BatchNorm does not follow a plain convolution, as in a network of
            `fcn8s_ms.network.cpu.accelerate`.
    """
    for name, stage in network.name_cells().items():
        if not isinstance(stage, nn.SequentialCell):
            continue
        layers: list[nn.Cell] = []
        for layer in stage:
            if isinstance(layer, nn.BatchNorm2d):
                if not layers or not isinstance(layers[-1], nn.Conv2d):
                    raise ValueError(
                        f"{name}: BatchNorm folds into a plain convolution; fold a network before "
                        "it is accelerated"
                    )
                layer = _folded(layers.pop(), layer)
            layers.append(layer)
        setattr(network, name, nn.SequentialCell(layers))
    return network.set_train(False)


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    factor = norm.gamma.asnumpy() / np.sqrt(norm.moving_variance.asnumpy() + norm.eps)
    bias = norm.beta.asnumpy() - norm.moving_mean.asnumpy() * factor
    if conv.has_bias:
        bias += conv.bias.asnumpy() * factor
    weight = conv.weight.asnumpy() * factor[:, np.newaxis, np.newaxis, np.newaxis]
    return nn.Conv2d(
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        pad_mode=conv.pad_mode,
        padding=conv.padding,
        dilation=conv.dilation,
        group=conv.group,
        has_bias=True,
        weight_init=Tensor(weight.astype(np.float32)),
        bias_init=Tensor(bias.astype(np.float32)),
    )


def _batch_norms(network: nn.Cell) -> Iterator[tuple[nn.Cell, str, nn.BatchNorm2d]]:
    """Yields (cell that holds it, its name there, BatchNorm) of those with batch statistics."""
    for _, cell in network.cells_and_names():
        for name, child in cell.name_cells().items():
            if isinstance(child, nn.BatchNorm2d) and child.use_batch_statistics is not False:
                yield cell, name, child


def moving_statistics(network: nn.Cell) -> list[Parameter]:
    """Moving mean and variance of every BatchNorm that is not frozen: what training changes."""
    found = []
    for _, _, norm in _batch_norms(network):
        found += [norm.moving_mean, norm.moving_variance]
    return found


def synchronize_batch_norm(network: nn.Cell) -> int:
    """Lets every BatchNorm that is not frozen normalise with the batch of all ranks together.

    For Ascend, and before the network is compiled. Parameters keep their names.

    Returns:
        Number of layers.
    """
    norms = list(_batch_norms(network))
    for cell, name, norm in norms:
        synchronized = nn.SyncBatchNorm(
            num_features=norm.num_features, eps=norm.eps, momentum=1 - norm.momentum
        )
        for parameter in ("gamma", "beta", "moving_mean", "moving_variance"):
            setattr(synchronized, parameter, getattr(norm, parameter))
        if isinstance(cell, nn.SequentialCell):
            cell[int(name)] = synchronized
        else:
            setattr(cell, name, synchronized)
    return len(norms)
