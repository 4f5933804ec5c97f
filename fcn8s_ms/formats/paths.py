"""Paths as files hold them: without the folders of the machine, and found again."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from ..files import PathLike

__all__ = [
    "check_file",
    "check_folder",
    "check_utf8",
    "from_folder",
    "in_folder",
    "kept_if_used",
    "make_folder",
    "portable",
]


def portable(path: PathLike) -> str:
    """A path for files that travel: from the working directory, or the name alone if it is outside.

    It tells nothing of the machine and its user.
    """
    path, here = os.path.abspath(path), os.getcwd()
    if path == here or not path.startswith(os.path.join(here, "")):
        return os.path.basename(path) or os.sep
    return Path(os.path.relpath(path, here)).as_posix()


def from_folder(path: PathLike, folder: PathLike) -> str:
    """A path as a file in some folder holds it, so that `in_folder` finds it again.

    Relative to that folder; or from the user's home as `~/…`, where the folder is not in it.
    """
    path, folder, home = map(os.path.abspath, (path, folder, os.path.expanduser("~")))

    def is_at_home(one: str) -> bool:
        return one == home or one.startswith(os.path.join(home, ""))

    if is_at_home(path) and not is_at_home(folder):
        return Path("~", os.path.relpath(path, home)).as_posix()
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # of another drive
        return Path(path).as_posix()


def in_folder(path: str, folder: PathLike) -> Path:
    """The absolute path that `from_folder` wrote into a file of some folder."""
    found = Path(os.path.abspath(os.path.join(folder, os.path.expanduser(path))))
    if not os.path.lexists(found):
        behind_links = Path(os.path.realpath(folder), os.path.expanduser(path))
        if os.path.lexists(behind_links):
            return Path(os.path.abspath(behind_links))
    return found


def check_utf8(path: PathLike) -> None:
    """Checks that the absolute path of a file is UTF-8: MindSpore opens no other.

    Raises:
        InputError: it is not.
    """
    try:
        os.path.abspath(path).encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!r} has a name that is not UTF-8; rename it") from None


@contextlib.contextmanager
def _creating(path: Path, flag: str) -> Iterator[None]:
    """Names the flag that chose a folder where it cannot be created."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{flag} {path.absolute()} cannot be created: {error.strerror}; choose another"
        ) from error
    except ValueError:  # a NUL, or half of a surrogate pair
        raise InputError(f"{flag} {str(path)!r} cannot be a folder; choose another") from None


def make_folder(path: PathLike, flag: str) -> list[Path]:
    """Creates a folder for results, and those above it.

    Args:
        path: the folder.
        flag: the flag that chose it, for the error.

    Returns:
        The folders that were missing, the innermost first.

    Raises:
        InputError: it cannot be created.
    """
    path = Path(path)
    with _creating(path, flag):
        missing = [one for one in (path, *path.parents) if not os.path.lexists(one)]
        path.mkdir(parents=True, exist_ok=True)
    return missing


@contextlib.contextmanager
def kept_if_used(path: PathLike, flag: str) -> Iterator[None]:
    """Creates a folder as `make_folder`; at the end it goes again if nothing was written to it."""
    made = make_folder(path, flag)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # of the first that is not empty
            for folder in made:
                folder.rmdir()


def check_folder(path: PathLike, flag: str) -> None:
    """Checks, without making anything, that a folder can be made and files can be written there.

    Args:
        path: the folder; it and those above it may be missing.
        flag: the flag that chose it, for the error.

    Raises:
        InputError: it stands for a file, or is not writable.
    """
    path = Path(path).absolute()
    with _creating(path, flag), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(path)
    there = next(one for one in (path, *path.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise InputError(
            f"{flag} {path} cannot be created: {there} is not a folder; choose another"
        )
    effective = os.access in os.supports_effective_ids
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=effective):
        raise InputError(
            f"{flag} {path} cannot be written: {there} is not writable; choose another"
        )


def check_file(path: PathLike, flag: str) -> None:
    """Checks, without making anything, that a file can be written, in place of an older one.

    Args:
        path: the file; folders above it may be missing.
        flag: the flag that chose it, for the error.

    Raises:
        InputError: it is a folder, or its folder is not writable.
    """
    path = Path(path).absolute()
    check_folder(path.parent, flag)
    if os.path.isdir(path):
        raise InputError(f"{flag} {path} is a folder; name a file")
