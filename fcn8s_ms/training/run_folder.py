"""The folder of one training, and its files."""

import json
import logging
import os
import re
from pathlib import Path

from .. import files
from ..errors import InputError
from ..network.architectures import ARCHITECTURES

__all__ = ["RunFolder"]

logger = logging.getLogger(__name__)

_UNFINISHED = ".*.unfinished*"


class RunFolder:
    """Names of a run's files, and the order in which they come and go.

    Attributes:
        path: the folder.
        arguments: JSON with every argument of the run.
        log: a line of JSON for each step.
        validations: a line of JSON for each validation.
        last: checkpoint to go on from; the only one with the optimizer's state.
        best: weights of the best validation.
        curves, predictions: pictures.
        metrics: the scores.
        tensorboard: folder of TensorBoard's files.

    Use `create` for a new run and `open` for one to go on with. Either holds the folder against a
    second training in it for as long as this process lives.

    Args:
        path: the folder.
        arch: architecture as of `--arch`, such as 'fcn8s'; the checkpoints are named after it.
    """

    def __init__(self, path, arch: str = "fcn8s"):
        self.path = Path(path)
        self._name = ARCHITECTURES[arch].class_name
        self.arguments = self.path / "arguments.json"
        self.log = self.path / "log.jsonl"
        self.validations = self.path / "validations.jsonl"
        self.last = self.path / f"{self._name}-last.ckpt"
        self.best = self.path / f"{self._name}-best.ckpt"
        self.curves = self.path / "curves.png"
        self.predictions = self.path / "predictions.png"
        self.metrics = self.path / "metrics.json"
        self.tensorboard = self.path / "tensorboard"
        self._lock = None

    @classmethod
    def create(cls, path, arch: str = "fcn8s") -> "RunFolder":
        """Makes a new folder; arguments as of the class.

        Raises:
            InputError: it exists and is not empty, or it cannot be made.
        """
        folder = cls(path, arch)
        path = folder.path
        if path.exists() and (not path.is_dir() or folder._files()):
            hint = (
                f"go on with that run by --resume {path}, or choose another name"
                if folder.arguments.is_file()
                else "choose another name"
            )
            raise InputError(f"--output {path.absolute()} is not empty; {hint}")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--output {path.absolute()} cannot be made: {error.strerror}; choose another"
            ) from error
        folder._hold()
        return folder

    def _files(self) -> list[Path]:
        """What is in the folder, but for what a killed process left unfinished."""
        return [path for path in self.path.iterdir() if not path.match(_UNFINISHED)]

    @classmethod
    def open(cls, path) -> "RunFolder":
        """Opens the folder of an earlier run and removes what a killed process left unfinished.

        Raises:
            InputError: it is no folder of a run, or another process trains in it.
        """
        folder = cls(path, cls(path).read_arguments().get("arch", "fcn8s"))
        folder._hold()
        for leftover in folder.path.glob(_UNFINISHED):
            leftover.unlink()
        return folder

    def read_arguments(self) -> dict:
        """What `write_arguments` wrote.

        Raises:
            InputError: there is nothing of the kind.
        """
        try:
            return json.loads(self.arguments.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"--resume {self.path.absolute()} is no folder of a run: it has no readable "
                f"{self.arguments.name}; give the folder that the training wrote to"
            ) from error

    def write_arguments(self, arguments: dict) -> None:
        """Keeps the arguments of the run for `--resume`."""
        files.write_json(self.arguments, arguments)

    def _hold(self):
        try:
            self._lock = files.lock_folder(self.path)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path.absolute()} is in use by another training; wait for its end, or "
                "stop it"
            ) from error

    def release(self) -> None:
        """Lets others train in the folder; the end of the process does it too."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def weights(self, epoch: int, step: int) -> Path:
        """Name of the checkpoint of a step."""
        return self.path / f"{self._name}-{epoch}_{step}.ckpt"

    def all_weights(self) -> list[Path]:
        """The checkpoints of steps, the newest last."""
        found = {}
        for path in self.path.iterdir():
            if match := re.fullmatch(rf"{self._name}-(\d+)_(\d+)\.ckpt", path.name):
                found[int(match[2])] = path
        return [found[step] for step in sorted(found)]

    def newest(self) -> Path | None:
        """The newest checkpoint of any kind but the best."""
        weights = self.all_weights()
        if self.last.is_file():
            return self.last
        return weights[-1] if weights else None

    def prune(self, keep: int) -> None:
        """Removes the oldest checkpoints of steps until `keep` are left."""
        for path in self.all_weights()[:-keep]:
            path.unlink()
        for path in self.path.glob(f"{self._name}-*.ckpt.json"):
            if not path.with_suffix("").is_file():
                path.unlink()
