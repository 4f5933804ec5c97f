"""An epoch of training crops."""

import tempfile
from pathlib import Path

import numpy as np

from fcn8s_ms import voc

from ..workloads import BATCH, drawn_pairs, write_pairs

# A third of VOC 2012's training list: MindSpore starts an epoch's iterator in 35 ms.
_IMAGES = 512


def ours(options):
    """An epoch of training crops from `SegDataset`, with the changes of `--augment`."""
    import cv2

    from fcn8s_ms.dataset import SegDataset

    cv2.setNumThreads(1)
    folder = tempfile.TemporaryDirectory()
    data = SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        _record(Path(folder.name)),
        batch_size=BATCH,
        num_readers=1,
        num_parallel_calls=options.workers,
        augmentations=augmentations(options),
        seed=1,
    )
    round_ = _drain(data.get_dataset())
    round_.folder = folder  # removed with the contestant
    return round_


def augmentations(options) -> tuple[str, ...]:
    """Names of the changes beyond the tutorial's.

    Raises:
        InputError: `--augment` has one that is unknown.
    """
    from fcn8s_ms.training.data_options import DataOptions

    return DataOptions(augment="" if options.augment == "none" else options.augment).augmentations()


def plain(options):
    """The same from a MindSpore pipeline with the tutorial's order of steps."""
    import cv2
    import mindspore.dataset as ds

    cv2.setNumThreads(1)
    folder = tempfile.TemporaryDirectory()
    dataset = ds.MindDataset(
        str(_record(Path(folder.name))),
        columns_list=["data", "label"],
        shuffle=True,
        num_parallel_workers=1,
    )
    dataset = dataset.map(
        lambda image, label: plain_steps(image, label, np.random, 512),
        input_columns=["data", "label"],
        output_columns=["data", "label"],
        num_parallel_workers=options.workers,
    )
    dataset = dataset.shuffle(10 * BATCH).batch(BATCH, drop_remainder=True)
    round_ = _drain(dataset)
    round_.folder = folder  # removed with the contestant
    return round_


def plain_steps(image, label, rng, crop: int):
    """The tutorial's preprocessing: normalises and pads the whole scaled image, then crops."""
    import cv2

    image = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    label = cv2.imdecode(np.frombuffer(label, np.uint8), cv2.IMREAD_GRAYSCALE)
    factor = rng.uniform(0.5, 2.0)
    size = (int(factor * image.shape[1]), int(factor * image.shape[0]))
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    mean, std = np.array(voc.IMAGE_MEAN, np.float32), np.array(voc.IMAGE_STD, np.float32)
    image = (image - mean) / std
    bottom, right = max(crop - image.shape[0], 0), max(crop - image.shape[1], 0)
    if bottom or right:
        border = cv2.BORDER_CONSTANT
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, border, value=0)
        label = cv2.copyMakeBorder(label, 0, bottom, 0, right, border, value=voc.IGNORE_LABEL)
    top = rng.randint(0, image.shape[0] - crop + 1)
    left = rng.randint(0, image.shape[1] - crop + 1)
    image = image[top : top + crop, left : left + crop]
    label = label[top : top + crop, left : left + crop]
    if rng.uniform(0, 1) > 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    image = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    return image, np.ascontiguousarray(label, np.int32)


def pytorch(options):
    """A torch DataLoader over the same OpenCV steps, in this package's cheap order."""
    import cv2
    import torch

    from fcn8s_ms import transforms

    cv2.setNumThreads(1)
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)

    class Crops(torch.utils.data.Dataset):
        def __init__(self):
            self.pairs = drawn_pairs(_IMAGES)

        def __len__(self):
            return len(self.pairs)

        def __getitem__(self, index):
            image, label = self.pairs[index]
            return transforms.augment(
                transforms.decode_image(image),
                transforms.decode_label(label),
                np.random.RandomState(index),
                table=table,
                crop_size=512,
                min_scale=0.5,
                max_scale=2.0,
                ignore_label=voc.IGNORE_LABEL,
            )

    loader = torch.utils.data.DataLoader(
        Crops(),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=True,
    )

    def round_():
        return sum(len(image) for image, _ in loader)

    return round_


def _record(folder: Path) -> Path:
    """Builds the record that the MindSpore pipelines read."""
    from fcn8s_ms import records

    record = folder / "pipeline.mindrecord"
    records.build_records(write_pairs(folder, drawn_pairs(_IMAGES)), record)
    return record


def _drain(dataset):
    """A round that reads one epoch."""

    # One epoch per iterator: a longer one would prepare the next round in the others' turns.
    def round_():
        iterator = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
        return sum(len(image) for image, _ in iterator)

    return round_
