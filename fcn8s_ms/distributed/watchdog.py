"""Processes that work together watch over each other: when one ends, the others end too.

Whoever waits for the data of a process that is gone waits until a timeout of the communication
library, for minutes or for good. The operating system closes a process's connections the moment it
ends, however it ends, so every process holds one to the first.
"""

import contextlib
import json
import os
import selectors
import socket
import sys
import threading

from ..errors import InputError

__all__ = ["Watch", "address_towards"]

# A machine that loses power or network says nothing: the system asks after 10 s of silence, every
# 5 s, and gives the connection up after the third question without an answer.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_SECONDS_TO_CONNECT = 60
_SECONDS_BETWEEN_LOOKS = 1.0
_MAX_LETTERS = 4000


def address_towards(host: str) -> str:
    """The address of this machine that another one, or this one itself, reaches it by."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing
        return probe.getsockname()[0]


def _exit(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


class Watch:
    """One of `size` processes that watch over each other, by a thread of its own.

    Use `listen` in process 0 and `connect` in the others. `close` says goodbye; a process that ends
    without ends all the others.

    Args:
        rank: number of this process.
        on_loss: called once with a message when another process has ended or failed; prints the
            message and ends this process, in the middle of whatever it does.
        on_look: called about once a second.

    Attributes:
        port: of process 0.
        advice: what the message is to end with.
    """

    def __init__(self, rank: int, on_loss=_exit, on_look=lambda: None):
        self.rank = rank
        self.on_loss = on_loss
        self.on_look = on_look
        self.port = None
        self.advice = ""
        self._selector = selectors.DefaultSelector()
        self._peers = {}  # connection to rank
        self._heard = {}  # connection to the beginning of a line
        self._left = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = None
        self._waking, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)

    # --- the beginning -------------------------------------------------------------------------

    def listen(self, host: str) -> None:
        """Opens a port for the others to `connect` to; process 0 calls `accept` next."""
        self._server = socket.create_server((host, 0), backlog=1024)
        self.port = self._server.getsockname()[1]

    def accept(self, size: int, token: str) -> None:
        """Waits for the others, and begins to watch.

        Args:
            size: number of processes, this one included.
            token: what they must know.

        Raises:
            InputError: not all have come in time.
        """
        self._server.settimeout(_SECONDS_TO_CONNECT)
        with self._server:
            while len(self._peers) < size - 1:
                try:
                    connection, _ = self._server.accept()
                    connection.settimeout(_SECONDS_TO_CONNECT)
                    hello = _read_hello(connection)
                except TimeoutError as error:
                    missing = sorted(set(range(1, size)) - set(self._peers.values()))
                    raise InputError(
                        f"ranks {missing} have not come to port {self.port} of rank 0 within "
                        f"{_SECONDS_TO_CONNECT} s; let the machines reach each other's ports"
                    ) from error
                if hello.get("token") != token:  # somebody else
                    connection.close()
                    continue
                self._add(connection, hello["rank"])
        self._start()

    def connect(self, host: str, port: int, token: str) -> None:
        """Joins process 0, and begins to watch.

        Raises:
            InputError: it cannot be reached.
        """
        try:
            connection = socket.create_connection((host, port), timeout=_SECONDS_TO_CONNECT)
        except OSError as error:
            raise InputError(
                f"rank {self.rank} cannot reach rank 0 at {host}, port {port} ({error}); let the "
                "machines reach each other's ports"
            ) from error
        self._send(connection, {"token": token, "rank": self.rank})
        self._add(connection, 0)
        self._start()

    def _add(self, connection, rank):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        connection.settimeout(5)
        self._peers[connection] = rank
        self._selector.register(connection, selectors.EVENT_READ)

    def _start(self):
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    # --- the life ------------------------------------------------------------------------------

    def _watch(self):
        while not self._closed:
            for key, _ in self._selector.select(_SECONDS_BETWEEN_LOOKS):
                if key.fileobj is not self._woken:
                    self._hear(key.fileobj)
            self.on_look()

    def _hear(self, connection):
        try:
            heard = connection.recv(65536)
        except OSError:
            heard = b""
        rank = self._peers[connection]
        *lines, self._heard[connection] = (self._heard.pop(connection, b"") + heard).split(b"\n")
        for line in map(json.loads, lines):
            if "failed" in line:
                self._lose(line["rank"], line["failed"])
            else:
                self._left.add(rank)
        if not heard:
            self._selector.unregister(connection)
            if rank not in self._left:
                self._lose(rank, None)

    def _lose(self, rank, why: str | None):
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._tell_others({"rank": rank, "failed": why}, but=rank)
        what = f"rank {rank} has failed: {why}" if why else f"rank {rank} has ended unexpectedly"
        self.on_loss(f"{what}\nRank {self.rank} stops with it. {self.advice}".rstrip())

    def _tell_others(self, message: dict, but: int | None = None):
        for connection, rank in self._peers.items():
            if rank != but:
                with contextlib.suppress(OSError):
                    self._send(connection, message)

    @staticmethod
    def _send(connection, message: dict):
        connection.sendall(json.dumps(message).encode("ascii") + b"\n")

    # --- the end -------------------------------------------------------------------------------

    def close(self, failure: str | None = None) -> None:
        """Says goodbye.

        Args:
            failure: why this process ends before its time; the others end with it.
        """
        with self._lock:
            told, self._closed = self._closed, True
        if not told:
            if failure is None:
                self._tell_others({"rank": self.rank})
            else:
                self._tell_others({"rank": self.rank, "failed": failure[:_MAX_LETTERS]})
        if self._waking.fileno() == -1:  # closed before
            return
        if self._thread is not None:
            self._waking.send(b".")
            self._thread.join()
        for connection in (*self._peers, self._waking, self._woken):
            connection.close()
        self._selector.close()


def _read_hello(connection) -> dict:
    line = b""
    while not line.endswith(b"\n") and len(line) < 1000:
        got = connection.recv(1000)
        if not got:
            break
        line += got
    try:
        hello = json.loads(line)
        return hello if isinstance(hello, dict) else {}
    except ValueError:
        return {}
