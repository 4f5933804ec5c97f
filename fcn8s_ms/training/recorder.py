"""Recorder of a run: writes log, checkpoints, scores and pictures while it trains."""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from tqdm import tqdm

from .. import checkpoint, evaluation, files, visualize
from ..dataset import SegDataset
from ..formats import paths
from ..inference import Predictor
from . import results
from .callbacks import TrainingLog, Validation
from .data import TrainingData
from .options import RunOptions
from .resume import Progress, TrainingState
from .run_folder import RunFolder
from .tensorboard import TensorBoard
from .train_scores import TrainScores

__all__ = ["Recorder"]

_TENSORBOARD_PICTURES = 3
_SECONDS_BETWEEN_CLASSES = 20  # with 150 classes their pictures take 4 s


def _without_classes(result: dict[str, Any]) -> dict[str, Any]:
    """Returns a validation result without its table of classes."""
    return {name: value for name, value in result.items() if name != "per class"}


def _without_step(scores: dict[str, float] | None) -> dict[str, float]:
    """Returns scores of the training without the step they are of."""
    return {name: value for name, value in (scores or {}).items() if name != "step"}


def _without_seal(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the metadata of a complete checkpoint as those of the weights in it."""
    of_state = ("sha256", "with_weights", "train_counts")
    return {name: value for name, value in metadata.items() if name not in of_state}


class Recorder:
    """Writer of a run's files, on the first rank.

    Its log is one of the callbacks of the training. It hears of every validation by itself; `save`
    and `draw_curves` are called by callbacks.

    Args:
        folder: folder of the run.
        data: data of the run.
        state: parameters for the checkpoints.
        predictor: predictor of the network, for pictures.
        validation: source of the scores.
        progress: progress of the run before this process.
        learning_rates: learning rate of every step.
        options: number of checkpoints to keep, and whether to write for TensorBoard.
        arguments: arguments of the run, for the checkpoints.
        max_overflows: number of overflows in a row that stops the training.
        memory: returns the memory in use, for the log.
        scores: scores of the training; None for none.
        new_schedule: whether the learning rates follow another length from here on.

    Attributes:
        log: log of the steps; `close` closes it.
        validation: as above.
    """

    def __init__(
        self,
        folder: RunFolder,
        data: TrainingData,
        state: TrainingState,
        predictor: Predictor,
        validation: Validation,
        progress: Progress,
        learning_rates: Sequence[float],
        *,
        options: RunOptions,
        arguments: dict[str, Any],
        max_overflows: int,
        memory: Callable[[], dict[str, float]],
        scores: TrainScores | None = None,
        new_schedule: bool = False,
    ):
        self.folder = folder
        self.data = data
        self.state = state
        self.predictor = predictor
        self.validation = validation
        self.arguments = arguments
        self._keep = options.keep
        self._num_pictures = options.num_pictures
        self._started = time.perf_counter() - progress.metadata.get("seconds", 0)
        self._board = (
            TensorBoard(folder.tensorboard, progress.step) if options.tensorboard else None
        )
        self.log = TrainingLog(
            folder.log,
            learning_rates,
            data.train.step_size,
            tqdm(
                total=len(learning_rates),
                initial=progress.step,
                unit="step",
                dynamic_ncols=True,
                mininterval=0.5 if sys.stderr.isatty() else 20,
            ),
            history=progress.history,
            memory=memory,
            scores=scores,
            first={"new_schedule": True} if new_schedule else None,
            circumstances=self._circumstances,
            max_overflows=max_overflows,
            on_step=self._on_step,
        )
        # The step of the complete checkpoint, and the weights within it.
        self._saved: tuple[int, checkpoint.SavedWeights] | None = None
        self._classes_drawn_at = -math.inf
        self._validations_drawn = 0
        self._complete(progress)
        validation.subscribe(self._on_validation)

    def _on_step(self, line: dict[str, Any]) -> None:
        # Otherwise the next save would make a deleted or renamed folder anew.
        self.folder.check_in_place()
        if self._board is not None:
            self._board.add_step(line)

    def _complete(self, progress: Progress) -> None:
        """Makes up for the second half of a save between whose halves the process was killed."""
        metadata = progress.metadata
        if not metadata.get("with_weights"):
            return
        path = self.folder.weights(metadata["epoch"], metadata["step"])
        if not path.is_file():
            weights = checkpoint.weights_in(self.folder.last, self.state.network)
            checkpoint.copy_weights(weights, path, _without_seal(metadata))

    @property
    def last_step(self) -> int:
        """Number of the last finished step."""
        return self.log.history.last_step

    def _seconds(self) -> float:
        """Returns the time of the training, including what came before an interruption."""
        return round(time.perf_counter() - self._started, 1)

    def _metadata(self, epoch: int, step: int) -> dict[str, Any]:
        last, validations = self.log.history.last, self.validation.results
        return {
            "epoch": epoch,
            "step": step,
            "loss": last["loss"] if last else None,
            "metric": _without_classes(validations[-1]) if validations else None,
            "seconds": self._seconds(),
            "images": self.data.train.num_samples,
            "classes": self.data.classes,
            "palette": self.data.palette[: len(self.data.classes)].tolist(),
            "arguments": self.arguments,
        }

    def save(self, epoch: int, step: int, interrupted: bool) -> None:
        """Saves a checkpoint of the weights, and one to resume from.

        Args:
            epoch: number of the epoch.
            step: number of steps done.
            interrupted: whether to save the checkpoint to resume from only.

        Raises:
            InputError: a parameter is no longer finite, the disk is full, or the folder is no
                longer in its place; the older checkpoints are unchanged.
        """
        self.folder.check_in_place()
        bad = checkpoint.non_finite(self.state.parameters())
        if bad and self.log.history.last is not None:
            what = f"{len(bad)} parameters are no longer finite, {bad[0]} first,"
            raise self.log.not_finite(what, self.log.history.last)
        self.log.sync()
        if self._board is not None:
            self._board.flush()
        metadata = self._metadata(epoch, step)
        # The complete state comes first: killed between the two, the run resumes from it.
        with self.state.for_use():
            weights = checkpoint.save(
                self.state.network,
                self.folder.last,
                {**metadata, "with_weights": not interrupted, **self._train_counts()},
                self.state.optimizer,
            )
        self._saved = step, weights
        if not interrupted:
            checkpoint.copy_weights(weights, self.folder.weights(epoch, step), metadata)
        self.folder.prune(self._keep)

    def _train_counts(self) -> dict[str, Any]:
        """Returns what was counted since the last scores of the training, to resume from."""
        scores = self.log.scores
        return {} if scores is None else {"train_counts": scores.counts.tolist()}

    def _on_validation(self, result: dict[str, Any], is_best: bool) -> None:
        """Keeps a result, and the weights if they are the best."""
        self.folder.check_in_place()
        tqdm.write(
            f"epoch {result['epoch']}, step {result['step']}: "
            f"validation mean IoU {result['mean IoU']:.4f}, "
            f"pixel accuracy {result['pixel accuracy']:.4f}"
        )
        if is_best:
            metadata = self._metadata(result["epoch"], result["step"])
            if self._saved is not None and self._saved[0] == result["step"]:
                checkpoint.copy_weights(self._saved[1], self.folder.best, metadata)
            else:
                with self.state.for_use():
                    checkpoint.save(self.state.network, self.folder.best, metadata)
        # After the checkpoint: if the process is killed in between, the validation is repeated.
        with open(self.folder.validations, "a", encoding="utf-8") as file:
            files.append_json_line(file, result)
            os.fsync(file.fileno())
        if self._board is not None and self.data.val is not None:
            self._board.add_validation(result)
            samples = self._predict_first(self.data.val, _TENSORBOARD_PICTURES)
            self._board.add_pictures(
                (one[1:] for one in samples), self.data.palette, result["step"]
            )
        self.draw_curves()
        if time.monotonic() - self._classes_drawn_at > _SECONDS_BETWEEN_CLASSES:
            self._draw_classes()
        self.write_metrics()

    def finish(self) -> None:
        """Removes checkpoints that are no longer needed, and draws the curves to their end."""
        self.folder.prune(self._keep)
        self.draw_curves()
        self._draw_classes()

    def close(self) -> None:
        """Closes log, progress bar and TensorBoard; also needed when training ends in an error."""
        self.log.close()
        if self._board is not None:
            self._board.close()

    def draw_curves(self) -> None:
        """Draws log and validations so far."""
        history = self.log.history
        if history.last is not None:
            course = results.course_of(
                history, self.validation.results, self.arguments, self.validation.epoch_steps
            )
            visualize.course_curves(self.folder.curves, course)

    def _draw_classes(self) -> None:
        """Draws the IoU of every class: over the validations, and in the last one."""
        validations = self.validation.results
        if self.data.val is None or len(validations) == self._validations_drawn:
            return
        last = validations[-1]
        title = f"{self.data.val.data_file.name}, epoch {last['epoch']}, step {last['step']}"
        visualize.class_bars(self.folder.class_bars, last, title)
        visualize.class_iou(self.folder.class_iou, validations)
        self._classes_drawn_at = time.monotonic()
        self._validations_drawn = len(validations)

    def _predict_first(
        self, data: SegDataset, count: int
    ) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
        with self.state.for_use():
            return evaluation.predict_first(self.predictor, data.data_file, count, data.max_pixels)

    def draw_predictions(self) -> None:
        """Draws the first images of the validation data, or else of the training data."""
        shown = self.data.val or self.data.train
        visualize.prediction_grid(
            self.folder.predictions,
            self._predict_first(shown, self._num_pictures),
            self.data.classes,
            self.data.palette,
            f"{shown.data_file.name} after {self.last_step} steps",
        )

    def write_metrics(self, **more: Any) -> dict[str, Any]:
        """Writes the last scores and the best, with data and protocol.

        The file is written after every validation and does not grow with their number: all scores
        are in `validations.jsonl`.

        Args:
            more: further items for the file.

        Returns:
            Content of the file.
        """
        last, validations = self.log.history.last, self.validation.results
        metrics: dict[str, Any] = {
            "train": {
                "data": paths.portable(self.data.train.data_file),
                "images": self.data.train.num_samples,
                "steps": self.last_step,
                "final loss": last["loss"] if last else None,
                **_without_step(self.log.history.last_scores),
                "overflows": self.log.history.overflows,
                "seconds": self._seconds(),
                "device": ms.get_context("device_target"),
                "ranks": self.arguments["ranks"],
                "mindspore": ms.__version__,
            }
        }
        if self.data.val is not None and self.validation.best is not None:
            metrics["validation"] = {
                "data": paths.portable(self.data.val.data_file),
                "images": self.data.val.num_samples,
                "protocol": self.predictor.protocol,
                **validations[-1],
            }
            metrics["best"] = _without_classes(self.validation.best)
            metrics["validations"] = len(validations)
        metrics.update(more)
        files.write_json(self.folder.metrics, metrics)
        return metrics

    def _circumstances(self, step: int) -> str:
        """Returns what to say about a step that ends the training.

        These are the images of its batch, and the checkpoint from before.
        """
        names = ", ".join(repr(name) for name in self.data.train.batch_names(step))
        newest = self.folder.newest()
        before = (
            f"The newest checkpoint from before is {newest}."
            if newest
            else "There is no checkpoint from before: --save-every was not reached."
        )
        return f" The images of its batch: {names}. {before}"
