"""Network of a training: built, its weights loaded, parts of it frozen or learning faster."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import nn

from .. import checkpoint, model
from ..errors import InputError
from ..formats import checkpoints
from ..network import batch_norm, cpu, freeze
from ..network.architectures import ARCHITECTURES, BACKBONES, VGG_WIDTHS
from .network_options import NetworkOptions
from .optimizer import is_bias

__all__ = ["build_network", "lr_factors"]


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
        InputError: the pretrained weights cannot be read, or are those of another network, or
            nothing is left to train.
    """
    pretrained, parameters = None, {}
    if load_pretrained and options.pretrained is not None:
        pretrained = checkpoints.chosen(options.pretrained)
        parameters = checkpoint.read(pretrained)
    ms.set_seed(seed)
    network = model.NETWORKS[options.arch](num_classes, **_arguments(options))
    lines = []
    if pretrained is not None:
        lines.append(_load(network, parameters, pretrained))
    lines += _freeze(network, options)
    if ms.get_context("device_target") == "CPU":
        cpu.accelerate(network)
    if sync_bn:
        lines.append(f"{batch_norm.synchronize_batch_norm(network)} BatchNorms synchronised")
    return network, lines


def lr_factors(network: nn.Cell, arch: str, factors: Mapping[str, float]) -> dict[str, float]:
    """Factors on the learning rate of the parameters that are trained.

    Args:
        network: network to train.
        arch: its name in `ARCHITECTURES`.
        factors: factor by part; that of 'bias' is for all biases, on top of their part's.

    Returns:
        Factor by name of the parameter; empty without factors.

    Raises:
        InputError: nothing of a part is trained.
    """
    if not factors:
        return {}
    part_of = ARCHITECTURES[arch].part_of
    found: dict[str, float] = {}
    used: set[str | None] = set()
    for parameter in network.trainable_params():
        kinds = {part_of(parameter.name), "bias" if is_bias(parameter.name) else None}
        found[parameter.name] = math.prod(factors[kind] for kind in factors if kind in kinds)
        used |= kinds
    for part in factors:
        if part not in used:
            raise InputError(
                f"--lr-factor {part}: no parameter of that kind is trained here; leave it out"
            )
    return found


def _arguments(options: NetworkOptions) -> dict[str, Any]:
    """Arguments of the network's class, besides the number of classes."""
    dropout = {} if options.dropout is None else {"dropout": options.dropout}
    if ARCHITECTURES[options.arch].family == "resnet":
        return {
            "width": options.resnet_width,
            "auxiliary": options.loss_weight_of_auxiliary > 0,
            **dropout,
        }
    if ARCHITECTURES[options.arch].family == "paper":
        at_once = {"at_once": True} if options.at_once else {}
        return {
            "widths": options.widths or VGG_WIDTHS,
            "fc_width": options.fc_width,
            "train_upsampling": options.train_upsampling,
            **at_once,
            **dropout,
        }
    return {
        "depths": BACKBONES[options.backbone],
        "widths": options.widths or VGG_WIDTHS,
        "fc_width": options.fc_width,
        "upsample_init": options.upsample_init,
        "skip_init": options.skip_init,
        **dropout,
    }


def _load(network: nn.Cell, parameters: dict[str, ms.Parameter], path: Path) -> str:
    """Loads what fits of the pretrained parameters; returns a line that reports it."""
    _check_scales(network, parameters, path)
    report = checkpoint.load_into(network, parameters)
    if not report.loaded:
        raise InputError(
            f"--pretrained {path} has no parameter of this network; is it a checkpoint of an FCN, "
            "or of VGG with an FCN's parameter names?"
        )
    return f"{path}: {report}"


def _check_scales(network: nn.Cell, parameters: dict[str, ms.Parameter], path: Path) -> None:
    """Refuses weights for other factors on pool4 and pool3 than those of the network."""
    own, found = network.parameters_dict().get("scales"), parameters.get("scales")
    if own is None or found is None or own.shape != found.shape:
        return
    if not (own.asnumpy() == found.asnumpy()).all():
        factors = " and ".join(f"{one:g}" for one in found.asnumpy())
        raise InputError(
            f"--pretrained {path} scores pool4 and pool3 times {factors}, unlike the network to "
            "train; give --at-once for 0.01 and 0.0001, leave it out for 1 and 1"
        )


def _freeze(network: nn.Cell, options: NetworkOptions) -> list[str]:
    """Freezes parts of a network; returns lines that name what is frozen and what is trained."""
    frozen: list[str] = []
    parts = ARCHITECTURES[options.arch].parts
    for part in (one for one in parts if one in options.freeze):
        frozen += freeze.freeze_part(network, parts[part])
    if options.freeze_bn:
        frozen += freeze.freeze_batch_norm(network)
    if not frozen:
        return []
    trained = [parameter.name for parameter in network.trainable_params()]
    if not trained:
        raise InputError("--freeze leaves nothing to train; leave out a part")
    return [
        f"{len(frozen)} parameters frozen: {', '.join(frozen)}",
        f"{len(trained)} parameters trained: {', '.join(trained)}",
    ]
