"""Draws the curves of several runs over one another: `python -m fcn8s_ms.compare --help`."""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import InputError, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("compare"))

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from .formats import paths
from .formats.columns import columns
from .options import Parser
from .training import comparison

__all__ = ["compare", "get_parser", "main"]

_PROGRAM = program("compare")
_FORMATS = (".png", ".pdf", ".svg")
_EXAMPLES = f"""examples:
  three networks that were trained alike:
    {_PROGRAM} runs/32s runs/16s runs/8s --output networks.png
"""


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.compare`."""
    parser = Parser(
        prog=_PROGRAM,
        description="Compare trainings, finished or running: losses, scores and learning rates as "
        "curves over one another, the arguments that differ and the best scores as tables. Nothing "
        "in the folders of the runs is changed.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="Folder that a training writes to."
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("comparison.png"),
        metavar="FILE",
        help="Picture to write: .png, .pdf or .svg (default: %(default)s).",
    )
    return parser


def compare(folders: Sequence[Path], output: Path) -> dict[str, comparison.Run]:
    """Draws and prints what runs have in common, and in what they differ.

    Args:
        folders: those of the runs.
        output: picture to write; its folder is made.

    Returns:
        The runs by their names in picture and tables.

    Raises:
        InputError: a folder is not that of a run with a finished step, or the picture cannot be
            written.
    """
    if output.suffix.lower() not in _FORMATS:
        raise InputError(f"--output {output} ends in none of {', '.join(_FORMATS)}; take one")
    paths.check_file(output, "--output")
    names = comparison.names_of(folders)
    runs = {name: comparison.read_run(path) for name, path in zip(names, folders)}

    from . import visualize

    paths.make_folder(output.absolute().parent, "--output")
    try:
        visualize.runs_curves(output, {name: run.course for name, run in runs.items()})
    except OSError as error:
        raise InputError(
            f"--output {output.absolute()} cannot be written: {error.strerror}; choose another "
            "place"
        ) from error
    rows = comparison.different_arguments(list(runs.values()))
    if rows:
        print(columns([["argument", *names], *rows]))
    elif len(runs) > 1:
        print("No argument differs.")
    print(f"\n{columns(list(comparison.score_rows(runs)))}")
    print(f"\nTraining loss: mean of the last tenth of the steps. Look at {output}.")
    return runs


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
        argv: arguments without the program's name; None for those of this process.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with reported_by(_PROGRAM):
        arguments = get_parser().parse_args(argv)
        compare(arguments.runs, arguments.output)


if __name__ == "__main__":
    main()
