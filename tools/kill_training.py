"""Kills a training again and again, and compares what comes out: `python tools/kill_training.py`.

The real training program trains a narrow FCN-8s on a small drawn dataset: once without
interruption, once killed (SIGKILL) at random moments and resumed each time. Checkpoints of either
run must agree to the last bit, logs and validations too, and no checkpoint may ever be unreadable.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from narrow import TINY, flags

from fcn8s_ms.errors import InputError, reported_by

_PROGRAM = "python tools/kill_training.py"
# Fields of the log that two equal runs do not share.
_OF_THE_MACHINE = ("images_per_second", "memory_gb")


def _start(arguments, errors):
    command = [sys.executable, "-m", "fcn8s_ms.train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=errors, stderr=subprocess.STDOUT)


def _lines(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return [{key: row[key] for key in row if key not in _OF_THE_MACHINE} for row in rows]


def _check_readable(run: Path) -> int:
    """Reads every checkpoint of a run; returns the step of the last."""
    from fcn8s_ms import checkpoint

    for path in run.glob("*.ckpt"):
        checkpoint.read(path)
    last = run / "FCN8s-last.ckpt"
    return checkpoint.read_metadata(last)["step"] if last.is_file() else 0


def _difference(run: Path, reference: Path) -> str | None:
    """Finds a difference between two runs; None if there is none."""
    from fcn8s_ms import checkpoint

    names = [sorted(path.name for path in folder.iterdir()) for folder in (run, reference)]
    if names[0] != names[1]:
        return f"files: {names[0]} and {names[1]}"
    for path in sorted(run.glob("*.ckpt")):
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
    """Command line of the test."""
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--kills", type=int, default=20, help="how often to kill (default: %(default)s)")
    add("--epochs", type=int, default=40, help="of 26 steps (default: %(default)s)")
    add("--save-every", type=int, default=3, help="steps (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    add("--folder", type=Path, help="where to work; kept (default: a temporary folder)")
    return parser


def run_test(kills: int, epochs: int, save_every: int, seed: int, folder: Path) -> list[dict]:
    """Does what the module says in a folder.

    Returns:
        One dict for each kill: `seconds` after the start of its process, number of finished `steps`
        then, and step of the checkpoint that was there (`saved`). Fewer than asked for if the
        training came to its end before.

    Raises:
        InputError: a checkpoint is unreadable, a process fails, or the results differ.
    """
    from fcn8s_ms.records.demo import build_records

    built = build_records(folder / "sample", overwrite=True)
    arguments = ["--data", built["train"], "--val-data", built["val"], "--crop-size", "64"]
    arguments += ["--epochs", epochs, "--save-every", save_every, "--keep", "2", "--val-every", "3"]
    arguments += ["--workers", "1", "--device", "CPU", *flags(TINY)]
    errors = open(folder / "output.txt", "w+")
    reference, run = folder / "reference", folder / "run"

    def finish(process):
        if process.wait():
            raise InputError(f"a training failed with status {process.returncode}: {errors.name}")

    started = time.monotonic()
    process = _start([*arguments, "--output", reference], errors)
    while process.poll() is None and not _lines(reference / "log.jsonl"):
        time.sleep(0.01)
    start_up = time.monotonic() - started
    finish(process)
    training = time.monotonic() - started - start_up
    steps = len(_lines(reference / "log.jsonl"))
    print(f"uninterrupted: {steps} steps, {start_up:.1f} s + {training:.1f} s", flush=True)

    moments, history = random.Random(seed), []
    while len(history) < kills:
        # Over the whole life of a process: start, compilation, steps, saves, validations. On the
        # average a life does a little less than its share of the steps.
        seconds = moments.uniform(0, start_up + 2.5 * training / kills)
        begun = (run / "arguments.json").is_file()
        process = _start(["--resume", run] if begun else [*arguments, "--output", run], errors)
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            rows = _lines(run / "log.jsonl")
            done = rows[-1]["step"] if rows else 0
            history.append({"seconds": seconds, "steps": done, "saved": _check_readable(run)})
            print(
                f"kill {len(history)} after {seconds:.2f} s: step {done} of {steps}, "
                f"checkpoint of step {history[-1]['saved']}",
                flush=True,
            )
        else:
            if status:
                raise InputError(f"a training failed with status {status}: {errors.name}")
            break
    else:
        finish(_start(["--resume", run], errors))
    errors.close()
    difference = _difference(run, reference)
    if difference is not None:
        raise InputError(f"the interrupted run differs from the other in {difference}")
    return history


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    options = get_parser().parse_args(argv)
    with reported_by(_PROGRAM), tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        history = run_test(
            options.kills, options.epochs, options.save_every, options.seed, folder.absolute()
        )
        lost = [entry["steps"] - entry["saved"] for entry in history]
        print(
            f"{len(history)} kills; at most {max(lost)} steps lost to one (saved every "
            f"{options.save_every}, {np.mean(lost):.1f} on average); every checkpoint was readable "
            "every time; weights, optimizer, log and validations equal bit for bit"
        )
        if len(history) < options.kills:
            raise InputError(f"it came to its end after {len(history)} kills; give more --epochs")


if __name__ == "__main__":
    main()
