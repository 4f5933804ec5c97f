"""Segments pictures with a checkpoint: `python -m fcn8s_ms.predict --help`."""

import argparse
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from . import device, files, inference
from .errors import InputError, program, reported_by
from .inference import inputs, video
from .inference.outputs import ENDINGS, Saver
from .inference.pipeline import Pipeline

__all__ = ["Config", "get_parser", "main", "predict"]

_PROGRAM = program("predict")


@dataclass(frozen=True)
class Config:
    """Arguments of one prediction; every field is a flag of `get_parser`, explained there."""

    images: list[str]
    checkpoint: Path
    output: Path
    save: tuple[str, ...]
    plain_names: bool
    opacity: float
    legend: bool
    engine: str | None
    resize: int | None
    scales: tuple[float, ...]
    flip: bool
    sliding: list[int] | None
    batch_size: int
    device: str
    device_id: int
    mode: str

    def __post_init__(self):
        unknown = [kind for kind in self.save if kind not in ENDINGS]
        if unknown or not self.save:
            raise InputError(
                f"--save {','.join(self.save)}: choose from {', '.join(ENDINGS)}, with commas "
                "between"
            )
        if self.plain_names and len(self.save) > 1:
            raise InputError("--plain-names is for one kind of file; choose it, e.g. --save mask")
        if not 0 <= self.opacity <= 1:
            raise InputError(f"--opacity is {self.opacity}; choose 0…1")
        if self.batch_size < 1:
            raise InputError(f"--batch-size is {self.batch_size}; it must be positive")

    def ending(self, kind: str) -> str:
        """How the names of such files end."""
        return Path(ENDINGS[kind]).suffix if self.plain_names else ENDINGS[kind]


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.predict`."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Segment pictures. All results have the picture's own size; a picture that "
        "Exif says is turned is turned upright first. A file that cannot be used does not stop the "
        "others: it is named at the end, and the exit status is 1.",
        epilog=f"Example: {_PROGRAM} --checkpoint FCN8s.ckpt street.jpg holiday/ --output out",
    )
    add = parser.add_argument
    add(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="picture or video file; folder (its images, also in sub-folders); pattern such as "
        "'shots/**/*.jpg'; - for a list on standard input, a path a line",
    )
    add("--checkpoint", type=Path, required=True, help="trained FCN, or an exported .onnx file")

    group = parser.add_argument_group("how")
    inference.add_arguments(group)
    group.add_argument(
        "--batch-size",
        type=int,
        default=1,
        help="pictures of equal padded size (windows, with --sliding) that go through the network "
        "at once (default: %(default)s)",
    )
    device.add_arguments(parser.add_argument_group("device"))

    add = parser.add_argument_group("results").add_argument
    add(
        "--output",
        type=Path,
        default=Path("predictions"),
        help="folder to write to (default: %(default)s)",
    )
    add(
        "--save",
        type=_kinds,
        default=("mask", "overlay"),
        metavar="KIND,…",
        help="what to write: mask, NAME_mask.png, a palette PNG whose pixels are class ids, as "
        "VOC's; color, NAME_color.png, the same as RGB; overlay, NAME_overlay.png, the picture "
        "with its classes laid over; probability, NAME_probability.npz, of every class "
        "(default: mask,overlay). Of a video: color and overlay as NAME_….mp4, mask and "
        "probability as folders NAME_… with a file a frame",
    )
    add(
        "--plain-names",
        action="store_true",
        help="NAME.png instead of NAME_mask.png, as VOC's server wants; with one kind of --save",
    )
    add("--opacity", type=float, default=0.5, help="of an overlay's colours, 0 to 1 (default: 0.5)")
    add(
        "--legend",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="name the classes present in the overlay",
    )
    return parser


def _kinds(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind.strip() for kind in text.split(",")))


def _check_outputs(found, saver: Saver) -> None:
    inputs = {os.path.realpath(picture.path): picture.path for picture in found}
    for picture in found:
        for path in saver.paths(picture):
            overwritten = inputs.get(os.path.realpath(path))
            if overwritten is not None:
                raise InputError(
                    f"the result of {picture.path} would overwrite {overwritten}, which is to be "
                    "predicted too; choose another --output"
                )


class _NoBar:
    """Stands in for tqdm on a machine that has only what prediction needs."""

    def update(self, images: int) -> None:
        pass

    def close(self) -> None:
        pass

    def write(self, line: str) -> None:
        print(line, flush=True)


def _progress_bar(total: int):
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(total=total, unit="image", dynamic_ncols=True, disable=total < 2)


def predict(config: Config) -> list[str]:
    """Segments the pictures and writes what was asked for of each.

    Args:
        config: what the command line says.

    Returns:
        What was wrong with pictures that could not be segmented; the others are done.

    Raises:
        InputError: the device, the checkpoint or the output folder cannot be used, an argument
            means no picture, or the disk is full.
    """
    found = inputs.find(
        config.images, sys.stdin if "-" in config.images else (), output=config.output
    )
    if not found:
        raise InputError("standard input names no picture; give a path a line")
    if inference.engine_for(config.checkpoint, config.engine) == "mindspore":
        device.configure(config.device, device_id=config.device_id, mode=config.mode)
    segmenter = inference.Segmenter.from_checkpoint(
        config.checkpoint, device=config.device, **inference.options_of(config)
    )
    saver = Saver(config, segmenter)
    _check_outputs(found, saver)
    files.make_folder(config.output, "--output")
    images = [picture for picture in found if not picture.is_video]
    videos = [picture for picture in found if picture.is_video]
    bar = _progress_bar(len(images) + sum(video.frame_count(picture.path) for picture in videos))
    run = Pipeline(config, segmenter, saver, bar)
    try:
        run.images(images)
        for picture in videos:
            run.video(picture)
    finally:
        bar.close()
        if run.stopwatch.images:
            print(run.stopwatch)
    return run.faults


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        try:
            faults = predict(Config(**vars(get_parser().parse_args(argv))))
        except KeyboardInterrupt:
            print(f"{_PROGRAM}: stopped by SIGINT", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
    for fault in faults:
        print(f"{_PROGRAM}: {fault}", file=sys.stderr)
    if faults:
        print(f"{_PROGRAM}: {len(faults)} could not be done", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
