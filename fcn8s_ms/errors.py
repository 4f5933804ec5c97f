"""The one exception for what a user can put right, and how command lines report it."""

import contextlib
import sys

__all__ = ["InputError", "listing", "reported_by"]

_MAX_LISTED = 20


class InputError(ValueError):
    """Bad input: the message names the file or argument and the remedy.

    The command-line entry points print it and exit with status 2; any other exception is a fault of
    the program and keeps its traceback.
    """


def listing(items, limit: int = _MAX_LISTED) -> str:
    """Items parted by commas, as a message shows them: the first ones and how many more."""
    items = [str(item) for item in items]
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


@contextlib.contextmanager
def reported_by(program: str):
    """Turns an `InputError` into a message on standard error and exit status 2."""
    try:
        yield
    except InputError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
