"""Data and settings that do not suit one another, found before anything is compiled."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import fetch, voc
from ..errors import InputError, listing, program
from ..network import layers
from ..network.architectures import (
    ARCHITECTURES,
    BACKBONES,
    RESNET_DEPTHS,
    VGG_WIDTHS,
    Dimensions,
    PaperDimensions,
    ResNetDimensions,
    VggDimensions,
)
from ..records import Metadata
from ..records.overlap import shared_images
from .data_options import DataOptions
from .network_options import NetworkOptions

__all__ = [
    "check_batch_norm",
    "count_classes",
    "dimensions",
    "warn_of_shared_images",
    "warn_of_weights",
]

logger = logging.getLogger(__name__)

_LARGE_WEIGHT = 20.0
_SHOWN_CLASSES = 5


def count_classes(
    asked: int | None,
    data: Path,
    metadata: Metadata | None,
    val_data: Path | None = None,
    val_metadata: Metadata | None = None,
) -> int:
    """Returns the number of classes to train; a warning names a record that does not tell it.

    Args:
        asked: value of `--num-classes`, None without it.
        data: record to train on.
        metadata: its metadata, None without.
        val_data: record to validate on, None without.
        val_metadata: its metadata, None without.

    Raises:
        InputError: a record has other classes than those asked for, or than the other one.
    """
    if metadata is not None and val_metadata is not None:
        if metadata.classes != val_metadata.classes:
            raise InputError(
                f"{data} and {val_data} have different classes; build both with the same --classes"
            )
    for file, found in ((data, metadata), (val_data, val_metadata)):
        if asked is not None and found is not None and len(found.classes) != asked:
            raise InputError(
                f"--num-classes is {asked}, but {file} has {len(found.classes)} classes "
                f"({listing(found.classes, _SHOWN_CLASSES)}); leave --num-classes out"
            )
    if metadata is not None:
        return len(metadata.classes)
    if asked is not None:
        return asked
    if val_metadata is not None:
        return len(val_metadata.classes)
    if data.name != fetch.DATA_FILE.name:  # the published one has VOC's
        logger.warning(
            "%s has no .json next to it that names its classes: they are taken for VOC's %d. If it "
            "was copied, copy %s.json too; otherwise pass --num-classes",
            data,
            voc.NUM_CLASSES,
            data.name,
        )
    return voc.NUM_CLASSES


def warn_of_shared_images(data: Path, val_data: Path) -> None:
    """Warns of images that are validated on although they are trained on.

    Args:
        data: record to train on, opened before.
        val_data: record to validate on, likewise.
    """
    shared, by_content = shared_images(data, val_data)
    if shared:
        logger.warning(
            "%d images of %s are in %s too (the same %s): scores on them say nothing about new "
            "images. To deal the images out: %s … --val-fraction 0.15 --val-output FILE",
            shared,
            val_data,
            data,
            "files" if by_content else "names",
            program("build"),
        )


def warn_of_weights(weights: np.ndarray, classes: Sequence[str]) -> None:
    """Warns of classes so rare that their weight in the loss outdoes all others.

    Args:
        weights: weights of the classes that `--class-weights auto` gives, float32 (C,).
        classes: names of the classes.
    """
    large = [
        f"{name} {weight:.3g}" for name, weight in zip(classes, weights) if weight > _LARGE_WEIGHT
    ]
    if large:
        logger.warning(
            "class weights above %g: %s. A few pixels of such a class outweigh an image of the "
            "others; if the loss jumps, pass lower weights with --class-weights FILE",
            _LARGE_WEIGHT,
            listing(large),
        )


def dimensions(options: NetworkOptions, num_classes: int) -> Dimensions:
    """Returns the sizes of the network that the options ask for.

    Args:
        options: architecture and widths.
        num_classes: number of classes.
    """
    family = ARCHITECTURES[options.arch].family
    if family == "resnet":
        return ResNetDimensions(
            options.arch,
            num_classes,
            RESNET_DEPTHS[options.arch],
            options.resnet_width,
            options.loss_weight_of_auxiliary > 0,
        )
    widths = tuple(options.widths or VGG_WIDTHS)
    if family == "paper":
        return PaperDimensions(options.arch, num_classes, widths, options.fc_width)
    depths = BACKBONES[options.backbone]
    return VggDimensions(options.arch, num_classes, depths, widths, options.fc_width)


def _norm_of_one_value(options: NetworkOptions, batch: int, size: tuple[int, int]) -> str | None:
    """Returns the first BatchNorm that learns from one value per channel; None without one."""
    if options.freeze_bn:
        return None
    architecture = ARCHITECTURES[options.arch]
    for layer in layers.layers(dimensions(options, 2), *size):
        name = layer.batch_norm
        if name is None or architecture.part_of(f"{name}.") in options.freeze:
            continue
        if batch * layer.height * layer.width == 1:
            return name
    return None


def check_batch_norm(options: NetworkOptions, batch: int, data: DataOptions, images: int) -> None:
    """Checks that every BatchNorm that learns sees several values per channel.

    The variance of one value is 0 and the unbiased one, which the moving variance takes, is not a
    number; training would stop after its first step for a reason that looks like another.

    Args:
        options: network to train.
        batch: crops that the network sees at once.
        data: size of the crops.
        images: number of images in the record.

    Raises:
        InputError: one sees a single value.
    """
    name = _norm_of_one_value(options, batch, data.sample_size)
    if name is None:
        return
    step = max(ARCHITECTURES[options.arch].multiple, 8)
    height, width = data.sample_size
    larger = [str((side // step + 1) * step) for side in data.sample_size]
    if data.resize_to is None:
        larger = larger[:1]
    remedies = ["--batch-size 2"] if images > 1 else []
    remedies.append(f"{data.sample_flag} {' '.join(larger)}")
    remedies.append("--freeze-bn (with --pretrained weights)")
    raise InputError(
        f"{name}, a BatchNorm of {options.arch}, would get one value per channel from a batch of "
        f"one {height}x{width} crop, and one value has no variance to normalise by; take "
        f"{', '.join(remedies[:-1])} or {remedies[-1]}"
    )
