"""Segments pictures with a checkpoint: `python -m fcn8s_ms.predict --help`."""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import Faults, InputError, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("predict"))

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import device, inference
from .formats import checkpoints, paths
from .images import reader
from .inference import inputs, video
from .inference.outputs import Saver
from .inference.pipeline import Pipeline, ProgressBar
from .inference.result_options import ResultOptions
from .options import Parser, add_options, option, take_options

__all__ = ["Config", "get_parser", "main", "parse", "predict"]

_PROGRAM = program("predict")
_EXAMPLES = f"""examples:
  a picture and a folder, with the best checkpoint of a run:
    {_PROGRAM} --checkpoint runs/mine street.jpg holiday \\
        --output predictions
  class ids only, at three scales:
    {_PROGRAM} --checkpoint FCN8s.ckpt 'shots/**/*.png' \\
        --save mask --scales 0.75,1.0,1.25
"""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of one prediction; `--help` describes every field."""

    images: list[str]
    checkpoint: Path = option(
        help="Segment with this checkpoint, exported .onnx file, or best checkpoint of a run's "
        "folder."
    )
    batch_size: int = option(
        1,
        help="Send up to this many pictures of equal padded size (windows, with --sliding) "
        "through the network at once (default: %(default)s).",
    )
    engine: str | None = None
    view: inference.ViewOptions = inference.ViewOptions()
    results: ResultOptions = ResultOptions()
    device: str = "auto"
    device_id: int = 0
    mode: str = "graph"
    max_pixels: int = reader.MAX_PIXELS

    def __post_init__(self) -> None:
        reader.check_max_pixels(self.max_pixels)
        if self.batch_size < 1:
            raise InputError(f"--batch-size is {self.batch_size}; it must be positive")
        if self.results.geotiff and (self.view.sliding is None or not self.view.is_single):
            raise InputError(
                "--geotiff needs --sliding CROP STRIDE, and goes without --resize, --scales and "
                "--flip; add for instance --sliding 512 384"
            )
        if self.batch_size > inference.MAX_BATCH:
            raise InputError(
                f"--batch-size is {self.batch_size}; it must be at most {inference.MAX_BATCH:,}"
            )


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.predict`."""
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s --checkpoint FILE [flags] IMAGE [IMAGE ...]",
        description="Segment pictures. All results have the picture's own size, but for a legend "
        "beside a small one; a picture is first turned upright as Exif says. A file that cannot be "
        "used does not stop the others: it is named at the end, and the exit status is 1.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="Segment these: picture and video files, folders (their images, sub-folders "
        "included), patterns such as 'shots/**/*.jpg', or - for a list on standard input, one "
        "path per line.",
    )
    add_options(parser, Config)
    reader.add_arguments(parser)
    inference.add_arguments(parser.add_argument_group("how the network sees a picture"))
    device.add_arguments(parser.add_argument_group("device"))
    add_options(parser.add_argument_group("results"), ResultOptions)
    return parser


def parse(argv: Sequence[str] | None = None) -> Config:
    """Arguments of a command line; `argv` without the program's name.

    Raises:
        InputError: a value is out of range, or two do not go together.
    """
    arguments = vars(get_parser().parse_args(argv))
    arguments["view"] = take_options(inference.ViewOptions, arguments)
    arguments["results"] = take_options(ResultOptions, arguments)
    return Config(**arguments)


def predict(config: Config) -> Faults:
    """Segments the pictures and writes the chosen results of each.

    Args:
        config: arguments of the prediction.

    Returns:
        The pictures that could not be segmented, with the reasons; the others are done.

    Raises:
        InputError: the device, the checkpoint or the output folder cannot be used, an argument
            names no picture, or the disk is full.
    """
    output = config.results.output
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # names are bytes, not always UTF-8
    pictures = inputs.find_pictures(
        config.images, (sys.stdin or ()) if "-" in config.images else (), output=output
    )
    if not pictures:
        raise InputError("standard input names no picture; give one path per line")
    images = [picture for picture in pictures if not picture.is_video]
    videos = [picture for picture in pictures if picture.is_video]

    paths.check_folder(output, "--output")
    segmenter = _load(config)
    saver = Saver(config.results, segmenter.classes, segmenter.palette)
    saver.check_inputs_stay(pictures)
    saver.check_engine(segmenter.predictor.engine)

    total = len(images) + sum(video.frame_count(picture.path) for picture in videos)
    bar = _progress_bar(total)
    pipeline = Pipeline(segmenter.predictor, saver, config.batch_size, bar, config.max_pixels)
    try:
        with saver.folder_made(pictures):
            if config.results.geotiff:
                for picture in images:
                    pipeline.geotiff(picture)
            else:
                pipeline.images(images)
            for picture in videos:
                pipeline.video(picture)
    finally:
        bar.close()
        if pipeline.stopwatch.images:
            print(pipeline.stopwatch)
    if saver.summary:
        print(saver.summary)
    return pipeline.faults


def _load(config: Config) -> inference.Segmenter:
    path = checkpoints.chosen(config.checkpoint)
    if inference.engine_for(path, config.engine) == "mindspore":
        device.configure(config.device, device_id=config.device_id, mode=config.mode)
    return inference.Segmenter.from_checkpoint(path, device=config.device, **vars(config.view))


class _NoBar:
    """Stands in for tqdm on a machine that has only the packages that prediction needs."""

    def update(self, n: int) -> None:
        pass

    def write(self, s: str) -> None:
        print(s, flush=True)

    def close(self) -> None:
        pass


def _progress_bar(total: int) -> ProgressBar:
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(total=total, unit="image", dynamic_ncols=True, disable=total < 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        faults = predict(parse(argv))
        for fault in faults.lines():
            print(f"{_PROGRAM}: {fault}", file=sys.stderr)
        if faults:
            print(f"{_PROGRAM}: {len(faults)} could not be done", file=sys.stderr)
            raise SystemExit(1)


if __name__ == "__main__":
    main()
