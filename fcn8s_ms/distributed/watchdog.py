"""Watchdog of processes that work together: when one of them ends, the others end too.

A process that waits for data of one that is gone waits until the communication library times out,
which takes minutes or never happens. The operating system closes the connections of a process the
moment it ends, however it ends, so every process keeps a connection to the first one.
"""

import contextlib
import hmac
import json
import os
import selectors
import socket
import sys
import threading
import time
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
# Ranks introduce themselves at once; whoever has not done so by then is a stranger.
_SECONDS_TO_HELLO = 10
_MAX_HELLO = 1000
_MAX_STRANGERS = 200
# A message of 4000 characters, each escaped twice for JSON in ASCII.
_MAX_LINE = 100_000


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
        with self._server, contextlib.ExitStack() as unknown:
            door = _Door(self._server, unknown)
            until = time.monotonic() + _SECONDS_TO_CONNECT
            while len(self._peers) < size - 1:
                left = until - time.monotonic()
                if left <= 0:
                    missing = sorted(set(range(1, size)) - set(self._peers.values()))
                    raise InputError(
                        f"ranks {missing} have not connected to port {self.port} of rank 0 within "
                        f"{_SECONDS_TO_CONNECT} s; open the ports between the machines"
                    )
                for connection, hello, rest in door.arrivals(left):
                    rank = _rank_of(hello, size, token)
                    if rank is None or rank in self._peers.values():  # not one of ours
                        connection.close()
                    else:
                        self._add(connection, rank, rest)
        self._start()

    def connect(self, host: str, port: int, token: str) -> None:
        """Connects to process 0 and starts to watch.

        Raises:
            InputError: it cannot be reached.
        """
        try:
            connection = socket.create_connection((host, port), timeout=_SECONDS_TO_CONNECT)
            self._send(connection, {"token": token, "rank": self.rank})
        except OSError as error:
            raise InputError(
                f"rank {self.rank} cannot reach rank 0 at {host}, port {port} ({error}); open the "
                "ports between the machines"
            ) from error
        self._add(connection, 0)
        self._start()

    def _add(self, connection: socket.socket, rank: int, received: bytes = b"") -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        connection.settimeout(5)
        self._peers[connection] = rank
        self._partial_lines[connection] = received
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
        messages = [_message(line) for line in lines]
        if None in messages or len(self._partial_lines[connection]) > _MAX_LINE:
            self._selector.unregister(connection)
            if rank not in self._left:
                self._lose(rank, "it has sent something other than a message, and counts as ended")
            return
        for message in filter(None, messages):
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


class _Door:
    """Server whose callers introduce themselves side by side, so that none keeps others waiting.

    Args:
        server: listening socket.
        closing: closes the connections of those who have not introduced themselves.
    """

    def __init__(self, server: socket.socket, closing: contextlib.ExitStack):
        self._server = server
        self._callers: dict[socket.socket, tuple[bytes, float]] = {}  # received, until when
        self._selector = closing.enter_context(selectors.DefaultSelector())
        closing.callback(self._close)
        server.setblocking(False)
        self._selector.register(server, selectors.EVENT_READ)

    def _close(self) -> None:
        for caller in self._callers:
            caller.close()

    def arrivals(self, seconds: float) -> list[tuple[socket.socket, bytes, bytes]]:
        """Waits for at most some seconds, and less if something arrives.

        Returns:
            Connections, what was said in the first line, and what came after it.
        """
        found = []
        for key, _ in self._selector.select(min(seconds, _SECONDS_BETWEEN_TICKS)):
            caller = key.fileobj
            assert isinstance(caller, socket.socket)
            if caller is self._server:
                self._admit()
                continue
            received, until = self._callers[caller]
            try:
                new = caller.recv(_MAX_HELLO)
            except OSError:
                new = b""
            line, end, rest = (received + new).partition(b"\n")
            if end:
                self._forget(caller)
                found.append((caller, line, rest))
            elif not new or len(line) > _MAX_HELLO:
                self._forget(caller).close()
            else:
                self._callers[caller] = line, until
        now = time.monotonic()
        for caller, (_, until) in list(self._callers.items()):
            if now > until:
                self._forget(caller).close()
        return found

    def _admit(self) -> None:
        try:
            caller, _ = self._server.accept()
        except OSError:  # gone already
            return
        if len(self._callers) >= _MAX_STRANGERS:
            self._forget(next(iter(self._callers))).close()
        caller.setblocking(False)
        self._callers[caller] = b"", time.monotonic() + _SECONDS_TO_HELLO
        self._selector.register(caller, selectors.EVENT_READ)

    def _forget(self, caller: socket.socket) -> socket.socket:
        del self._callers[caller]
        self._selector.unregister(caller)
        return caller


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _rank_of(hello: bytes, size: int, token: str) -> int | None:
    """Returns the rank of somebody who introduces himself; None if he is not one of the others."""
    said = _decoded(hello) or {}
    rank, presented = said.get("rank"), said.get("token")
    if type(rank) is not int or not 1 <= rank < size or not isinstance(presented, str):
        return None
    same = hmac.compare_digest(presented.encode("utf-8", "surrogatepass"), token.encode("utf-8"))
    return rank if same else None


def _message(line: bytes) -> dict[str, Any] | None:
    """Returns a message: `rank`, perhaps `failed` with a reason or null; None if it is not one."""
    message = _decoded(line)
    if message is None or type(message.get("rank")) is not int:
        return None
    return message if isinstance(message.get("failed", ""), str | None) else None
