"""Data of a training: fetched or drawn, opened, with classes and their weights."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import evaluation, fetch, files, loss, records, voc
from ..dataset import SegDataset
from ..distributed.ranks import Ranks
from ..errors import InputError, program
from ..records import demo
from . import precheck
from .arguments import Config
from .data_options import DataOptions
from .options import PROGRAM, OptimizerOptions

__all__ = ["TrainingData", "draw_sample", "fetch_data", "open_data"]

logger = logging.getLogger(__name__)

_REMEDIES = f"""
To get data, choose one of:
  {PROGRAM} --download
      fetches the tutorial's VOC+SBD records
  {program("build")} --voc-root DIR --split train --output FILE
      builds records of your own copy of VOC; then pass --data FILE
  {PROGRAM} --sample
      draws a small dataset and trains on it"""


@dataclass(frozen=True)
class TrainingData:
    """Opened datasets of a training.

    Attributes:
        train: random crops to train on; one of its batches is a step.
        accumulate: number of batches that a batch of `train` is divided into.
        val: whole images to validate on; None without validation.
        classes: class names.
        palette: uint8 (256, 3), RGB.
        class_weights: weights of the classes in the loss, float32 (C,); None for equal ones.
        val_state: `files.state_of` the record of `val` when it was opened.
    """

    train: SegDataset
    accumulate: int
    val: SegDataset | None
    classes: tuple[str, ...]
    palette: np.ndarray
    class_weights: np.ndarray | None
    val_state: tuple[int, ...] | None = None

    @property
    def network_batch(self) -> int:
        """Number of crops that the network sees at once on each rank."""
        return self.train.batch_size // self.accumulate

    def check_val_in_place(self) -> None:
        """Checks that the record to validate on is the one that was opened.

        The record to train on stays open, so that another one under its name does no harm; every
        validation opens its record again.

        Raises:
            InputError: it was replaced or deleted.
        """
        if self.val is not None and files.state_of(self.val.data_file) != self.val_state:
            raise InputError(
                f"{self.val.data_file} was replaced or deleted during the training, which stops: "
                "its scores would no longer be comparable. Put the old record back and continue "
                "with --resume, or start a new run"
            )


def fetch_data(config: Config, ranks: Ranks) -> Config:
    """Downloads the tutorial's published files, where they are missing.

    Args:
        config: configuration with `--download`.
        ranks: the processes that train together; the first one downloads.

    Returns:
        The configuration of a training that starts from the published weights, or from those of
        `--pretrained`.
    """
    weights = config.network.pretrained
    if ranks.is_first:
        url = config.data.download or fetch.BASE_URL
        fetch.fetch_data(base_url=url)
        weights = weights or fetch.fetch_checkpoint(fetch.VGG16_FILE, base_url=url)
    ranks.barrier()
    network = dataclasses.replace(config.network, pretrained=weights)
    return dataclasses.replace(config, network=network)


def draw_sample(config: Config, ranks: Ranks) -> Config:
    """Draws the sample and builds its records.

    Args:
        config: configuration with `--sample`.
        ranks: the processes that train together; the first one draws.

    Returns:
        The configuration of a training on these records.
    """
    if ranks.is_first:
        demo.build_records(demo.FOLDER, overwrite=True)
    ranks.barrier()
    train, val = (demo.FOLDER / f"{split}.mindrecord" for split in ("train", "val"))
    data = dataclasses.replace(config.data, data=train, val_data=val, sample=False)
    return dataclasses.replace(config, data=data)


def open_data(options: DataOptions, training: OptimizerOptions, ranks: Ranks) -> TrainingData:
    """Opens the datasets that the options name; every rank gets its shard.

    Args:
        options: files, classes and crops.
        training: batch size, class weights and seed.
        ranks: the processes that train together; all must call this.

    Raises:
        InputError: a file is missing or damaged, the files have different classes, the ranks read
            different files, or there are no class weights.
    """
    shard: dict[str, Any] = {}
    if ranks.size > 1:
        shard = {"num_shards": ranks.size, "shard_id": ranks.rank}
    num_samples = _count_samples(options.data)
    batch_size = _fitting_batch_size(options.data, num_samples, training, ranks)
    metadata = records.read_metadata(options.data)
    others = None if options.val_data is None else records.read_metadata(options.val_data)
    num_classes = precheck.count_classes(
        options.num_classes, options.data, metadata, options.val_data, others
    )
    train = SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        options.data,
        batch_size=batch_size,
        num_classes=num_classes,
        num_readers=min(2, options.workers),
        num_parallel_calls=options.workers,
        seed=training.seed,
        max_pixels=options.max_pixels,
        augmentations=options.augmentations(),
        **options.sizes,
        **shard,
    )
    val = None
    if options.val_data is not None:
        val = evaluation.whole_images(
            options.val_data,
            num_classes,
            options.workers,
            training.batch_size,
            max_pixels=options.max_pixels,
            **shard,
        )
    _check_same_everywhere(ranks, train, val)
    classes, palette = records.class_names(num_classes, metadata)
    weights = _class_weights(training.class_weights, classes, options.data, metadata)
    accumulate = max(batch_size // training.batch_size, 1)
    val_state = None if val is None else files.state_of(val.data_file)
    return TrainingData(train, accumulate, val, tuple(classes), palette, weights, val_state)


def _count_samples(data_file: Path) -> int:
    try:
        _, num_samples = records.open_record(data_file)
    except InputError as error:
        if data_file != fetch.DATA_FILE:
            raise
        raise InputError(f"{error}{_REMEDIES}") from error
    return int(num_samples)


def _fitting_batch_size(
    data_file: Path, num_samples: int, training: OptimizerOptions, ranks: Ranks
) -> int:
    """Returns the images per step and rank: as asked for, or fewer if there are not as many."""
    asked = training.batch_size * training.accumulate
    share = num_samples // ranks.size
    if not 0 < share < asked:
        return asked
    batch_size = min(training.batch_size * max(share // training.batch_size, 1), share)
    logger.warning(
        "%s has %d images: batches of %d instead of %d", data_file, num_samples, batch_size, asked
    )
    return batch_size


def _check_same_everywhere(ranks: Ranks, train: SegDataset, val: SegDataset | None) -> None:
    """Checks that every rank reads the same data, wherever its machine has them from."""
    images = [train.num_samples, 0 if val is None else val.num_samples]
    found = ranks.gather(np.array([*images, train.num_classes]))
    for rank, other in enumerate(found):
        if not np.array_equal(other, found[0]):
            raise InputError(
                f"{train.data_file}: numbers of training images, validation images and classes are "
                f"{other.tolist()} for rank {rank}, {found[0].tolist()} for rank 0; copy the same "
                "records to every machine"
            )


def _class_weights(
    asked: str, classes: tuple[str, ...], data_file: Path, metadata: Any
) -> np.ndarray | None:
    """Returns the weights that `--class-weights` asks for, None for equal ones."""
    if asked == "none":
        return None
    if asked != "auto":
        return loss.read_class_weights(asked, classes)
    if metadata is None or len(metadata.present_pixels) != len(classes):
        raise InputError(
            f"--class-weights auto needs counts of {len(classes)} classes in {data_file}.json, "
            f"which {program('build')} writes; build the data with it, or pass a file"
        )
    weights = loss.median_frequency_weights(metadata.pixel_counts, metadata.present_pixels)
    precheck.warn_of_weights(weights, classes)
    return weights
