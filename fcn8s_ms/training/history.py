"""History of a run: its logs read line by line, and what is kept of millions of steps."""

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import files
from ..errors import listing
from ..formats import schema

__all__ = ["History", "look_at_logs", "read_logs"]

logger = logging.getLogger(__name__)

_MOST_SPANS = 1000
_MOST_NAMED = 10
_SCORES = ("pixel accuracy", "mean IoU")

_NUMBER = schema.optional(schema.number())
_STEP = schema.fields(
    {"step": schema.whole_number(1)},
    {
        "epoch": schema.whole_number(0),
        "loss": _NUMBER,
        "lr": _NUMBER,
        "pixel accuracy": _NUMBER,
        "mean IoU": _NUMBER,
        "new_schedule": schema.truth(),
        "images_per_second": _NUMBER,
        "loss_scale": _NUMBER,
        "overflow": schema.truth(),
    },
)
_VALIDATION = schema.fields(
    {"step": schema.whole_number(0), "mean IoU": _NUMBER},
    {
        "epoch": schema.whole_number(0),
        "pixel accuracy": _NUMBER,
        "cross-entropy": _NUMBER,
        "per class": schema.mapping(schema.mapping(_NUMBER)),
    },
)


class _Span:
    """Consecutive steps that the curves show together: their extremes and their mean."""

    __slots__ = ("count", "high", "low", "total")

    def __init__(self, point: dict[str, float]):
        self.low = self.high = point
        is_number = not math.isnan(point["loss"])
        self.total, self.count = (point["loss"], 1) if is_number else (0.0, 0)

    def add(self, other: "_Span") -> None:
        """Adds the steps that follow."""
        # Written so that a number takes the place of NaN.
        if not other.low["loss"] >= self.low["loss"] and other.count:
            self.low = other.low
        if not other.high["loss"] <= self.high["loss"] and other.count:
            self.high = other.high
        self.total += other.total
        self.count += other.count

    def points(self) -> list[dict[str, float]]:
        if self.low is self.high:
            return [self.low]
        return sorted((self.low, self.high), key=lambda point: point["step"])

    def mean(self) -> dict[str, float]:
        loss = self.total / self.count if self.count else math.nan
        return {"step": self.points()[-1]["step"], "loss": loss}


def _mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the means of scores, NaN left out, with the step of the last."""
    found = {"step": scores[-1]["step"]}
    for name in _SCORES:
        known = [one[name] for one in scores if not math.isnan(one[name])]
        found[name] = sum(known) / len(known) if known else math.nan
    return found


class History:
    """Steps of a run so far, in memory that does not grow with their number.

    All steps are in the log; here are the last one, counts, and points for the curves.

    Attributes:
        last: the last line of the log; None before the first step.
        overflows: number of steps whose gradient overflowed.
        overflows_in_a_row: number of those without another step after them.
        span: number of steps that the curves show together; doubles as the run grows.
        scores: `step`, `pixel accuracy` and `mean IoU` of the training, at most 2,000; where there
            were more, means of neighbours.
        last_scores: the newest of them; None before the first.
        new_schedules: first steps after which the learning rates followed another length.
    """

    def __init__(self) -> None:
        self.last: dict[str, Any] | None = None
        self.overflows = 0
        self.overflows_in_a_row = 0
        self.span = 1
        self.scores: list[dict[str, float]] = []
        self.last_scores: dict[str, float] | None = None
        self.new_schedules: list[int] = []
        self._spans: list[_Span] = []
        self._in_last_span = 0
        self._scores_per_point = 1
        self._waiting_scores: list[dict[str, float]] = []

    def add(self, line: dict[str, Any]) -> None:
        """Adds the line of a step."""
        self.last = line
        overflowed = bool(line.get("overflow"))
        self.overflows += overflowed
        if line.get("new_schedule") and len(self.new_schedules) < _MOST_SPANS:
            self.new_schedules.append(line["step"])
        if "mean IoU" in line and "pixel accuracy" in line:
            self._add_scores({name: line[name] for name in ("step", *_SCORES)})
        self.overflows_in_a_row = self.overflows_in_a_row + 1 if overflowed else 0
        point = {name: line.get(name, math.nan) for name in ("step", "loss", "lr")}
        if not math.isfinite(point["loss"]):  # its gradient overflowed
            point["loss"] = math.nan
        one = _Span(point)
        if self._spans and self._in_last_span < self.span:
            self._spans[-1].add(one)
            self._in_last_span += 1
            return
        if len(self._spans) == _MOST_SPANS:
            pairs = zip(self._spans[::2], self._spans[1::2])
            for first, second in pairs:
                first.add(second)
            self._spans = self._spans[::2]
            self.span *= 2
        self._spans.append(one)
        self._in_last_span = 1

    def _add_scores(self, scores: dict[str, float]) -> None:
        self.last_scores = scores
        self._waiting_scores.append(scores)
        if len(self._waiting_scores) == self._scores_per_point:
            self.scores.append(_mean_scores(self._waiting_scores))
            self._waiting_scores = []
        if len(self.scores) == 2 * _MOST_SPANS:
            pairs = zip(self.scores[::2], self.scores[1::2])
            self.scores = [_mean_scores(pair) for pair in pairs]
            self._scores_per_point *= 2

    @property
    def last_step(self) -> int:
        """Number of the last step; 0 before the first."""
        return 0 if self.last is None else int(self.last["step"])

    def points(self) -> list[dict[str, float]]:
        """Returns at most 2,000 steps with `step`, `loss` and `lr`, all peaks among them."""
        return [point for span in self._spans for point in span.points()]

    def means(self) -> list[dict[str, float]]:
        """Returns `step` and mean `loss` of every `span` steps."""
        return [span.mean() for span in self._spans]


def _lines(
    path: Path, description: schema.Description, *, warn: bool = True
) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Yields position, content and meaning of the intact lines of a log; warns of damaged ones."""
    damaged: list[int] = []
    position, content = 0, b""
    with open(path, "rb") as file:
        for number, content in enumerate(file, 1):
            try:
                line = json.loads(content)
                description(line, "")
                yield position, content, line
            except (ValueError, RecursionError):
                damaged.append(number)
            position += len(content)
    if damaged and damaged[-1] == number and not content.endswith(b"\n"):
        damaged.pop()  # a kill has cut it short
    if damaged and warn:
        logger.warning(
            "%s: %s damaged, left out: line %s", path, len(damaged), listing(damaged, _MOST_NAMED)
        )


