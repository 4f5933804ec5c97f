"""Watchdogs of several processes, here as objects of one process on loopback."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from fcn8s_ms.distributed import watchdog
from fcn8s_ms.distributed.watchdog import Watchdog
from fcn8s_ms.errors import InputError

from ..helpers import clean_environment


class Group:
    """Three watchdogs; `messages` holds what each was told of a lost rank."""

    def __init__(self, size=3):
        self.messages = {rank: [] for rank in range(size)}
        self.told = {rank: threading.Event() for rank in range(size)}
        self.members = [
            Watchdog(rank, on_rank_lost=self._on_rank_lost(rank)) for rank in range(size)
        ]
        self.members[0].listen("127.0.0.1")
        joining = [
            threading.Thread(target=one.connect, args=("127.0.0.1", self.members[0].port, "t"))
            for one in self.members[1:]
        ]
        for thread in joining:
            thread.start()
        self.members[0].accept(size, "t")
        for thread in joining:
            thread.join()

    def _on_rank_lost(self, rank):
        def remember(message):
            self.messages[rank].append(message)
            self.told[rank].set()

        return remember

    def end(self, rank):
        """Looks to the others like the end of a process: it falls silent, its connections close."""
        member = self.members[rank]
        with member._lock:
            member._closed = True
        member.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.close()


def test_nobody_misses_a_process_that_took_leave():
    group = Group()
    for member in (group.members[1], group.members[0], group.members[2]):
        member.close()
        time.sleep(0.05)
    assert group.messages == {0: [], 1: [], 2: []}


def test_the_first_may_be_the_last_to_leave():
    group = Group()
    for member in reversed(group.members):
        member.close()
    assert group.messages == {0: [], 1: [], 2: []}


def test_all_hear_of_a_member_that_is_gone():
    with Group() as group:
        group.members[0].advice = "Start again."
        group.end(2)
        for rank in (0, 1):
            assert group.told[rank].wait(10)
        expected = "rank 2 has ended unexpectedly\nRank {} stops with it."
        assert group.messages[0] == [expected.format(0) + " Start again."]
        assert group.messages[1] == [expected.format(1)]
        assert group.messages[2] == []


def test_all_hear_of_the_first_being_gone():
    with Group() as group:
        group.end(0)
        for rank in (1, 2):
            assert group.told[rank].wait(10)
            assert group.messages[rank] == [
                f"rank 0 has ended unexpectedly\nRank {rank} stops with it."
            ]


def test_all_hear_why_a_member_fails():
    with Group() as group:
        group.members[1].close(failure="the disk\nis full")
        for rank in (0, 2):
            assert group.told[rank].wait(10)
            assert group.messages[rank] == [
                f"rank 1 has failed: the disk\nis full\nRank {rank} stops with it."
            ]
        assert group.messages[1] == []


def test_strangers_do_not_count():
    hub = Watchdog(0)
    hub.listen("127.0.0.1")
    for hello in (b"GET / HTTP/1.1\r\n\r\n", b'{"token": "other", "rank": 1}\n', b"[]\n"):
        with socket.create_connection(("127.0.0.1", hub.port)) as stranger:
            stranger.sendall(hello)
    member = Watchdog(1)
    joining = threading.Thread(target=member.connect, args=("127.0.0.1", hub.port, "t"))
    joining.start()
    hub.accept(2, "t")
    joining.join()
    assert list(hub._peers.values()) == [1]
    member.close()
    hub.close()


def reset(connection):
    """Ends a connection with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def connect_later(member, hub, seconds):
    timer = threading.Timer(seconds, member.connect, ("127.0.0.1", hub.port, "t"))
    timer.start()
    return timer


STRANGERS = {
    "nested": b"[" * 900 + b"\n",
    "a line of the longest length": b"[" * 1000 + b"\n",
    "a number of a thousand digits": b'{"token": "t", "rank": ' + b"1" * 900 + b"}\n",
    "nested without end": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe\x00\n",
    "a surrogate": b'{"token": "\\ud800", "rank": 1}\n',
    "no rank": b'{"token": "t"}\n',
    "a rank of text": b'{"token": "t", "rank": "1"}\n',
    "the rank true": b'{"token": "t", "rank": true}\n',
    "a rank of a list": b'{"token": "t", "rank": [1]}\n',
    "rank 0": b'{"token": "t", "rank": 0}\n',
    "a rank too high": b'{"token": "t", "rank": 3}\n',
    "a token of a number": b'{"token": 5, "rank": 1}\n',
    "silence": b"",
    "half a line": b'{"token": "t", "ra',
}


