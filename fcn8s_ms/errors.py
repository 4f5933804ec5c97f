"""The one exception for errors the user can fix, and how programs report it."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["InputError", "flag", "listing", "program", "reported_by"]

_MAX_LISTED = 20


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


def listing(items: Iterable[object], limit: int = _MAX_LISTED) -> str:
    """Items separated by commas, as messages show them: the first ones and how many more."""
    shown = [str(item) for item in items]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more


@contextlib.contextmanager
def reported_by(program: str) -> Iterator[None]:
    """Turns an `InputError` into a message on standard error and exit status 2."""
    try:
        yield
    except InputError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
