"""Reading files with an error that names them, and writing them completely or not at all."""

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import re
import secrets
import shutil
import socket
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from .ending import before_end
from .errors import InputError

__all__ = [
    "DISK_ERRORS",
    "PathLike",
    "append_json_line",
    "check_regular",
    "give_ordinary_permissions",
    "json_text",
    "lock_folder",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_json_lines",
    "read_text",
    "removed_at_end",
    "replace",
    "sha256",
    "state_of",
    "unfinished",
    "unfinished_folder",
    "write_bytes",
    "write_json",
    "write_text",
    "written",
]


try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

PathLike: TypeAlias = str | os.PathLike[str]
"""A path as callers pass it."""

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Error numbers of a disk that takes no more data: full, over quota, file too large, read-only."""


def lock_folder(path: PathLike) -> int | None:
    """Locks a folder against other processes until the descriptor is closed or this process ends.

    Returns:
        The descriptor that holds the lock; None where the system has no such locks.

    Raises:
        BlockingIOError: another process holds the lock.
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


def state_of(path: PathLike) -> tuple[int, ...] | None:
    """Identity and state of a file or folder, another one when it is replaced or written to.

    None if it is missing.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):  # which changes with every file in it
        return found.st_dev, found.st_ino
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def check_regular(path: PathLike, remedy: str = "check the path") -> None:
    """Checks, without opening it, that a path stands for a file with content.

    A pipe without a writer never ends, and a device may hold without end.

    Args:
        path: the file.
        remedy: advice that ends the error message.

    Raises:
        InputError: it is missing, or a folder, pipe, socket or device.
    """
    path = Path(path).absolute()
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise InputError(f"{path} is missing; {remedy}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    except ValueError:  # a NUL, or half of a surrogate pair
        raise InputError(f"{str(path)!r} cannot be the path of a file; {remedy}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder, not a file" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise InputError(f"{path} is {kind}; {remedy}")


def read_bytes(path: PathLike, remedy: str = "check the path") -> bytes:
    """Content of a file.

    Args:
        path: the file.
        remedy: advice that ends the error message.

    Raises:
        InputError: the file is missing, cannot be read, or is a folder, pipe or device.
    """
    check_regular(path, remedy)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{Path(path).absolute()} cannot be read ({error.strerror}); {remedy}"
        ) from error


def read_text(path: PathLike) -> str:
    """Text of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: as for `read_bytes`, or the file is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{Path(path).absolute()} is not UTF-8 text; save it as UTF-8") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if math.isfinite(value := float(text)):
        return value
    raise ValueError(f"the number {text[:20]} is too large")


json_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def parse_json(text: str) -> Any:
    """Value of a JSON text, without the NaN and Infinity that Python also takes for JSON.

    Raises:
        ValueError: it is not valid JSON, or has numbers too large or is nested too deeply to read.
    """
    try:
        return json_decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: PathLike) -> Any:
    """Content of a JSON file.

    Raises:
        InputError: as for `read_text`, or the file is not valid JSON.
    """
    try:
        return parse_json(read_text(path))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{Path(path).absolute()} is not valid JSON ({error}); correct it"
        ) from error


def sha256(path: PathLike) -> str:
    """SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _strict(value: Any) -> Any:
    """The value with null in place of NaN and infinity, which JSON lacks, and text for paths."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, os.PathLike) else value


def json_text(value: Any, indent: int | None = 1) -> str:
    """Strict JSON of dicts, lists, numbers, text and paths."""
    return json.dumps(_strict(value), indent=indent, ensure_ascii=False, allow_nan=False)


_TOKEN = secrets.token_hex(2)
_MACHINE = f"{zlib.crc32(socket.gethostname().encode()) & 0xFFFF:04x}"
_UNFINISHED = re.compile(rf"\..*\.unfinished-{_MACHINE}-(\d+)-[0-9a-f]{{4}}(\..*)?", re.DOTALL)
_swept: set[Path] = set()
_temporary: dict[Path, int] = {}  # folders to remove when a signal ends the process of this id


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user
        return True
    return True


