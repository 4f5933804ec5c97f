"""Predictions for the images of a record: computed by a network, or read from masks."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import records, transforms, voc
from ..errors import InputError, listing
from ..records import encode

if TYPE_CHECKING:  # it loads MindSpore
    from ..dataset import SegDataset

__all__ = [
    "Prediction",
    "predict_dataset",
    "predict_first",
    "read_predictions",
    "tutorial_crops",
    "whole_images",
]


def whole_images(
    data_file, num_classes: int, workers: int, batch_size: int = 1, **shard
) -> "SegDataset":
    """The dataset to evaluate on: every image of a record once, whole; `shard` as `SegDataset`."""
    from ..dataset import SegDataset

    return SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        data_file,
        batch_size=batch_size,
        num_classes=num_classes,
        num_readers=1,
        num_parallel_calls=workers,
        training=False,
        **shard,
    )


def tutorial_crops(
    data_file, num_classes: int, workers: int, *, batch_size: int, crop_size: int, seed: int
) -> "SegDataset":
    """The dataset that the tutorial evaluates on: random crops, as in training."""
    from ..dataset import SegDataset

    return SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        data_file,
        batch_size=batch_size,
        crop_size=crop_size,
        num_classes=num_classes,
        num_readers=min(2, workers),
        num_parallel_calls=workers,
        seed=seed,
    )


class Prediction(NamedTuple):
    """An image of a record and what was predicted for it.

    `image` is uint8 (H, W, 3) BGR; `label` and `ids` are uint8 (H, W).
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    ids: np.ndarray


def predict_dataset(predictor, data: "SegDataset"):
    """What a predictor says of every image of a dataset, at most `data.batch_size` at once.

    Args:
        predictor: `fcn8s_ms.inference.Predictor`.
        data: of `whole_images`.

    Yields:
        `Prediction`, in the order in which batches of one size are complete.

    Raises:
        InputError: a sample cannot be decoded.
    """
    images = ((sample, sample[1]) for sample in data.whole_samples())
    for sample, ids in predictor.many(images, data.batch_size):
        yield Prediction(*sample, ids)


def read_predictions(folder, data: "SegDataset"):
    """Masks of class ids that anything has made for the images of a dataset.

    Args:
        folder: holds NAME.png or NAME_mask.png for every image NAME of the record: gray or palette
            PNGs of class ids, of the image's size.
        data: of `whole_images`.

    Yields:
        `Prediction`, in the order of the record.

    Raises:
        InputError: masks are missing (all are named), or one cannot be read, has another size, or
            gives a labelled pixel an id that is no class.
    """
    folder = Path(folder)
    paths, missing = {}, []
    for name in data.names():
        stem = folder / Path(name).with_suffix("") if _is_image(name) else folder / name
        found = [path for path in (_png(stem, ""), _png(stem, "_mask")) if path.is_file()]
        if len(found) > 1:
            raise InputError(f"{found[0]} and {found[1].name} are for one image; keep one")
        missing += [] if found else [_png(stem, "").name]
        paths[name] = found[0] if found else None
    if missing:
        raise InputError(
            f"{folder.absolute()} lacks {len(missing)} of {len(paths)} masks: {listing(missing)}; "
            "put them there, under the names of the record's images"
        )
    masks = encode.MaskReader([str(number) for number in range(255)], mask_values="ids")
    for name, image, label in data.whole_samples():
        ids = masks.read(paths[name])
        if ids.shape != label.shape:
            raise InputError(
                f"{paths[name].absolute()} is {ids.shape[1]}x{ids.shape[0]}, the image "
                f"{label.shape[1]}x{label.shape[0]}; save predictions at the image's own size"
            )
        foreign = np.unique(ids[(label < data.num_classes) & (ids >= data.num_classes)])
        if foreign.size:
            raise InputError(
                f"{paths[name].absolute()} has ids {listing(foreign)} where a class is asked for; "
                f"classes are 0…{data.num_classes - 1}: give every pixel one of them"
            )
        yield Prediction(name, image, label, ids)


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in transforms.IMAGE_SUFFIXES


def _png(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}{ending}.png")


def predict_first(predictor, data_file, count: int) -> list:
    """The first images of a record with truth and prediction.

    Returns:
        List of (image, truth, prediction): uint8 (H, W, 3) BGR, uint8 (H, W) twice.
    """
    result = []
    for _, encoded_image, encoded_label in records.read_samples(data_file, count):
        image = transforms.decode_image(encoded_image)
        result.append((image, transforms.decode_label(encoded_label), predictor(image)))
    return result
