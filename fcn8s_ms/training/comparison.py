"""Runs side by side: their logs read without a change, their arguments and scores as tables."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..formats import checkpoints
from ..visualize.curves import Course
from .history import look_at_logs
from .results import course_of
from .run_folder import RunFolder

__all__ = ["Run", "different_arguments", "names_of", "read_run", "score_rows"]

_PLACES = ("output", "resume", "arguments", "preview")


@dataclass(frozen=True)
class Run:
    """Run, finished or not, as its folder tells of it.

    Attributes:
        path: its folder.
        arguments: its arguments.
        course: its curves.
        epoch: number of the epoch of the last step.
        best_seconds: seconds of training until the best validation; None where it is not known.
    """

    path: Path
    arguments: dict[str, Any]
    course: Course
    epoch: int
    best_seconds: float | None


def read_run(path: Path) -> Run:
    """Reads the folder of a run, which may be running.

    Raises:
        InputError: it is not the folder of a run, has no finished step yet, or holds something that
            cannot be read.
    """
    if not RunFolder(path).arguments.is_file():
        raise InputError(
            f"{path} is not the folder of a run: it has no arguments.json; pass the folder that a "
            "training wrote to (its --output)"
        )
    folder = RunFolder.of(path)
    arguments = folder.read_arguments()
    history, validations, epoch_steps = look_at_logs(folder.log, folder.validations)
    if history.last is None:
        raise InputError(f"{path} has no finished step; wait for its first one, or leave it out")
    course = course_of(history, validations, arguments, epoch_steps)
    seconds = None
    if course.best is not None and folder.best.is_file():
        metadata = checkpoints.stated(folder.best)
        if metadata.get("step") == course.best["step"]:  # not in the middle of a save
            seconds = metadata.get("seconds")
    return Run(path, arguments, course, history.last.get("epoch", 0), seconds)


def names_of(paths: Sequence[Path]) -> list[str]:
    """Names of folders: the last part of the path, and as many more as tell equal ones apart.

    Raises:
        InputError: a folder is given twice.
    """
    whole = [path.resolve() for path in paths]
    for number, path in enumerate(whole):
        if path in whole[:number]:
            raise InputError(f"{paths[number]} is given twice; leave one out")
    found = []
    for path in whole:
        for count in range(1, len(path.parts) + 1):
            name = path.parts[-count:]
            if sum(other.parts[-count:] == name for other in whole) == 1:
                break
        found.append("/".join(name))
    return found


def different_arguments(runs: Sequence[Run]) -> list[list[str]]:
    """Rows of the arguments that differ: name, then the value of each run."""
    names = dict.fromkeys(name for run in runs for name in run.arguments)
    rows = []
    for name in names:
        values = [_text(run.arguments.get(name)) for run in runs]
        if name not in _PLACES and len(set(values)) > 1:
            rows.append([name, *values])
    return rows


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    if isinstance(value, bool):  # 1 equals True, and 0 False
        return "yes" if value else "no"
    return "-" if value is None else str(value) or "-"


def score_rows(runs: Mapping[str, Run]) -> Iterator[list[str]]:
    """Yields a heading and, of each run, how far it is, its loss and its best validation."""
    yield [
        *("run", "steps", "epoch", "training loss", "best mean IoU", "pixel accuracy"),
        *("cross-entropy", "at step", "epoch", "minutes"),
    ]
    for name, run in runs.items():
        best = run.course.best or {}
        minutes = None if run.best_seconds is None else run.best_seconds / 60
        yield [
            name,
            str(run.course.steps[-1]["step"]),
            str(run.epoch),
            _number(_last_loss(run.course)),
            *(_number(best.get(one)) for one in ("mean IoU", "pixel accuracy", "cross-entropy")),
            *(str(best.get(one, "-")) for one in ("step", "epoch")),
            _number(minutes, 1),
        ]


def _last_loss(course: Course) -> float:
    """Mean loss of the last tenth of the steps."""
    means = course.means or course.steps
    losses = [one["loss"] for one in means[-max(len(means) // 10, 1) :]]
    known = [loss for loss in losses if not math.isnan(loss)]
    return sum(known) / len(known) if known else math.nan


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
