"""SIGTERM and Ctrl-C: the first asks a training to stop, the second stops it at once."""

import ctypes
import os
import signal
import socket
import sys
import threading

import numpy as np

__all__ = ["Interrupted", "StopRequest"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SECONDS_BETWEEN_LOOKS = 0.005


class Interrupted(Exception):
    """A signal asked to stop before the work was done."""


class StopRequest:
    """Whether a signal has asked to stop, while the `with` block of this object runs.

    A second signal ends the process at once, with exit status 128 + its number, even in the middle
    of a step: Python's own handlers would wait for its end.

    Attributes:
        signum: number of the signal that came first; None before one.
    """

    def __init__(self):
        self.signum = None

    def __enter__(self):
        self._active = threading.current_thread() is threading.main_thread()
        if not self._active:  # Python allows handlers in the main thread alone
            return self
        self._old_handlers = {one: signal.signal(one, self._on_signal) for one in _SIGNALS}
        # The interpreter writes the number here at the very moment a signal comes.
        self._receiving, self._sending = socket.socketpair()
        self._sending.setblocking(False)
        self._old_descriptor = signal.set_wakeup_fd(self._sending.fileno())
        self._thread = threading.Thread(target=self._watch, args=(_restorer(),), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        if self._active:
            signal.set_wakeup_fd(self._old_descriptor)
            self._sending.close()  # ends the thread
            self._thread.join()
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)

    def ask(self, number: int) -> None:
        """Asks to stop as a signal of this number would, unless one has come already."""
        if self.signum is None:
            self.signum = number

    def agree(self, ranks) -> None:
        """Makes a request to one of several processes one to all of them.

        Args:
            ranks: `fcn8s_ms.ranks.Ranks`; all must call this.
        """
        if ranks.size > 1:
            number = max(int(found[0]) for found in ranks.gather(np.array([self.signum or 0])))
            if number:
                self.ask(number)

    def raise_if_asked(self) -> None:
        """Raises `Interrupted` once a signal has come."""
        if self.signum is not None:
            raise Interrupted

    def _on_signal(self, number, frame):
        self.ask(number)

    def _watch(self, restore_handler):
        asked = False
        self._receiving.settimeout(_SECONDS_BETWEEN_LOOKS)
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
    def _tell(number: int, again: bool):
        name = signal.Signals(number).name
        what = "again: stopped at once" if again else "stopping after this step; again: at once"
        print(f"\n{name} {what}", file=sys.stderr, flush=True)
        if again:
            os._exit(128 + number)


def _restorer():
    """A function that puts the present handler of SIGINT back.

    MindSpore sets one of its own whenever it runs a graph, which turns Ctrl-C into SIGTERM. A
    signal within the short time until it is put back still stops the training, as SIGTERM.
    """
    if os.name != "posix":
        return lambda: None
    libc = ctypes.CDLL(None)
    action = ctypes.create_string_buffer(1024)  # a struct sigaction, and more than that
    libc.sigaction(int(signal.SIGINT), None, action)
    return lambda: libc.sigaction(int(signal.SIGINT), action, None)
