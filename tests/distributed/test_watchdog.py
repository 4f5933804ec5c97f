"""Watchdogs of several processes, here as objects of one process on loopback."""

import json
import os
import socket
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
