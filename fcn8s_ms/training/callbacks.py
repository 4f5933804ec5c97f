"""What happens during `Model.train`: progress and log, validation, checkpoints, curves.

Steps and epochs count over the whole run, interruptions included: `StartAt` comes first in the
list of callbacks and sets the number of steps that are done.
"""

import math
import os
import time

from mindspore import Tensor
from mindspore.train import Callback

from .. import files
from ..errors import InputError

__all__ = ["CheckpointSaver", "Periodically", "StartAt", "StopAt", "TrainingLog", "Validation"]


def _number(value) -> float:
    return float(value.asnumpy()) if isinstance(value, Tensor) else float(value)


class StartAt(Callback):
    """Makes the number of the first step follow that of an earlier training.

    Args:
        step: number of steps done.
    """

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def on_train_begin(self, run_context):
        run_context.original_args().cur_step_num = self.step


class StopAt(Callback):
    """Stops after the last step, or after the step in which a signal came.

    Args:
        step: number of the last step.
        request: `fcn8s_ms.interruption.StopRequest`.
    """

    def __init__(self, step: int, request):
        super().__init__()
        self.step = step
        self.request = request

    def on_train_step_end(self, run_context):
        done = run_context.original_args().cur_step_num >= self.step
        if done or self.request.signum is not None:
            run_context.request_stop()


class TrainingLog(Callback):
    """Writes a line of JSON a step, shows a progress bar, stops when the loss is not finite.

    With loss scaling, a step whose gradient overflows changes no weight and uses up no learning
    rate. It is marked in the log; too many in a row stop the training.

    Args:
        path: file to append to; its lines hold step, epoch, loss, lr, images_per_second, what
            `memory` gives, and with loss scaling loss_scale and overflow.
        learning_rates: learning rate of every step.
        batch_size: images a step, for the speed.
        progress_bar: object with `update`, `set_postfix` and `close`, as tqdm's; None for none.
        steps: lines of the run so far.
        memory: called without arguments; returns a dict for the line.
        circumstances: called with the number of a step that ends the training; returns what else
            the message is to say.
        max_overflows: how many overflows in a row stop the training.
        on_step: called without arguments after each line.

    Attributes:
        steps: the lines as dicts, the earlier ones included.
        overflows: number of steps whose gradient overflowed.
    """

    def __init__(
        self,
        path,
        learning_rates,
        batch_size: int,
        progress_bar=None,
        *,
        steps=(),
        memory=dict,
        circumstances=lambda step: "",
        max_overflows: int = 20,
        on_step=lambda: None,
    ):
        super().__init__()
        self.path = path
        self.learning_rates = learning_rates
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.steps = list(steps)
        self.memory = memory
        self.circumstances = circumstances
        self.max_overflows = max_overflows
        self.on_step = on_step
        self.overflows = sum(1 for line in self.steps if line.get("overflow"))
        self._overflows_in_a_row = 0
        for line in self.steps:
            self._overflows_in_a_row = self._overflows_in_a_row + 1 if line.get("overflow") else 0
        self._file = None
        self._started = None

    def on_train_begin(self, run_context):
        self._file = open(self.path, "a", encoding="utf-8")

    def on_train_step_begin(self, run_context):
        self._started = time.perf_counter()

    def on_train_step_end(self, run_context):
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
            "lr": self.learning_rates[number - 1 - self.overflows],
            "images_per_second": round(self.batch_size / seconds, 3),
            **self.memory(),
        }
        overflowed = is_scaled and bool(_number(outputs[1]))
        if is_scaled:
            record["loss_scale"] = _number(outputs[2])
            record["overflow"] = overflowed
        if not overflowed and not math.isfinite(loss):
            raise self.not_finite(f"the loss is {loss}", record)
        self.steps.append(record)
        files.append_json_line(self._file, record)
        self.on_step()
        self._count_overflow(overflowed)
        self._show(record)

    def not_finite(self, what: str, record: dict) -> InputError:
        """The error for a step whose loss or weights are not finite."""
        return InputError(
            f"{what} at step {record['step']} with learning rate {record['lr']:.3g}."
            f"{self.circumstances(record['step'])} Lower --base-lr, limit the gradient by "
            "--clip-norm, or start from --pretrained weights"
        )

    def _count_overflow(self, overflowed: bool):
        self.overflows += overflowed
        self._overflows_in_a_row = self._overflows_in_a_row + 1 if overflowed else 0
        if self._overflows_in_a_row >= self.max_overflows:
            record = self.steps[-1]
            raise InputError(
                f"the gradient overflowed in {self._overflows_in_a_row} steps in a row up to step "
                f"{record['step']}, at last with a loss scale of {record['loss_scale']:g} and "
                f"learning rate {record['lr']:.3g}.{self.circumstances(record['step'])} Lower "
                "--base-lr, or train with --amp O0; --max-overflows sets how many are too many"
            )

    def _show(self, record: dict):
        if self.progress_bar is None:
            return
        shown = {
            "loss": f"{record['loss']:.3f}",
            "lr": f"{record['lr']:.2g}",
            "images/s": f"{record['images_per_second']:.2f}",
        }
        if "loss_scale" in record:
            shown["overflows"] = self.overflows
        self.progress_bar.set_postfix(shown, refresh=False)
        self.progress_bar.update(1)

    def on_train_end(self, run_context):
        self.close()

    def sync(self) -> None:
        """Waits until the lines are on the disk: a checkpoint must not be ahead of them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes file and progress bar; also needed when training ended with an error."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self.progress_bar is not None:
            self.progress_bar.close()


class Validation(Callback):
    """Evaluates every so many epochs and after the last step, and keeps the results.

    Args:
        evaluate: called without arguments; returns a dict of scores with `mean IoU`, or None when
            it was interrupted.
        every_epochs: epochs between two evaluations.
        epoch_steps: steps an epoch.
        total_steps: steps in all.
        on_result: called with each result and whether its `mean IoU` is the best so far.
        results: those of the run so far.
        patience: how many results without a better `mean IoU` stop the training; None for never.

    Attributes:
        results: every result with its `epoch` and `step`, the earlier ones included.
        best: the result of the best `mean IoU`; None before there is one.
        since_best: number of results after it.
    """

    def __init__(
        self,
        evaluate,
        every_epochs: int,
        epoch_steps: int,
        total_steps: int,
        on_result,
        *,
        results=(),
        patience: int | None = None,
    ):
        super().__init__()
        self.evaluate = evaluate
        self.every_epochs = every_epochs
        self.epoch_steps = epoch_steps
        self.total_steps = total_steps
        self.on_result = on_result
        self.patience = patience
        self.results = []
        self.best = None
        self.since_best = 0
        for result in results:
            self._keep(result)

    @property
    def out_of_patience(self) -> bool:
        """Whether the scores have not become better for too long."""
        return self.patience is not None and self.since_best >= self.patience

    def _keep(self, result: dict) -> bool:
        self.results.append(result)
        # A NaN score (no labelled pixel) is never better than a number.
        best = -math.inf if self.best is None else self.best["mean IoU"]
        is_best = self.best is None or math.isnan(best) or result["mean IoU"] > best
        if is_best:
            self.best = result
        self.since_best = 0 if is_best else self.since_best + 1
        return is_best

    def catch_up(self, step: int) -> bool:
        """Evaluates after a step if that is due and has not been done; for the start of a run.

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
        self.on_result(result, is_best)
        return False

    def on_train_epoch_end(self, run_context):
        is_due = self.catch_up(run_context.original_args().cur_step_num)
        # After another step nobody would make up for an interrupted validation.
        if is_due or self.out_of_patience:
            run_context.request_stop()


