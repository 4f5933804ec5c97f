"""Callbacks of `Model.train`: step counting, log, validation, checkpoints, curves.

Steps and epochs are counted over the whole run, including what came before an interruption:
`StartAt` comes first in the list of callbacks and sets the number of steps done before.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from mindspore import Tensor
from mindspore.train import Callback

from .. import files
from ..errors import InputError
from .history import History
from .interruption import StopRequest
from .train_scores import TrainScores

__all__ = ["CheckpointSaver", "Periodically", "StartAt", "StopAt", "TrainingLog", "Validation"]


def _number(value: Any) -> float:
    return float(value.asnumpy()) if isinstance(value, Tensor) else float(value)


class StartAt(Callback):
    """Starts counting steps after those of an earlier process.

    Args:
        step: number of steps done before.
    """

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def on_train_begin(self, run_context: Any) -> None:
        run_context.original_args().cur_step_num = self.step


class StopAt(Callback):
    """Stops after the last step, or after the step in which a signal arrived.

    Args:
        step: number of the last step.
        request: request to stop, made by a signal.
    """

    def __init__(self, step: int, request: StopRequest):
        super().__init__()
        self.step = step
        self.request = request

    def on_train_step_end(self, run_context: Any) -> None:
        done = run_context.original_args().cur_step_num >= self.step
        if done or self.request.signum is not None:
            run_context.request_stop()


class TrainingLog(Callback):
    """Logs each step as a line of JSON, shows progress, and stops when the loss is not finite.

    With loss scaling, a step whose gradient overflows changes no weight and uses up no learning
    rate. It is marked in the log; too many in a row stop the training.

    Args:
        path: file to append to. Its lines hold step, epoch, loss, lr, images_per_second and the
            items of `memory`; with loss scaling also loss_scale and overflow; at times scores.
        learning_rates: learning rate of every step.
        batch_size: images per step, for the speed.
        progress_bar: object with `update`, `set_postfix` and `close`, such as tqdm's; None for
            none.
        history: steps of the run so far; gets the new ones.
        memory: returns the memory in use, as items for the line.
        scores: makes the scores of the training, for the lines that end an interval.
        first: items for the first line.
        circumstances: called with the number of a step that ends the training; returns text for
            the error message.
        max_overflows: number of overflows in a row that stops the training.
        on_step: called with each line.

    Attributes:
        history: as above.
    """

    def __init__(
        self,
        path: files.PathLike,
        learning_rates: Sequence[float],
        batch_size: int,
        progress_bar: Any = None,
        *,
        history: History | None = None,
        memory: Callable[[], dict[str, float]] = dict,
        scores: TrainScores | None = None,
        first: Mapping[str, Any] | None = None,
        circumstances: Callable[[int], str] = lambda step: "",
        max_overflows: int = 20,
        on_step: Callable[[dict[str, Any]], None] = lambda line: None,
    ):
        super().__init__()
        self.path = path
        self.learning_rates = learning_rates
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.history = History() if history is None else history
        self.memory = memory
        self.scores = scores
        self._first = dict(first or {})
        self.circumstances = circumstances
        self.max_overflows = max_overflows
        self.on_step = on_step
        self._file: TextIO | None = None
        self._started = 0.0

    def on_train_begin(self, run_context: Any) -> None:
        self._file = open(self.path, "a", encoding="utf-8")

    def on_train_step_begin(self, run_context: Any) -> None:
        self._started = time.perf_counter()

    def on_train_step_end(self, run_context: Any) -> None:
        context = run_context.original_args()
        outputs = context.net_outputs
        is_scaled = isinstance(outputs, (tuple, list))
        loss = _number(outputs[0] if is_scaled else outputs)
        seconds = time.perf_counter() - self._started
        number = context.cur_step_num
        record = {
            "step": number,
            "epoch": context.cur_epoch_num,
            "loss": loss,
            "lr": self.learning_rates[number - 1 - self.history.overflows],
            "images_per_second": round(self.batch_size / seconds, 3),
            **self.memory(),
            **self._first,
        }
        self._first = {}
        overflowed = is_scaled and bool(_number(outputs[1]))
        if is_scaled:
            record["loss_scale"] = _number(outputs[2])
            record["overflow"] = overflowed
        if not overflowed and not math.isfinite(loss):
            raise self.not_finite(f"the loss is {loss}", record)
        if self.scores is not None:
            label = context.train_dataset_element[1].asnumpy()
            record.update(self.scores.after_step(number, label))
        self.history.add(record)
        if self._file is not None:
            files.append_json_line(self._file, record)
        self.on_step(record)
        self._check_overflows(record)
        self._show(record)

    def not_finite(self, what: str, record: dict[str, Any]) -> InputError:
        """Returns the error for a step whose loss or weights are not finite."""
        return InputError(
            f"{what} at step {record['step']} with learning rate {record['lr']:.3g}."
            f"{self.circumstances(record['step'])} Lower --base-lr, limit the gradient "
            "with --clip-norm, or start from --pretrained weights"
        )

    def _check_overflows(self, record: dict[str, Any]) -> None:
        in_a_row = self.history.overflows_in_a_row
        if in_a_row and in_a_row >= self.max_overflows:
            raise InputError(
                f"the gradient overflowed in {in_a_row} steps in a row up to step "
                f"{record['step']}, finally with a loss scale of {record['loss_scale']:g} and "
                f"learning rate {record['lr']:.3g}.{self.circumstances(record['step'])} Lower "
                "--base-lr, or train with --amp O0; --max-overflows sets the limit"
            )

    def _show(self, record: dict[str, Any]) -> None:
        if self.progress_bar is None:
            return
        shown: dict[str, Any] = {
            "loss": f"{record['loss']:.3f}",
            "lr": f"{record['lr']:.2g}",
            "images/s": f"{record['images_per_second']:.2f}",
        }
        if "loss_scale" in record:
            shown["overflows"] = self.history.overflows
        self.progress_bar.set_postfix(shown, refresh=False)
        self.progress_bar.update(1)

    def on_train_end(self, run_context: Any) -> None:
        self.close()

    def sync(self) -> None:
        """Waits until the lines are on the disk; a checkpoint must not be ahead of them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes file and progress bar; also needed when training ends with an error."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self.progress_bar is not None:
            self.progress_bar.close()


