"""Freezing: parts of a network that training leaves unchanged."""

from collections.abc import Iterable

from mindspore import Parameter, nn

__all__ = ["freeze_batch_norm", "freeze_part"]


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
            frozen += _without_gradient(cell.trainable_params())
    return frozen


def freeze_part(network: nn.Cell, prefixes: tuple[str, ...]) -> list[str]:
    """Freezes the parameters of a part, and the statistics of its BatchNorms.

    Call it before the network is compiled.

    Args:
        network: Cell.
        prefixes: of the names of the part's parameters, as in
            `network.architectures.Architecture.parts`.

    Returns:
        Names of the parameters that had a gradient before.
    """
    for name, cell in network.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d) and f"{name}.".startswith(prefixes):
            cell.use_batch_statistics = False
    return _without_gradient(
        one for one in network.trainable_params() if one.name.startswith(prefixes)
    )


def _without_gradient(parameters: Iterable[Parameter]) -> list[str]:
    names = []
    for parameter in parameters:
        parameter.requires_grad = False
        names.append(parameter.name)
    return names
