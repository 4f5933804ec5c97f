"""Files that have no checksum, of which every program tells in one line."""

import logging
from pathlib import Path

from .. import files
from ..errors import program

__all__ = ["known", "name"]

logger = logging.getLogger(__name__)

_told: set[Path] = set()


def known(path: files.PathLike) -> None:
    """Keeps `name` from telling of a file of which the program tells in its own words."""
    _told.add(Path(path).absolute())


def name(kind: str, path: files.PathLike, remedy: str | None = None) -> None:
    """Warns of a file without a checksum, once in this process.

    Args:
        kind: kind of the file, the first word of the message.
        path: the file.
        remedy: how it gets a checksum; by default as records and checkpoints do.
    """
    path = Path(path).absolute()
    if path in _told:
        return
    _told.add(path)
    logger.warning(
        "%s %s has no checksum: its bits cannot be vouched for (%s)",
        kind,
        path,
        remedy or f"{program('info')} --seal {path} gives it one",
    )
