"""Resuming a run: how far it has come, and the state to restore."""

import contextlib
import logging
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..distributed.ranks import Ranks
from ..errors import InputError
from .history import History, read_logs
from .options import PROGRAM
from .run_folder import RunFolder
from .schedule import Length

if TYPE_CHECKING:  # they load MindSpore
    from mindspore import Parameter, nn
    from mindspore.train import Model

    from .ema import MovingAverage

__all__ = ["Progress", "TrainingState", "command_to_resume", "open_run"]

logger = logging.getLogger(__name__)

# Beginnings of the names of what is no state: constants that follow from the arguments of the run,
# sums that are 0 between steps, and predictions that every step makes anew.
_NO_STATE = ("learning_rate", "momentum", "weight_decay", "accumulated.", "watched.")


def command_to_resume(path: files.PathLike, ranks: int) -> str:
    """Returns the command that resumes a run.

    Args:
        path: folder of the run.
        ranks: number of processes that train together.
    """
    launch = f"msrun --worker_num {ranks} … " if ranks > 1 else ""
    return f"{launch}{PROGRAM} --resume {shlex.quote(str(path))}"


def _start_from(weights: Path) -> str:
    return f"--pretrained {shlex.quote(str(weights))} --output NEW"


@dataclass
class Progress:
    """Progress of a run; without arguments, that of a new one.

    Attributes:
        step: number of finished steps.
        parameters: parameters of network and optimizer by name; None without a checkpoint.
        metadata: JSON next to the checkpoint.
        history: steps of the log up to that step.
        validations: results up to that step.
    """

    step: int = 0
    parameters: "dict[str, Parameter] | None" = None
    metadata: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    validations: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: RunFolder) -> "Progress":
        """Reads the complete checkpoint of a folder, and cuts the logs off after its step.

        Without one the run begins again from its start: the same seed and pretrained weights make
        the same steps. Checkpoints of weights alone do not serve: with another state of the
        optimizer the run would end differently.

        Raises:
            InputError: the checkpoint is damaged.
        """
        progress = cls()
        if folder.last.is_file():
            progress._take(folder)
        elif others := folder.other_weights():
            logger.warning(
                "%s is missing: starting at the beginning of the run; its checkpoints of weights "
                "are replaced as their steps come again (to train on from one of them: "
                "--pretrained %s --output NEW)",
                folder.last,
                others[-1],
            )
        else:
            logger.warning("%s has no checkpoint yet: starting at its beginning", folder.path)
        progress.history, progress.validations = read_logs(
            folder.log, folder.validations, progress.step
        )
        return progress

    def check(self, length: Length, folder: RunFolder) -> None:
        """Raises InputError if more steps have been done than the run should have."""
        if self.step > length.total_steps:
            raise InputError(
                f"{folder.path} has done {self.step} steps, more than {length.total_steps}; pass a "
                "larger --epochs or --steps"
            )

    def finished(self, length: Length, folder: RunFolder) -> str | None:
        """Returns what to say of a run that has nothing left to do; None if it has."""
        if self.step < length.total_steps:
            return None
        weights = folder.best if folder.best.is_file() else folder.last
        return (
            f"{folder.path} has done all of its {length.total_steps} steps. To train it longer: "
            f"{PROGRAM} --resume {shlex.quote(str(folder.path))} --epochs {2 * length.epochs}, "
            f"whose learning rates follow the new length; or start another run from its weights: "
            f"{_start_from(weights)}"
        )

    def has_new_schedule(self, length: Length, schedule: str) -> bool:
        """Tells whether the learning rates from here on are not those that the run began with.

        Args:
            length: length of the run from now on.
            schedule: the schedule; the constant one does not follow the length.
        """
        before = self.metadata.get("arguments") or {}
        if not self.step or schedule == "constant" or "epochs" not in before:
            return False
        return (before.get("steps") or before["epochs"] * length.epoch_steps) != length.total_steps

    def _take(self, folder: RunFolder) -> None:
        from .. import checkpoint

        try:
            parameters = checkpoint.read(folder.last)
            metadata = checkpoint.read_metadata(folder.last)
            if "step" not in metadata:
                raise InputError(f"{folder.last} has no JSON that states its step")
        except InputError as error:
            others = folder.other_weights()
            advice = f"; from its weights: {_start_from(others[-1])}" if others else ""
            raise InputError(
                f"{error}. Without it the run in {folder.path} cannot be resumed exactly. Train "
                f"again from its start: remove {folder.last.name} and repeat this command{advice}"
            ) from error
        self.step, self.parameters, self.metadata = metadata["step"], parameters, metadata


