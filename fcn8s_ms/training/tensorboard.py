"""Scalars and pictures for TensorBoard, through tensorboardX, which needs neither torch nor tf."""

import re

import numpy as np

from ..errors import InputError

__all__ = ["TensorBoard"]


def _tag(group: str, name: str) -> str:
    """Name of a curve; TensorBoard takes no other characters."""
    return f"{group}/{re.sub(r'[^-/._0-9A-Za-z]', '_', name)}"


class TensorBoard:
    """Writes a run's records as TensorBoard's events.

    Args:
        folder: where to.
        start_step: number of steps done; events of later steps, of a run that was cut short, are
            hidden.

    Raises:
        InputError: tensorboardX is not installed.
    """

    def __init__(self, folder, start_step: int = 0):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise InputError(
                '--tensorboard needs the extra of that name: pip install -e ".[tensorboard]"'
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=start_step + 1 if start_step else None)

    def add_step(self, record: dict) -> None:
        """Loss, learning rate, speed and memory of a line of the log."""
        for name, value in record.items():
            if name not in ("step", "epoch"):
                self._writer.add_scalar(_tag("train", name), float(value), record["step"])

    def add_validation(self, result: dict) -> None:
        """The scores of a validation, and the IoU of every class that occurs."""
        for name, value in result.items():
            if name not in ("step", "epoch", "per class"):
                self._writer.add_scalar(_tag("validation", name), value, result["step"])
        for name, row in result["per class"].items():
            if not np.isnan(row["IoU"]):
                self._writer.add_scalar(_tag("IoU", name), row["IoU"], result["step"])

    def add_pictures(self, samples, palette: np.ndarray, step: int) -> None:
        """Image, truth and prediction side by side, one picture a sample.

        Args:
            samples: (image, truth, prediction): uint8 (H, W, 3) BGR, uint8 (H, W) twice.
            palette: uint8 (256, 3), RGB.
            step: number of steps done.
        """
        for number, (image, truth, prediction) in enumerate(samples):
            row = [image[:, :, ::-1], palette[truth], palette[prediction]]
            self._writer.add_image(
                f"pictures/{number}", np.concatenate(row, axis=1), step, dataformats="HWC"
            )

    def flush(self) -> None:
        """Waits until the events are in the file."""
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()
