"""SIGTERM and Ctrl-C: the first asks a training to stop, the second ends it at once."""

import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import numpy as np

from ..distributed.ranks import Ranks

__all__ = ["Interrupted", "StopRequest"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLLING_SECONDS = 0.005


class Interrupted(Exception):
    """A signal asked to stop before the work was done."""


class StopRequest:
    """Request to stop, made by a signal while the `with` block of this object runs.

    A second signal ends the process at once, with exit status 128 + its number, even in the middle
    of a step: Python's own handlers would wait for its end.

    Attributes:
        signum: number of the first signal; None before one arrives.
    """

    def __init__(self) -> None:
        self.signum: int | None = None

    def __enter__(self) -> "StopRequest":
        # Python allows signal handlers in the main thread alone.
        self._active = threading.current_thread() is threading.main_thread()
        if not self._active:
            return self
        self._old_handlers = {one: signal.signal(one, self._on_signal) for one in _SIGNALS}
        # The interpreter writes the number here at the very moment a signal arrives.
        self._receiving, self._sending = socket.socketpair()
        self._sending.setblocking(False)
        self._old_descriptor = signal.set_wakeup_fd(self._sending.fileno())
        self._thread = threading.Thread(target=self._watch, args=(_restorer(),), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._active:
            signal.set_wakeup_fd(self._old_descriptor)
            self._sending.close()  # ends the thread
            self._thread.join()
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)

    def ask(self, number: int) -> None:
        """Asks to stop as a signal of this number would, unless one has arrived already."""
        if self.signum is None:
            self.signum = number

    def spread(self, ranks: Ranks) -> None:
        """Makes a request to one rank a request to all ranks; all of them must call this."""
        if ranks.size > 1:
            number = max(int(found[0]) for found in ranks.gather(np.array([self.signum or 0])))
            if number:
                self.ask(number)

    def raise_if_asked(self) -> None:
        """Raises `Interrupted` once a signal has arrived."""
        if self.signum is not None:
            raise Interrupted

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.ask(number)

    def _watch(self, restore_handler: Callable[[], object]) -> None:
        asked = False
        self._receiving.settimeout(_POLLING_SECONDS)
        with self._receiving:
            while True:
                restore_handler()
                try:
                    numbers = self._receiving.recv(16)
                except TimeoutError:
                    continue
                if not numbers:
                    return
                for number in numbers:
                    if number in _SIGNALS:
                        self._tell(number, asked)
                        asked = True

    @staticmethod
    def _tell(number: int, again: bool) -> None:
        name = signal.Signals(number).name
        what = "again: stopped at once" if again else "stopping after this step; again: at once"
        print(f"\n{name} {what}", file=sys.stderr, flush=True)
        if again:
            os._exit(128 + number)


def _restorer() -> Callable[[], object]:
    """Returns a function that reinstalls the present handler of SIGINT.

    MindSpore installs one of its own whenever it runs a graph, which turns Ctrl-C into SIGTERM. A
    signal within the short time until the handler is reinstalled still stops the training, as
    SIGTERM.
    """
    if os.name != "posix":
        return lambda: None
    libc = ctypes.CDLL(None)
    action = ctypes.create_string_buffer(1024)  # more than a struct sigaction takes
    libc.sigaction(int(signal.SIGINT), None, action)
    return lambda: libc.sigaction(int(signal.SIGINT), action, None)
