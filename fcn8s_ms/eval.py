"""Scores a checkpoint, or masks made by anything, on a record: `python -m fcn8s_ms.eval --help`."""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import InputError, flag, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("eval"))

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import device, fetch, inference, transforms, voc
from .evaluation import report
from .formats import checkpoints, paths
from .images import reader
from .options import Parser
from .system import threads

if TYPE_CHECKING:
    from . import evaluation
    from .confusion import ConfusionMatrix
    from .inference import Segmenter

__all__ = ["Config", "evaluate", "get_parser", "main", "parse"]

_PROGRAM = program("eval")
_EXAMPLES = f"""examples:
  the best checkpoint of a run:
    {_PROGRAM} --checkpoint runs/mine --data dataset/val.mindrecord
  the masks of any program, with tables of the scores:
    {_PROGRAM} --predictions masks --data dataset/val.mindrecord \\
        --output scores.json scores.md
"""

PROTOCOLS = ("whole", "tutorial")
_TUTORIAL_BATCH_SIZE = 4


@dataclass(frozen=True)
class Config:
    """Arguments of one evaluation; each field is a flag of `get_parser`, explained there."""

    checkpoint: Path
    predictions: Path | None
    data: Path
    download: str | None
    protocol: str
    engine: str | None
    resize: int | str | None
    scales: tuple[float, ...]
    flip: bool
    sliding: list[int] | None
    crop_size: int
    seed: int
    trimap: int
    batch_size: int
    workers: int
    max_pixels: int
    device: str
    device_id: int
    mode: str
    output: list[Path]
    worst: int
    per_image: Path | None
    fast: bool
    compare: list[Path] | None
    pictures: Path | None

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "workers": 1, "trimap": 0, "worst": 0, "crop_size": 1, "seed": 0}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise InputError(
                    f"{flag(name)} is {getattr(self, name)}; it must be at least {limit}"
                )
        most = {
            "trimap": 100,
            "crop_size": transforms.LONGEST_SIDE,
            "seed": 2**32 - 1,
            "batch_size": inference.MAX_BATCH,
            "worst": 1000,
        }
        for name, limit in most.items():
            if getattr(self, name) > limit:
                raise InputError(
                    f"{flag(name)} is {getattr(self, name)}; it must be at most {limit:,}"
                )
        reader.check_max_pixels(self.max_pixels)
        for path in self.output:
            report.check_format(path)
            paths.check_file(path, "--output")
        if self.pictures is not None:
            paths.check_folder(self.pictures, "--pictures")
        if self.protocol == "tutorial":
            size = (self.crop_size, self.crop_size)
            transforms.check_crops(self.batch_size, size, "--batch-size and --crop-size")
            if self.resize or self.scales != (1.0,) or self.flip or self.sliding:
                raise InputError(
                    "--protocol tutorial scores random crops; --resize, --scales, --flip and "
                    "--sliding are for whole images"
                )
            if self.worst or self.predictions or self.per_image:
                raise InputError(
                    "--protocol tutorial scores random crops; --worst, --per-image and "
                    "--predictions are for whole images"
                )
        if self.per_image is not None and self.per_image.suffix.lower() != ".csv":
            raise InputError(f"--per-image {self.per_image} does not end in .csv; it is a table")
        if self.per_image is not None:
            paths.check_file(self.per_image, "--per-image")


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.eval`."""
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s [flags]",
        description="Score an FCN on whole images: pixel accuracy, mean pixel "
        "accuracy, mean IoU, frequency weighted IoU, scores close to boundaries, and a table of "
        "the classes.",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument_group("what").add_argument
    add(
        "--checkpoint",
        type=Path,
        default=fetch.TRAINED_FILE,
        help="Score this checkpoint, exported .onnx file, or best checkpoint of a run's folder "
        "(default: %(default)s).",
    )
    add(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="Score the masks of this folder instead of a checkpoint: gray or palette PNGs of "
        "class ids, NAME.png or NAME_mask.png for every image of the record.",
    )
    add(
        "--data",
        type=Path,
        default=fetch.DATA_FILE,
        help="Score on this MindRecord file (default: %(default)s).",
    )
    add(
        "--download",
        nargs="?",
        const=fetch.BASE_URL,
        metavar="URL",
        help="Fetch the tutorial's records and trained checkpoint first, from a mirror if there "
        "is a URL.",
    )

    group = parser.add_argument_group("how")
    add = group.add_argument
    add(
        "--protocol",
        choices=PROTOCOLS,
        default="whole",
        help="Score every image once (whole), or random crops, scaled and mirrored as in "
        "training, for which the tutorial reports 0.8957 (tutorial) (default: %(default)s).",
    )
    inference.add_arguments(group)
    add(
        "--trimap",
        type=int,
        default=5,
        metavar="WIDTH",
        help="Score the band along outlines too: the pixels at most WIDTH pixels from another "
        "label; 0 leaves it out (default: %(default)s).",
    )
    add(
        "--fast",
        action="store_true",
        help="Leave out boundary IoU and the scores of certainty.",
    )
    add(
        "--crop-size",
        type=int,
        default=512,
        help="Give the crops of --protocol tutorial this side in pixels (default: %(default)s).",
    )
    add(
        "--seed",
        type=int,
        default=1,
        help="Draw the crops of --protocol tutorial with this seed (default: %(default)s).",
    )
    add(
        "--batch-size",
        type=int,
        help="Send up to this many images of equal padded size through the network at once; the "
        "scores of whole images stay the same (default: 1; --protocol tutorial: "
        f"{_TUTORIAL_BATCH_SIZE}).",
    )
    add(
        "--workers",
        type=int,
        default=min(4, threads.available_cpus()),
        help="Prepare samples in this many threads (default: %(default)s).",
    )
    reader.add_arguments(group)
    device.add_arguments(parser.add_argument_group("device"))

    add = parser.add_argument_group("results").add_argument
    add(
        "--output",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="Write the scores as JSON (with the confusion matrix), CSV or Markdown, by the "
        "ending of each name: .json, .csv, .md.",
    )
    add("--worst", type=int, default=0, metavar="N", help="Name the N images of lowest mean IoU.")
    add(
        "--per-image",
        type=Path,
        metavar="FILE",
        help="Write a table of every image with size, scores, mean certainty and seconds, as CSV.",
    )
    add(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A.json", "B.json"),
        help="Score nothing; print which classes and images of two evaluations changed, from the "
        "first to the second, and a 95 %% interval of the difference in mean IoU. --output takes "
        "a .json.",
    )
    add(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="Draw class_bars.png (the IoU of every class), confusion.png, certainty.png, and each "
        "of the worst images with truth, prediction and errors, into this folder, and the first "
        "100 of them into its worst.png.",
    )
    return parser


def parse(argv: Sequence[str] | None = None) -> Config:
    """Arguments of a command line; `argv` without the program's name.

    Raises:
        InputError: a value is out of range, or two do not go together.
    """
    arguments = vars(get_parser().parse_args(argv))
    if arguments["batch_size"] is None:
        is_tutorial = arguments["protocol"] == "tutorial"
        arguments["batch_size"] = _TUTORIAL_BATCH_SIZE if is_tutorial else 1
    return Config(**arguments)


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
    from .evaluation import comparison, pictures

    if config.compare:
        return comparison.run(config.compare, config.output)
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
    worst = evaluation.Worst(config.worst)
    detailed = not config.fast and config.protocol == "whole"
    boundaries = evaluation.Boundaries(len(classes)) if detailed else None
    certainty = None
    if detailed and segmenter is not None and inference.has_logits(segmenter.predictor.engine):
        certainty = evaluation.Certainty()
    images = evaluation.PerImage(boundaries, certainty)
    also = [one for one in (trimap, boundaries, certainty, worst, images) if one is not None]
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
        "per image": images.counts,
    }
    if boundaries is not None:
        result["boundary width"] = f"{evaluation.RATIO:g} of the diagonal"
    if certainty is not None:
        result["certainty"] = certainty.bins()
    if trimap.counts.matrix.any():
        result["trimap width"] = config.trimap
    if config.worst:
        result["worst"] = [
            {"image": prediction.name, "mean IoU": iou} for iou, prediction in worst.sorted()
        ]
    print(report.table(result))
    print(f"\nProtocol: {report.protocol_line(result)}.")
    print(f"{seconds:.1f} s, {counts.num_images / seconds:.2f} images/s.")
    report.write_all(config.output, result)
    if config.per_image is not None:
        report.write_text(config.per_image, images.csv_text())
    if config.pictures is not None:
        paths.make_folder(config.pictures, "--pictures")
        names = pictures.draw(config.pictures, result, worst, classes, palette)
        print(f"Look at {config.pictures / names[0]}", *names[1:], sep=" and ")
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
        argv: arguments without the program's name; None for those of this process.
    """
    with reported_by(_PROGRAM):
        evaluate(parse(argv))


if __name__ == "__main__":
    main()
