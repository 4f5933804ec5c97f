"""Scalars and pictures for TensorBoard, written by tensorboardX, which needs no other framework."""

import contextlib
import glob
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InputError

__all__ = ["TensorBoard"]


def _tag(group: str, name: str) -> str:
    """Returns the name of a curve, in characters that TensorBoard accepts."""
    return f"{group}/{re.sub(r'[^-/._0-9A-Za-z]', '_', name)}"


def _leave_out_host(folder: Path) -> None:
    """Renames the files that tensorboardX names after this machine; it goes on writing to them."""
    host = f".{socket.gethostname()}"
    for file in folder.glob(f"events.*{glob.escape(host)}"):
        with contextlib.suppress(OSError):  # not everywhere can open files be renamed
            file.rename(folder / f"{file.name.removesuffix(host)}.{os.getpid()}")


class TensorBoard:
    """Writer of TensorBoard's events for a run.

    Args:
        folder: folder to write to.
        start_step: number of steps done before; TensorBoard hides events of later steps that an
            interrupted process has written.

    Raises:
        InputError: tensorboardX is not installed.
    """

    def __init__(self, folder: files.PathLike, start_step: int = 0):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise InputError(
                '--tensorboard needs the extra of that name: pip install -e ".[tensorboard]"'
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=start_step + 1 if start_step else None)
        _leave_out_host(Path(folder))

    def add_step(self, record: dict[str, Any]) -> None:
        """Adds loss, learning rate, speed and memory of a line of the log."""
        for name, value in record.items():
            if name not in ("step", "epoch"):
                self._writer.add_scalar(_tag("train", name), float(value), record["step"])

    def add_validation(self, result: dict[str, Any]) -> None:
        """Adds the scores of a validation, and the IoU of every class that occurs."""
        for name, value in result.items():
            if name not in ("step", "epoch", "per class"):
                self._writer.add_scalar(_tag("validation", name), value, result["step"])
        for name, row in result["per class"].items():
            if not np.isnan(row["IoU"]):
                self._writer.add_scalar(_tag("IoU", name), row["IoU"], result["step"])

    def add_pictures(
        self,
        samples: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
        palette: np.ndarray,
        step: int,
    ) -> None:
        """Adds one picture per sample: image, label and prediction side by side.

        Args:
            samples: (image, label, prediction): uint8 (H, W, 3) BGR, uint8 (H, W) twice.
            palette: uint8 (256, 3), RGB.
            step: number of steps done.
        """
        for number, (image, label, prediction) in enumerate(samples):
            row = [image[:, :, ::-1], palette[label], palette[prediction]]
            self._writer.add_image(
                f"pictures/{number}", np.concatenate(row, axis=1), step, dataformats="HWC"
            )

    def flush(self) -> None:
        """Writes pending events to the file."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
