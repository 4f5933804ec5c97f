"""Order in which the rows of a record are read: shuffled for training, or dealt out whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import mindspore.dataset as ds
import numpy as np

from .. import voc
from ..transforms import STRIDE
from .read import COLUMNS

__all__ = ["from_step", "in_shares", "is_filler", "names", "names_at", "shuffled"]


def shuffled(
    file: Path,
    columns: Sequence[str],
    *,
    seed: int,
    workers: int,
    num_shards: int = 1,
    shard_id: int = 0,
) -> ds.Dataset:
    """The rows in the order of training: every num_shards-th of one list, shuffled each epoch.

    Args:
        file: record file.
        columns: names of the columns to read.
        seed: seed of the order.
        workers: threads that read the file.
        num_shards: number of shares the rows are dealt to. MindRecord fills them up to equal length
            with rows that are in others already.
        shard_id: number of the share.
    """
    ds.config.set_seed(seed)
    return ds.MindDataset(
        str(file),
        columns_list=list(columns),
        num_parallel_workers=workers,
        shuffle=True,  # the whole file, anew in every epoch
        # One of one, too: without shards MindRecord shuffles otherwise from epoch 2 on.
        num_shards=num_shards,
        shard_id=shard_id,
    )


def from_step(dataset: ds.Dataset, first_step: int) -> ds.Dataset:
    """Lets a dataset of batches begin with a later one, numbered from 1 over all epochs."""
    if first_step > 1:
        # MindSpore could not skip faster through a shuffled dataset, and would say so.
        ds.config.set_fast_recovery(False)
        dataset.set_init_step(first_step - 1)
    return dataset


def names(file: Path) -> list[str]:
    """File names of all rows, in the order of the file."""
    dataset = ds.MindDataset(str(file), columns_list=["file_name"], shuffle=False)
    rows = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
    return [str(name) for (name,) in rows]


def names_at(dataset: ds.Dataset, batch_size: int, step: int) -> list[str]:
    """File names of the rows in a batch.

    The order follows from the seed, so it is gone through again with the names alone: no step pays
    for what only an error message needs.

    Args:
        dataset: rows in the order of training, of which only the file names are read.
        batch_size: rows of a batch; those that do not fill one are left out.
        step: number of the batch, from 1 and over all epochs.
    """
    batches = dataset.batch(batch_size, drop_remainder=True)
    epochs = -(-step // batches.get_dataset_size())
    iterator = from_step(batches, step).create_tuple_iterator(num_epochs=epochs, output_numpy=True)
    (found,) = next(iter(iterator))
    return [str(name) for name in found]


def in_shares(
    file: Path,
    num_samples: int,
    *,
    workers: int,
    num_shards: int | None = None,
    shard_id: int | None = None,
) -> ds.Dataset:
    """The rows in the order of the file, each in one share only.

    Args:
        file: record file.
        num_samples: number of its rows.
        workers: threads that read the file.
        num_shards: number of shares, filled up to equal length with rows that `is_filler` tells
            from others; None for one share.
        shard_id: number of the share.
    """
    options: dict[str, Any] = {}
    if num_shards is not None:
        options = {"num_shards": num_shards, "shard_id": shard_id}
        missing = -num_samples % num_shards
        if missing:
            ignored = np.full((STRIDE, STRIDE), voc.IGNORE_LABEL, np.uint8)
            png = cv2.imencode(".png", ignored)[1].tobytes()
            options["padded_sample"] = {"data": png, "label": png, "file_name": ""}
            options["num_padded"] = missing
    return ds.MindDataset(
        str(file),
        columns_list=list(COLUMNS),
        num_parallel_workers=workers,
        shuffle=False,
        **options,
    )


def is_filler(image: bytes, label: bytes) -> bool:
    """Tells the rows that only fill up a share: their image is their label."""
    return image == label
