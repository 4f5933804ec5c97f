"""What happens during `Model.train`: progress and log, validation, checkpoints."""

import json
import math
import time

from mindspore import Tensor
from mindspore.train import Callback

from .errors import InputError

__all__ = ["CheckpointSaver", "TrainingLog", "Validation"]


def _loss(outputs) -> float:
    """Loss in a training step's outputs: with loss scaling a tuple whose first item it is."""
    loss = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
    return float(loss.asnumpy()) if isinstance(loss, Tensor) else float(loss)


class TrainingLog(Callback):
    """Writes a line of JSON a step, shows a progress bar, stops when the loss is not finite.

    Args:
        path: file to append to; its lines hold step, epoch, loss, lr and images_per_second.
        learning_rates: learning rate of every step.
        batch_size: images a step, for the speed.
        progress_bar: object with `update`, `set_postfix` and `close`, as tqdm's; None for none.
    """

    def __init__(self, path, learning_rates, batch_size: int, progress_bar=None):
        super().__init__()
        self.path = path
        self.learning_rates = learning_rates
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.steps = []
        self._file = None
        self._started = None

    def on_train_begin(self, run_context):
        self._file = open(self.path, "a", encoding="utf-8")

    def on_train_step_begin(self, run_context):
        self._started = time.perf_counter()

    def on_train_step_end(self, run_context):
        context = run_context.original_args()
        loss = _loss(context.net_outputs)
        seconds = time.perf_counter() - self._started
        number = context.cur_step_num
        record = {
            "step": number,
            "epoch": context.cur_epoch_num,
            "loss": loss,
            "lr": self.learning_rates[number - 1],
            "images_per_second": round(self.batch_size / seconds, 3),
        }
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is {loss} at step {number} with learning rate {record['lr']:.3g}; "
                "lower --base-lr, or start from --pretrained weights"
            )
        self.steps.append(record)
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self.progress_bar is not None:
            self.progress_bar.set_postfix(
                {
                    "loss": f"{loss:.3f}",
                    "lr": f"{record['lr']:.2g}",
                    "images/s": f"{record['images_per_second']:.2f}",
                },
                refresh=False,
            )
            self.progress_bar.update(1)

    def on_train_end(self, run_context):
        self.close()

    def close(self) -> None:
        """Closes file and progress bar; also needed when training ended with an error."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self.progress_bar is not None:
            self.progress_bar.close()


class Validation(Callback):
    """Evaluates every so many epochs and after the last one, and keeps the results.

    Args:
        evaluate: called without arguments; returns a dict of scores with `mean IoU`.
        every_epochs: epochs between two evaluations.
        epochs: epochs in all.
        on_result: called with each result and whether its `mean IoU` is the best so far.
    """

    def __init__(self, evaluate, every_epochs: int, epochs: int, on_result):
        super().__init__()
        self.evaluate = evaluate
        self.every_epochs = every_epochs
        self.epochs = epochs
        self.on_result = on_result
        self.results = []
        self.best = None

    def on_train_epoch_end(self, run_context):
        context = run_context.original_args()
        epoch = context.cur_epoch_num
        if epoch % self.every_epochs and epoch != self.epochs:
            return
        result = {"epoch": epoch, "step": context.cur_step_num, **self.evaluate()}
        self.results.append(result)
        # A NaN score (no labelled pixel) is never better.
        is_best = self.best is None or result["mean IoU"] > self.best["mean IoU"]
        if is_best:
            self.best = result
        self.on_result(result, is_best)


class CheckpointSaver(Callback):
    """Saves every so many steps and after the last one, and keeps the newest files.

    Args:
        save: called with epoch and step; saves a checkpoint and returns its path.
        every_steps: steps between two checkpoints.
        keep: how many to keep; an older one is deleted after a newer one is complete.
    """

    def __init__(self, save, every_steps: int, keep: int = 5):
        super().__init__()
        self.save = save
        self.every_steps = every_steps
        self.keep = keep
        self.paths = []
        self._saved_step = 0

    def _save(self, context):
        self.paths.append(self.save(context.cur_epoch_num, context.cur_step_num))
        self._saved_step = context.cur_step_num
        while len(self.paths) > self.keep:
            oldest = self.paths.pop(0)
            for file in (oldest, oldest.with_name(oldest.name + ".json")):
                file.unlink(missing_ok=True)

    def on_train_step_end(self, run_context):
        context = run_context.original_args()
        if context.cur_step_num % self.every_steps == 0:
            self._save(context)

    def on_train_end(self, run_context):
        context = run_context.original_args()
        if self._saved_step != context.cur_step_num:
            self._save(context)
