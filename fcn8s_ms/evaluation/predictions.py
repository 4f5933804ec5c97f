"""Predictions for the images of a record: computed by a network, or read from masks."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from .. import files, records, transforms, visualize, voc
from ..confusion import ConfusionMatrix
from ..errors import InputError, listing, reason_of
from ..images.reader import MAX_PIXELS
from ..inference import Predictor
from ..records.masks import MaskReader
from ..records.samples import decode

if TYPE_CHECKING:  # it loads MindSpore
    from ..dataset import SegDataset

__all__ = [
    "Prediction",
    "SavedMasks",
    "find_masks",
    "mask_reader",
    "predict_dataset",
    "predict_first",
    "predict_images",
    "read_predictions",
    "spread_samples",
    "whole_images",
]

_Found = TypeVar("_Found")


def whole_images(
    data_file: files.PathLike, num_classes: int, workers: int, batch_size: int = 1, **more: Any
) -> "SegDataset":
    """The dataset to evaluate on: every image of a record once, whole.

    Args:
        data_file: record file.
        num_classes: number of classes.
        workers: threads that prepare samples.
        batch_size: largest number of images that a predictor sees at once.
        more: `num_shards`, `shard_id` and `max_pixels` of `SegDataset`.

    Raises:
        InputError: an argument is out of range.
    """
    from ..dataset import SegDataset

    return SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        data_file,
        batch_size=batch_size,
        num_classes=num_classes,
        num_readers=1,
        num_parallel_calls=workers,
        **more,
    )


class Prediction(NamedTuple):
    """Image of a record, its label, and the class ids predicted for it.

    `image` is uint8 (H, W, 3) BGR; `label` and `ids` are uint8 (H, W). If they were asked for:
    `losses` is the cross-entropy of every pixel, float32 (H, W), 0 where it is ignored; `certainty`
    is the probability of each pixel's class, float32 (H, W).
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    ids: np.ndarray
    losses: np.ndarray | None = None
    certainty: np.ndarray | None = None


def predict_dataset(
    predictor: Predictor, data: "SegDataset", losses: bool = False, certainty: bool = False
) -> Iterator[Prediction]:
    """Predicts every image of a dataset, at most `data.batch_size` at once.

    Args:
        predictor: predictor of class ids.
        data: result of `whole_images`.
        losses: whether to compute the losses, too, see `Predictor.many_with_losses`.
        certainty: whether to compute the certainty of every pixel instead.

    Yields:
        Predictions in the order in which batches of one size are complete.

    Raises:
        InputError: a sample cannot be decoded, or the network fails on one, as where memory runs
            out.
    """
    if losses:
        samples = ((sample, sample[1], sample[2]) for sample in data.whole_samples())
        for (name, image, label), (ids, of_pixels) in predict_images(
            predictor.many_with_losses, samples, data
        ):
            yield Prediction(name, image, label, ids, of_pixels)
        return
    images = ((sample, sample[1]) for sample in data.whole_samples())
    if certainty:
        for (name, image, label), (ids, of_pixels) in predict_images(
            predictor.many_with_certainty, images, data
        ):
            yield Prediction(name, image, label, ids, certainty=of_pixels)
        return
    for (name, image, label), ids in predict_images(predictor.many, images, data):
        yield Prediction(name, image, label, ids)


def predict_images(
    compute: Callable[..., Iterator[_Found]], images: Iterable[Any], data: "SegDataset"
) -> Iterator[_Found]:
    """Computes images of a record, with an error that names those the network fails on.

    Args:
        compute: `many` of a predictor, or its likes.
        images: what that takes; the first item of each key is the image's name.
        data: where the images come from, at most `data.batch_size` at once.

    Yields:
        What `compute` yields.

    Raises:
        InputError: the network fails on an image, as where memory runs out.
    """

    def on_error(keys: list[Any], error: Exception) -> None:
        reason = reason_of(error)
        raise InputError(
            f"{data.data_file}: {listing([key[0] for key in keys])} could not be segmented "
            f"({reason}); if memory ran out, take smaller batches, or score at another size "
            "(--resize, --sliding)"
        ) from error

    with ThreadPoolExecutor(1) as pool:
        yield from compute(images, data.batch_size, on_error=on_error, pool=pool)


def read_predictions(folder: files.PathLike, data: "SegDataset") -> Iterator[Prediction]:
    """Reads masks of class ids that any program has made for the images of a dataset.

    Args:
        folder: folder with masks for every image of the record, as of `find_masks`.
        data: result of `whole_images`.

    Yields:
        Predictions in the order of the record.

    Raises:
        InputError: masks are missing (all are named), or one cannot be read, has another size, or
            gives a labelled pixel an id that is not a class.
    """
    paths = find_masks(folder, data.names())
    read = mask_reader(data.num_classes, data.max_pixels)
    for name, image, label in data.whole_samples():
        yield Prediction(name, image, label, read(paths[name], label))


