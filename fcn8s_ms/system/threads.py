"""Number of threads, and work done ahead of its consumer."""

import itertools
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar

__all__ = ["Progress", "available_cores", "available_cpus", "map_ahead", "read_ahead"]

_PROC, _SYS = Path("/proc"), Path("/sys")

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Progress: TypeAlias = Callable[[Iterable[Any], int], Iterable[Any]]
"""Shows the progress of work: takes items and their number, returns an iterable of the same items.

For instance `lambda items, total: tqdm(items, total=total)`.
"""


def map_ahead(
    pool: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int
) -> Iterator[_Result]:
    """`pool.map` that is at most `ahead` items ahead of its consumer, so that memory is bounded.

    Args:
        pool: runs the calls.
        function: called with one item.
        items: consumed only as far as needed.
        ahead: number of results that may wait.

    Yields:
        Results in the order of the items. What the function raises is raised here.
    """
    waiting: list[Future[_Result]] = []
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    while waiting:
        yield waiting.pop(0).result()


def read_ahead(pool: Executor, items: Iterable[_Item], ahead: int) -> Iterator[_Item]:
    """Items of an iterable that is read in another thread, at most `ahead` before the consumer.

    Args:
        pool: an executor of one thread, which reads.
        items: read to its end, or until it raises; that is raised here.
        ahead: number of items that may wait.
    """
    iterator, end = iter(items), object()
    for item in map_ahead(pool, lambda _: next(iterator, end), itertools.repeat(None), ahead):
        if item is end:
            return
        yield item  # type: ignore[misc]  # `end` is the only other thing


def available_cpus() -> int:
    """Number of CPUs that this process may use: those it is bound to, and its cgroup's share."""
    return _within_quota(len(_cpus()))


def available_cores() -> int:
    """Number of cores behind `available_cpus`: arithmetic gains nothing from two threads on one."""
    cores = set()
    for cpu in _cpus():
        try:
            siblings = _SYS / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
            cores.add(siblings.read_text())
        except OSError:  # the system does not tell
            cores.add(str(cpu))
    return _within_quota(len(cores))


def _cpus() -> Collection[int]:
    """Numbers of the CPUs that this process is bound to."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _within_quota(count: int) -> int:
    """As many of `count` CPUs as the time suffices for that the cgroups of this process get."""
    return max(min([count, *(math.ceil(share) for share in _quotas())]), 1)


def _quotas() -> Iterator[float]:
    """Limits that the cgroups of this process, version 1 or 2, set to its CPUs' time, in CPUs."""
    try:
        lines = (_PROC / "self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _SYS / "fs/cgroup" / ("cpu" if controllers else "")
        # In a container, its own group may be the root of what it sees.
        for folder in (PurePosixPath(path), *PurePosixPath(path).parents):
            try:
                group = root / folder.relative_to("/")
                if controllers:
                    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                    quota, period = ((group / name).read_text() for name in names)
                else:
                    quota, period = (group / "cpu.max").read_text().split()
                if quota.strip() != "max" and int(quota) > 0:
                    yield int(quota) / int(period)
            except (OSError, ValueError):  # no such group here, or a root without limits
                continue
