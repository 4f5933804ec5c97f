"""Folder of one training: names of its files, lock, and order of its checkpoints."""

import contextlib
import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import files
from ..distributed.ranks import Ranks
from ..errors import InputError, check_package
from ..formats import checkpoints, paths, schema
from ..network.architectures import ARCHITECTURES
from .options import RunOptions
from .stored import ARGUMENTS

__all__ = ["RunFolder", "check_results"]

logger = logging.getLogger(__name__)

_UNFINISHED = ".*.unfinished*"


def check_results(options: RunOptions) -> None:
    """Checks, before data and network, that the results of a training can be written.

    Args:
        options: where to, and in which forms.

    Raises:
        InputError: the folder is not empty or not writable, or a package is missing.
    """
    if options.tensorboard:
        install = 'pip install -e ".[tensorboard]"'
        check_package("tensorboardX", "--tensorboard", install)
    if options.resume is not None:
        return
    if options.output is None:
        paths.check_folder("runs", "the folder of results")
    else:
        RunFolder.check(options.output)


class RunFolder:
    """Folder of a run: names of its files, and removal of those that are no longer needed.

    `create` makes the folder of a new run, `open` opens that of an earlier one. Both lock it
    against a second training for as long as this process lives, or until the end of a `with` block.

    Args:
        path: the folder.
        arch: architecture, one of the names that `--arch` takes; checkpoints are named after it.
        checkpoint_format: one of the names that `--checkpoint-format` takes.

    Attributes:
        path: the folder.
        arguments: JSON with every argument of the run.
        log: one line of JSON per step.
        validations: one line of JSON per validation.
        last: checkpoint to resume from; the only one with the optimizer state.
        best: weights of the best validation.
        curves: picture of losses and scores.
        class_iou: picture of every class's IoU over the validations.
        class_bars: picture of every class's IoU in the last validation.
        predictions: picture of images with labels and predictions.
        metrics: the scores.
        tensorboard: folder of TensorBoard's files.
    """

    def __init__(self, path: files.PathLike, arch: str = "fcn8s", checkpoint_format: str = "ckpt"):
        self.path = Path(path)
        self._name = ARCHITECTURES[arch].class_name
        self._suffix = f".{checkpoint_format}"
        self.arguments = self.path / "arguments.json"
        self.log = self.path / "log.jsonl"
        self.validations = self.path / "validations.jsonl"
        self.last = self.path / f"{self._name}-last{self._suffix}"
        self.best = self.path / f"{self._name}-best{self._suffix}"
        self.curves = self.path / "curves.png"
        self.class_iou = self.path / "class_iou.png"
        self.class_bars = self.path / "class_bars.png"
        self.predictions = self.path / "predictions.png"
        self.metrics = self.path / "metrics.json"
        self.tensorboard = self.path / "tensorboard"
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None

    @classmethod
    def create(
        cls, path: files.PathLike, arch: str = "fcn8s", checkpoint_format: str = "ckpt"
    ) -> "RunFolder":
        """Makes and locks the folder of a new run.

        Args:
            path: the folder.
            arch: architecture, as for the class.
            checkpoint_format: as for the class.

        Raises:
            InputError: it exists and is not empty, or it cannot be created. A run in it that ended
                before its first checkpoint is removed.
        """
        folder = cls(path, arch, checkpoint_format)
        path = folder.path
        if path.is_dir():
            folder._hold()
        try:
            folder._check_free()
        except InputError:
            folder.release()
            raise
        folder._remove_lost_run()
        paths.make_folder(path, "--output")
        if folder._identity is None:
            folder._hold()
        return folder

    @classmethod
    def check(cls, path: files.PathLike) -> None:
        """Checks, before there is anything to write, that `create` will succeed.

        Raises:
            InputError: as in `create`.
        """
        folder = cls(path)
        if folder.path.is_dir():
            folder._hold()
        try:
            folder._check_free()
        finally:
            folder.release()
        paths.check_folder(path, "--output")

    def _check_free(self) -> None:
        """Raises InputError if the folder holds anything but a run that ended without a result."""
        path = self.path
        if not path.exists() or (path.is_dir() and (not self._files() or self._is_lost_run())):
            return
        if not path.is_dir():
            raise InputError(f"--output {path.absolute()} is no folder; choose another name")
        hint = "choose another name"
        if self.arguments.is_file():
            if self._checkpoints():
                run = shlex.quote(str(path))
                hint = f"resume that run with --resume {run}, or choose another name"
            else:
                hint = (
                    "that run ended before its first checkpoint, but there are other files too; "
                    "choose another name, or move them away"
                )
        raise InputError(f"--output {path.absolute()} is not empty; {hint}")

    def _checkpoints(self) -> list[Path]:
        """Returns the checkpoints of any network in the folder."""
        return [one for one in self._files() if one.suffix[1:] in checkpoints.FORMATS]

    def _is_lost_run(self) -> bool:
        """Tells whether the folder holds a run without a checkpoint, and nothing else."""
        own = {
            one.name
            for one in vars(self).values()
            if isinstance(one, Path) and one not in (self.path, self.last, self.best)
        }
        found = {one.name for one in self._files()}
        return self.arguments.name in found and found <= own

    def _remove_lost_run(self) -> None:
        """Empties a folder of `_is_lost_run`: all of its steps come again with a resumed run."""
        if not self.path.is_dir() or not self._is_lost_run():
            return
        logger.warning(
            "%s holds a run that ended before its first checkpoint: its folder is taken again",
            self.path,
        )
        for one in self._files():
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one)
            else:
                one.unlink()

    @classmethod
    def start(
        cls, path: files.PathLike, arch: str, checkpoint_format: str, ranks: Ranks
    ) -> "RunFolder":
        """Makes the folder of a new run on the first rank, and names it to the others.

        Args:
            path: the folder.
            arch: architecture, as for the class.
            checkpoint_format: as for the class.
            ranks: the processes that train together; all must call this.

        Raises:
            InputError: as in `create`.
        """
        if ranks.is_first:
            folder = cls.create(path, arch, checkpoint_format)
            ranks.share(str(folder.path))
            return folder
        return cls(ranks.share(None), arch, checkpoint_format)

    def _files(self) -> list[Path]:
        """Returns the content of the folder, except what a killed process left unfinished."""
        return [path for path in self.path.iterdir() if not path.match(_UNFINISHED)]

    @classmethod
    def of(cls, path: files.PathLike) -> "RunFolder":
        """Returns the folder of an earlier run, to look at: it is not locked.

        Raises:
            InputError: it is not the folder of a run.
        """
        arguments = cls(path).read_arguments()
        return cls(path, arguments.get("arch", "fcn8s"), arguments.get("checkpoint_format", "ckpt"))

    @classmethod
    def open(cls, path: files.PathLike) -> "RunFolder":
        """Opens and locks the folder of an earlier run.

        Files that a killed process left unfinished are removed.

        Raises:
            InputError: it is not the folder of a run, or another process trains in it.
        """
        folder = cls.of(path)
        folder._hold()
        for leftover in folder.path.glob(_UNFINISHED):
            leftover.unlink()
        return folder

    def read_arguments(self) -> dict[str, Any]:
        """Returns what `write_arguments` wrote.

        Raises:
            InputError: the file is missing or damaged, or a field has another type or value than
                its option.
        """
        try:
            arguments: dict[str, Any] = json.loads(self.arguments.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"--resume {self.path.absolute()} is not the folder of a run: it has no readable "
                f"{self.arguments.name}; pass the folder that the training wrote to"
            ) from error
        schema.check(arguments, ARGUMENTS, self.arguments, "correct the file")
        return arguments

    def write_arguments(self, arguments: dict[str, Any]) -> None:
        """Keeps the arguments of the run for `--resume`."""
        files.write_json(self.arguments, arguments)

    def _hold(self) -> None:
        try:
            self._lock = files.lock_folder(self.path)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path.absolute()} is in use by another training; wait for its end, or "
                "stop it"
            ) from error
        found = self.path.stat()
        self._identity = found.st_dev, found.st_ino

    def release(self) -> None:
        """Unlocks the folder; so does the end of the process."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._identity = None

    def check_in_place(self) -> None:
        """Checks that the path still stands for the folder that was opened.

        Raises:
            InputError: the folder has been deleted, renamed or replaced; the message says where
                the last state is, as far as the system tells.
        """
        try:
            found = self.path.stat()
            if self._identity in (None, (found.st_dev, found.st_ino)):
                return
        except OSError:
            pass
        now = self._present_path()
        if now is None:
            raise InputError(
                f"{self.path.absolute()}, the folder of the run, was deleted or moved away during "
                "the training, which stops. If it was moved, pass its new path to --resume; if it "
                "was deleted, start again"
            )
        last = now / self.last.name
        advice = (
            f"resume with --resume {shlex.quote(str(now))}" if last.is_file() else "start again"
        )
        raise InputError(
            f"{self.path.absolute()}, the folder of the run, was renamed to {now} during the "
            f"training, which stops. The last checkpoint is {last if last.is_file() else 'missing'}"
            f"; {advice}"
        )

    def _present_path(self) -> Path | None:
        """Returns where the opened folder is now, as far as the system tells."""
        if self._lock is None:
            return None
        with contextlib.suppress(OSError):
            now = Path(os.readlink(f"/proc/self/fd/{self._lock}"))
            if now.is_dir() and (now.stat().st_dev, now.stat().st_ino) == self._identity:
                return now
        return None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    @contextlib.contextmanager
    def full_disk_reported(self, remedy: str) -> Iterator[None]:
        """Turns the system's errors of a full disk into a message.

        Args:
            remedy: last sentence of the message.

        Raises:
            InputError: the disk takes no more data.
        """
        try:
            yield
        except OSError as error:
            if error.errno not in files.DISK_ERRORS:
                raise
            raise InputError(
                f"{self.path.absolute()}: {error.strerror}; the checkpoints are unchanged. Free "
                f"some space. {remedy}"
            ) from error

    def weights(self, epoch: int, step: int) -> Path:
        """Returns the file of the checkpoint of a step."""
        return self.path / f"{self._name}-{epoch}_{step}{self._suffix}"

    def all_weights(self) -> list[Path]:
        """Returns the checkpoints of steps, the newest last."""
        found = {}
        name = rf"{self._name}-(\d+)_(\d+){re.escape(self._suffix)}"
        for path in self.path.iterdir():
            if match := re.fullmatch(name, path.name):
                found[int(match[2])] = path
        return [found[step] for step in sorted(found)]

    def other_weights(self) -> list[Path]:
        """Returns the checkpoints without an optimizer state: the best, then those of steps."""
        return [path for path in (self.best, *self.all_weights()) if path.is_file()]

    def newest(self) -> Path | None:
        """Returns the newest checkpoint, the best aside; None where there is none."""
        weights = self.all_weights()
        if self.last.is_file():
            return self.last
        return weights[-1] if weights else None

    def prune(self, keep: int) -> None:
        """Removes the oldest checkpoints of steps until `keep` are left."""
        for path in self.all_weights()[:-keep]:
            path.unlink()
        for path in self.path.glob(f"{self._name}-*{self._suffix}.json"):
            if not path.with_suffix("").is_file():
                path.unlink()
