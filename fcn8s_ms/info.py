"""Says what a file is, or gives it a checksum: `python -m fcn8s_ms.info --help`."""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import InputError, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("info"))

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import files
from .formats import checkpoints
from .inspection import checkpoint as of_checkpoint
from .inspection import exported
from .inspection.facts import MISMATCH, Facts
from .options import Parser

__all__ = ["KINDS", "Kind", "get_parser", "kind_of", "main"]

_PROGRAM = program("info")
_EXAMPLES = f"""examples:
  a run's best checkpoint and its layers:
    {_PROGRAM} runs/mine --layers
  a checksum for weights that were fetched:
    {_PROGRAM} --seal FCN8s.ckpt
"""
_LARGEST_SIDE = 100_000


@dataclass(frozen=True)
class Kind:
    """A kind of files.

    Attributes:
        title: what it is, for the error of a file that is of none.
        fits: whether a file is of this kind, by its name or first bytes.
        facts: reads the facts of a file.
        seal: gives a file its checksum; None where files carry their own.
    """

    title: str
    fits: Callable[[Path], bool]
    facts: Callable[[Path, argparse.Namespace], Facts]
    seal: Callable[[Path, Sequence[str]], bool] | None = None


def _named(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in suffixes


def _is_record(path: Path) -> bool:
    from .records.metadata import is_record_file, record_files

    shards = [one for count in (2, 11, 101) for one in record_files(path, count)[:1]]
    return (
        path.suffix.lower() == ".mindrecord"
        or is_record_file(path)
        or (not path.exists() and any(map(is_record_file, shards)))
    )


def _record_facts(path: Path, arguments: argparse.Namespace) -> Facts:
    from .inspection.record import record_facts

    return record_facts(path)


def _seal_record(path: Path, expected: Sequence[str]) -> bool:
    from . import records

    return records.seal_record(path, expected=expected)


def _seal_checkpoint(path: Path, expected: Sequence[str]) -> bool:
    from . import checkpoint

    if len(expected) > 1:
        raise InputError(f"{path} is one file; give --sha256 one value")
    return checkpoint.seal(path, *expected)


KINDS = (
    Kind(
        "a checkpoint (.ckpt, .safetensors)",
        _named(*(f".{one}" for one in checkpoints.FORMATS)),
        lambda path, given: of_checkpoint.checkpoint_facts(path, tuple(given.size), given.layers),
        _seal_checkpoint,
    ),
    Kind(
        "an exported network (.onnx, .mindir, .air)",
        _named(".onnx"),
        lambda path, given: exported.onnx_facts(path),
    ),
    Kind("", _named(".mindir", ".air"), lambda path, given: exported.mindspore_facts(path)),
    Kind("a record (.mindrecord)", _is_record, _record_facts, _seal_record),
)
"""Kinds of files, in the order in which they are tried."""


def kind_of(path: Path) -> Kind:
    """Kind of a file.

    Raises:
        InputError: it is missing, or of no kind that is known.
    """
    for kind in KINDS:
        if kind.fits(path):
            return kind
    files.check_regular(path)
    titles = [kind.title for kind in KINDS if kind.title]
    raise InputError(f"{path} is none of the files known here: {', '.join(titles)}")


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.info`."""
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s [flags] FILE [FILE ...]",
        description="Say what a file is and whether its checksum agrees: a checkpoint, a record or "
        "an exported network. The status is 1 if a checksum does not agree.",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="Describe these files; a run's folder stands for its best checkpoint.",
    )
    add("--layers", action="store_true", help="List the layers of a checkpoint's network.")
    add(
        "--size",
        nargs=2,
        type=int,
        default=[512, 512],
        metavar=("H", "W"),
        help="Count operations for an image of this height and width (default: 512 512).",
    )
    add(
        "--json", action="store_true", help="Print the facts as JSON, one object per file and line."
    )
    group = parser.add_argument_group("checksums")
    group.add_argument(
        "--seal",
        action="store_true",
        help="Give a record or checkpoint that was made elsewhere its checksum, in a .json next "
        "to it, after reading all of it; from then on every program compares it.",
    )
    group.add_argument(
        "--sha256",
        nargs="+",
        default=[],
        metavar="HEX",
        help="With --seal: compare the file with this SHA-256, the files of a record with one "
        "each.",
    )
    return parser


def _check(arguments: argparse.Namespace) -> None:
    if not all(1 <= side <= _LARGEST_SIDE for side in arguments.size):
        given = " ".join(map(str, arguments.size))
        raise InputError(f"--size is {given}; give a height and a width of 1…{_LARGEST_SIDE:,}")
    if arguments.sha256 and not arguments.seal:
        raise InputError("--sha256 goes with --seal only")
    if arguments.sha256 and len(arguments.files) > 1:
        raise InputError("--sha256 is for one FILE; seal them one by one")


def _seal(path: Path, arguments: argparse.Namespace) -> None:
    """Seals a file; describes it if that was new."""
    kind = kind_of(path)
    if kind.seal is None:
        raise InputError(
            f"{path}: --seal is for checkpoints and records; an exported file that can have a "
            "checksum is written with it: export it again"
        )
    if kind.seal(path, arguments.sha256):
        print(f"{path}: sealed")
        _describe(path, arguments)
    else:
        print(f"{path}: already sealed; its checksum agrees")


def _describe(path: Path, arguments: argparse.Namespace) -> bool:
    """Prints the facts of a file; returns whether its checksum does not contradict it."""
    facts = kind_of(path).facts(path, arguments)
    if arguments.json:
        print(files.json_text(facts.json(), indent=None))
    else:
        print(facts.text())
    return facts.checksum != MISMATCH


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
        argv: arguments without the program's name; None for those of this process.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with reported_by(_PROGRAM):
        arguments = get_parser().parse_args(argv)
        _check(arguments)
        status = 0
        for given in arguments.files:
            try:
                path = checkpoints.chosen(given)
                if arguments.seal:
                    _seal(path, arguments)
                elif not _describe(path, arguments):
                    status = max(status, 1)
            except InputError as error:
                if len(arguments.files) == 1:
                    raise
                print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
                status = 2
        if status:
            raise SystemExit(status)


if __name__ == "__main__":
    main()