def find_masks(folder: files.PathLike, names: Sequence[str]) -> dict[str, Path]:
    """Finds the masks of images in a folder.

    Args:
        folder: folder with NAME.png or NAME_mask.png for every image NAME. Where a NAME has
            folders in it and no other image has its last part, the masks may lie without these.
        names: names of the images in their record.

    Returns:
        Path of each image's mask.

    Raises:
        InputError: masks are missing (all are named), or there are two for an image.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder that holds the masks")
    paths: dict[str, Path] = {}
    missing = []
    last_parts = Counter(_stem(folder, name).name for name in names)
    for name in names:
        stem = _stem(folder, name)
        found = _masks_of(stem)
        if not found and last_parts[stem.name] == 1:
            found = _masks_of(folder / stem.name)
        if len(found) > 1:
            raise InputError(f"{found[0]} and {found[1].name} are for one image; keep one")
        if found:
            paths[name] = found[0]
        else:
            missing.append(_png(stem, "").name)
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of {len(names)} masks: {listing(missing)}; "
            "put them there, under the names of the record's images"
        )
    return paths


def _masks_of(stem: Path) -> list[Path]:
    return [path for path in (_png(stem, ""), _png(stem, "_mask")) if path.is_file()]


def mask_reader(num_classes: int, max_pixels: int) -> Callable[[Path, np.ndarray], np.ndarray]:
    """A function that reads a mask of class ids and checks it against the image's label.

    Args:
        num_classes: number of classes.
        max_pixels: largest number of pixels of a mask; 0 for any.

    Returns:
        A function of the mask's path and the label, uint8 (H, W), that returns uint8 (H, W). It
        raises an InputError if the mask cannot be read, has another size, or gives a labelled pixel
        an id that is not a class.
    """
    masks = MaskReader(
        [str(number) for number in range(255)], mask_values="ids", max_pixels=max_pixels
    )

    def read(path: Path, label: np.ndarray) -> np.ndarray:
        ids = masks.read(path)
        if ids.shape != label.shape:
            raise InputError(
                f"{path} is {ids.shape[1]}x{ids.shape[0]}, the image "
                f"{label.shape[1]}x{label.shape[0]}; save predictions at the image's own size"
            )
        foreign = np.unique(ids[(label < num_classes) & (ids >= num_classes)])
        if foreign.size:
            raise InputError(
                f"{path} has ids {listing(foreign)} where a class is expected; "
                f"classes are 0…{num_classes - 1}: give every pixel one of them"
            )
        return ids

    return read


class SavedMasks:
    """Writes the class ids of every prediction as palette PNGs, which `find_masks` finds again.

    Args:
        folder: folder to write to.
        names: names of all images, so that nothing is written if two need one file.
        palette: uint8 (256, 3), RGB.

    Raises:
        InputError: two names need one file, or one leaves the folder.
    """

    def __init__(self, folder: Path, names: Sequence[str], palette: np.ndarray):
        folder = folder.absolute()
        self._paths = {name: _png(_stem(folder, name), "") for name in names}
        self._palette = palette
        owners: dict[Path, str] = {}
        for name, path in self._paths.items():
            if os.path.normpath(path) != str(path) or folder not in path.parents:
                raise InputError(f"image {name!r} has a name that leaves {folder}; build it anew")
            if path in owners:
                raise InputError(
                    f"images {owners[path]!r} and {name!r} would share the mask {path.name}; "
                    "leave out --save-masks, or give them other names"
                )
            owners[path] = name

    def add(self, prediction: Prediction, counts: ConfusionMatrix) -> None:
        """Writes one mask; the confusion matrix is not needed.

        Raises:
            InputError: the file cannot be written.
        """
        del counts
        path = self._paths[prediction.name]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            visualize.write_mask(path, prediction.ids, self._palette)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error.strerror}; choose another --save-masks"
            ) from error


def _stem(folder: Path, name: str) -> Path:
    return folder / Path(name).with_suffix("") if _is_image(name) else folder / name


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in transforms.IMAGE_SUFFIXES


def _png(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}{ending}.png")


def spread_samples(
    data_file: files.PathLike, count: int, num_classes: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Images of a record at equal distances from the first on.

    Args:
        data_file: record file.
        count: largest number of images; all of the record if it has no more.
        num_classes: number of classes.

    Yields:
        (name, image, label): str, uint8 (H, W, 3) BGR, uint8 (H, W).

    Raises:
        InputError: the record, or a sample of it, cannot be used.
    """
    file, total = records.open_record(data_file)
    chosen = {place * total // count for place in range(count)} if count < total else None
    for place, (name, image, label) in enumerate(records.read_samples(file)):
        if chosen is None or place in chosen:
            yield name, *decode(file, name, image, label, num_classes=num_classes)


def predict_first(
    predictor: Predictor,
    data_file: files.PathLike,
    count: int,
    max_pixels: int = MAX_PIXELS,
) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Predicts the first images of a record.

    Args:
        predictor: predictor of class ids.
        data_file: record file.
        count: largest number of images.
        max_pixels: largest number of pixels of an image; 0 for any.

    Returns:
        List of (name, image, truth, prediction): str, uint8 (H, W, 3) BGR, uint8 (H, W) twice.
    """
    result = []
    for name, encoded_image, encoded_label in records.read_samples(data_file, count):
        image = transforms.decode_image(
            encoded_image, f"{data_file}: image of {name!r}", max_pixels
        )
        label = transforms.decode_label(
            encoded_label, f"{data_file}: label of {name!r}", max_pixels
        )
        result.append((name, image, label, predictor(image)))
    return result
