"""Kills a training again and again, and compares what comes out: `python tools/kill_training.py`.

The real training program trains a network on a small drawn dataset: once without interruption, once
killed (SIGKILL) at random moments and resumed each time. Checkpoints of either run must agree to
the last bit, logs and validations too, and no checkpoint may ever be unreadable.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from narrow import TINY, flags

from fcn8s_ms.errors import InputError, reported_by
from fcn8s_ms.formats import checkpoints
from fcn8s_ms.options import Parser

_PROGRAM = "python tools/kill_training.py"
_EXAMPLES = f"""examples:
  a few minutes:
    {_PROGRAM} --kills 5 --steps 200
  while checkpoints of the full network are written:
    {_PROGRAM} --full --at-saves --kills 20
"""
# Fields of the log that two equal runs do not share.
_OF_THE_MACHINE = ("images_per_second", "memory_gb")
_POLLING_SECONDS = 0.0005
# What the program prints when start-up is over.
_BEGINS = "Compiling the network"
# One kill in so many is aimed at the start-up, the compilation included.
_START_UPS = 4
_SUFFIXES = tuple(f".{one}" for one in checkpoints.FORMATS)


class _Run:
    """One run of the training program in a folder, in as many processes as it takes."""

    def __init__(self, folder: Path, arguments: Sequence[object], output: TextIO):
        self.folder = folder
        self._arguments = [str(one) for one in arguments]
        self._output = output
        self._process: subprocess.Popen[bytes]
        self._printed = 0
        self._leftovers: set[tuple[int, int]] = set()
        self.started = 0.0

    def start(self) -> None:
        """Starts a process: the first one, or one that resumes."""
        begun = (self.folder / "arguments.json").is_file()
        given = ["--resume"] if begun else [*self._arguments, "--output"]
        command = [sys.executable, "-m", "fcn8s_ms.train", *given, str(self.folder)]
        self._leftovers = self._unfinished()
        self._printed = Path(self._output.name).stat().st_size
        self.started = time.monotonic()
        self._process = subprocess.Popen(command, stdout=self._output, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def finish(self) -> None:
        """Waits for the end of the process.

        Raises:
            InputError: its status is not 0.
        """
        if self._process.wait():
            raise InputError(
                f"a training failed with status {self._process.returncode}: {self._output.name}"
            )

    def wait(self, condition: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Waits for a condition, at most some seconds; returns False if the process has ended."""
        until = time.monotonic() + seconds
        while self._process.poll() is None:
            if condition() or time.monotonic() >= until:
                return True
            time.sleep(_POLLING_SECONDS)
        return False

    def is_training(self) -> bool:
        """Returns whether the start-up of the process is over."""
        with open(self._output.name, errors="replace") as file:
            file.seek(self._printed)
            return _BEGINS in file.read()

    def wait_for_steps(self) -> bool:
        """Waits for the first step after start-up and compilation; False if the process ended."""
        if not self.wait(self.is_training):
            return False
        length = self._log_length()
        return self.wait(lambda: self._log_length() > length)

    def _log_length(self) -> int:
        log = self.folder / "log.jsonl"
        return log.stat().st_size if log.is_file() else 0

    def is_saving(self) -> bool:
        """Returns whether the process has begun to write a complete checkpoint."""
        return bool(self._unfinished() - self._leftovers)

    def has_saved(self) -> bool:
        """Returns whether there are both checkpoints of a save, and none is unfinished."""
        names = [path.name for path in self.folder.glob("FCN8s-*_*.*")]
        return any(name.endswith(_SUFFIXES) for name in names) and not self._unfinished("*")

    def _unfinished(self, name: str = "last") -> set[tuple[int, int]]:
        found = set()
        for path in self.folder.glob(f".FCN8s-{name}.unfinished*"):
            try:
                state = path.stat()
            except OSError:  # renamed in this moment
                continue
            # The same file under another name, or longer, is the same file.
            found.add((state.st_dev, state.st_ino))
        return found


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return [{key: row[key] for key in row if key not in _OF_THE_MACHINE} for row in rows]


