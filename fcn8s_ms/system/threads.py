"""Number of threads, and work done ahead of its consumer."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeAlias, TypeVar

__all__ = ["Progress", "available_cpus", "map_ahead"]

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


def available_cpus() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1
