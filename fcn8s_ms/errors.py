"""The one exception for errors the user can fix, and how programs report it."""

import contextlib
import importlib.util
import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = [
    "Faults",
    "InputError",
    "check_package",
    "command",
    "flag",
    "listing",
    "program",
    "reason_of",
    "reported_by",
]

_MAX_LISTED = 20
_NUMBERS = re.compile(r"\d+([.,x]\d+)*(, \d+([.,x]\d+)*)*( and \d+ more)?")
_SIGPIPE = 13  # Windows has no such signal


class InputError(ValueError):
    """Bad input: the message names the file or argument and the remedy.

    Programs print it and exit with status 2; any other exception is a fault of the program itself
    and keeps its traceback.
    """


def flag(name: str) -> str:
    """Spelling of an argument on a command line: `--crop-size` for `crop_size`."""
    return "--" + name.replace("_", "-")


def program(name: str | None = None) -> str:
    """Command that starts one of the programs, spelled as this process itself was started.

    Args:
        name: of the program, such as `train`; without one, the command in front of all of them.
    """
    started = Path(sys.argv[0] if sys.argv else "")
    if started.stem == "fcn8s-ms":
        command = "fcn8s-ms"
    elif name is None or started.parts[-2:] == ("fcn8s_ms", "__main__.py"):
        command = "python -m fcn8s_ms"
    else:
        return f"python -m fcn8s_ms.{name}"
    return command if name is None else f"{command} {name}"


def command(name: str, *arguments: object) -> str:
    """A command line that starts one of the programs, with its arguments quoted for a shell.

    Args:
        name: of the program, as for `program`.
        arguments: flags and their values.
    """
    return f"{program(name)} {shlex.join(map(str, arguments))}"


def check_package(name: str, what: str, install: str) -> None:
    """Checks that a package is installed, without loading it.

    Args:
        name: the package, as it is imported.
        what: what needs it, the beginning of the message.
        install: command that installs it.

    Raises:
        InputError: it is not there.
    """
    # find_spec is for packages that are not loaded yet.
    if (sys.modules[name] if name in sys.modules else importlib.util.find_spec(name)) is None:
        raise InputError(f"{what} needs the package {name}, which is not installed: {install}")


def reason_of(error: BaseException) -> str:
    """The first line of an error's message; the name of its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def listing(items: Iterable[object], limit: int = _MAX_LISTED) -> str:
    """Items separated by commas, as messages show them: the first ones and how many more."""
    shown = [str(item) for item in items]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more


class Faults:
    """Errors of many files; those that are alike are told in one line.

    Errors are alike if their texts differ in the names of the files and in numbers only.
    """

    def __init__(self) -> None:
        self._count = 0
        self._alike: dict[str, tuple[str, list[Path]]] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, text: str, *paths: Path) -> None:
        """Adds an error.

        Args:
            text: the error, in one line.
            paths: files that it may name.
        """
        self._count += 1
        key, named = text, list(paths)
        for path in sorted(paths, key=lambda one: -len(str(one))):  # one may begin with another
            if str(path) in key:
                key = key.replace(str(path), "")
            else:
                named.remove(path)
        _, found = self._alike.setdefault(_NUMBERS.sub("", key), (text, []))
        found += (named or list(paths))[:1]

    def lines(self) -> list[str]:
        """Errors in the order in which they came; of those that are alike the first, and names."""
        lines = []
        left = self._count
        for text, paths in list(self._alike.values())[:_MAX_LISTED]:
            left -= max(len(paths), 1)
            if len(paths) > 1:
                folder = paths[0].parent
                names = (path.name if path.parent == folder else path for path in paths)
                text += f" ({len(paths)} files like this: {listing(names, 3)})"
            lines.append(text)
        return [*lines, *([f"… and {left} more"] if left else [])]


def _prepare_streams() -> None:
    """Makes standard output and error accept any text, also where they are closed or ASCII only."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")  # as Python's own


def _give_up_output() -> None:
    """Drops what standard output does not take; otherwise Python complains about it at exit."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def _reported_errors(program: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"{program}: stopped by SIGINT", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None


@contextlib.contextmanager
def reported_by(program: str) -> Iterator[None]:
    """Ends a program in one line on standard error for whatever the user can put right.

    An `InputError`, and an error of the system such as a full disk, ends with status 2; Ctrl-C with
    130; a reader of standard output that has gone (`| head`) silently with 141. Text that the
    terminal cannot show is replaced.
    """
    _prepare_streams()
    try:
        try:
            with _reported_errors(program):
                yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _give_up_output()
        raise SystemExit(128 + _SIGPIPE) from None
    except OSError as error:
        if error.errno is None:  # not the system's: a fault of the program
            raise
        _give_up_output()
        where = f"{error.filename}: " if error.filename else ""
        remedy = "; make it accessible to you" if isinstance(error, PermissionError) else ""
        print(f"{program}: error: {where}{error.strerror}{remedy}", file=sys.stderr)
        raise SystemExit(2) from None
