"""Files: read with an error that names them, written whole or not at all, as strict JSON."""

import errno
import hashlib
import json
import math
import os
from pathlib import Path
from typing import TypeAlias

from .errors import InputError

__all__ = [
    "DISK_ERRORS",
    "PathLike",
    "append_json_line",
    "give_ordinary_permissions",
    "json_text",
    "lock_folder",
    "make_folder",
    "read_bytes",
    "read_json",
    "read_json_lines",
    "read_text",
    "replace",
    "sha256",
    "unfinished",
    "write_bytes",
    "write_json",
    "write_text",
]


try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

PathLike: TypeAlias = str | os.PathLike[str]
"""A path as callers give it."""

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Error numbers of a disk that takes no more: full, over quota, file too large, read-only."""


def lock_folder(path) -> int | None:
    """Locks a folder against other processes, until the descriptor is closed or this one ends.

    Returns:
        Descriptor that holds the lock; None where the system has no such locks.

    Raises:
        BlockingIOError: another process holds it.
    """
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # the file system has none
        os.close(descriptor)
        return None
    return descriptor


def read_bytes(path, remedy: str = "check the path") -> bytes:
    """Content of a file.

    Args:
        path: the file.
        remedy: what the error tells the user to do.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path.absolute()} is missing; {remedy}") from None
    except OSError as error:
        raise InputError(
            f"{path.absolute()} cannot be read ({error.strerror}); {remedy}"
        ) from error


def read_text(path) -> str:
    """Text of a UTF-8 file, with or without a byte order mark; raises as `read_bytes`."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{Path(path).absolute()} is no UTF-8 text; save it as UTF-8") from error


def make_folder(path, flag: str) -> None:
    """Makes a folder for results, with those above it.

    Raises:
        InputError: it cannot be made; names the flag that chose it.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{flag} {path.absolute()} cannot be made: {error.strerror}; choose another"
        ) from error


def read_json(path):
    """Content of a JSON file; InputError as `read_bytes`, and where it is no JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{Path(path).absolute()} is no JSON ({error}); mend it") from error


def sha256(path) -> str:
    """Checksum of a file's content, in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _strict(value):
    """The value with null for NaN and infinity, which JSON has not, and text for paths."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, os.PathLike) else value


def json_text(value, indent: int | None = 1) -> str:
    """Dicts, lists, numbers, text and paths as strict JSON."""
    return json.dumps(_strict(value), indent=indent, ensure_ascii=False, allow_nan=False)


def unfinished(path: Path) -> Path:
    """Where the content of a file is kept until it is complete: hidden, in the same folder."""
    return path.with_name(f".{path.stem}.unfinished{path.suffix}")


def replace(source: Path, target: Path) -> None:
    """Gives a file its name once its content is on the disk; an older file of that name goes then.

    After a crash or a power cut the name stands for either the old file or the new one, whole.

    Raises:
        OSError: the disk is full or fails.
    """
    with open(source, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(source, target)
    if os.name == "posix":  # elsewhere folders cannot be opened
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_bytes(path, content: bytes) -> None:
    """Writes a file that is whole under its name or not there, though not yet on the disk for sure.

    For the many files of a run that can be done again; `write_text` waits for the disk.

    Raises:
        OSError: the file cannot be written; an older one stays.
    """
    path = Path(path)
    temporary = unfinished(path)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text: str) -> None:
    """Writes a text file as `replace` does.

    Raises:
        OSError: the file cannot be written; an older one stays.
    """
    path = Path(path)
    temporary = unfinished(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value) -> None:
    """Writes dicts, lists, numbers, text and paths as a JSON file, as `write_text` does."""
    write_text(path, json_text(value) + "\n")


def append_json_line(file, value) -> None:
    """Adds a line of JSON to an open text file; it outlives this process from then on."""
    file.write(json_text(value, indent=None) + "\n")
    file.flush()


def read_json_lines(path) -> list[dict]:
    """The lines of a file of `append_json_line`, without a last one that was cut short.

    Returns:
        One dict a line; none where there is no file.
    """
    path = Path(path)
    lines = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
    return lines


def give_ordinary_permissions(path) -> None:
    """Makes a file as readable as any new one; MindSpore's are for their owner only."""
    umask = os.umask(0)
    os.umask(umask)
    Path(path).chmod(0o666 & ~umask)
