import os
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import communication

from fcn8s_ms import device, train
from fcn8s_ms.distributed import ranks
from fcn8s_ms.distributed.ranks import ALONE, Ranks
from fcn8s_ms.errors import InputError
from fcn8s_ms.training import schedule

from ..helpers import clean_environment, error_of


def test_alone():
    values = np.arange(3)
    (found,) = ALONE.gather(values)
    assert np.array_equal(found, values)
    assert ALONE.share({"a": 1}) == {"a": 1}
    assert ALONE.is_first and ALONE.have_same_bits([]) and ALONE.size == 1
    with ALONE as one, one.quiet_others():
        one.barrier()


def test_words_keep_every_bit():
    for values in (np.array([2**62 + 1, -1]), np.array([1 / 3]), np.frombuffer(b"abcde", "u1")):
        words = ranks._words(values)
        assert words.dtype == np.int32
        assert words.tobytes()[: values.nbytes] == values.tobytes()


@pytest.mark.parametrize(
    ("distributed", "role", "message"),
    [
        (
            True,
            None,
            "--distributed needs MindSpore's launcher; start it with: msrun --worker_num N",
        ),
        (False, "MS_WORKER", "msrun has started 8 of this program.*add --distributed"),
        (True, "MS_WORKER", None),
        (False, None, None),
    ],
)
def test_program_and_launcher_must_agree(monkeypatch, distributed, role, message):
    monkeypatch.delenv("MS_ROLE", raising=False)
    if role:
        monkeypatch.setenv("MS_ROLE", role)
        monkeypatch.setenv("MS_WORKER_NUM", "8")
    if message is None:
        ranks.check_launch(distributed, "program")
    else:
        with pytest.raises(InputError, match=message):
            ranks.check_launch(distributed, "program")


def test_scheduler_ends_with_the_ranks():
    """Here a process that sleeps; the launcher starts a rank that ends, and waits for both."""
    launcher = (
        "import subprocess, sys\n"
        "scheduler = 'from fcn8s_ms.distributed import ranks; ranks._SECONDS_AFTER_RANKS = 0.2;'"
        "            'ranks._end_with_ranks()'\n"
        "rank = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1.5)'])\n"
        "scheduler = subprocess.Popen([sys.executable, '-c', scheduler])\n"
        "assert rank.wait() == 0 and scheduler.poll() is None\n"
        "sys.exit(scheduler.wait())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", launcher],
        env=clean_environment(PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_scheduler_that_nobody_waits_for_goes_on(monkeypatch):
    parents = iter([10, 10, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(ranks, "_SECONDS_AFTER_RANKS", 0)
    monkeypatch.setattr(ranks, "_siblings", lambda parent: [parent])
    monkeypatch.setattr(os, "_exit", pytest.fail)
    ranks._end_with_ranks()


@pytest.fixture
def recorded(monkeypatch):
    """Records what MindSpore is asked for on a machine with every device."""
    calls = []
    monkeypatch.setattr(device, "available_devices", lambda: ["Ascend", "GPU", "CPU"])
    monkeypatch.setattr(ms, "set_context", lambda **kwargs: calls.append(("context", kwargs)))
    monkeypatch.setattr(ms, "set_device", lambda *args: calls.append(("device", *args)))
    parallel = "set_auto_parallel_context"
    monkeypatch.setattr(ms, parallel, lambda **kwargs: calls.append(("parallel", kwargs)))
    monkeypatch.setattr(communication, "init", lambda: calls.append(("init",)))
    monkeypatch.setattr(communication, "get_rank", lambda: 3)
    monkeypatch.setattr(communication, "get_group_size", lambda: 8)
    monkeypatch.setattr(
        Ranks, "_start_watchdog", lambda self: calls.append(("watchdog", self.rank))
    )
    monkeypatch.delenv("MS_NODE_TIMEOUT", raising=False)
    return calls


@pytest.mark.parametrize(("target", "timeout"), [("Ascend", None), ("GPU", None), ("CPU", "3600")])
def test_start(recorded, monkeypatch, target, timeout):
    """MindSpore takes HCCL, NCCL or MCCL by the device, and gives the rank a device of its own."""
    device.configure(target, device_id=None)
    found = Ranks.start(target)
    assert (found.rank, found.size, found.is_first) == (3, 8, False)
    assert recorded == [
        ("context", {"mode": ms.GRAPH_MODE}),
        ("device", "CPU", 0) if target == "CPU" else ("device", target),
        ("init",),
        ("parallel", {"parallel_mode": "data_parallel", "gradients_mean": True}),
        ("watchdog", 3),
    ]
    assert os.environ.get("MS_NODE_TIMEOUT") == timeout
    monkeypatch.delenv("MS_NODE_TIMEOUT", raising=False)


def test_one_worker_is_no_data_parallelism(recorded, monkeypatch):
    monkeypatch.setattr(communication, "get_rank", lambda: 0)
    monkeypatch.setattr(communication, "get_group_size", lambda: 1)
    assert Ranks.start("Ascend").size == 1
    assert recorded == [("init",)]


def test_scheduler_does_nothing_else(recorded, monkeypatch, capsys):
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    train.main(["--distributed", "--data", "nowhere.mindrecord"])
    assert recorded == [("device", "CPU"), ("init",)]


def test_death_of_the_launcher_is_noticed_once(monkeypatch):
    found, called = Ranks(1, 2), []
    found._launcher = 41
    monkeypatch.setattr(os, "getppid", lambda: 41)
    found._check_launcher()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    found._check_launcher()  # nobody listens yet
    found.on_orphaned(lambda: called.append("orphaned"))
    found._check_launcher()
    found._check_launcher()
    assert called == ["orphaned"]


def test_without_a_waiting_launcher_its_death_means_nothing():
    """msrun without --join ends as soon as it has started its processes."""
    assert ranks._joining_msrun(os.getpid()) is None
    assert ranks._joining_msrun(2**22 + 1) is None


def test_learning_rate_grows_with_the_ranks_on_request():
    given = ["--distributed", "--base-lr", "0.01", "--warmup-steps", "2"]
    alone, scaled = (
        schedule.learning_rates(config.optimizer, 10, config.device.lr_scale(4))
        for config in (train.parse(given), train.parse([*given, "--scale-lr"]))
    )
    assert alone[0] == 0.005 and alone[2] == 0.01 and alone[-1] == pytest.approx(0.0001)
    assert scaled == pytest.approx([4 * rate for rate in alone])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--distributed"], "--distributed needs MindSpore's launcher"),
        (["--scale-lr"], "--scale-lr is for several devices; pass --distributed too"),
        (["--sync-bn"], "--sync-bn is for several devices; pass --distributed too"),
    ],
)
def test_bad_arguments(capsys, given, message):
    assert message in error_of(train.main, given, capsys)


def test_synchronized_batch_norm_is_for_ascend(capsys, monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    given = ["--distributed", "--sync-bn", "--device", "CPU"]
    assert "--sync-bn is for Ascend, not for CPU" in error_of(train.main, given, capsys)
