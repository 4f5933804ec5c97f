"""Scores a checkpoint, or masks made by anything, on a record: `python -m fcn8s_ms.eval --help`."""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import InputError, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("eval"))

import functools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import device, fetch, inference, transforms, voc
from .evaluation import report
from .evaluation.options import CHANGED_SHOWN, PROGRAM, Config, get_parser, parse
from .formats import checkpoints, paths

if TYPE_CHECKING:
    from . import evaluation
    from .confusion import ConfusionMatrix
    from .inference import Segmenter

__all__ = ["Config", "evaluate", "get_parser", "main", "parse"]


def _classes(config: Config, segmenter: "Segmenter | None") -> tuple[tuple[str, ...], np.ndarray]:
    """Names and colours of the classes, of which checkpoint and record must have equally many."""
    from . import records

    metadata = records.read_metadata(config.data)
    # A record without metadata is the published one, or one like it.
    num_classes = voc.NUM_CLASSES if metadata is None else len(metadata.classes)
    if segmenter is None:
        return records.class_names(num_classes, metadata)
    if metadata is None:
        return segmenter.classes, segmenter.palette
    if num_classes != len(segmenter.classes):
        raise InputError(
            f"checkpoint {config.checkpoint} has {len(segmenter.classes)} classes, {config.data} "
            f"{num_classes}; they do not belong together"
        )
    return records.class_names(num_classes, metadata)


