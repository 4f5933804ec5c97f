"""Where a run stands when it is resumed."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from .. import files
from ..errors import InputError
from .run_folder import RunFolder

__all__ = ["Progress"]

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run stands; without arguments, at its beginning.

    Attributes:
        step: number of finished steps.
        parameters: of the network and the optimizer by name; None without a checkpoint.
        is_complete: whether the optimizer's are among them.
        metadata: the JSON beside the checkpoint.
        steps: lines of the log up to there.
        validations: results up to there.
    """

    step: int = 0
    parameters: dict | None = None
    is_complete: bool = True
    metadata: dict = field(default_factory=dict)
    steps: list[dict] = field(default_factory=list)
    validations: list[dict] = field(default_factory=list)

    @classmethod
    def read(cls, folder: RunFolder) -> "Progress":
        """Takes the newest intact checkpoint of a folder, and cuts the logs off after its step.

        Checkpoints that are damaged are passed over with a warning.

        Raises:
            InputError: there are checkpoints, and none is intact.
        """
        progress = cls()
        candidates = [folder.last, *reversed(folder.all_weights())]
        candidates = [path for path in candidates if path.is_file()]
        for path in candidates:
            if progress._take(path):
                progress.is_complete = path == folder.last
                break
        if candidates and progress.parameters is None:
            raise InputError(
                f"none of the checkpoints in {folder.path.absolute()} can be used; start again "
                "with another --output"
            )
        if not candidates:
            logger.warning("%s has no checkpoint yet: starting at its beginning", folder.path)
        elif not progress.is_complete:
            logger.warning(
                "going on from %s, which is without the optimizer's state: that starts afresh",
                path,
            )
        progress.steps = _cut_off(folder.log, progress.step)
        progress.validations = _cut_off(folder.validations, progress.step)
        return progress

    def _take(self, path: Path) -> bool:
        from .. import checkpoint

        try:
            parameters, metadata = checkpoint.read(path), checkpoint.read_metadata(path)
        except InputError as error:
            logger.warning("%s; looking for another one", error)
            return False
        if "step" not in metadata:
            logger.warning("%s has no JSON that tells its step; looking for another one", path)
            return False
        self.step, self.parameters, self.metadata = metadata["step"], parameters, metadata
        return True


def _cut_off(path: Path, step: int) -> list[dict]:
    """Removes the lines of later steps, which are to come again; returns the others."""
    lines = [line for line in files.read_json_lines(path) if line["step"] <= step]
    if path.is_file():
        files.write_text(path, "".join(files.json_text(line, None) + "\n" for line in lines))
    return [_with_nan(line) for line in lines]


def _with_nan(value):
    """The value with NaN again where JSON has null."""
    if isinstance(value, dict):
        return {name: _with_nan(item) for name, item in value.items()}
    return float("nan") if value is None else value
