"""Serves a page that segments pictures in the browser: `python -m fcn8s_ms.demo --help`."""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import InputError, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("demo"))

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import device, inference, webpage
from .formats import checkpoints
from .images import reader
from .inference import inputs
from .options import Parser, add_options, option, take_options

__all__ = ["Config", "demo", "get_parser", "main", "parse"]

_PROGRAM = program("demo")
_EXAMPLES = f"""examples:
  the best checkpoint of a run, on http://127.0.0.1:7860:
    {_PROGRAM} --checkpoint runs/mine
  an exported network, with pictures of one's own to try it with, for the local network:
    {_PROGRAM} --checkpoint fcn8s.onnx --examples photos --host 0.0.0.0
"""
_MEGABYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of a demo; `--help` describes every field."""

    checkpoint: Path = option(
        help="Segment with this checkpoint, exported .onnx file, or best checkpoint of a run's "
        "folder."
    )
    host: str = option(
        "127.0.0.1",
        metavar="ADDRESS",
        help="Serve the page at this address of the machine; only the machine itself reaches the "
        "default, everyone in its network 0.0.0.0 (default: %(default)s).",
    )
    port: int = option(
        7860, help="Serve the page at this port; 0 takes any that is free (default: %(default)s)."
    )
    open: bool = option(False, help="Open the page in this machine's browser.")
    examples: list[str] = option(
        [],
        nargs="+",
        metavar="IMAGE",
        help="Offer these pictures, or those of these folders, to try the network with (default: "
        "pictures that are drawn like those of the sample dataset).",
    )
    longest_side: int = option(
        1024,
        help="Show the network a picture whose longer side has more than N pixels at this length, "
        "which keeps time and memory small; the result still has the picture's own size; 0 for "
        "never (default: %(default)s; without effect if --resize or --sliding is given).",
    )
    max_pixels: int = option(
        50_000_000,
        metavar="N",
        help="Refuse a picture whose header announces more pixels, before memory is asked for; 0 "
        "takes any (default: %(default)s).",
    )
    max_megabytes: int = option(
        50, help="Refuse a file of more than N MB of 1,048,576 bytes (default: %(default)s)."
    )
    engine: str | None = None
    view: inference.ViewOptions = inference.ViewOptions()
    device: str = "CPU"
    device_id: int = 0
    mode: str = "graph"

    def __post_init__(self) -> None:
        reader.check_max_pixels(self.max_pixels)
        if not 0 <= self.port <= 65535:
            raise InputError(f"--port is {self.port}; choose 1…65535, or 0 for any that is free")
        if self.longest_side < 0:
            raise InputError(f"--longest-side is {self.longest_side}; take 0 or a positive number")
        if self.max_megabytes < 1:
            raise InputError(f"--max-megabytes is {self.max_megabytes}; it must be positive")


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.demo`."""
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s --checkpoint FILE [flags]",
        description="Serve a page in which people drop a picture and see its classes, with their "
        "certainty, and save them. It needs no network connection, and sends nothing elsewhere. "
        "Ctrl-C ends it, and removes the pictures that were sent.",
        epilog=_EXAMPLES,
    )
    add_options(parser, Config)
    inference.add_arguments(parser.add_argument_group("how the network sees a picture"))
    device.add_arguments(parser.add_argument_group("device"))
    parser.set_defaults(device="CPU")
    return parser


def parse(argv: Sequence[str] | None = None) -> Config:
    """Arguments of a command line; `argv` without the program's name.

    Raises:
        InputError: a value is out of range, or two do not go together.
    """
    arguments = vars(get_parser().parse_args(argv))
    arguments["view"] = take_options(inference.ViewOptions, arguments)
    return Config(**arguments)


def demo(config: Config) -> None:
    """Serves the page until the program is ended.

    Args:
        config: arguments of the demo.

    Raises:
        InputError: Gradio is not installed, the address, the device or the checkpoint cannot be
            used, or there is no such example.
    """
    webpage.check_packages()
    examples = _examples(config.examples)
    path = checkpoints.chosen(config.checkpoint)
    with webpage.bind(config.host, config.port) as listener:
        answerer = webpage.Answerer(
            _segmenter(config, path), config.longest_side, config.max_pixels
        )
        with webpage.serving(
            answerer,
            listener,
            title=str(path),
            examples=examples,
            max_bytes=config.max_megabytes * _MEGABYTE,
        ) as served:
            print(f"The page is at {served.url}; Ctrl-C ends it.", flush=True)
            if config.open:
                import webbrowser

                webbrowser.open(served.url)
            served.wait()


def _examples(arguments: Sequence[str]) -> list[Path]:
    """Paths of the pictures to try; their headers are read, so that none is missing or damaged."""
    found = [one.path for one in inputs.find_pictures(arguments) if not one.is_video]
    if arguments and not found:
        raise InputError(f"--examples {' '.join(arguments)} names no picture")
    for path in found:
        reader.open_file(path)
    return found


def _segmenter(config: Config, path: Path) -> inference.Segmenter:
    if inference.engine_for(path, config.engine) == "mindspore":
        device.configure(config.device, device_id=config.device_id, mode=config.mode)
    return inference.Segmenter.from_checkpoint(path, device=config.device, **vars(config.view))


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        demo(parse(argv))


if __name__ == "__main__":
    main()
