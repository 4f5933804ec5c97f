"""The demo dataset: drawn, in PASCAL VOC's layout, for a first run without a download."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import PathLike
from ..formats import paths
from ..visualize import write_mask
from ..voc import palette
from . import sources, write
from .scenes import CLASSES, draw_scene

__all__ = [
    "CLASSES",
    "FOLDER",
    "NUM_TRAIN",
    "NUM_VAL",
    "PRESET",
    "SEED",
    "build_records",
    "draw_scene",
    "write_dataset",
]

FOLDER = Path("dataset/fcn8s_sample")
"""Folder that the training program draws it into."""

NUM_TRAIN = 104
"""Number of pictures for training."""

NUM_VAL = 32
"""Number of pictures for validation."""

SEED = 0
"""Seed of the drawing."""

PRESET: dict[str, Any] = {
    "batch_size": 4,
    "crop_size": 128,
    "min_scale": 0.9,
    "max_scale": 1.3,
    "epochs": 2,
    "base_lr": 0.0025,
    "min_lr": 0.0,
    "warmup_steps": 5,
    "upsample_init": "bilinear",
    "val_every": 2,
    "save_every": 1000,
    "keep": 1,
}
"""Arguments of the training program with which it learns the dataset in minutes on two CPU cores.

Small crops and a narrow range of scales, so that little of a crop is padding and its objects have
the size that they have in validation. The steps are far too few for the transposed convolutions to
learn interpolation, so they are initialised with it.
"""


def _deal_classes(rng: np.random.RandomState, count: int) -> list[list[int]]:
    """Classes of the objects in each of `count` pictures, balanced over all of them."""
    sizes = rng.randint(3, 6, count)
    kinds = len(CLASSES) - 1
    decks = [rng.permutation(kinds) + 1 for _ in range(math.ceil(sizes.sum() / kinds))]
    dealt = np.concatenate(decks)
    return [hand.tolist() for hand in np.split(dealt, np.cumsum(sizes))[:count]]


def _write_split(base: Path, split: str, count: int, rng: np.random.RandomState) -> list[str]:
    """Draws and writes the pictures and labels of a split, and returns their names."""
    names = [f"{split}_{number:04d}" for number in range(count)]
    for name, class_ids in zip(names, _deal_classes(rng, count)):
        picture, label = draw_scene(rng, class_ids)
        path = base / "JPEGImages" / f"{name}.jpg"
        Image.fromarray(picture).save(path, quality=int(rng.randint(75, 96)))
        write_mask(base / "SegmentationClass" / f"{name}.png", label, palette())
    return names


def write_dataset(
    root: PathLike,
    *,
    num_train: int = NUM_TRAIN,
    num_val: int = NUM_VAL,
    seed: int = SEED,
) -> Path:
    """Draws the dataset in PASCAL VOC's layout.

    The same arguments draw the same pictures. Files of the same names are overwritten.

    Args:
        root: folder to create `VOCdevkit/VOC2012` in.
        num_train: number of pictures for training.
        num_val: number of pictures for validation, which do not depend on `num_train`.
        seed: seed of all random draws.

    Returns:
        Path of the folder `VOC2012`.

    Raises:
        InputError: a number of pictures is below 1, or the folder cannot be written.
    """
    for name, value in (("num_train", num_train), ("num_val", num_val)):
        if value < 1:
            raise InputError(f"{name} is {value}; draw at least 1 picture")
    base = Path(root) / "VOCdevkit" / "VOC2012"
    lists = base / "ImageSets" / "Segmentation"
    try:
        for directory in (base / "JPEGImages", base / "SegmentationClass", lists):
            directory.mkdir(parents=True, exist_ok=True)
        # One generator per split, so that val does not depend on the number of train.
        train = _write_split(base, "train", num_train, np.random.RandomState([seed, 0]))
        val = _write_split(base, "val", num_val, np.random.RandomState([seed, 1]))
        for split, names in (("train", train), ("val", val), ("trainval", train + val)):
            (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    except OSError as error:
        raise InputError(f"{base} cannot be written ({error}); choose another folder") from error
    return base


def build_records(folder: PathLike, *, overwrite: bool = False) -> dict[str, Path]:
    """Draws the dataset into a folder and builds its records there.

    Args:
        folder: folder for the pictures (see `write_dataset`) and the records.
        overwrite: whether to replace existing records.

    Returns:
        Paths of the records by the names of their splits, `'train'` and `'val'`.

    Raises:
        InputError: the folder cannot be written, or holds records and `overwrite` is false.
    """
    folder = Path(folder)
    write_dataset(folder)
    found = {split: folder / f"{split}.mindrecord" for split in ("train", "val")}
    for split, path in found.items():
        write.build_records(
            sources.voc_pairs(folder, split),
            path,
            classes=CLASSES,
            overwrite=overwrite,
            source=paths.portable(folder),
            list_name=split,
        )
    return found
