"""Threads: how many, and work handed out ahead of its consumer."""

import os

__all__ = ["available_cpus", "map_ahead"]


def map_ahead(pool, function, items, ahead: int):
    """`pool.map` that runs at most `ahead` items before the consumer, so memory stays bounded."""
    waiting = []
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    while waiting:
        yield waiting.pop(0).result()


def available_cpus() -> int:
    """Number of CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1
