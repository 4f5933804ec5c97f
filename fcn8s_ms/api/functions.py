"""The programs as functions: the same flags as keyword arguments, errors raised, results returned.

Each goes the road of its program, `parse` and then the function that does the work, so that both
have the same defaults, checks and messages. Messages name flags: `--crop-size` is `crop_size`.
"""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .. import build, eval, export, predict, train
from ..errors import InputError
from ..options import Parser, errors_raised
from .keywords import command_line, documented

__all__ = [
    "build_records",
    "evaluate_network",
    "export_network",
    "predict_images",
    "train_network",
]

_Config = TypeVar("_Config")


def _config(
    function: str,
    get_parser: Callable[[], Any],
    parse: Callable[[list[str]], _Config],
    options: dict[str, Any],
) -> _Config:
    """Configuration of a program for keyword arguments."""
    parser = get_parser()
    assert isinstance(parser, Parser)
    with errors_raised():
        return parse(command_line(function, parser, options))


@documented(build.get_parser)
def build_records(**options: Any) -> Path | tuple[Path, Path]:
    """Converts images and masks to a record, or inspects one: `fcn8s-ms build`.

    Example:
        >>> record = build_records(
        ...     images="images", labels="masks", classes="classes.txt", output="train.mindrecord"
        ... )

    Keyword arguments, those of the program:
    KEYWORDS

    Returns:
        Path of the record. With `val_output` two: the record to train on, that to validate on.

    Raises:
        TypeError: a keyword is unknown or missing.
        InputError: keywords do not go together, or a file cannot be used; nothing is written.
    """
    records = build.build(
        _config("build_records", build.get_parser, build.get_parser().parse_args, options)
    )
    return records[0] if len(records) == 1 else (records[0], records[1])


@documented(train.get_parser)
def train_network(**options: Any) -> train.Run | None:
    """Trains a network: `fcn8s-ms train`.

    Ctrl-C, or the stop button of a notebook, stops after the current step; `resume=FOLDER` then
    continues.

    Example:
        >>> run = train_network(data="train.mindrecord", val_data="val.mindrecord", epochs=20)
        >>> run.checkpoint, run.metrics["validation"]["mean IoU"]

    Keyword arguments, those of the program:
    KEYWORDS

    Returns:
        Folder, checkpoint and scores of the run. None where `preview` draws a picture instead, and
        on processes of a training on several devices other than the first.

    Raises:
        TypeError: a keyword is unknown or missing.
        InputError: keywords do not go together, the data or a checkpoint cannot be used, the disk
            is full, or loss or weights are no longer finite.
        KeyboardInterrupt: Ctrl-C stopped the training.
    """
    config = _config("train_network", train.get_parser, train.parse, options)
    try:
        return train.train(config)
    except SystemExit as end:
        if end.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt("the training was stopped") from None
        raise


@documented(eval.get_parser)
def evaluate_network(**options: Any) -> dict[str, Any]:
    """Scores a network, or the masks of any program, on a record: `fcn8s-ms eval`.

    Example:
        >>> scores = evaluate_network(checkpoint="FCN8s-best.ckpt", data="val.mindrecord")
        >>> scores["mean IoU"], scores["per class"]["car"]["IoU"]

    Keyword arguments, those of the program:
    KEYWORDS

    Returns:
        The scores, with those of each class, the confusion matrix, data and protocol, as `output`
        writes them to a `.json` file.

    Raises:
        TypeError: a keyword is unknown or missing.
        InputError: keywords do not go together, checkpoint or data cannot be used, or they do not
            belong together.
    """
    return eval.evaluate(_config("evaluate_network", eval.get_parser, eval.parse, options))


@documented(predict.get_parser)
def predict_images(**options: Any) -> Path:
    """Segments pictures and videos and writes the results: `fcn8s-ms predict`.

    For arrays in memory, or for results that are not written, there is `Segmenter`.

    Example:
        >>> folder = predict_images(images=["street.jpg", "holiday"], checkpoint="FCN8s.ckpt")

    Keyword arguments, those of the program:
    KEYWORDS

    Returns:
        The folder with the results.

    Raises:
        TypeError: a keyword is unknown or missing.
        InputError: keywords do not go together, the checkpoint cannot be used, or some pictures
            cannot: all others are done first, and the message names each.
    """
    config = _config("predict_images", predict.get_parser, predict.parse, options)
    faults = predict.predict(config)
    if faults:
        raise InputError(f"{len(faults)} could not be done: {'; '.join(faults.lines())}")
    return config.results.output


@documented(export.get_parser)
def export_network(**options: Any) -> Path:
    """Writes a checkpoint in a format for deployment, a model card, or both: `fcn8s-ms export`.

    Example:
        >>> file = export_network(checkpoint="FCN8s-best.ckpt", output="fcn8s.onnx")

    Keyword arguments, those of the program:
    KEYWORDS

    Returns:
        The exported file; the model card if only that was written.

    Raises:
        TypeError: a keyword is unknown or missing.
        InputError: keywords do not go together, the checkpoint cannot be used, a package is not
            installed, or the file does not compute what the checkpoint does.
    """
    config = _config("export_network", export.get_parser, export.parse, options)
    export.export(config)
    written = config.output or config.model_card
    assert written is not None  # Config sees to it
    return written
