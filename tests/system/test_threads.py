import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from fcn8s_ms.system import threads


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Four CPUs, two threads on each of two cores, of which the process may use the first three."""
    monkeypatch.setattr(threads, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(threads, "_SYS", tmp_path / "sys")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    for cpu, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        write(f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", f"{siblings}\n")
    return write


def test_cpus_and_cores_are_those_that_the_process_is_bound_to(machine):
    assert (threads.available_cpus(), threads.available_cores()) == (3, 2)


def test_every_cpu_is_a_core_where_the_system_does_not_tell(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "_SYS", tmp_path / "nowhere")
    assert threads.available_cores() == 3


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 3),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"cpu.max": "800000 100000\n"}, 3),
        ({"a/cpu.max": "max 100000\n", "a/b/cpu.max": "200000 100000\n"}, 2),
        ({"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
    ],
)
def test_quota_of_cgroups_version_2(machine, limits, expected):
    machine("proc/self/cgroup", "0::/a/b\n")
    for name, text in limits.items():
        machine(f"sys/fs/cgroup/{name}", text)
    assert threads.available_cpus() == expected


@pytest.mark.parametrize(("quota", "expected"), [(-1, 3), (50_000, 1), (100_000, 2)])
def test_quota_of_cgroups_version_1(machine, quota, expected):
    """The folder is the root, as a container sees it, not the path that the kernel tells."""
    machine("proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/docker/1f\n1:name=systemd:/docker/1f\n")
    machine("sys/fs/cgroup/cpu/cpu.cfs_quota_us", f"{quota}\n")
    machine("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n")
    assert threads.available_cpus() == expected


def test_map_ahead_keeps_the_order_and_its_bound():
    taken = []
    with ThreadPoolExecutor(3) as pool:
        results = threads.map_ahead(pool, str, (n for n in range(9) if not taken.append(n)), 3)
        for number, result in enumerate(results):
            assert result == str(number)
            assert len(taken) <= number + 3
    assert taken == list(range(9))


def test_read_ahead_yields_everything_and_raises_where_its_items_do():
    def failing():
        yield from "ab"
        raise OSError("cut short")

    with ThreadPoolExecutor(1) as pool:
        assert list(threads.read_ahead(pool, range(7), 3)) == list(range(7))
        assert list(threads.read_ahead(pool, [], 3)) == []
        assert next(threads.read_ahead(pool, itertools.count(), 3)) == 0  # endless
        with pytest.raises(OSError, match="cut short"):
            list(threads.read_ahead(pool, failing(), 3))
        assert list(itertools.islice(threads.read_ahead(pool, failing(), 2), 2)) == ["a", "b"]