def _checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run, without the hidden ones that a kill has left unfinished."""
    if not run.exists():  # killed before there was a folder
        return []
    return sorted(
        path for path in run.iterdir() if path.suffix in _SUFFIXES and not path.name.startswith(".")
    )


def _check_readable(run: Path) -> int:
    """Reads every checkpoint of a run; returns the step of the last."""
    from fcn8s_ms import checkpoint

    step = 0
    for path in _checkpoints(run):
        checkpoint.read(path)
        if path.stem == "FCN8s-last":
            step = checkpoint.read_metadata(path)["step"]
    return step


def _difference(run: Path, reference: Path) -> str | None:
    """Finds a difference between two runs; None if there is none."""
    from fcn8s_ms import checkpoint

    names = [sorted(path.name for path in folder.iterdir()) for folder in (run, reference)]
    if names[0] != names[1]:
        return f"files: {names[0]} and {names[1]}"
    for path in _checkpoints(run):
        one, other = checkpoint.read(path), checkpoint.read(reference / path.name)
        if list(one) != list(other):
            return f"{path.name}: parameters"
        for name, value in one.items():
            if value.asnumpy().tobytes() != other[name].asnumpy().tobytes():
                return f"{path.name}: {name}"
    for name in ("log.jsonl", "validations.jsonl"):
        if _lines(run / name) != _lines(reference / name):
            return name
    return None


def get_parser() -> argparse.ArgumentParser:
    """Returns the command line of the test."""
    assert __doc__ is not None
    parser = Parser(
        prog=_PROGRAM, description=" ".join(__doc__.split("\n\n")[1].split()), epilog=_EXAMPLES
    )
    add = parser.add_argument
    add("--kills", type=int, default=20, help="Kill this many times (default: %(default)s).")
    add(
        "--full",
        action="store_true",
        help="Train the network of full width (minutes, 6 GB on the disk) instead of a narrow one.",
    )
    add(
        "--at-saves",
        action="store_true",
        help="Kill while checkpoints are written, the first included, instead of at any moment.",
    )
    add(
        "--checkpoint-format",
        choices=checkpoints.FORMATS,
        default="ckpt",
        help="Write checkpoints in this format (default: %(default)s).",
    )
    add(
        "--steps", type=int, help="Train this many steps (default: 1040; with --full: --kills + 2)."
    )
    add(
        "--save-every",
        type=int,
        help="Save a checkpoint every so many steps (default: 3; with --full: 1).",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="Draw the moments with this seed (default: %(default)s).",
    )
    add(
        "--folder",
        type=Path,
        metavar="DIR",
        help="Work in this folder and keep it (default: a temporary one).",
    )
    return parser


def _arguments(
    built: dict[str, Path],
    full: bool,
    steps: int,
    save_every: int,
    checkpoint_format: str = "ckpt",
) -> list[object]:
    """Returns the arguments of the training program."""
    found: list[object] = ["--data", built["train"], "--crop-size", "64", "--workers", "1"]
    found += ["--device", "CPU", "--steps", steps, "--save-every", save_every]
    found += ["--checkpoint-format", checkpoint_format]
    if full:
        return [*found, "--batch-size", "2", "--keep", "1"]
    return [*found, "--val-data", built["val"], "--keep", "2", "--val-every", "3", *flags(TINY)]


def run_test(
    kills: int,
    steps: int,
    save_every: int,
    seed: int,
    folder: Path,
    *,
    full: bool = False,
    at_saves: bool = False,
    checkpoint_format: str = "ckpt",
) -> list[dict[str, Any]]:
    """Does what the module says in a folder.

    Args:
        kills: number of kills.
        steps: length of the training.
        save_every: steps between two saves.
        seed: seed of the moments.
        folder: where to work.
        full: whether to train the network of full width.
        at_saves: whether to kill while checkpoints are written.
        checkpoint_format: format of the checkpoints, as for the training program.

    Returns:
        One dict for each kill: `seconds` after the start of its process, number of finished `steps`
        then, and step of the checkpoint that was there (`saved`). Fewer than asked for if the
        training came to its end before.

    Raises:
        InputError: a checkpoint is unreadable, a process fails, or the results differ.
    """
    from fcn8s_ms.records.demo import build_records

    built = build_records(folder / "sample", overwrite=True)
    arguments = _arguments(built, full, steps, save_every, checkpoint_format)
    moments, history = random.Random(seed), []
    with open(folder / "output.txt", "w") as output:
        reference = _Run(folder / "reference", arguments, output)
        reference.start()
        reference.wait_for_steps()
        start_up = time.monotonic() - reference.started
        reference.wait(reference.is_saving)
        saving = time.monotonic()
        reference.wait(reference.has_saved)
        saving = time.monotonic() - saving
        reference.finish()
        training = time.monotonic() - reference.started - start_up
        print(
            f"uninterrupted: {steps} steps, {start_up:.1f} s + {training:.1f} s; "
            f"the first save took {saving:.2f} s",
            flush=True,
        )

        run = _Run(folder / "run", arguments, output)
        while len(history) < kills:
            run.start()
            if at_saves:
                alive = run.wait(run.is_saving)
                alive = alive and run.wait(lambda: False, moments.uniform(0, 1.5 * saving))
            elif len(history) % _START_UPS == 0:
                alive = run.wait(lambda: False, moments.uniform(0, start_up))
            else:
                alive = run.wait_for_steps()
                # Steps, saves, validations; on average the share of a kill.
                alive = alive and run.wait(lambda: False, moments.uniform(0, 2 * training / kills))
            if not alive:
                break
            run.kill()
            rows = _lines(run.folder / "log.jsonl")
            entry = {
                "seconds": time.monotonic() - run.started,
                "steps": rows[-1]["step"] if rows else 0,
                "saved": _check_readable(run.folder),
            }
            history.append(entry)
            print(
                f"kill {len(history)} after {entry['seconds']:.2f} s: step {entry['steps']} of "
                f"{steps}, checkpoint of step {entry['saved']}",
                flush=True,
            )
        else:
            run.start()
        run.finish()
    difference = _difference(run.folder, reference.folder)
    if difference is not None:
        raise InputError(f"the interrupted run differs from the other in {difference}")
    return history


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line; `argv` is without the program's name."""
    options = get_parser().parse_args(argv)
    steps = options.steps or (options.kills + 2 if options.full else 1040)
    save_every = options.save_every or (1 if options.full else 3)
    with reported_by(_PROGRAM), tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        history = run_test(
            options.kills,
            steps,
            save_every,
            options.seed,
            folder,
            full=options.full,
            at_saves=options.at_saves,
            checkpoint_format=options.checkpoint_format,
        )
        if history:
            lost = [entry["steps"] - entry["saved"] for entry in history]
            print(
                f"{len(history)} kills; at most {max(lost)} steps lost to one (saved every "
                f"{save_every}, {np.mean(lost):.1f} on average); every checkpoint was readable "
                "every time; weights, optimizer, log and validations equal bit for bit"
            )
        if len(history) < options.kills:
            raise InputError(f"it came to its end after {len(history)} kills; give more --steps")


if __name__ == "__main__":
    main()
