"""Checksums of whole files: the line about a file without one, and the digest to expect."""

import logging
import re
from pathlib import Path

from .. import files
from ..errors import InputError, command

__all__ = ["WITHOUT", "as_digest", "check_digest", "known", "name_unsealed", "write"]

logger = logging.getLogger(__name__)

WITHOUT = "has no checksum: its bits cannot be vouched for"
"""End of the sentence about a file without a checksum."""

_told: set[Path] = set()


def known(path: files.PathLike) -> None:
    """Keeps `name_unsealed` from telling of a file of which the program tells in its own words."""
    _told.add(Path(path).absolute())


def name_unsealed(kind: str, path: files.PathLike, remedy: str | None = None) -> None:
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
        "%s %s %s (%s)",
        kind,
        path,
        WITHOUT,
        remedy or f"{command('info', '--seal', path)} gives it one",
    )


def as_digest(text: str) -> str:
    """A SHA-256 as the package writes it.

    Raises:
        InputError: the text is not one.
    """
    digest = text.strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise InputError(
            f"{text[:80]!r} is not a SHA-256; give its 64 hexadecimal digits, as sha256sum prints"
        )
    return digest


def check_digest(path: files.PathLike, expected: str | None) -> str:
    """SHA-256 of a file.

    Args:
        path: the file.
        expected: what it must be; None for anything.

    Raises:
        InputError: it is another one, or the file cannot be read.
    """
    path = Path(path).absolute()
    files.check_regular(path)
    try:
        found = files.sha256(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    if expected is not None and found != as_digest(expected):
        raise InputError(
            f"{path} is not the file that was expected: its SHA-256 is {found}; fetch it again, or "
            "correct --sha256"
        )
    return found


def write(json_file: Path, content: object, kind: str) -> None:
    """Writes the JSON that holds the checksum of a file.

    Args:
        json_file: the JSON.
        content: its content.
        kind: kind of the file, for the error.

    Raises:
        InputError: the JSON cannot be written; an older one is unchanged.
    """
    try:
        files.write_json(json_file, content)
    except OSError as error:
        raise InputError(
            f"{json_file} cannot be written: {error.strerror}; copy the {kind} to a folder of your "
            "own"
        ) from error
