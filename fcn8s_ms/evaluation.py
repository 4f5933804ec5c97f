"""Scores of a network, or of masks made by anything, on a record file."""

import heapq
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import confusion, convert, records, transforms, voc
from .dataset import SegDataset
from .errors import InputError, listing

__all__ = [
    "Counts",
    "Prediction",
    "Worst",
    "class_names",
    "count",
    "count_crops",
    "evaluate",
    "predictions",
    "read_predictions",
    "samples",
    "scores",
    "tutorial_crops",
    "whole_images",
]


def class_names(num_classes: int, metadata: records.Metadata | None):
    """Names and colours of the classes: the record's, else VOC's, else numbers.

    Args:
        num_classes: number of classes.
        metadata: of the record, if it has any.

    Returns:
        Tuple of names, and uint8 palette (256, 3), RGB.
    """
    palette = voc.palette()
    if metadata is not None and len(metadata.classes) == num_classes:
        palette[:num_classes] = metadata.palette
        return metadata.classes, palette
    if num_classes == voc.NUM_CLASSES:
        return voc.CLASSES, palette
    return tuple(f"class {number}" for number in range(num_classes)), palette


def whole_images(
    data_file, num_classes: int, workers: int, batch_size: int = 1, **shard
) -> SegDataset:
    """The dataset to evaluate on: every image of a record once, whole; `shard` as `SegDataset`."""
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
) -> SegDataset:
    """The dataset that the tutorial evaluates on: random crops, as in training."""
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


# --- predictions -------------------------------------------------------------------------------