def _remove_abandoned(folder: Path) -> None:
    """Removes, once per folder, what processes of this machine left unfinished when they ended."""
    if folder in _swept or os.name != "posix":  # elsewhere a signal 0 ends a process
        return
    _swept.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _UNFINISHED.fullmatch(entry.name)
            if found and not _is_running(int(found[1])):
                _remove(Path(entry.path))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def _remove_own() -> None:
    """Removes what this process has not finished."""
    for path, process_id in list(_temporary.items()):
        if process_id == os.getpid():
            _remove(path)
    for folder in list(_swept):
        for path in folder.glob(f".*.unfinished-{_MACHINE}-{os.getpid()}-{_TOKEN}*"):
            _remove(path)


before_end(_remove_own)


@contextlib.contextmanager
def removed_at_end(folder: Path) -> Iterator[None]:
    """Removes a folder at the end of a `with` block, and when a signal ends the process in it."""
    _temporary[folder] = os.getpid()
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        del _temporary[folder]


@contextlib.contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """Yields a folder for files that are not complete, named as `unfinished` names one.

    Args:
        path: the file that comes of them, next to which the folder is made.
    """
    folder = unfinished(path)
    with removed_at_end(folder):
        folder.mkdir()
        yield folder


def unfinished(path: Path) -> Path:
    """Path of a file while its content is incomplete: hidden, in the same folder.

    Each process has its own, so that two may write one file. Asked for a file in a folder for the
    first time, this removes the ones that killed processes left there.
    """
    _remove_abandoned(path.parent)
    mark = f"{_MACHINE}-{os.getpid()}-{_TOKEN}"
    return path.with_name(f".{path.stem}.unfinished-{mark}{path.suffix}")


def replace(source: Path, target: Path) -> None:
    """Gives a file its name once its content is on the disk, in place of an older file.

    After a crash or a power cut the name stands for either the old file or the new one, complete.

    Args:
        source: the file under its temporary name.
        target: its final name, in the same folder.

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


@contextlib.contextmanager
def written(path: PathLike, wait: bool = True) -> Iterator[Path]:
    """Yields a path to write a file to, which gets its name at the end of the `with` block.

    Without an end, as after an exception, an older file stays and nothing else is left.

    Args:
        path: its name.
        wait: whether to wait until it is on the disk, as `replace` does.

    Raises:
        OSError: the file cannot be given its name.
    """
    path = Path(path)
    temporary = unfinished(path)
    try:
        yield temporary
        if wait:
            replace(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: PathLike, content: bytes) -> None:
    """Writes a file completely or not at all, without waiting for the disk.

    A power cut may lose it: for the many results that can be made again. `write_text` waits.

    Raises:
        OSError: the file cannot be written; an older one is unchanged.
    """
    with written(path, wait=False) as temporary:
        temporary.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
    """Writes a UTF-8 file completely or not at all, and waits until it is on the disk.

    Bytes of file names that are not UTF-8 become \\udcXX, which is also how JSON spells them.

    Raises:
        OSError: the file cannot be written; an older one is unchanged.
    """
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: PathLike, value: Any) -> None:
    """Writes dicts, lists, numbers, text and paths as a JSON file; otherwise as `write_text`."""
    write_text(path, json_text(value) + "\n")


def append_json_line(file: TextIO, value: Any) -> None:
    """Appends a line of JSON to an open text file; from then on it survives this process."""
    file.write(json_text(value, indent=None) + "\n")
    file.flush()


def read_json_lines(path: PathLike) -> list[dict[str, Any]]:
    """Lines of a file that `append_json_line` wrote, without those that are damaged.

    The last one is cut short if the process was killed; of others there is a warning.

    Returns:
        One dict per line; an empty list if there is no file.

    Raises:
        InputError: the file cannot be read.
    """
    if not os.path.lexists(path):
        return []
    lines = []
    written = read_bytes(path).decode("utf-8", errors="replace").split("\n")
    for number, text in enumerate(written, start=1):
        try:
            line = parse_json(text)
        except ValueError:
            line = None
        if isinstance(line, dict):
            lines.append(line)
        elif number < len(written):
            logger.warning("%s: line %d is damaged and left out", Path(path).absolute(), number)
    return lines


def give_ordinary_permissions(path: PathLike) -> None:
    """Gives a file the permissions of any new one; MindSpore's are readable by their owner only."""
    umask = os.umask(0)
    os.umask(umask)
    Path(path).chmod(0o666 & ~umask)
