"""Ranks: the processes of a training on several devices, one per device, and their messages.

`msrun`, MindSpore's launcher, starts them and one more, the scheduler, which connects them.
"""

import contextlib
import json
import logging
import os
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .watchdog import Watchdog, address_towards

if TYPE_CHECKING:
    from mindspore import Parameter

__all__ = ["ALONE", "LAUNCH", "Ranks", "check_launch", "is_scheduler", "run_scheduler"]

LAUNCH = "msrun --worker_num N --local_worker_num N --join True"

# MindSpore's communication between CPUs gives up after this many seconds of waiting. The default of
# 30 is less than the first rank may take to save or to draw; the watchdog sees whether it is alive.
_CPU_TIMEOUT = ("MS_NODE_TIMEOUT", "3600")
# When all has gone well, the scheduler ends sooner by itself.
_SECONDS_AFTER_RANKS = 20


def is_scheduler() -> bool:
    """Returns whether this process is the one that only connects the others."""
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def run_scheduler() -> None:
    """Does the scheduler's work; returns, or ends the process, when all ranks have ended."""
    import mindspore as ms
    from mindspore import communication

    if Path("/proc/self/stat").is_file():
        threading.Thread(target=_end_with_ranks, daemon=True).start()
    ms.set_device("CPU")
    communication.init()


def _end_with_ranks() -> None:
    """Ends this process some time after the last of its siblings, the ranks that msrun started.

    MindSpore's scheduler waits ten minutes for ranks that failed before they joined, and msrun with
    `--join` waits for the scheduler.
    """
    parent = os.getppid()
    while True:
        time.sleep(_SECONDS_AFTER_RANKS)
        if os.getppid() != parent:  # msrun runs without --join, so nobody waits
            return
        if not _siblings(parent):
            os._exit(0)  # msrun learns from the ranks what has failed