def look_at_logs(log: Path, validations: Path) -> tuple[History, list[dict[str, Any]], int | None]:
    """Reads the logs of a run, which may be running, without a change.

    Args:
        log: file with one line of JSON per step; may be missing.
        validations: file with one line of JSON per validation; may be missing.

    Returns:
        The history of the steps, the validations, and the steps per epoch; None where the first
        epoch has not ended.
    """
    history = History()
    epoch_steps = None
    for line in _look(log, _STEP):
        if epoch_steps is None and line.get("epoch", 1) > 1:
            epoch_steps = history.last_step or None
        history.add(line)
    return history, list(_look(validations, _VALIDATION)), epoch_steps


def _look(path: Path, description: schema.Description) -> Iterator[dict[str, Any]]:
    if path.is_file():
        for _, _, line in _lines(path, description):
            yield _with_nan(line)


def _with_nan(value: Any) -> Any:
    """Returns the value with NaN again where JSON has null."""
    if isinstance(value, dict):
        return {name: _with_nan(item) for name, item in value.items()}
    return float("nan") if value is None else value


def _cut_off(path: Path, step: int, description: schema.Description) -> Iterator[dict[str, Any]]:
    """Yields the lines up to a step; at the end the file holds these and no others.

    What comes after them will be written again. Damaged lines are left out.
    """
    if not path.is_file():
        return
    end, in_one_piece = 0, True
    for position, content, line in _lines(path, description):
        if line["step"] <= step:
            in_one_piece &= position == end and content.endswith(b"\n")
            end = position + len(content)
            yield _with_nan(line)
    if not in_one_piece:
        _write_again(path, step, description)
    elif end < path.stat().st_size:
        with open(path, "rb+") as file:
            file.truncate(end)
            os.fsync(file.fileno())


def _write_again(path: Path, step: int, description: schema.Description) -> None:
    """Writes the intact lines up to a step in place of the file."""
    with files.written(path) as temporary, open(temporary, "wb") as file:
        for _, content, line in _lines(path, description, warn=False):
            if line["step"] <= step:
                file.write(content.rstrip(b"\n") + b"\n")


def read_logs(log: Path, validations: Path, step: int) -> tuple[History, list[dict[str, Any]]]:
    """Reads the logs of a run up to a step, and cuts them off after it.

    Args:
        log: file with one line of JSON per step.
        validations: file with one line of JSON per validation.
        step: number of steps done.

    Returns:
        The history of the steps, and the validations.
    """
    history = History()
    for line in _cut_off(log, step, _STEP):
        history.add(line)
    return history, list(_cut_off(validations, step, _VALIDATION))
