"""Freezing: parts of a network that training leaves unchanged."""

from mindspore import nn

__all__ = ["freeze_backbone", "freeze_batch_norm", "freeze_upsampling"]

_BACKBONE = ("conv1", "conv2", "conv3", "conv4", "conv5")


def freeze_batch_norm(network: nn.Cell) -> list[str]:
    """Freezes every BatchNorm: it normalises with its stored statistics and keeps them.

    Gamma and beta are frozen too. Call it before the network is compiled.

    Args:
        network: Cell.

    Returns:
        Names of the parameters that had a gradient before.
    """
    frozen = []
    for _, cell in network.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            cell.use_batch_statistics = False
            frozen += _without_gradient(cell)
    return frozen


def freeze_backbone(network: nn.Cell) -> list[str]:
    """Freezes conv1…conv5 of an FCN, and the statistics of their BatchNorms.

    Returns:
        Names of the parameters that had a gradient before.
    """
    frozen = []
    for name in _BACKBONE:
        stage = getattr(network, name)
        frozen += freeze_batch_norm(stage) + _without_gradient(stage)
    return frozen


def freeze_upsampling(network: nn.Cell) -> list[str]:
    """Freezes the transposed convolutions of an FCN.

    Initialised bilinearly, they are the fixed interpolation of section 4.3 of the paper,
    https://arxiv.org/abs/1411.4038.

    Returns:
        Names of the parameters that had a gradient before.
    """
    frozen = []
    for _, cell in network.cells_and_names():
        if isinstance(cell, nn.Conv2dTranspose):
            frozen += _without_gradient(cell)
    return frozen


def _without_gradient(cell: nn.Cell) -> list[str]:
    names = []
    for parameter in cell.trainable_params():
        parameter.requires_grad = False
        names.append(parameter.name)
    return names
