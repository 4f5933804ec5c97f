"""End of a program by Ctrl-C or SIGTERM, except within the steps of a training.

Python turns Ctrl-C into an exception at any place. In the middle of an import of MindSpore or
NumPy, or while the interpreter ends, that exception meets C++ that does not expect it, and the
process is aborted or ends with a page of tracebacks. So a signal ends the process at once, after
files that are not complete have been removed. (Once MindSpore has run something it may turn Ctrl-C
into SIGTERM.)

This module loads nothing, so that it can come before all other imports.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["before_end", "end_at_signals", "ended_by_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_before_end: list[Callable[[], object]] = []


def before_end(function: Callable[[], object]) -> None:
    """Has a function called before a signal ends the process; its exceptions are ignored."""
    _before_end.append(function)


def end_at_signals(program: str) -> None:
    """Has Ctrl-C and SIGTERM end this process with one line and status 130 or 143.

    Args:
        program: name in front of the line.
    """

    def end(number: int, frame: FrameType | None) -> None:
        for function in (*_before_end, sys.stdout.flush if sys.stdout else int):
            with contextlib.suppress(Exception):
                function()
        # Written past Python's buffers, which the signal may have interrupted.
        with contextlib.suppress(OSError):
            os.write(2, f"{program}: stopped by {signal.Signals(number).name}\n".encode())
        os._exit(128 + number)

    for one in _SIGNALS:
        signal.signal(one, end)


@contextlib.contextmanager
def ended_by_signals(program: str) -> Iterator[None]:
    """As `end_at_signals` within a `with` block, and again while the interpreter ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread alone
        return
    old = {one: signal.getsignal(one) for one in _SIGNALS}
    end_at_signals(program)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        # Called before what MindSpore has registered until now.
        atexit.register(end_at_signals, program)