def _siblings(parent: int) -> list[int]:
    """Returns the running children of a process, except this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # has ended
            state, its_parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(its_parent) == parent and state != "Z":
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def check_launch(distributed: bool, command: str) -> None:
    """Checks that the program was started as its flags say.

    Args:
        distributed: whether this process should be one of several.
        command: command of the program, for the message.

    Raises:
        InputError: `--distributed` without msrun, or msrun without `--distributed`.
    """
    launched = "MS_ROLE" in os.environ
    if distributed and not launched:
        raise InputError(
            f"--distributed needs MindSpore's launcher; start it with: {LAUNCH} {command} …"
        )
    if launched and not distributed:
        raise InputError(
            f"msrun has started {os.environ.get('MS_WORKER_NUM', 'several')} of this program, and "
            "each would do all of the training; add --distributed"
        )


class Ranks:
    """This process and the others of its training; without arguments, one process on its own.

    As a context manager it makes the ranks wait for each other at the end; if one fails or is
    killed, the others end with a message instead of waiting forever.

    Args:
        rank: number of this process, from 0.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank = rank
        self.size = size
        self._watchdog: Watchdog | None = None
        self._launcher: int | None = None
        self._is_orphaned = False
        self._on_orphaned: Callable[[], None] | None = None

    @classmethod
    def start(cls, target: str) -> "Ranks":
        """Joins the other ranks; call it after `device.configure` and before the first operator.

        From then on networks train with data parallelism: gradients are averaged over the ranks.

        Args:
            target: device target.

        Raises:
            InputError: the ranks cannot reach each other.
        """
        import mindspore as ms
        from mindspore import communication

        if target == "CPU":
            os.environ.setdefault(*_CPU_TIMEOUT)
        communication.init()
        ranks = cls(communication.get_rank(), communication.get_group_size())
        if ranks.size > 1:
            ms.set_auto_parallel_context(
                parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True
            )
            ranks._start_watchdog()
        return ranks

    @property
    def is_first(self) -> bool:
        """Whether this rank is the one that writes files and shows progress."""
        return self.rank == 0

    # --- messages ------------------------------------------------------------------------------

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """Returns an array of every rank, exactly, in the order of the ranks.

        Args:
            array: same shape and dtype on every rank; 32 or 64 bits per number.
        """
        array = np.ascontiguousarray(array)
        if self.size == 1:
            return [array]
        from mindspore import Tensor, ops

        found = ops.AllGather()(Tensor(_words(array))).asnumpy()
        return list(found.view(array.dtype).reshape(self.size, *array.shape))

    def barrier(self) -> None:
        """Waits until every rank has called this."""
        self.gather(np.zeros(1, np.int32))

    def _from_first(self, array: np.ndarray) -> np.ndarray:
        """Returns the first rank's array; the other ranks pass one of its shape and dtype."""
        from mindspore import Tensor, ops

        words = _words(array)
        found = ops.Broadcast(0)((Tensor(words),))[0].asnumpy()
        return np.frombuffer(found.tobytes(), array.dtype, array.size).reshape(array.shape)

    def share(self, value: Any) -> Any:
        """Returns on every rank the value that the first rank passes; it must fit into JSON."""
        if self.size == 1:
            return value
        content = json.dumps(value).encode("utf-8") if self.is_first else b""
        length = int(self.gather(np.array([len(content)]))[0][0])
        encoded = np.frombuffer(content, np.uint8) if self.is_first else np.zeros(length, np.uint8)
        return json.loads(self._from_first(encoded).tobytes())

    def broadcast(self, parameters: "Iterable[Parameter]") -> None:
        """Sets parameters to their values on the first rank, bit for bit."""
        if self.size == 1:
            return
        from mindspore import Tensor

        for parameter in parameters:
            value = self._from_first(parameter.asnumpy())
            if not self.is_first:
                parameter.set_data(Tensor(value, parameter.dtype))

    def have_same_bits(self, parameters: "Iterable[Parameter]") -> bool:
        """Returns whether parameters have the same bits on every rank."""
        checksum = 0
        for parameter in parameters if self.size > 1 else ():
            checksum = zlib.crc32(np.ascontiguousarray(parameter.asnumpy()).data, checksum)
        return len({int(found[0]) for found in self.gather(np.array([checksum]))}) == 1

    # --- failures ------------------------------------------------------------------------------

    def _start_watchdog(self) -> None:
        self._launcher = _joining_msrun(os.getppid())
        self._watchdog = Watchdog(self.rank, on_tick=self._check_launcher)
        meeting = None
        if self.is_first:
            host = address_towards(os.environ.get("MS_SCHED_HOST", "127.0.0.1"))
            self._watchdog.listen(host)
            meeting = {"host": host, "port": self._watchdog.port, "token": secrets.token_hex(16)}
        meeting = self.share(meeting)
        if self.is_first:
            self._watchdog.accept(self.size, meeting["token"])
        else:
            self._watchdog.connect(**meeting)

    def advise(self, advice: str) -> None:
        """Sets the last sentence of the message that tells of a lost rank."""
        if self._watchdog is not None:
            self._watchdog.advice = advice

    def on_orphaned(self, function: Callable[[], None]) -> None:
        """Sets what is called, once, if msrun ends although `--join` makes it wait for the ranks.

        msrun does not pass on the signal that ends it, such as SIGTERM.

        Args:
            function: called in a thread of its own.
        """
        self._on_orphaned = function

    def _check_launcher(self) -> None:
        self._is_orphaned |= self._launcher is not None and os.getppid() != self._launcher
        if self._is_orphaned and self._on_orphaned is not None:
            function, self._on_orphaned = self._on_orphaned, None
            function()

    @contextlib.contextmanager
    def quiet_others(self) -> Iterator[None]:
        """Lets only the first rank print and warn."""
        if self.is_first:
            yield
            return
        logging.getLogger().setLevel(logging.ERROR)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._watchdog is None:
            return
        interrupted = isinstance(error, SystemExit) and error.code not in (None, 0)
        if error is None or kind is None or interrupted:
            # msrun kills the other ranks as soon as one ends with a status other than 0, so all
            # wait until the first has written everything.
            self.barrier()
            self._watchdog.close()
        else:
            self._watchdog.close(failure=f"{error}" or kind.__name__)


ALONE = Ranks()


def _words(array: np.ndarray) -> np.ndarray:
    """Returns the bits of an array as int32: MindSpore cuts integers of 64 bits to 32."""
    data = np.ascontiguousarray(array).tobytes()
    return np.frombuffer(data.ljust(-(-len(data) // 4) * 4, b"\0"), np.int32)


def _joining_msrun(pid: int) -> int | None:
    """Returns the pid if that process is msrun and waits for its processes (`--join`)."""
    cmdline = Path(f"/proc/{pid}/cmdline")
    with contextlib.suppress(OSError):
        words = cmdline.read_bytes().split(b"\0")
        if any(word.endswith(b"msrun") or b"mindspore.parallel.cluster" in word for word in words):
            return pid
    return None
