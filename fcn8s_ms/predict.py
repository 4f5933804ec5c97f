"""Segments pictures with a checkpoint: `python -m fcn8s_ms.predict --help`."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from . import device
from .errors import InputError, reported_by

__all__ = ["Config", "get_parser", "main", "predict"]

_PROGRAM = "python -m fcn8s_ms.predict"


@dataclass(frozen=True)
class Config:
    """Arguments of one prediction; every field is a flag of `get_parser`, explained there."""

    images: list[Path]
    checkpoint: Path
    output: Path
    device: str
    device_id: int
    mode: str

    def __post_init__(self):
        first = {}
        for image in self.images:
            if image.stem in first:
                raise InputError(
                    f"{first[image.stem]} and {image} would both be written as "
                    f"{image.stem}_mask.png; predict them into different --output folders"
                )
            first[image.stem] = image


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.predict`."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Segment pictures: for each IMAGE a palette PNG of class ids (NAME_mask.png) "
        "and the picture with its classes and a legend laid over (NAME_overlay.png), both at the "
        "picture's own size.",
        epilog=f"Example: {_PROGRAM} --checkpoint FCN8s.ckpt street.jpg --output out",
    )
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="picture to segment")
    add("--checkpoint", type=Path, required=True, help="trained FCN-8s")
    add(
        "--output",
        type=Path,
        default=Path("predictions"),
        help="folder to write to (default: %(default)s)",
    )
    device.add_arguments(parser)
    return parser


def predict(config: Config) -> list[str]:
    """Segments the pictures and writes mask and overlay of each.

    Args:
        config: what the command line says.

    Returns:
        What was wrong with pictures that could not be segmented; the others are done.

    Raises:
        InputError: the device, the checkpoint or the output folder cannot be used.
    """
    from . import visualize
    from .inference import Segmenter, read_image

    device.configure(config.device, device_id=config.device_id, mode=config.mode)
    segmenter = Segmenter.from_checkpoint(config.checkpoint)
    try:
        config.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--output {config.output.absolute()} cannot be made: {error.strerror}; choose another"
        ) from error
    faults = []
    for path in config.images:
        try:
            image = read_image(path)
        except InputError as error:
            faults.append(str(error))
            continue
        ids = segmenter(image)
        mask = config.output / f"{path.stem}_mask.png"
        visualize.write_mask(mask, ids, segmenter.palette)
        picture = visualize.overlay(image, ids, segmenter.palette)
        picture = visualize.draw_legend(picture, ids, segmenter.classes, segmenter.palette)
        visualize.write_picture(config.output / f"{path.stem}_overlay.png", picture)
        present = ", ".join(segmenter.classes[label] for label in sorted(set(ids.flat)))
        print(f"{mask}: {present}", flush=True)
    return faults


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        faults = predict(Config(**vars(get_parser().parse_args(argv))))
    for fault in faults:
        print(f"{_PROGRAM}: {fault}", file=sys.stderr)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
