"""What a training leaves in its folder while it goes on: checkpoints, scores, pictures."""

import os
import time

import mindspore as ms
from tqdm import tqdm

from .. import checkpoint, evaluation, files, visualize

__all__ = ["Recorder", "without_classes"]

_TENSORBOARD_PICTURES = 3


def without_classes(result: dict) -> dict:
    """A validation result without its table of classes."""
    return {name: value for name, value in result.items() if name != "per class"}


class Recorder:
    """Writes the files of a run.

    Args:
        folder: `fcn8s_ms.run_folder.RunFolder`.
        network: the network that is trained.
        state: parameters of the optimizer, for the checkpoint to go on from.
        predictor: of the network.
        train_data: `SegDataset` that is trained on.
        val_data: `SegDataset` for validation; None without.
        classes: class names.
        palette: uint8 (256, 3), RGB.
        keep: how many of the newest checkpoints stay.
        arguments: of the run, for the checkpoints.
        seconds: what the run took before this process.
        board: `fcn8s_ms.tensorboard.TensorBoard` or None.

    Attributes:
        log: `fcn8s_ms.callbacks.TrainingLog`; to be set before the first call.
        validation: `fcn8s_ms.callbacks.Validation`; likewise.
    """

    def __init__(
        self,
        folder,
        network,
        state,
        predictor,
        train_data,
        val_data,
        classes,
        palette,
        *,
        keep: int,
        arguments: dict,
        seconds: float = 0,
        board=None,
    ):
        self.folder = folder
        self.network = network
        self.state = state
        self.predictor = predictor
        self.train_data = train_data
        self.val_data = val_data
        self.classes = classes
        self.palette = palette
        self.keep = keep
        self.arguments = arguments
        self.board = board
        self.log = None
        self.validation = None
        self._started = time.perf_counter() - seconds

    def seconds(self) -> float:
        """How long the training has taken, with what came before an interruption."""
        return round(time.perf_counter() - self._started, 1)

    def _metadata(self, epoch: int, step: int) -> dict:
        steps, validations = self.log.steps, self.validation.results
        return {
            "epoch": epoch,
            "step": step,
            "loss": steps[-1]["loss"] if steps else None,
            "metric": without_classes(validations[-1]) if validations else None,
            "seconds": self.seconds(),
            "images": self.train_data.num_samples,
            "classes": self.classes,
            "palette": self.palette[: len(self.classes)].tolist(),
            "arguments": self.arguments,
        }

    def save(self, epoch: int, step: int, interrupted: bool) -> None:
        """Saves the weights, and then all that is needed to go on; if interrupted, the latter only.

        Raises:
            InputError: a parameter is no longer finite, or the disk is full; the older checkpoints
                are as they were.
        """
        bad = checkpoint.non_finite([*self.network.get_parameters(), *self.state])
        if bad:
            what = f"{len(bad)} parameters are no longer finite, {bad[0]} first,"
            raise self.log.not_finite(what, self.log.steps[-1])
        self.log.sync()
        if self.board is not None:
            self.board.flush()
        metadata = self._metadata(epoch, step)
        if not interrupted:
            checkpoint.save(self.network, self.folder.weights(epoch, step), metadata)
        checkpoint.save(self.network, self.folder.last, metadata, self.state)
        self.folder.prune(self.keep)

    def on_step(self) -> None:
        """Passes the newest line of the log to TensorBoard."""
        if self.board is not None:
            self.board.add_step(self.log.steps[-1])

    def on_validation(self, result: dict, is_best: bool) -> None:
        """Keeps a result, and the weights if they are the best."""
        tqdm.write(
            f"epoch {result['epoch']}, step {result['step']}: "
            f"validation mean IoU {result['mean IoU']:.4f}, "
            f"pixel accuracy {result['pixel accuracy']:.4f}"
        )
        if is_best:
            metadata = self._metadata(result["epoch"], result["step"])
            checkpoint.save(self.network, self.folder.best, metadata)
        # After the checkpoint: if the process is killed in between, the validation is done again.
        with open(self.folder.validations, "a", encoding="utf-8") as file:
            files.append_json_line(file, result)
            os.fsync(file.fileno())
        if self.board is not None:
            self.board.add_validation(result)
            samples = evaluation.predict_first(
                self.predictor, self.val_data.data_file, _TENSORBOARD_PICTURES
            )
            self.board.add_pictures(samples, self.palette, result["step"])
        self.draw_curves()
        self.write_metrics()

    def close(self) -> None:
        """Closes log, progress bar and TensorBoard; also needed when training ended in an error."""
        self.log.close()
        if self.board is not None:
            self.board.close()

    def draw_curves(self) -> None:
        """Draws what log and validations say so far."""
        if self.log.steps:
            unfinished = files.unfinished(self.folder.curves)
            visualize.curves(unfinished, self.log.steps, self.validation.results)
            files.replace(unfinished, self.folder.curves)

    def write_metrics(self, **more) -> dict:
        """Writes every score with its data and protocol.

        Args:
            more: what else goes into the file.

        Returns:
            What was written.
        """
        steps, validations = self.log.steps, self.validation.results
        metrics = {
            "train": {
                "data": self.train_data.data_file,
                "images": self.train_data.num_samples,
                "steps": steps[-1]["step"] if steps else 0,
                "final loss": steps[-1]["loss"] if steps else None,
                "overflows": self.log.overflows,
                "seconds": self.seconds(),
                "device": ms.get_context("device_target"),
                "ranks": self.arguments["ranks"],
                "mindspore": ms.__version__,
            }
        }
        if validations:
            metrics["validation"] = {
                "data": self.val_data.data_file,
                "images": self.val_data.num_samples,
                "protocol": self.predictor.protocol,
                **validations[-1],
            }
            metrics["best"] = without_classes(self.validation.best)
            metrics["history"] = [without_classes(result) for result in validations]
        metrics.update(more)
        files.write_json(self.folder.metrics, metrics)
        return metrics

    def circumstances(self, step: int) -> str:
        """What else to say of a step that ends the training: its images, and what there was before.

        Args:
            step: number of the step.
        """
        names = ", ".join(repr(name) for name in self.train_data.batch_names(step))
        newest = self.folder.newest()
        before = (
            f"The newest checkpoint from before is {newest}."
            if newest
            else "There is no checkpoint from before it: --save-every was not reached."
        )
        return f" The images of its batch: {names}. {before}"