def _count_crops(config: Config, segmenter: "Segmenter") -> "tuple[ConfusionMatrix, Path]":
    """Counts by the tutorial's protocol; returns the record file, too."""
    from tqdm import tqdm

    from .evaluation.crops import count_crops, tutorial_crops

    engine = segmenter.predictor.engine
    if inference.takes_pixels(engine):
        raise InputError(
            f"--protocol tutorial makes normalised crops, and {config.checkpoint} takes pixels; "
            "export it without --normalize, or score whole images"
        )
    if config.crop_size % engine.multiple:
        raise InputError(
            f"--crop-size {config.crop_size} is not a multiple of {engine.multiple}; "
            f"take {transforms.next_multiple(config.crop_size, engine.multiple)}"
        )
    data = tutorial_crops(
        config.data,
        len(segmenter.classes),
        config.workers,
        batch_size=config.batch_size,
        crop_size=config.crop_size,
        seed=config.seed,
        max_pixels=config.max_pixels,
    )
    with tqdm(total=data.num_samples // config.batch_size, unit="batch") as bar:
        return count_crops(engine, data, bar.update), data.data_file


def _count_images(
    config: Config,
    segmenter: "Segmenter | None",
    num_classes: int,
    also: "Sequence[evaluation.Counter]",
    certainty: bool,
) -> "tuple[ConfusionMatrix, Path]":
    """Counts whole images; returns the record file, too."""
    from tqdm import tqdm

    from . import evaluation

    data = evaluation.whole_images(
        config.data,
        num_classes,
        config.workers,
        config.batch_size,
        max_pixels=config.max_pixels,
    )
    if segmenter is not None:
        predicted = evaluation.predict_dataset(segmenter.predictor, data, certainty=certainty)
    else:
        assert config.predictions is not None
        predicted = evaluation.read_predictions(config.predictions, data)
    predicted = tqdm(predicted, total=data.num_samples, unit="image")
    return evaluation.count(predicted, num_classes, also), data.data_file


def _saved_masks(
    config: Config, num_classes: int, palette: np.ndarray
) -> "evaluation.SavedMasks | None":
    """Counter that writes the masks of `--save-masks`; None without it."""
    from . import evaluation

    if config.save_masks is None:
        return None
    data = evaluation.whole_images(config.data, num_classes, config.workers)
    return evaluation.SavedMasks(config.save_masks, data.names(), palette)


def _score_corrupted(
    config: Config, segmenter: "Segmenter", classes: Sequence[str]
) -> dict[str, Any]:
    """The scores under the corruptions of `--corrupt`."""
    from tqdm import tqdm

    from . import evaluation

    data = evaluation.whole_images(
        config.data,
        len(classes),
        config.workers,
        config.batch_size,
        max_pixels=config.max_pixels,
    )
    progress = functools.partial(tqdm, unit="image", desc="corrupted")
    counts = evaluation.count_corrupted(segmenter.predictor, data, config.corruptions(), progress)
    return evaluation.score_corrupted(counts, classes)


def _protocol(config: Config, segmenter: "Segmenter | None") -> dict[str, str]:
    """How the images were seen, and by which engine."""
    if segmenter is None:
        return {
            "protocol": "every image once, whole, at its own size",
            "engine": "masks read from files",
        }
    predictor = segmenter.predictor
    protocol = predictor.protocol
    if config.protocol == "tutorial":
        protocol = (
            f"the tutorial's: random crops of {config.crop_size}x{config.crop_size}, scaled by "
            f"0.5…2 and mirrored at random (seed {config.seed}), an incomplete last batch of "
            f"{config.batch_size} dropped. Not comparable with scores of whole images"
        )
    return {"protocol": protocol, "engine": predictor.engine.name}


def evaluate(config: Config) -> dict[str, Any]:
    """Scores a checkpoint or a folder of masks, prints the scores and writes the files asked for.

    Args:
        config: arguments of the evaluation.

    Returns:
        The scores of `evaluation.scores`, with data, protocol, engine, confusion matrix, counts
        of each image and the worst images; or a comparison of `evaluation.comparison.compare`.

    Raises:
        InputError: checkpoint or data cannot be used, or do not belong together.
    """
    from . import evaluation
    from .evaluation import changes, html_report, pictures
    from .evaluation.thumbnails import Thumbnails

    if config.compare:
        request = changes.Request(
            config.compare,
            config.output,
            config.pictures,
            config.masks,
            config.data,
            config.worst or CHANGED_SHOWN,
            config.max_pixels,
        )
        return changes.run(request)
    if config.download:
        fetch.fetch_data(base_url=config.download)
        fetch.fetch_checkpoint(fetch.TRAINED_FILE, base_url=config.download)
    segmenter = None
    if config.predictions is None:
        config = replace(config, checkpoint=checkpoints.chosen(config.checkpoint))
        if inference.engine_for(config.checkpoint, config.engine) == "mindspore":
            device.configure(config.device, device_id=config.device_id, mode=config.mode)
        segmenter = inference.Segmenter.from_checkpoint(
            config.checkpoint, device=config.device, **inference.options_of(config)
        )
    classes, palette = _classes(config, segmenter)
    trimap = evaluation.Trimap(config.trimap, len(classes))
    ends = {"worst": evaluation.Worst(config.worst), "best": evaluation.Best(config.best)}
    detailed = not config.fast and config.protocol == "whole"
    boundaries = evaluation.Boundaries(len(classes)) if detailed else None
    certainty = None
    if detailed and segmenter is not None and inference.has_logits(segmenter.predictor.engine):
        certainty = evaluation.Certainty()
    images = evaluation.PerImage(boundaries, certainty)
    thumbnails = None if config.report is None else Thumbnails(classes, palette)
    saved = _saved_masks(config, len(classes), palette)
    counters = (trimap, boundaries, certainty, *ends.values(), images, thumbnails, saved)
    also = [one for one in counters if one is not None]
    started = time.perf_counter()
    if config.protocol == "tutorial":
        assert segmenter is not None  # Config refuses masks
        counts, data_file = _count_crops(config, segmenter)
    else:
        counts, data_file = _count_images(
            config, segmenter, len(classes), also, certainty is not None
        )
    seconds = time.perf_counter() - started
    source = "predictions" if segmenter is None else "checkpoint"
    result: dict[str, Any] = {
        source: paths.portable(getattr(config, source)),
        "data": paths.portable(data_file),
        "images": counts.num_images,
        **_protocol(config, segmenter),
        **evaluation.scores(counts, classes, trimap.counts, boundaries, certainty),
        "confusion matrix": counts.matrix.tolist(),
        "most confused": report.most_confused(counts.matrix, classes),
        "per image": images.counts,
    }
    if boundaries is not None:
        result["boundary width"] = f"{evaluation.RATIO:g} of the diagonal"
    if certainty is not None:
        result["certainty"] = certainty.bins()
    if trimap.counts.matrix.any():
        result["trimap width"] = config.trimap
    for end, kept in ends.items():
        if kept.limit:
            result[end] = [
                {"image": prediction.name, "mean IoU": iou} for iou, prediction in kept.sorted()
            ]
    if config.corrupt:
        assert segmenter is not None  # Config refuses masks
        result |= _score_corrupted(config, segmenter, classes)
    print(report.table(result))
    print(f"\nProtocol: {report.protocol_line(result)}.")
    print(f"{seconds:.1f} s, {counts.num_images / seconds:.2f} images/s.")
    report.write_all(config.output, result)
    if config.per_image is not None:
        report.write_text(config.per_image, images.csv_text())
    if config.pictures is not None:
        paths.make_folder(config.pictures, "--pictures")
        names = pictures.draw(config.pictures, result, ends, classes, palette)
        print(f"Look at {config.pictures / names[0]}", *names[1:], sep=" and ")
    if config.report is not None and thumbnails is not None:
        pages = html_report.write(config.report, result, palette, images, thumbnails)
        more = f", of {len(pages)} pages" if len(pages) > 1 else ""
        print(f"Open {config.report} in a browser{more}")
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
        argv: arguments without the program's name; None for those of this process.
    """
    with reported_by(PROGRAM):
        evaluate(parse(argv))


if __name__ == "__main__":
    main()