class Prediction(NamedTuple):
    """An image of a record and what was predicted for it.

    `image` is uint8 (H, W, 3) BGR; `label` and `ids` are uint8 (H, W).
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    ids: np.ndarray


def predictions(predictor, data: SegDataset):
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


def read_predictions(folder, data: SegDataset):
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
    converter = convert.Converter([str(number) for number in range(255)], mask_values="ids")
    for name, image, label in data.whole_samples():
        ids = converter.read_mask(paths[name])
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


# --- counts and scores -------------------------------------------------------------------------


@dataclass
class Counts:
    """What predictions are counted into; the counts of several parts of a dataset add up.

    Attributes:
        matrix: confusion matrix of all labelled pixels, int64 (C, C).
        trimap: the same of those close to a boundary (`confusion.trimap`).
        class_images: images that hold the class, int64 (C,).
        num_images: images.
    """

    matrix: np.ndarray
    trimap: np.ndarray
    class_images: np.ndarray
    num_images: int = 0

    @classmethod
    def zeros(cls, num_classes: int) -> "Counts":
        """Counts of nothing."""
        square = (num_classes, num_classes)
        return cls(
            np.zeros(square, np.int64),
            np.zeros(square, np.int64),
            np.zeros(num_classes, np.int64),
        )

    def to_vector(self) -> np.ndarray:
        """All of them, int64 (2 C C + C + 1,)."""
        parts = (self.matrix, self.trimap, self.class_images, np.array([self.num_images]))
        return np.concatenate([part.reshape(-1) for part in parts])

    @classmethod
    def from_vector(cls, vector: np.ndarray, num_classes: int) -> "Counts":
        """The counts of a `to_vector`, or of a sum of several."""
        square = num_classes * num_classes
        matrix, trimap, images, number = np.split(vector, [square, 2 * square, len(vector) - 1])
        shape = (num_classes, num_classes)
        return cls(matrix.reshape(shape), trimap.reshape(shape), images, int(number[0]))


@dataclass
class Worst:
    """The predictions of lowest mean IoU, over the classes in the image's label or prediction.

    Attributes:
        limit: how many are kept.
    """

    limit: int
    _heap: list = field(default_factory=list)

    def add(self, prediction: Prediction, matrix: np.ndarray) -> None:
        """Keeps a prediction if it is among the worst.

        Args:
            prediction: of one image.
            matrix: its confusion matrix. An image without a labelled pixel has no IoU.
        """
        iou = confusion.mean_iou(matrix)
        if self.limit and not np.isnan(iou):
            # Of two equal ones the first name counts as worse, whatever the order they come in.
            item = (-iou, [-ord(letter) for letter in prediction.name], prediction)
            push = heapq.heappush if len(self._heap) < self.limit else heapq.heappushpop
            push(self._heap, item)

    def sorted(self) -> list[tuple[float, Prediction]]:
        """(mean IoU, prediction), the worst first."""
        return [(-item[0], item[2]) for item in sorted(self._heap, reverse=True)]


def count(predicted, num_classes: int, *, trimap_width: int = 0, worst: Worst | None = None):
    """Counts predictions.

    Args:
        predicted: iterable of `Prediction`.
        num_classes: number of classes.
        trimap_width: of the band along boundaries, in pixels; 0 for none.
        worst: is shown every prediction.

    Returns:
        `Counts`.
    """
    counts = Counts.zeros(num_classes)
    for prediction in predicted:
        label, ids = prediction.label, prediction.ids
        matrix = confusion.confusion_matrix(label, ids, num_classes)
        counts.matrix += matrix
        counts.class_images += matrix.any(axis=1)
        counts.num_images += 1
        if trimap_width:
            band = confusion.trimap(label, trimap_width)
            counts.trimap += confusion.confusion_matrix(label[band], ids[band], num_classes)
        if worst is not None:
            worst.add(prediction, matrix)
    return counts


def count_crops(engine, data: SegDataset, progress=None) -> Counts:
    """Counts what an engine says of random crops.

    Args:
        engine: as for `fcn8s_ms.inference.Predictor`.
        data: of `tutorial_crops`.
        progress: as for `evaluate`, over batches.

    Raises:
        InputError: a sample cannot be decoded.
    """
    counts = Counts.zeros(data.num_classes)
    dataset = data.get_dataset()
    batches = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
    if progress is not None:
        batches = progress(batches, total=dataset.get_dataset_size())
    try:
        for batch in batches:
            ids = engine.class_ids(batch["data"])
            for label, one in zip(batch["label"], ids):
                matrix = confusion.confusion_matrix(label, one, data.num_classes)
                counts.matrix += matrix
                counts.class_images += matrix.any(axis=1)
                counts.num_images += 1
    except RuntimeError as error:
        raise data.explain(error) from error
    return counts


def scores(counts: Counts, classes) -> dict:
    """The scores that follow from counts.

    Args:
        counts: of `count`.
        classes: class names.

    Returns:
        dict with the four scores under the tutorial's names; `trimap mean IoU` and `trimap pixel
        accuracy` if a trimap was counted; and `per class`: name to dict of `IoU`, `accuracy`,
        `precision`, `trimap IoU` (if counted), `share` of the labelled pixels, labelled `pixels`
        and `images` that hold the class. A score that does not exist is NaN.
    """
    matrix, pixels = counts.matrix, counts.matrix.sum(axis=1)
    result = confusion.scores(matrix)
    columns = {
        "IoU": confusion.class_iou(matrix),
        "accuracy": confusion.class_accuracy(matrix),
        "precision": confusion.class_precision(matrix),
    }
    if counts.trimap.any():
        result["trimap mean IoU"] = confusion.mean_iou(counts.trimap)
        result["trimap pixel accuracy"] = confusion.pixel_accuracy(counts.trimap)
        columns["trimap IoU"] = confusion.class_iou(counts.trimap)
    columns["share"] = pixels / max(pixels.sum(), 1)
    result["per class"] = {
        name: {
            **{column: float(values[label]) for column, values in columns.items()},
            "pixels": int(pixels[label]),
            "images": int(counts.class_images[label]),
        }
        for label, name in enumerate(classes)
    }
    return result


def evaluate(predictor, data: SegDataset, classes, progress=None, combine=None) -> dict:
    """Scores of a predictor on a dataset.

    Args:
        predictor: `fcn8s_ms.inference.Predictor`.
        data: of `whole_images`.
        classes: class names.
        progress: called with an iterable and `total`; returns what to iterate over (tqdm fits).
        combine: called with the `Counts` of `data`; returns those to score, such as the sum over
            all shards of a record.

    Returns:
        As `scores`.

    Raises:
        InputError: a sample cannot be decoded.
    """
    predicted = predictions(predictor, data)
    if progress is not None:
        predicted = progress(predicted, total=data.num_samples)
    counts = count(predicted, len(classes))
    return scores(counts if combine is None else combine(counts), classes)


def samples(predictor, data_file, count: int) -> list:
    """The first images of a record with truth and prediction.

    Returns:
        List of (image, truth, prediction): uint8 (H, W, 3) BGR, uint8 (H, W) twice.
    """
    result = []
    for _, encoded_image, encoded_label in records.read_samples(data_file, count):
        image = transforms.decode_image(encoded_image)
        result.append((image, transforms.decode_label(encoded_label), predictor(image)))
    return result
