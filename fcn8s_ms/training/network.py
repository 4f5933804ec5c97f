"""Network of a training: built, its weights loaded, and parts of it frozen."""

from pathlib import Path

import mindspore as ms
from mindspore import nn

from .. import checkpoint, model
from ..errors import InputError
from ..network import batch_norm, cpu, freeze
from ..network.architectures import BACKBONES, VGG_WIDTHS
from .network_options import NetworkOptions

__all__ = ["build_network"]


def build_network(
    options: NetworkOptions,
    num_classes: int,
    *,
    seed: int,
    sync_bn: bool = False,
    load_pretrained: bool = True,
) -> tuple[nn.Cell, list[str]]:
    """Builds the network that a training starts from.

    Args:
        options: architecture, sizes, initial weights and frozen parts.
        num_classes: number of classes.
        seed: seed of the initial weights.
        sync_bn: whether BatchNorm normalises with the batch of all processes together.
        load_pretrained: whether to load the weights of `--pretrained`, if there are any.

    Returns:
        The network, and lines that report what was loaded, frozen and synchronised.

    Raises:
        InputError: the pretrained weights cannot be read, or are those of another network.
    """
    pretrained = options.pretrained if load_pretrained else None
    parameters = {} if pretrained is None else checkpoint.read(pretrained)
    ms.set_seed(seed)
    network = model.NETWORKS[options.arch](
        num_classes,
        depths=BACKBONES[options.backbone],
        widths=options.widths or VGG_WIDTHS,
        fc_width=options.fc_width,
        upsample_init=options.upsample_init,
        skip_init=options.skip_init,
    )
    lines = []
    if pretrained is not None:
        lines.append(_load(network, parameters, pretrained))
    lines += _freeze(network, options)
    if ms.get_context("device_target") == "CPU":
        cpu.accelerate(network)
    if sync_bn:
        lines.append(f"{batch_norm.synchronize_batch_norm(network)} BatchNorms synchronised")
    return network, lines


def _load(network: nn.Cell, parameters: dict[str, ms.Parameter], path: Path) -> str:
    """Loads what fits of the pretrained parameters; returns a line that reports it."""
    report = checkpoint.load_into(network, parameters)
    if not report.loaded:
        raise InputError(
            f"--pretrained {path} has no parameter of this network; is it a checkpoint of an FCN, "
            "or of VGG with an FCN's parameter names?"
        )
    return f"{path}: {report}"


def _freeze(network: nn.Cell, options: NetworkOptions) -> list[str]:
    """Freezes parts of a network; returns lines that name what is frozen and what is trained."""
    frozen: list[str] = []
    if "backbone" in options.freeze:
        frozen += freeze.freeze_backbone(network)
    if "upsampling" in options.freeze:
        frozen += freeze.freeze_upsampling(network)
    if options.freeze_bn:
        frozen += freeze.freeze_batch_norm(network)
    if not frozen:
        return []
    trained = [parameter.name for parameter in network.trainable_params()]
    return [
        f"{len(frozen)} parameters frozen: {', '.join(frozen)}",
        f"{len(trained)} parameters trained: {', '.join(trained)}",
    ]
