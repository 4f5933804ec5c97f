"""All programs behind one command: `fcn8s-ms SUBCOMMAND`, or `python -m fcn8s_ms SUBCOMMAND`."""

import importlib
import sys

from . import __version__

__all__ = ["SUBCOMMANDS", "main"]

SUBCOMMANDS = {
    "build": "convert images and masks to a MindRecord file, or look into one",
    "train": "train a network on records",
    "eval": "score a network, or masks of any origin, on a record",
    "predict": "segment pictures and videos",
    "export": "write a network for ONNX Runtime, MindSpore Lite or Ascend",
}
"""Subcommands and what they do; each is the module of that name."""


def _help() -> str:
    width = max(map(len, SUBCOMMANDS))
    lines = [
        "usage: fcn8s-ms SUBCOMMAND …",
        "",
        "Semantic segmentation with FCN-8s on MindSpore.",
        "",
        "subcommands:",
        *(f"  {name:<{width}}  {text}" for name, text in SUBCOMMANDS.items()),
        "",
        "options:",
        "  -h, --help  show this text; `fcn8s-ms SUBCOMMAND --help` shows the flags of one",
        "  --version   show the version",
        "",
        "Try it: fcn8s-ms train --sample",
    ]
    return "\n".join(lines)


def main(argv=None) -> None:
    """Runs a subcommand; `argv` without the program's name.

    Raises:
        SystemExit: of the subcommand; 2 if there is none of that name.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
    elif argv[0] == "--version":
        print(f"fcn8s-ms {__version__}")
    elif argv[0] in SUBCOMMANDS:
        importlib.import_module(f".{argv[0]}", __package__).main(argv[1:])
    else:
        print(
            f"fcn8s-ms: error: {argv[0]!r} is not a subcommand; choose one of "
            f"{', '.join(SUBCOMMANDS)}",
            file=sys.stderr,
        )
        raise SystemExit(2)


if __name__ == "__main__":
    main()
