"""Scores of a network on a record file, and the table that shows them."""

import numpy as np

from . import confusion, records, transforms, voc
from .dataset import SegDataset
from .metrics import segmentation_metrics

__all__ = ["class_names", "evaluate", "samples", "table", "whole_images"]


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


def whole_images(data_file, num_classes: int, workers: int, batch_size: int = 1) -> SegDataset:
    """The dataset to evaluate on: every image of a record once, whole."""
    return SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        data_file,
        batch_size=batch_size,
        num_classes=num_classes,
        num_readers=1,
        num_parallel_calls=workers,
        training=False,
    )


def evaluate(predictor, data: SegDataset, classes, progress=None) -> dict:
    """Scores of a predictor on a dataset.

    Args:
        predictor: `fcn8s_ms.inference.Predictor`.
        data: of `whole_images`.
        classes: class names.
        progress: called with an iterable and `total`; returns what to iterate over (tqdm fits).

    Returns:
        dict with the four scores under the tutorial's names, and `per class`: name to dict of
        `IoU`, `accuracy` and `pixels` (labelled ones). A score that does not exist is NaN.

    Raises:
        InputError: a sample cannot be decoded.
    """
    metrics = segmentation_metrics(len(classes))
    dataset = data.get_dataset()
    batches = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
    if progress is not None:
        batches = progress(batches, total=-(-data.num_samples // data.batch_size))
    try:
        for batch in batches:
            ids = predictor.engine.class_ids(batch["data"])
            for metric in metrics.values():
                metric.update(ids, batch["label"])
    except RuntimeError as error:
        raise data.explain(error) from error
    matrix = metrics["mean IoU"].confusion_matrix
    per_class = zip(
        classes, confusion.class_iou(matrix), confusion.class_accuracy(matrix), matrix.sum(axis=1)
    )
    return {
        **{name: metric.eval() for name, metric in metrics.items()},
        "per class": {
            name: {"IoU": float(iou), "accuracy": float(accuracy), "pixels": int(pixels)}
            for name, iou, accuracy, pixels in per_class
        },
    }


def table(result: dict) -> str:
    """The scores of `evaluate` as text; classes that occur neither in truth nor prediction as -."""

    def number(value):
        return "      -" if np.isnan(value) else f"{value:7.4f}"

    per_class = result["per class"]
    width = max(len("class"), *(len(name) for name in per_class))
    lines = [f"{'class':<{width}}      IoU  accuracy        pixels"]
    for name, row in per_class.items():
        iou, accuracy = number(row["IoU"]), number(row["accuracy"])
        lines.append(f"{name:<{width}}  {iou}   {accuracy}  {row['pixels']:12,}")
    lines.append("")
    for name, value in result.items():
        if isinstance(value, float):
            lines.append(f"{name:<24}{number(value)}")
    return "\n".join(lines)


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
