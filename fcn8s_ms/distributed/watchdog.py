"""Watchdog of processes that work together: when one of them ends, the others end too.

A process that waits for data of one that is gone waits until the communication library times out,
which takes minutes or never happens. The operating system closes the connections of a process the
moment it ends, however it ends, so every process keeps a connection to the first one.
"""

import contextlib
import json
import os
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..errors import InputError

__all__ = ["Watchdog", "address_towards"]

# A machine that loses power or network does not close its connections. After 10 s of silence the
# system probes every 5 s, and drops the connection after the third probe without an answer.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_SECONDS_TO_CONNECT = 60
_SECONDS_BETWEEN_TICKS = 1.0
_MAX_MESSAGE = 4000


def address_towards(host: str) -> str:
    """Returns the address under which a host, perhaps this one itself, reaches this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing
        address: str = probe.getsockname()[0]
        return address


def _exit(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


class Watchdog:
    """One of several processes that watch one another, in a thread of its own.

    Process 0 calls `listen` and `accept`, the others call `connect`. `close` takes leave; a process
    that ends without it ends all the others.

    Args:
        rank: number of this process.
        on_rank_lost: called once, with a message, when another process has ended or failed. By
            default prints the message and ends this process, whatever it is doing.
        on_tick: called about once per second.

    Attributes:
        port: port of process 0; 0 before `listen`, and in the other processes.
        advice: last sentence of the message.
    """

    def __init__(
        self,
        rank: int,
        on_rank_lost: Callable[[str], None] = _exit,
        on_tick: Callable[[], None] = lambda: None,
    ):
        self.rank = rank
        self.on_rank_lost = on_rank_lost
        self.on_tick = on_tick
        self.port = 0
        self.advice = ""
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, int] = {}  # connection to rank
        self._partial_lines: dict[socket.socket, bytes] = {}
        self._left: set[int] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._waking, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)

    # --- start ---------------------------------------------------------------------------------

    def listen(self, host: str) -> None:
        """Opens the port that the others `connect` to; `accept` comes next."""
        self._server = socket.create_server((host, 0), backlog=1024)
        self.port = self._server.getsockname()[1]

    def accept(self, size: int, token: str) -> None:
        """Waits for the others and starts to watch.

        Args:
            size: number of processes, including this one.
            token: secret that the others must present.

        Raises:
            InputError: not all have connected in time.
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
                        f"ranks {missing} have not connected to port {self.port} of rank 0 within "
                        f"{_SECONDS_TO_CONNECT} s; open the ports between the machines"
                    ) from error
                if hello.get("token") != token:  # not one of ours
                    connection.close()
                    continue
                self._add(connection, hello["rank"])
        self._start()

    def connect(self, host: str, port: int, token: str) -> None:
        """Connects to process 0 and starts to watch.

        Raises:
            InputError: it cannot be reached.
        """
        try:
            connection = socket.create_connection((host, port), timeout=_SECONDS_TO_CONNECT)
        except OSError as error:
            raise InputError(
                f"rank {self.rank} cannot reach rank 0 at {host}, port {port} ({error}); open the "
                "ports between the machines"
            ) from error
        self._send(connection, {"token": token, "rank": self.rank})
        self._add(connection, 0)
        self._start()

    def _add(self, connection: socket.socket, rank: int) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        connection.settimeout(5)
        self._peers[connection] = rank
        self._selector.register(connection, selectors.EVENT_READ)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    # --- watching ------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select(_SECONDS_BETWEEN_TICKS):
                if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._woken:
                    self._receive(key.fileobj)
            self.on_tick()

    def _receive(self, connection: socket.socket) -> None:
        try:
            received = connection.recv(65536)
        except OSError:
            received = b""
        rank = self._peers[connection]
        content = self._partial_lines.pop(connection, b"") + received
        *lines, self._partial_lines[connection] = content.split(b"\n")
        for message in map(json.loads, lines):
            if "failed" in message:
                self._lose(message["rank"], message["failed"])
            else:
                self._left.add(rank)
        if not received:
            self._selector.unregister(connection)
            if rank not in self._left:
                self._lose(rank, None)

    def _lose(self, rank: int, why: str | None) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._tell_others({"rank": rank, "failed": why}, but=rank)
        what = f"rank {rank} has failed: {why}" if why else f"rank {rank} has ended unexpectedly"
        self.on_rank_lost(f"{what}\nRank {self.rank} stops with it. {self.advice}".rstrip())

    def _tell_others(self, message: dict[str, Any], but: int | None = None) -> None:
        for connection, rank in self._peers.items():
            if rank != but:
                with contextlib.suppress(OSError):
                    self._send(connection, message)

    @staticmethod
    def _send(connection: socket.socket, message: dict[str, Any]) -> None:
        connection.sendall(json.dumps(message).encode("ascii") + b"\n")

    # --- end -----------------------------------------------------------------------------------

    def close(self, failure: str | None = None) -> None:
        """Takes leave of the others and stops watching.

        Args:
            failure: reason why this process ends early; the others then end too.
        """
        with self._lock:
            told, self._closed = self._closed, True
        if not told:
            if failure is None:
                self._tell_others({"rank": self.rank})
            else:
                self._tell_others({"rank": self.rank, "failed": failure[:_MAX_MESSAGE]})
        if self._waking.fileno() == -1:  # closed before
            return
        if self._thread is not None:
            self._waking.send(b".")
            self._thread.join()
        for connection in (*self._peers, self._waking, self._woken):
            connection.close()
        self._selector.close()


def _read_hello(connection: socket.socket) -> dict[str, Any]:
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