class Validation(Callback):
    """Evaluates every so many epochs and after the last step, and keeps the results.

    Args:
        evaluate: returns the scores as a dict with `mean IoU`, or None when it was interrupted.
        every_epochs: epochs between two evaluations.
        epoch_steps: steps per epoch.
        total_steps: steps of the whole run.
        results: results of the run so far.
        patience: number of results without a better `mean IoU` that stops the training; None for
            no limit.

    Attributes:
        results: every result with its `epoch` and `step`, including the earlier ones.
        best: the result with the best `mean IoU`; None before the first.
        since_best: number of results after it.
    """

    def __init__(
        self,
        evaluate: Callable[[], dict[str, Any] | None],
        every_epochs: int,
        epoch_steps: int,
        total_steps: int,
        *,
        results: Iterable[dict[str, Any]] = (),
        patience: int | None = None,
    ):
        super().__init__()
        self.evaluate = evaluate
        self.every_epochs = every_epochs
        self.epoch_steps = epoch_steps
        self.total_steps = total_steps
        self.patience = patience
        self.results: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.since_best = 0
        self._listeners: list[Callable[[dict[str, Any], bool], None]] = []
        for result in results:
            self._keep(result)

    def subscribe(self, listener: Callable[[dict[str, Any], bool], None]) -> None:
        """Has a function called with each new result and whether it is the best so far."""
        self._listeners.append(listener)

    @property
    def out_of_patience(self) -> bool:
        """True once the scores have not improved for too long."""
        return self.patience is not None and self.since_best >= self.patience

    def _keep(self, result: dict[str, Any]) -> bool:
        self.results.append(result)
        # A NaN score (no labelled pixel) is never better than a number.
        best = -math.inf if self.best is None else self.best["mean IoU"]
        is_best = self.best is None or math.isnan(best) or result["mean IoU"] > best
        if is_best:
            self.best = result
        self.since_best = 0 if is_best else self.since_best + 1
        return is_best

    def catch_up(self, step: int) -> bool:
        """Evaluates after a step if that is due and has not been done yet.

        Args:
            step: number of steps done.

        Returns:
            Whether it is still due, because it was interrupted.
        """
        epoch = -(-step // self.epoch_steps)
        is_last = step == self.total_steps
        ends_epoch = step > 0 and step % self.epoch_steps == 0 and epoch % self.every_epochs == 0
        if not (is_last or ends_epoch) or any(result["step"] == step for result in self.results):
            return False
        scores = self.evaluate()
        if scores is None:
            return True
        result = {"epoch": epoch, "step": step, **scores}
        is_best = self._keep(result)
        for listener in self._listeners:
            listener(result, is_best)
        return False

    def on_train_epoch_end(self, run_context: Any) -> None:
        is_due = self.catch_up(run_context.original_args().cur_step_num)
        # Nothing would make up for an interrupted validation after another step.
        if is_due or self.out_of_patience:
            run_context.request_stop()


class CheckpointSaver(Callback):
    """Saves every so many steps and whenever the training stops.

    Args:
        save: called with epoch, step, and whether it serves only to resume after an interruption.
        every_steps: steps between two checkpoints.
        interrupted: called with the step; returns whether the training is interrupted there.
    """

    def __init__(
        self,
        save: Callable[[int, int, bool], None],
        every_steps: int,
        interrupted: Callable[[int], bool] = lambda step: False,
    ):
        super().__init__()
        self.save = save
        self.every_steps = every_steps
        self.interrupted = interrupted
        self._saved_step: int | None = None

    def _save(self, context: Any, is_due: bool) -> None:
        if self._saved_step != context.cur_step_num:
            interrupted = not is_due and self.interrupted(context.cur_step_num)
            self.save(context.cur_epoch_num, context.cur_step_num, interrupted)
            self._saved_step = context.cur_step_num

    def on_train_step_end(self, run_context: Any) -> None:
        context = run_context.original_args()
        is_due = context.cur_step_num % self.every_steps == 0
        # When the training stops, before the validation that may follow.
        if is_due or run_context.get_stop_requested():
            self._save(context, is_due)

    def on_train_end(self, run_context: Any) -> None:
        self._save(run_context.original_args(), False)


class Periodically(Callback):
    """Calls a function at the end of a step once some time has passed since the last call.

    Args:
        function: function to call.
        seconds: least time between two calls.
    """

    def __init__(self, function: Callable[[], None], seconds: float):
        super().__init__()
        self.function = function
        self.seconds = seconds
        self._last = time.monotonic()

    def on_train_step_end(self, run_context: Any) -> None:
        if time.monotonic() - self._last >= self.seconds:
            self.function()
            self._last = time.monotonic()
