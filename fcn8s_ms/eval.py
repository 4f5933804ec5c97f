"""Scores a checkpoint, or masks made by anything, on a record: `python -m fcn8s_ms.eval --help`."""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from . import device, fetch, files, inference, threads, voc
from .errors import InputError, flag, program, reported_by
from .evaluation import report

__all__ = ["Config", "get_parser", "main"]

_PROGRAM = program("eval")

PROTOCOLS = ("whole", "tutorial")
_TUTORIAL_BATCH_SIZE = 4


@dataclass(frozen=True)
class Config:
    """Arguments of one evaluation; every field is a flag of `get_parser`, explained there."""

    checkpoint: Path
    predictions: Path | None
    data: Path
    download: str | None
    protocol: str
    engine: str | None
    resize: int | None
    scales: tuple[float, ...]
    flip: bool
    sliding: list[int] | None
    crop_size: int
    seed: int
    trimap: int
    batch_size: int
    workers: int
    device: str
    device_id: int
    mode: str
    output: list[Path]
    worst: int
    pictures: Path | None

    def __post_init__(self):
        for name, least in (("batch_size", 1), ("workers", 1), ("trimap", 0), ("worst", 0)):
            if getattr(self, name) < least:
                raise InputError(
                    f"{flag(name)} is {getattr(self, name)}; it must be at least {least}"
                )
        for path in self.output:
            report.check_format(path)
        if self.protocol == "tutorial":
            if self.resize or self.scales != (1.0,) or self.flip or self.sliding:
                raise InputError(
                    "--protocol tutorial scores random crops; --resize, --scales, --flip and "
                    "--sliding are for whole images"
                )
            if self.worst or self.predictions:
                raise InputError(
                    "--protocol tutorial scores random crops; --worst and --predictions are for "
                    "whole images"
                )


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.eval`."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Score an FCN on whole images: pixel accuracy, mean pixel "
        "accuracy, mean IoU, frequency weighted IoU, scores close to boundaries, and a table of "
        "the classes.",
        epilog=f"Example: {_PROGRAM} --checkpoint FCN8s.ckpt --data val.mindrecord",
    )
    add = parser.add_argument_group("what").add_argument
    add(
        "--checkpoint",
        type=Path,
        default=fetch.TRAINED_FILE,
        help="trained FCN, or an exported .onnx file (default: %(default)s)",
    )
    add(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="score this folder's masks instead of a checkpoint: gray or palette PNGs of class "
        "ids, NAME.png or NAME_mask.png for every image of the record",
    )
    add(
        "--data",
        type=Path,
        default=fetch.DATA_FILE,
        help="MindRecord file (default: %(default)s)",
    )
    add(
        "--download",
        nargs="?",
        const=fetch.BASE_URL,
        metavar="URL",
        help="fetch the tutorial's records and trained checkpoint first (from a mirror: URL)",
    )

    group = parser.add_argument_group("how")
    add = group.add_argument
    add(
        "--protocol",
        choices=PROTOCOLS,
        default="whole",
        help="whole: every image once; tutorial: random crops, scaled and mirrored as in "
        "training, which is what the tutorial's 0.8957 is of (default: %(default)s)",
    )
    inference.add_arguments(group)
    add(
        "--trimap",
        type=int,
        default=5,
        metavar="WIDTH",
        help="also score the pixels at most WIDTH pixels from another label, where outlines are; "
        "0: do not (default: %(default)s)",
    )
    add("--crop-size", type=int, default=512, help="of --protocol tutorial (default: %(default)s)")
    add("--seed", type=int, default=1, help="of --protocol tutorial (default: %(default)s)")
    add(
        "--batch-size",
        type=int,
        help="images of equal padded size that go through the network at once; does not change "
        f"the scores of whole images (default: 1; --protocol tutorial: {_TUTORIAL_BATCH_SIZE})",
    )
    add(
        "--workers",
        type=int,
        default=min(4, threads.available_cpus()),
        help="threads preparing samples (default: %(default)s)",
    )
    device.add_arguments(parser.add_argument_group("device"))

    add = parser.add_argument_group("results").add_argument
    add(
        "--output",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="write the scores as JSON (with the confusion matrix), CSV or Markdown, as the name "
        "ends: .json, .csv, .md; several may be given",
    )
    add("--worst", type=int, default=0, metavar="N", help="name the N images of lowest mean IoU")
    add(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="draw confusion.png, and each of the worst images with truth, prediction and errors",
    )
    return parser


def _parse(argv) -> Config:
    arguments = vars(get_parser().parse_args(argv))
    if arguments["batch_size"] is None:
        is_tutorial = arguments["protocol"] == "tutorial"
        arguments["batch_size"] = _TUTORIAL_BATCH_SIZE if is_tutorial else 1
    return Config(**arguments)


def _tutorial_protocol(config: Config) -> str:
    return (
        f"the tutorial's: random crops of {config.crop_size}x{config.crop_size}, scaled by 0.5…2 "
        f"and mirrored at random (seed {config.seed}), an incomplete last batch of "
        f"{config.batch_size} dropped. Not comparable with scores of whole images"
    )


def evaluate(config: Config) -> dict:
    """Evaluates a checkpoint or a folder of masks, prints the scores and writes what was asked for.

    Args:
        config: what the command line says.

    Returns:
        The scores of `evaluation.scores`, with data, protocol, engine, confusion matrix and the
        worst images.

    Raises:
        InputError: checkpoint or data cannot be used, or do not belong together.
    """
    from tqdm import tqdm

    from . import evaluation, records

    if config.download:
        fetch.fetch_data(base_url=config.download)
        fetch.fetch_checkpoint(fetch.TRAINED_FILE, base_url=config.download)
    metadata = records.read_metadata(config.data)
    segmenter = None
    if config.predictions is None:
        if inference.engine_for(config.checkpoint, config.engine) == "mindspore":
            device.configure(config.device, device_id=config.device_id, mode=config.mode)
        segmenter = inference.Segmenter.from_checkpoint(
            config.checkpoint, device=config.device, **inference.options_of(config)
        )
        classes, palette = segmenter.classes, segmenter.palette
        if metadata is not None and len(metadata.classes) != len(classes):
            raise InputError(
                f"checkpoint {config.checkpoint} has {len(classes)} classes, {config.data} "
                f"{len(metadata.classes)}; they do not belong together"
            )
    if metadata is not None or segmenter is None:
        # A record without metadata is the published one, or one like it.
        num_classes = len(metadata.classes) if metadata is not None else voc.NUM_CLASSES
        classes, palette = records.class_names(num_classes, metadata)

    worst = evaluation.Worst(config.worst)
    started = time.perf_counter()
    if config.protocol == "tutorial":
        data = evaluation.tutorial_crops(
            config.data,
            len(classes),
            config.workers,
            batch_size=config.batch_size,
            crop_size=config.crop_size,
            seed=config.seed,
        )
        counts = evaluation.count_crops(segmenter.predictor.engine, data, tqdm)
        protocol, engine = _tutorial_protocol(config), segmenter.predictor.engine.name
    else:
        data = evaluation.whole_images(config.data, len(classes), config.workers, config.batch_size)
        if segmenter is None:
            predicted = evaluation.read_predictions(config.predictions, data)
            protocol, engine = "every image once, whole, at its own size", "masks read from files"
        else:
            predicted = evaluation.predict_dataset(segmenter.predictor, data)
            protocol, engine = segmenter.predictor.protocol, segmenter.predictor.engine.name
        counts = evaluation.count(
            tqdm(predicted, total=data.num_samples, unit="image"),
            len(classes),
            trimap_width=config.trimap,
            worst=worst,
        )
    seconds = time.perf_counter() - started
    source = {"predictions": str(config.predictions)}
    if segmenter is not None:
        source = {"checkpoint": str(config.checkpoint)}
    result = {
        **source,
        "data": str(data.data_file),
        "images": counts.num_images,
        "protocol": protocol,
        "engine": engine,
        **evaluation.scores(counts, classes),
        "confusion matrix": counts.matrix.tolist(),
    }
    if counts.trimap.any():
        result["trimap width"] = config.trimap
    if config.worst:
        result["worst"] = [
            {"image": prediction.name, "mean IoU": iou} for iou, prediction in worst.sorted()
        ]
    print(report.table(result))
    print(f"\nProtocol: {report.protocol_line(result)}.")
    print(f"{seconds:.1f} s, {counts.num_images / seconds:.2f} images/s.")
    for path in config.output:
        report.write(path, result)
    if config.pictures is not None:
        _draw(config.pictures, result, counts, worst, classes, palette)
    return result


def _draw(folder: Path, result: dict, counts, worst, classes, palette) -> None:
    from . import visualize

    files.make_folder(folder, "--pictures")
    title = f"{Path(result['data']).name}: mean IoU {result['mean IoU']:.4f}"
    visualize.confusion_plot(folder / "confusion.png", counts.matrix, classes, title)
    for place, (iou, prediction) in enumerate(worst.sorted(), start=1):
        name = prediction.name.replace("/", "_").replace("\\", "_")
        visualize.comparison(
            folder / f"worst_{place:03d}_{name}.png",
            prediction.image,
            prediction.label,
            prediction.ids,
            classes,
            palette,
            f"{prediction.name}: mean IoU {iou:.4f}",
        )
    print(f"Look at {folder / 'confusion.png'}" + (" and worst_*.png" if worst.limit else ""))


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        evaluate(_parse(argv))


if __name__ == "__main__":
    main()
