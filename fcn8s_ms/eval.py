"""Scores a checkpoint on a record file: `python -m fcn8s_ms.eval --help`."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from . import device, fetch, files
from .errors import InputError, reported_by

__all__ = ["Config", "get_parser", "main"]

_PROGRAM = "python -m fcn8s_ms.eval"


@dataclass(frozen=True)
class Config:
    """Arguments of one evaluation; every field is a flag of `get_parser`, explained there."""

    checkpoint: Path
    data: Path
    download: str | None
    batch_size: int
    workers: int
    device: str
    device_id: int
    mode: str
    output: Path | None

    def __post_init__(self):
        for name in ("batch_size", "workers"):
            if getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise InputError(f"{flag} is {getattr(self, name)}; it must be positive")


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.eval`."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Score an FCN-8s checkpoint on whole images: pixel accuracy, mean pixel "
        "accuracy, mean IoU, frequency weighted IoU, and a table of the classes.",
        epilog="Example: python -m fcn8s_ms.eval --checkpoint FCN8s.ckpt --data val.mindrecord",
    )
    add = parser.add_argument
    add(
        "--checkpoint",
        type=Path,
        default=fetch.TRAINED_FILE,
        help="trained FCN-8s (default: %(default)s)",
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
    add(
        "--batch-size",
        type=int,
        default=1,
        help="images of equal padded size that go through the network at once "
        "(default: %(default)s)",
    )
    add(
        "--workers",
        type=int,
        default=min(4, device.available_cpus()),
        help="threads preparing samples (default: %(default)s)",
    )
    device.add_arguments(parser)
    add("--output", type=Path, help="JSON file for the scores")
    return parser


def evaluate(config: Config) -> dict:
    """Evaluates a checkpoint and prints its scores.

    Args:
        config: what the command line says.

    Returns:
        The scores of `evaluation.evaluate`, with data, checkpoint and protocol.

    Raises:
        InputError: checkpoint or data cannot be used, or do not belong together.
    """
    from tqdm import tqdm

    from . import evaluation, records
    from .inference import Segmenter

    device.configure(config.device, device_id=config.device_id, mode=config.mode)
    if config.download:
        fetch.fetch_data(base_url=config.download)
        fetch.fetch_checkpoint(fetch.TRAINED_FILE, base_url=config.download)
    segmenter = Segmenter.from_checkpoint(config.checkpoint)
    num_classes = len(segmenter.classes)
    data = evaluation.whole_images(config.data, num_classes, config.workers, config.batch_size)
    metadata = records.read_metadata(config.data)
    if metadata is not None and len(metadata.classes) != num_classes:
        raise InputError(
            f"checkpoint {config.checkpoint} has {num_classes} classes, {config.data} "
            f"{len(metadata.classes)}; they do not belong together"
        )
    classes = metadata.classes if metadata is not None else segmenter.classes
    result = evaluation.evaluate(segmenter.predictor, data, classes, tqdm)
    result = {
        "checkpoint": str(config.checkpoint),
        "data": str(data.data_file),
        "images": data.num_samples,
        "protocol": segmenter.predictor.protocol,
        **result,
    }
    print(evaluation.table(result))
    print(f"{data.num_samples} images of {data.data_file}. Protocol: {result['protocol']}.")
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(config.output, result)
    return result


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        evaluate(Config(**vars(get_parser().parse_args(argv))))


if __name__ == "__main__":
    main()
