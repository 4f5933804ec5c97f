"""Watches the memory and open files of long runs: `python tools/long_run.py`.

Each part runs the real program in a process of its own, and reads at intervals what the system says
of that process: resident memory, open file descriptors, threads. `train` makes many steps of a
narrow network, with checkpoints and validations; `predict` segments and `eval` scores as many
drawn pictures, each of another size. `log` measures what a step costs next to a short log and next
to a very long one.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from narrow import TINY, flags

from fcn8s_ms import device, visualize
from fcn8s_ms.errors import InputError, reported_by
from fcn8s_ms.options import Parser
from fcn8s_ms.records import demo
from fcn8s_ms.training import history
from fcn8s_ms.training.callbacks import TrainingLog
from fcn8s_ms.voc import palette

_PROGRAM = "python tools/long_run.py"
_EXAMPLES = f"""examples:
  all parts:
    {_PROGRAM}
  pictures of one size:
    {_PROGRAM} predict --largest 0
"""
PARTS = ("train", "predict", "eval", "log")
_POLLING_SECONDS = 0.01
_SAMPLES = 10
_SMALLEST_SIDE = 40
# A progress bar's last state: `12/200 [`.
_BAR = re.compile(rb"(\d+)/\d+ \[")
_STEP = re.compile(rb'"step": (\d+)')
_SHORT_LOG = 10
_MEASURED_STEPS = 200


@dataclass(frozen=True)
class Sample:
    """State of a process after some of its work."""

    done: int
    seconds: float
    memory_mb: float
    files: int
    threads: int


# --- processes -----------------------------------------------------------------------------------


def _state(pid: int) -> tuple[float, int, int] | None:
    """Resident memory in MB, open files and threads; None if the process has ended."""
    folder = Path("/proc") / str(pid)
    try:
        status = (folder / "status").read_text()
        resident, threads = (
            re.search(rf"^{name}:\s+(\d+)", status, re.M) for name in ("VmRSS", "Threads")
        )
        if resident is None or threads is None:  # it is a zombie
            return None
        return int(resident[1]) / 1024, len(list((folder / "fd").iterdir())), int(threads[1])
    except OSError:
        return None


def _last(path: Path, pattern: re.Pattern[bytes]) -> int:
    """The last number in a file that grows; 0 before there is one."""
    if not path.is_file():
        return 0
    with open(path, "rb") as file:
        file.seek(max(path.stat().st_size - 4096, 0))
        found = pattern.findall(file.read())
    return int(found[-1]) if found else 0


def watch(
    arguments: Sequence[object], output: Path, done: Callable[[Path], int], every: int
) -> Iterator[Sample]:
    """Runs a program of the package and samples it.

    Args:
        arguments: name and arguments of the program.
        output: file for what it prints.
        done: returns how much it has done; gets the file.
        every: how much it does between two samples.

    Raises:
        InputError: the program fails.
    """
    name, *rest = map(str, arguments)
    begun = time.monotonic()
    with open(output, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", f"fcn8s_ms.{name}", *rest], stdout=file, stderr=file
        )
        try:
            due = min(every, 10)  # the first one when all is loaded and compiled
            while process.poll() is None:
                finished = done(output)
                state = _state(process.pid) if finished >= due else None
                if state is not None:
                    yield Sample(finished, time.monotonic() - begun, *state)
                    due = (finished // every + 1) * every
                time.sleep(_POLLING_SECONDS)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        lines = output.read_text(errors="replace").splitlines() or [""]
        raise InputError(f"{name} failed with status {process.returncode}: {lines[-1]}")


# --- parts ---------------------------------------------------------------------------------------


class _Work:
    """Data for the parts, made when first needed.

    Args:
        folder: where to work.
        count: number of steps or pictures.
        largest: upper bound of the sides of the pictures; 0 for one size.
    """

    def __init__(self, folder: Path, count: int, largest: int):
        self._folder = folder
        self._count = count
        self._largest = largest

    def _draw(self) -> Path:
        """Draws pictures and masks, each of another size."""
        folder = self._folder / "pictures"
        if folder.is_dir():
            return folder
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True)
        rng = np.random.RandomState(0)
        scenes = [demo.draw_scene(rng, (1, 3, 5)) for _ in range(8)]
        for number in range(self._count):
            picture, label = scenes[number % len(scenes)]
            size = (_SMALLEST_SIDE,) * 2
            if self._largest:
                size = tuple(int(side) for side in rng.randint(_SMALLEST_SIDE, self._largest, 2))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / "images" / f"{number:06d}.jpg"), picture[..., ::-1])
            label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
            visualize.write_mask(folder / "labels" / f"{number:06d}.png", label, palette())
        (folder / "classes.txt").write_text("\n".join(demo.CLASSES))
        return folder

    def _run(self, *arguments: object) -> None:
        log = self._folder / "preparation.txt"
        for _ in watch(arguments, log, lambda output: 0, 1):
            pass

    def _training(self, run: Path, steps: int) -> list[object]:
        folder = self._folder / "sample"
        names = ("train", "val")
        built = {name: folder / f"{name}.mindrecord" for name in names}
        if not all(path.is_file() for path in built.values()):
            built = demo.build_records(folder, overwrite=True)
        given: list[object] = ["train", "--data", built["train"], "--val-data", built["val"]]
        given += ["--batch-size", 2, "--crop-size", 64, "--workers", 1, "--device", "CPU"]
        return [*given, "--steps", steps, "--val-every", 4, *flags(TINY), "--output", run]

    def _checkpoint(self) -> Path:
        run = self._folder / "trained"
        if not run.is_dir():
            self._run(*self._training(run, 2))
        return next(run.glob("FCN8s-*_2.ckpt"))

    def train(self) -> tuple[list[object], Callable[[Path], int]]:
        """Arguments of the program, and what reads from its output how much is done."""
        run = self._folder / "run"
        given = self._training(run, self._count)
        given += ["--save-every", max(self._count // 20, 1), "--keep", 2]
        return given, lambda output: _last(run / "log.jsonl", _STEP)

    def predict(self) -> tuple[list[object], Callable[[Path], int]]:
        """As `train`."""
        given = ["predict", self._draw() / "images", "--checkpoint", self._checkpoint()]
        given += ["--device", "CPU", "--output", self._folder / "predictions"]
        return given, lambda output: _last(output, _BAR)

    def eval(self) -> tuple[list[object], Callable[[Path], int]]:
        """As `train`."""
        pictures, record = self._draw(), self._folder / "pictures.mindrecord"
        if not record.is_file():
            given = ["build", "--images", pictures / "images", "--labels", pictures / "labels"]
            self._run(*given, "--classes", pictures / "classes.txt", "--output", record)
        given = ["eval", "--data", record, "--checkpoint", self._checkpoint()]
        return [*given, "--device", "CPU", "--workers", 1], lambda output: _last(output, _BAR)


# --- the log -------------------------------------------------------------------------------------


def measure_log(folder: Path, steps: int) -> dict[str, float]:
    """Writes a log of many steps, and times what a training does next to it.

    Args:
        folder: where to work.
        steps: number of steps in the log.

    Returns:
        Seconds: `resume` to read the log, `step` to log one step, `curves` to draw the curves; and
        `memory_mb` that reading the log has taken.
    """
    path = folder / f"log_{steps}.jsonl"
    losses = 3 / np.sqrt(np.arange(1, steps + 1)) + np.random.RandomState(0).rand(steps)
    with open(path, "w") as file:
        for step, loss in enumerate(losses.tolist(), 1):
            line = {"step": step, "epoch": step // 100 + 1, "loss": loss, "lr": 0.05}
            file.write(json.dumps({**line, "images_per_second": 4.0, "memory_gb": 1.0}) + "\n")
    before, begun = _memory_mb(), time.perf_counter()
    past, _ = history.read_logs(path, folder / "validations.jsonl", steps)
    read, taken = time.perf_counter() - begun, _memory_mb() - before
    rates = [0.05] * (steps + _MEASURED_STEPS)
    log = TrainingLog(path, rates, 4, history=past, memory=lambda: device.memory("CPU"))
    log.on_train_begin(None)
    begun = time.perf_counter()
    for step in range(steps + 1, steps + _MEASURED_STEPS + 1):
        state = SimpleNamespace(net_outputs=1.0, cur_step_num=step, cur_epoch_num=1)
        log.on_train_step_begin(None)
        log.on_train_step_end(SimpleNamespace(original_args=lambda state=state: state))
    logged = (time.perf_counter() - begun) / _MEASURED_STEPS
    log.close()
    picture = folder / "curves.png"
    begun = time.perf_counter()
    visualize.curves(picture, past.points(), [], means=past.means(), span=past.span)
    drawn = time.perf_counter() - begun
    return {"resume": read, "step": logged, "curves": drawn, "memory_mb": taken}


def _memory_mb() -> float:
    return device.memory("CPU").get("memory_gb", 0.0) * 1000


# --- tables --------------------------------------------------------------------------------------


def _print_samples(samples: Iterator[Sample]) -> list[Sample]:
    print("   done  seconds  memory (MB)  open files  threads")
    found = []
    for one in samples:
        found.append(one)
        print(
            f"{one.done:7,} {one.seconds:8.1f} {one.memory_mb:12.0f} {one.files:11} "
            f"{one.threads:8}",
            flush=True,
        )
    return found


def _print_logs(folder: Path, steps: int) -> None:
    print("  steps in the log  resume (s)  step (ms)  curves (s)  memory of resuming (MB)")
    _draw_once(folder)  # Matplotlib's first figure takes longer
    for length in (_SHORT_LOG, steps):
        found = measure_log(folder, length)
        print(
            f"{length:18,} {found['resume']:11.3f} {1e3 * found['step']:10.3f} "
            f"{found['curves']:11.2f} {found['memory_mb']:24.0f}",
            flush=True,
        )


def _draw_once(folder: Path) -> None:
    visualize.curves(folder / "curves.png", [{"step": 1, "loss": 1.0, "lr": 1.0}], [])


def get_parser() -> argparse.ArgumentParser:
    """Returns the command line of the tool."""
    assert __doc__ is not None
    parser = Parser(
        prog=_PROGRAM, description=" ".join(__doc__.split("\n\n")[1].split()), epilog=_EXAMPLES
    )
    add = parser.add_argument
    add(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"Run these parts: {', '.join(PARTS)} (default: all).",
    )
    add(
        "--count",
        type=int,
        default=2000,
        help="Make this many steps or pictures (default: %(default)s).",
    )
    add(
        "--largest",
        type=int,
        default=320,
        help="Draw pictures whose sides are at most this; 0 draws one size (default: %(default)s).",
    )
    add(
        "--log-steps",
        type=int,
        default=1_000_000,
        help="Put this many steps into the long log (default: %(default)s).",
    )
    add(
        "--folder",
        type=Path,
        metavar="DIR",
        help="Work in this folder and keep it (default: a temporary one).",
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        raise InputError(f"{unknown[0]!r} is not a part; choose from {', '.join(PARTS)}")
    if options.count < 2 or options.log_steps < 1:
        raise InputError("--count must be at least 2 and --log-steps at least 1")
    if options.largest and options.largest <= _SMALLEST_SIDE:
        raise InputError(f"--largest must be 0 or more than {_SMALLEST_SIDE}")
    if not Path("/proc/self/fd").is_dir():
        raise InputError("this system has no /proc to read from; run the tool on Linux")


def run_parts(
    parts: Sequence[str], folder: Path, count: int, largest: int, log_steps: int
) -> dict[str, list[Sample]]:
    """Runs parts and prints their tables.

    Args:
        parts: of `PARTS`.
        folder: where to work.
        count: number of steps or pictures.
        largest: upper bound of the pictures' sides; 0 for one size.
        log_steps: steps in the long log.

    Returns:
        The samples of each part that has some.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work, found = _Work(folder, count, largest), {}
    for part in parts:
        print(f"{part}:", flush=True)
        if part == "log":
            _print_logs(folder, log_steps)
            continue
        arguments, done = getattr(work, part)()
        output = folder / f"{part}.txt"
        every = max(count // _SAMPLES, 1)
        found[part] = _print_samples(watch(arguments, output, done, every))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        options = get_parser().parse_args(argv)
        _check(options)
        with tempfile.TemporaryDirectory() as temporary:
            run_parts(
                options.parts or PARTS,
                options.folder or Path(temporary),
                options.count,
                options.largest,
                options.log_steps,
            )


if __name__ == "__main__":
    main()