def open_run(
    path: Path | None, arch: str, data_file: Path, images: int, ranks: Ranks
) -> tuple[RunFolder | None, Progress]:
    """Opens the folder of a run and reads its progress.

    Args:
        path: folder of the run; None for a new run.
        arch: architecture of the run.
        data_file: record to train on.
        images: number of its images.
        ranks: the processes that train together; all must call this.

    Returns:
        The folder, which only the first rank opens and locks, None for a new run; and the progress,
        parameters and log on the first rank only.

    Raises:
        InputError: this is not the folder of a run, or the run had other data or another number of
            ranks, or has no intact checkpoint.
    """
    if path is None:
        return None, Progress()
    if not ranks.is_first:
        return RunFolder(path, arch), Progress(**ranks.share(None))
    folder = RunFolder.open(path)
    try:
        progress = _read_progress(folder, data_file, images, ranks)
    except (InputError, OSError):
        folder.release()
        raise
    ranks.share({"step": progress.step, "validations": progress.validations})
    return folder, progress


def _read_progress(folder: RunFolder, data_file: Path, images: int, ranks: Ranks) -> Progress:
    """Returns the progress of a run after checking that these data and ranks can resume it."""
    trained_by = folder.read_arguments().get("ranks", 1)
    if trained_by != ranks.size:
        raise InputError(
            f"the run in {folder.path} is of {trained_by} ranks, not {ranks.size}: its batches and "
            f"the order of its images would be different. Resume with: "
            f"{command_to_resume(folder.path, trained_by)}; or start another run from its "
            f"weights: {_start_from(folder.last)}"
        )
    progress = Progress.read(folder)
    before = progress.metadata.get("images", images)
    if before != images:
        raise InputError(
            f"{data_file} has {images} images, the data of the run in {folder.path} had {before}; "
            "pass the right --data"
        )
    return progress


class TrainingState:
    """All parameters that training changes: those of the network and those of the optimizer.

    Args:
        network: network that is trained.
        model: the model that trains it.
        average: moving average of the network's parameters; None for none.

    Attributes:
        network: as above.
        optimizer: parameters of the optimizer, the loss scale, the step counter and the average.
    """

    def __init__(self, network: "nn.Cell", model: "Model", average: "MovingAverage | None" = None):
        self.network = network
        own = {parameter.name for parameter in network.get_parameters()}
        self.optimizer = [
            parameter
            for parameter in model.train_network.get_parameters()
            if parameter.name not in own and not parameter.name.startswith(_NO_STATE)
        ]
        self._average = average
        if average is not None:
            self.optimizer += average.stored

    def for_use(self) -> contextlib.AbstractContextManager[None]:
        """Has the network hold the weights to validate and to save: the average, if there is one.

        Checkpoints are written within, so that the average has the names of the network.
        """
        return contextlib.nullcontext() if self._average is None else self._average.in_use()

    def parameters(self) -> "Iterable[Parameter]":
        """Returns all of them."""
        return [*self.network.get_parameters(), *self.optimizer]

    def restore(self, progress: Progress, ranks: Ranks) -> None:
        """Sets the parameters on all ranks to the checkpoint's, or else to the first rank's.

        Args:
            progress: progress of the run; its parameters are given up, which frees a gigabyte.
            ranks: the processes that train together; all must call this.

        Raises:
            InputError: the checkpoint belongs to another network or optimizer.
        """
        from .. import checkpoint

        if progress.parameters is not None:
            checkpoint.restore(self.network.get_parameters(), progress.parameters)
            checkpoint.restore(self.optimizer, progress.parameters)
            progress.parameters = None
            if self._average is not None:
                self._average.swap()
        ranks.broadcast(self.parameters())