@pytest.mark.parametrize("ending", ["open", "closed", "reset"])
@pytest.mark.parametrize("hello", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_neither_stops_nor_stalls_nor_joins(hello, ending):
    hub = Watchdog(0)
    hub.listen("127.0.0.1")
    stranger = socket.create_connection(("127.0.0.1", hub.port))
    stranger.sendall(hello)
    if ending == "closed":
        stranger.close()
    elif ending == "reset":
        reset(stranger)
    members = [Watchdog(rank) for rank in (1, 2)]
    connecting = [connect_later(member, hub, 0.1) for member in members]
    started = time.monotonic()
    hub.accept(3, "t")
    assert time.monotonic() - started < 5
    assert sorted(hub._peers.values()) == [1, 2]
    stranger.close()
    for timer in connecting:
        timer.join()
    for member in (*members, hub):
        member.close()


@pytest.mark.parametrize("garbage", [b"\x00\xff", b"[]\n"], ids=["one line", "lines"])
def test_a_stranger_that_sends_ten_megabytes(garbage):
    hub = Watchdog(0)
    hub.listen("127.0.0.1")
    members = [Watchdog(rank) for rank in (1, 2)]
    with socket.create_connection(("127.0.0.1", hub.port)) as stranger:

        def send():
            with contextlib.suppress(OSError):  # sent away
                stranger.sendall(garbage * (10**7 // len(garbage)))

        sending = threading.Thread(target=send)
        sending.start()
        connecting = [connect_later(member, hub, 0.1) for member in members]
        started = time.monotonic()
        hub.accept(3, "t")
        assert time.monotonic() - started < 5
        sending.join(5)
        assert not sending.is_alive()
    assert sorted(hub._peers.values()) == [1, 2]
    for timer in connecting:
        timer.join()
    for member in (*members, hub):
        member.close()


def test_a_rank_is_taken_once():
    hub = Watchdog(0)
    hub.listen("127.0.0.1")
    hello = b'{"token": "t", "rank": 1}\n'
    with socket.create_connection(("127.0.0.1", hub.port)) as first:
        first.sendall(hello)
        time.sleep(0.05)
        with socket.create_connection(("127.0.0.1", hub.port)) as second:
            second.sendall(hello)
            member = Watchdog(2)
            connecting = connect_later(member, hub, 0.2)
            hub.accept(3, "t")
            assert sorted(hub._peers.values()) == [1, 2]
            second.settimeout(5)
            assert second.recv(1) == b""  # sent away
        connecting.join()
        hub.close()
        member.close()


def test_many_silent_strangers(monkeypatch):
    """More than are remembered, and longer than they are given."""
    monkeypatch.setattr(watchdog, "_MAX_STRANGERS", 5)
    monkeypatch.setattr(watchdog, "_SECONDS_TO_HELLO", 0.2)
    hub = Watchdog(0)
    hub.listen("127.0.0.1")
    strangers = [socket.create_connection(("127.0.0.1", hub.port)) for _ in range(20)]
    member = Watchdog(1)
    connecting = connect_later(member, hub, 1.5)
    hub.accept(2, "t")
    connecting.join()
    for stranger in strangers:
        stranger.settimeout(5)
        assert stranger.recv(1) == b""
        stranger.close()
    member.close()
    hub.close()


@pytest.mark.parametrize(
    "garbage",
    [b"[" * 900 + b"\n", b"\xff\n", b"x" * 200_000, b"{}\n", b'{"rank": "1"}\n', b"5\n"]
    + [b'{"rank": 1, "failed": {}}\n'],
)
def test_garbage_counts_as_the_end_of_its_sender(garbage):
    with Group() as group:
        (connection,) = group.members[1]._peers
        connection.sendall(garbage)
        for rank in (0, 2):
            assert group.told[rank].wait(10)
            assert group.messages[rank] == [
                "rank 1 has failed: it has sent something other than a message, and counts as "
                f"ended\nRank {rank} stops with it."
            ]


def test_long_reason_in_any_script():
    with Group() as group:
        group.members[1].close(failure="\U0001f600" * 10_000)
        assert group.told[0].wait(10)
        assert group.messages[0][0].startswith("rank 1 has failed: \U0001f600")


def test_missing_ranks_are_named(monkeypatch):
    monkeypatch.setattr(watchdog, "_SECONDS_TO_CONNECT", 0.1)
    hub = Watchdog(0)
    hub.listen("127.0.0.1")
    with pytest.raises(InputError, match=r"ranks \[1, 2\] have not connected to port"):
        hub.accept(3, "t")


def test_no_way_to_the_first():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match=f"rank 1 cannot reach rank 0 at 127.0.0.1, port {port}"):
        Watchdog(1).connect("127.0.0.1", port, "t")


def test_a_killed_process_ends_one_that_is_busy(tmp_path):
    """The message and the exit of the default, in the middle of a computation."""
    script = tmp_path / "member.py"
    script.write_text(
        "import json, sys\n"
        "import numpy as np\n"
        "from fcn8s_ms.distributed.watchdog import Watchdog\n"
        "member = Watchdog(1)\n"
        "member.connect(**json.loads(sys.argv[1]))\n"
        "while True:\n"
        "    np.ones((500, 500)) @ np.ones((500, 500))\n"
    )
    lost = threading.Event()
    hub = Watchdog(0, on_rank_lost=lambda message: lost.set())
    hub.listen("127.0.0.1")
    meeting = json.dumps({"host": "127.0.0.1", "port": hub.port, "token": "t"})
    member = subprocess.Popen(
        [sys.executable, str(script), meeting],
        env=clean_environment(PYTHONPATH=os.pathsep.join(sys.path)),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        hub.accept(2, "t")
        hub.close(failure="enough")
        assert member.wait(timeout=30) == 1
        assert member.stderr.read() == "rank 0 has failed: enough\nRank 1 stops with it.\n"
    finally:
        member.kill()
        member.wait()
        member.stderr.close()


def test_address():
    assert watchdog.address_towards("127.0.0.1") == "127.0.0.1"