class CheckpointSaver(Callback):
    """Saves every so many steps and whenever the training stops.

    Args:
        save: called with epoch, step, and whether an interruption is all that it is for.
        every_steps: steps between two checkpoints.
        interrupted: called with step; tells whether the training stops there to go on later.
    """

    def __init__(self, save, every_steps: int, interrupted=lambda step: False):
        super().__init__()
        self.save = save
        self.every_steps = every_steps
        self.interrupted = interrupted
        self._saved_step = None

    def _save(self, context, is_due: bool):
        if self._saved_step != context.cur_step_num:
            interrupted = not is_due and self.interrupted(context.cur_step_num)
            self.save(context.cur_epoch_num, context.cur_step_num, interrupted)
            self._saved_step = context.cur_step_num

    def on_train_step_end(self, run_context):
        context = run_context.original_args()
        is_due = context.cur_step_num % self.every_steps == 0
        # When the training stops, before the validation that may follow.
        if is_due or run_context.get_stop_requested():
            self._save(context, is_due)

    def on_train_end(self, run_context):
        self._save(run_context.original_args(), False)


class Periodically(Callback):
    """Calls a function at the end of a step once some time has passed since the last call.

    Args:
        function: called without arguments.
        seconds: the time.
    """

    def __init__(self, function, seconds: float):
        super().__init__()
        self.function = function
        self.seconds = seconds
        self._last = time.monotonic()

    def on_train_step_end(self, run_context):
        if time.monotonic() - self._last >= self.seconds:
            self.function()
            self._last = time.monotonic()
