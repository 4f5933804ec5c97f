"""All programs behind one command: `fcn8s-ms SUBCOMMAND`, or `python -m fcn8s_ms SUBCOMMAND`."""

import importlib
import sys
from collections.abc import Sequence

from . import __version__
from .ending import ended_by_signals
from .errors import InputError, program, reported_by

__all__ = ["SUBCOMMANDS", "main"]

SUBCOMMANDS = {
    "build": "Convert images and masks to a MindRecord file, or inspect one.",
    "train": "Train a network on records.",
    "compare": "Draw the curves of several trainings over one another.",
    "eval": "Score a network, or the masks of any program, on a record.",
    "predict": "Segment images and videos.",
    "demo": "Serve a page that segments pictures in the browser.",
    "export": "Write a network for ONNX Runtime, MindSpore Lite or Ascend.",
    "info": "Say what a file is, and whether it is whole.",
}
"""Subcommands and what they do; each is the module of that name."""


def _help(command: str) -> str:
    width = max(map(len, SUBCOMMANDS))
    lines = [
        f"usage: {command} SUBCOMMAND …",
        "",
        "Semantic segmentation with FCN-8s on MindSpore.",
        "",
        "subcommands:",
        *(f"  {name:<{width}}  {text}" for name, text in SUBCOMMANDS.items()),
        "",
        "options:",
        f"  -h, --help  Show this text; `{command} SUBCOMMAND --help` shows the flags of one.",
        "  --version   Show the version.",
        "",
        "examples:",
        "  a first training, on a small dataset that is drawn:",
        f"    {command} train --sample",
        "  pictures of your own, with the result of a training:",
        f"    {command} predict --checkpoint runs/mine street.jpg holiday",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a subcommand.

    Args:
        argv: arguments without the program's name; those of this process by default.

    Raises:
        SystemExit: the subcommand's; with status 2 if there is none of that name.
    """
    command = program()
    first, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if first in ("-h", "--help"):
        with reported_by(command):
            print(_help(command))
    elif first == "--version":
        with reported_by(command):
            print(f"fcn8s-ms {__version__}")
    elif first in SUBCOMMANDS:
        with ended_by_signals(f"{command} {first}"):
            # Imported here: each program loads only what it needs itself.
            importlib.import_module(f".{first}", __package__).main(rest)
    else:
        with reported_by(command):
            raise InputError(
                f"{first!r} is not a subcommand; choose one of {', '.join(SUBCOMMANDS)}"
            )


if __name__ == "__main__":
    main()
