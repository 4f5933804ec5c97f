"""The processes of a training on several devices, one a device: what they tell one another.

`msrun`, MindSpore's launcher, starts them and one more, the scheduler, which brings them together.
"""

import contextlib
import json
import logging
import os
import secrets
import threading
import time
import zlib
from pathlib import Path

import numpy as np

from ..errors import InputError
from .watchdog import Watch, address_towards

__all__ = ["ALONE", "LAUNCH", "Ranks", "check_launch", "is_scheduler", "run_scheduler"]

LAUNCH = "msrun --worker_num N --local_worker_num N --join True"

# MindSpore's communication between CPUs gives up after this many seconds of waiting, by default 30:
# less than the first rank may take to save or to draw. Whether the others live, `Watch` sees.
_CPU_TIMEOUT = ("MS_NODE_TIMEOUT", "3600")
# By itself the scheduler ends sooner, when all has gone well.
_SECONDS_AFTER_RANKS = 20


def is_scheduler() -> bool:
    """Whether this process is the one that only brings the others together."""
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
    """Ends this process some time after the last of those that msrun has started beside it.

    MindSpore's scheduler waits ten minutes for ranks that failed before they joined, and msrun, if
    it is to join, waits for the scheduler.
    """
    parent = os.getppid()
    while True:
        time.sleep(_SECONDS_AFTER_RANKS)
        if os.getppid() != parent:  # msrun is not to join, and nobody waits
            return
        if not _others_of(parent):
            os._exit(0)  # what has failed msrun knows from the ranks


def _others_of(parent: int) -> list[int]:
    """Running processes that a process has started, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # has ended
            state, its_parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(its_parent) == parent and state != "Z":
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def check_launch(distributed: bool, command: str) -> None:
    """Compares what the program was asked for with how it was started.

    Args:
        distributed: whether it is to be one of several processes.
        command: of the program, for the message.

    Raises:
        InputError: they do not agree.
    """
    launched = "MS_ROLE" in os.environ
    if distributed and not launched:
        raise InputError(
            f"--distributed needs MindSpore's launcher; start it by: {LAUNCH} {command} …"
        )
    if launched and not distributed:
        raise InputError(
            f"msrun has started {os.environ.get('MS_WORKER_NUM', 'several')} of this program, and "
            "each would do all of the training; add --distributed"
        )


class Ranks:
    """This process among its like; without arguments, one process on its own.

    Use it as a context: at the end the ranks wait for each other, and if one fails or is killed,
    the others end with a message instead of waiting for good.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank = rank
        self.size = size
        self._watch = None
        self._launcher = None
        self._is_orphaned = False
        self._on_orphaned = None

    @classmethod
    def start(cls, target: str) -> "Ranks":
        """Joins the others; after `device.configure` and before anything is computed.

        From then on networks train by data parallelism: gradients are averaged over the ranks.

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
            ranks._begin_watch()
        return ranks

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    # --- messages ------------------------------------------------------------------------------

    def gather(self, array) -> list[np.ndarray]:
        """An array of every rank, exactly.

        Args:
            array: of the same shape and type on every rank, of 32 or 64 bits a number.

        Returns:
            The arrays in the order of the ranks.
        """
        array = np.ascontiguousarray(array)
        if self.size == 1:
            return [array]
        from mindspore import Tensor, ops

        found = ops.AllGather()(Tensor(_words(array))).asnumpy()
        return list(found.view(array.dtype).reshape(self.size, *array.shape))

    def barrier(self) -> None:
        """Waits until every rank has come here."""
        self.gather(np.zeros(1, np.int32))

    def _from_first(self, array) -> np.ndarray:
        """The bits of an array of the first rank; the others give one of its shape and type."""
        from mindspore import Tensor, ops

        words = _words(array)
        found = ops.Broadcast(0)((Tensor(words),))[0].asnumpy()
        return np.frombuffer(found.tobytes(), array.dtype, array.size).reshape(array.shape)

    def share(self, value):
        """What the first rank passes, on every rank; anything that JSON can say."""
        if self.size == 1:
            return value
        encoded = json.dumps(value).encode("utf-8") if self.is_first else b""
        length = int(self.gather(np.array([len(encoded)]))[0][0])
        encoded = np.frombuffer(encoded, np.uint8) if self.is_first else np.zeros(length, np.uint8)
        return json.loads(self._from_first(encoded).tobytes())

    def broadcast(self, parameters) -> None:
        """Gives parameters the values that they have on the first rank, to the bit."""
        if self.size == 1:
            return
        from mindspore import Tensor

        for parameter in parameters:
            value = self._from_first(parameter.asnumpy())
            if not self.is_first:
                parameter.set_data(Tensor(value, parameter.dtype))

    def agree(self, parameters) -> bool:
        """Whether parameters have the same bits on every rank."""
        checksum = 0
        for parameter in parameters if self.size > 1 else ():
            checksum = zlib.crc32(np.ascontiguousarray(parameter.asnumpy()), checksum)
        return len({int(found[0]) for found in self.gather(np.array([checksum]))}) == 1

    # --- life and death ------------------------------------------------------------------------

    def _begin_watch(self):
        self._launcher = _msrun_that_waits(os.getppid())
        self._watch = Watch(self.rank, on_look=self._look)
        meeting = None
        if self.is_first:
            host = address_towards(os.environ.get("MS_SCHED_HOST", "127.0.0.1"))
            self._watch.listen(host)
            meeting = {"host": host, "port": self._watch.port, "token": secrets.token_hex(16)}
        meeting = self.share(meeting)
        if self.is_first:
            self._watch.accept(self.size, meeting["token"])
        else:
            self._watch.connect(**meeting)

    def advise(self, advice: str) -> None:
        """Sets what the message ends with when another rank is lost."""
        if self._watch is not None:
            self._watch.advice = advice

    def on_orphaned(self, function) -> None:
        """Has a function called once if msrun, told to wait for its processes, has ended itself.

        It does not pass on the signal that ends it, such as SIGTERM.

        Args:
            function: called without arguments, in a thread.
        """
        self._on_orphaned = function

    def _look(self):
        self._is_orphaned |= self._launcher is not None and os.getppid() != self._launcher
        if self._is_orphaned and self._on_orphaned is not None:
            function, self._on_orphaned = self._on_orphaned, None
            function()

    @contextlib.contextmanager
    def quiet_others(self):
        """Lets only the first rank print and warn."""
        if self.is_first:
            yield
            return
        logging.getLogger().setLevel(logging.ERROR)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if self._watch is None:
            return
        interrupted = isinstance(error, SystemExit) and error.code not in (None, 0)
        if error is None or interrupted:
            # msrun kills the others as soon as one has ended with another status than 0, so none
            # ends before the first has written all.
            self.barrier()
            self._watch.close()
        else:
            self._watch.close(failure=f"{error}" or kind.__name__)


ALONE = Ranks()


def _words(array) -> np.ndarray:
    """The bits of an array as int32, filled up: MindSpore sends integers of 64 bits cut to 32."""
    data = np.ascontiguousarray(array).tobytes()
    return np.frombuffer(data.ljust(-(-len(data) // 4) * 4, b"\0"), np.int32)


def _msrun_that_waits(pid: int) -> int | None:
    """The process number of a parent if it is msrun and waits for its processes (`--join`)."""
    cmdline = Path(f"/proc/{pid}/cmdline")
    with contextlib.suppress(OSError):
        words = cmdline.read_bytes().split(b"\0")
        if any(word.endswith(b"msrun") or b"mindspore.parallel.cluster" in word for word in words):
            return pid
    return None
