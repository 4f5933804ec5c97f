"""Training by several processes on this machine, started by MindSpore's launcher."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from fcn8s_ms import checkpoint, eval, evaluation, records, train
from fcn8s_ms.records import sources

from ..helpers import arguments, assert_same, clean_environment, lines, use_tiny_networks, write_voc
from .rank_program import Guess

ROOT = Path(__file__).parents[2]
# For machines that do much else. No test waits for long: it ends as soon as what it waits for is.
PATIENCE = 900
_SIZES = [(chr(97 + number), 40 + 13 * number % 70, 50 + 29 * number % 80) for number in range(10)]


def free_port() -> int:
    """Of those that are not given to outgoing connections: msrun takes it seconds later."""
    while True:
        port = random.randint(20000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Launch:
    """`msrun` with processes of `rank_program`; all of them end with the `with` block."""

    def __init__(self, folder, size, *task, join=True):
        self.folder = folder
        self.size = size
        self.token = uuid.uuid4().hex
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        python = folder / "bin" / "python"  # what msrun starts
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        command = [sys.executable, "-m", "mindspore.parallel.cluster.run"]
        command += ["--worker_num", size, "--local_worker_num", size, "--master_port", free_port()]
        command += ["--log_dir", folder / "log", "--join", join]
        command += ["python", "-m", "tests.distributed.rank_program", folder, *task]
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env=clean_environment(
                PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
                PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                FCN8S_MS_TEST=self.token,
                GLOG_v="3",
                # How often a process tries to join; a second is enough for so few.
                MS_RETRY_INTERVAL_LOWER="1",
                MS_RETRY_INTERVAL_UPPER="1",
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for _ in range(3):
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def pids(self, rank=None) -> list[int]:
        """Of msrun and all that it has started, or of a rank."""
        marks = [f"FCN8S_MS_TEST={self.token}".encode()]
        if rank is not None:
            marks += [b"MS_ROLE=MS_WORKER", f"MS_NODE_ID={rank}".encode()]
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                words = (path.parent / "cmdline").read_bytes().split(b"\0")
                is_rank = b"tests.distributed.rank_program" in words  # or msrun's `tail` of its log
                if set(marks) <= set(path.read_bytes().split(b"\0")) and (is_rank or rank is None):
                    found.append(int(path.parent.name))
        return found

    def log(self, rank) -> str:
        path = self.folder / "log" / f"worker_{rank}.log"
        return path.read_text() if path.is_file() else ""

    def logs(self) -> str:
        return "\n".join(f"rank {rank}:\n{self.log(rank)}" for rank in range(self.size))

    def wait_until(self, condition, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waiting for {what}\n{self.logs()}"
            assert not self.has_ended() or condition(), f"the end before {what}\n{self.logs()}"
            time.sleep(0.1)

    def has_ended(self) -> bool:
        """Whether msrun has ended, which may be at once, and the ranks too."""
        return self.process.poll() is not None and not any(map(self.pids, range(self.size)))

    def wait(self) -> None:
        """Until all ranks have ended well."""
        assert self.process.wait(timeout=PATIENCE) == 0, self.logs()

    def wait_for_step(self, run, step) -> None:
        log = run / "log.jsonl"
        self.wait_until(
            lambda: log.is_file() and len(log.read_text().splitlines()) >= step, f"step {step}"
        )


@pytest.fixture(scope="module")
def ten_images(tmp_path_factory):
    """Images of many sizes, so that crops have many numbers of valid pixels."""
    root = tmp_path_factory.mktemp("ten")
    path = root / "ten.mindrecord"
    records.build_records(sources.voc_pairs(write_voc(root / "voc", _SIZES), "trainval"), path)
    return path


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_messages_and_sharded_evaluation(ten_images, record, tmp_path, size):
    """In both modes; ten and five images are dealt to two and three ranks."""
    with Launch(tmp_path, size, "check", ten_images, record) as launch:
        launch.wait()
    expected = []
    for path in (ten_images, record):
        data = evaluation.whole_images(path, 21, 1, 2)
        result = evaluation.evaluate_dataset(Guess(), data, [str(number) for number in range(21)])
        assert 0 < result["mean IoU"] < 1
        expected.append(result)
    for rank in range(size):
        for found in json.loads((tmp_path / f"rank_{rank}.json").read_text()).values():
            assert found["gathered"] == [[[2**40 + other], [-1]] for other in range(size)]
            assert found["shares"] == [[(other + 1) / 3] for other in range(size)]
            assert found["shared"] == {"of": 0, "text": "ü" * 70000}
            assert found["same bits"] == [False, True]
            assert found["parameters"] == [[[1.5] * 3] * 2, 1, [True] * 3]
            # The means of 0, 1, … and of 0, 10, …
            middle = (size - 1) / 2
            assert found["statistics"] == [[middle, 10 * middle], [100 * middle]]
            assert json.dumps(found["scores"]) == json.dumps(expected)


def weights(folder, number, rank):
    with np.load(folder / f"weights_{number}_{rank}.npz") as found:
        return dict(found)


FROZEN = ["--freeze-bn", "--steps", "5", "--base-lr", "1", "--schedule", "constant"]
ACCUMULATED = ["--steps", "3", "--accumulate", "2", "--mode", "pynative", "--scale-lr"]
LOSSES = ["--loss", "ohem+0.5*dice+lovasz+focal", "--label-smoothing", "0.1"]
PAPER = ["--arch", "fcn8s_paper", "--dropout", "0", "--steps", "3", "--base-lr", "0.1"]
LONG = ["--steps", "24", "--save-every", "5", "--val-every", "5", "--mode", "pynative"]

RUNS = ["graph", "pynative", "accumulated", "long", "resnet", "paper", "losses"]


@pytest.fixture(scope="module")
def trained(ten_images, tmp_path_factory):
    """Two ranks: frozen BatchNorm in either mode, a longer run, other networks and losses."""
    folder = tmp_path_factory.mktemp("trained")
    lists = [
        [*arguments(ten_images, folder / mode, *FROZEN, "--mode", mode), "--distributed"]
        for mode in ("graph", "pynative")
    ]
    more = [*FROZEN, *ACCUMULATED, "--batch-size", "1"]
    lists.append([*arguments(ten_images, folder / "accumulated", *more), "--distributed"])
    more = [*LONG, "--val-data", str(ten_images)]
    lists.append([*arguments(ten_images, folder / "long", *more), "--distributed"])
    more = ["--arch", "fcn_resnet50", "--steps", "2"]  # with an auxiliary head and dropout
    lists.append([*arguments(ten_images, folder / "resnet", *more), "--distributed"])
    more = [*FROZEN, *PAPER]
    lists.append([*arguments(ten_images, folder / "paper", *more), "--distributed"])
    more = [*FROZEN, *LOSSES, "--batch-size", "2", "--class-weights", str(folder / "w.json")]
    (folder / "w.json").write_text(json.dumps([1 + one % 3 for one in range(21)]))
    lists.append([*arguments(ten_images, folder / "losses", *more), "--distributed"])
    with Launch(folder, 2, "train", json.dumps(lists)) as launch:
        launch.wait()
        assert launch.log(0).count("The weights of all 2 ranks have the same bits.") == 7
        assert "images" not in launch.log(1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "more"),
    [
        (["graph", "pynative"], ["--batch-size", "4"]),
        (["losses"], ["--batch-size", "4", *LOSSES, "--class-weights", "w.json"]),
        (["paper"], ["--batch-size", "4", *PAPER]),
        (["accumulated"], ["--batch-size", "2", *ACCUMULATED[:-1], "--base-lr", "2"]),
    ],
)
def test_two_ranks_train_as_one_process_with_twice_the_batch(
    trained, ten_images, tmp_path, names, more
):
    """BatchNorm aside. The loss is of all images, though ranks have unlike numbers of pixels."""
    more = [str(trained / one) if one == "w.json" else one for one in more]
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        train.main(arguments(ten_images, tmp_path / "run", *FROZEN, *more))
    (last,) = (tmp_path / "run").glob("*-last.ckpt")
    expected = checkpoint.read(last)
    for name in names:
        number = RUNS.index(name)
        ranks = [weights(trained, number, rank) for rank in range(2)]
        for parameter, value in ranks[0].items():
            assert np.array_equal(value, ranks[1][parameter]), f"{parameter}, {name}"
            assert value == pytest.approx(expected[parameter].asnumpy(), rel=1e-5, abs=1e-6), name
        logs = [lines(path / "log.jsonl") for path in (trained / name, tmp_path / "run")]
        for found, other in zip(*logs, strict=True):
            assert found["loss"] == pytest.approx(other["loss"], rel=1e-6)
            assert found["lr"] == other["lr"]


@pytest.mark.slow
def test_statistics_are_those_of_both_ranks(trained):
    """Both ranks end with the same statistics, and those are in the checkpoint."""
    stored = checkpoint.read(trained / "long" / "FCN8s-last.ckpt")
    ranks = [weights(trained, 3, rank) for rank in range(2)]
    for name, value in ranks[0].items():
        assert np.array_equal(value, ranks[1][name]), name
        assert np.array_equal(value, stored[name].asnumpy()), name
    assert ranks[0]["conv1.1.moving_mean"].any()


@pytest.mark.slow
def test_sharded_validation_is_that_of_one_process(trained, ten_images, tmp_path):
    output = tmp_path / "scores.json"
    weights = trained / "long" / "FCN8s-last.ckpt"
    given = ["--checkpoint", str(weights), "--data", str(ten_images), "--device", "CPU"]
    eval.main([*given, "--output", str(output), "--trimap", "0", "--fast"])
    expected = json.loads(output.read_text())["per class"]
    metrics = json.loads((trained / "long" / "metrics.json").read_text())
    assert metrics["validation"]["step"] == 24
    assert metrics["validation"]["per class"] == expected
    assert sum(row["pixels"] for row in expected.values()) > 0


@pytest.mark.slow
def test_first_rank_leaves_one_run(trained):
    steps = lines(trained / "long" / "log.jsonl")
    assert [row["step"] for row in steps] == list(range(1, 25))
    stored = json.loads((trained / "long" / "arguments.json").read_text())
    assert stored["distributed"] is True and stored["ranks"] == 2
    metrics = json.loads((trained / "long" / "metrics.json").read_text())
    assert metrics["train"]["ranks"] == 2
    assert metrics["validation"]["images"] == 10
    # Epochs of two steps of four images, not of five steps of two.
    assert {row["epoch"] for row in steps} == set(range(1, 13))


@pytest.mark.slow
def test_stopped_killed_and_resumed_is_as_never_interrupted(trained, ten_images, tmp_path):
    run = tmp_path / "long"
    given = arguments(ten_images, run, *LONG, "--val-data", str(ten_images), "--distributed")
    with Launch(tmp_path / "1", 2, "train", json.dumps([given])) as launch:
        launch.wait_for_step(run, 3)
        launch.process.send_signal(signal.SIGTERM)  # msrun dies of it and tells nobody
        launch.wait_until(lambda: "stopped by" in launch.log(0), "the message")
        launch.wait_until(launch.has_ended, "the end")
        assert "stopped by SIGTERM after step" in launch.log(0)
        assert f"resume with: msrun --worker_num 2 … {train.PROGRAM} --resume" in launch.log(0)
        assert "Traceback" not in launch.logs()
    stopped = checkpoint.read_metadata(run / "FCN8s-last.ckpt")["step"]
    assert stopped == len(lines(run / "log.jsonl")) < 24

    resume = json.dumps([["--resume", str(run)]])
    with Launch(tmp_path / "2", 2, "train", resume, join=False) as launch:
        launch.wait_for_step(run, stopped + 3)
        (victim,) = launch.pids(1)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        launch.wait_until(launch.has_ended, "the other's end")
        assert time.monotonic() - killed < 30
        assert "rank 1 has ended unexpectedly\nRank 0 stops with it. Resume with:" in launch.log(0)
    for path in run.glob("*.ckpt"):
        checkpoint.read(path)
    assert checkpoint.read_metadata(run / "FCN8s-last.ckpt")["step"] < 24

    with Launch(tmp_path / "3", 2, "train", resume) as launch:
        launch.wait()
    assert_same(run, trained / "long")


def test_device_that_is_not_here(ten_images, tmp_path):
    """The scheduler does not wait for ranks that never come."""
    given = [*arguments(ten_images, tmp_path / "run", "--device", "Ascend"), "--distributed"]
    with Launch(tmp_path, 2, "train", json.dumps([given])) as launch:
        assert launch.process.wait(timeout=120) != 0
        assert "device Ascend is not available here" in launch.logs()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_other_number_of_ranks_is_refused(trained, ten_images, tmp_path):
    before = (trained / "long" / "log.jsonl").read_bytes()
    resume = json.dumps([["--resume", str(trained / "long")]])
    with Launch(tmp_path, 3, "train", resume, join=False) as launch:
        launch.wait_until(launch.has_ended, "the end")
        assert "is of 2 ranks, not 3: its batches and the order" in launch.log(0)
        assert "resume with: msrun --worker_num 2 … " in launch.log(0).lower()
        assert "rank 0 has failed: the run in" in launch.log(1)
        assert "Traceback" not in launch.logs()
    assert (trained / "long" / "log.jsonl").read_bytes() == before
