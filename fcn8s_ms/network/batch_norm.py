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
        network: Cell in which a `nn.BatchNorm2d` follows a `nn.Conv2d`: within a
            `nn.SequentialCell`, or as child `bnN` of a Cell with a child `convN`. It is changed in
            place, and is for inference only afterwards: its parameters have other names and no
            moving statistics.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: a BatchNorm does not follow a plain convolution, as in a network of
            `fcn8s_ms.network.cpu.accelerate`.
    """
    _fold_children(network)
    return network.set_train(False)


def _fold_children(cell: nn.Cell) -> None:
    for name, child in [*cell.name_cells().items()]:
        if isinstance(child, nn.BatchNorm2d):
            conv = name.replace("bn", "conv")
            _check_plain(name, getattr(cell, conv, None))
            setattr(cell, conv, _folded(getattr(cell, conv), child))
            setattr(cell, name, nn.Identity())
        elif isinstance(child, nn.SequentialCell):
            layers: list[nn.Cell] = []
            for layer in child:
                if isinstance(layer, nn.BatchNorm2d):
                    _check_plain(name, layers[-1] if layers else None)
                    layer = _folded(layers.pop(), layer)
                else:
                    _fold_children(layer)
                layers.append(layer)
            setattr(cell, name, nn.SequentialCell(layers))
        else:
            _fold_children(child)


def _check_plain(name: str, before: nn.Cell | None) -> None:
    if not isinstance(before, nn.Conv2d):
        raise ValueError(
            f"{name}: BatchNorm folds into a plain convolution; fold a network before it is "
            "accelerated"
        )


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
