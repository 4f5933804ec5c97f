"""Ctrl-C in each part of the real programs: one line and status 130."""

import collections
import contextlib
import importlib.util
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcn8s_ms import checkpoint, model, train
from fcn8s_ms.__main__ import SUBCOMMANDS
from fcn8s_ms.ending import ended_by_signals

from .helpers import TINY, arguments, clean_environment, use_tiny_networks, write_voc


def test_handlers_are_given_back():
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with ended_by_signals("program"):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


# The program is run with a hook that sends the signal where a module is imported, or at the end.
SCRIPT = """
import atexit, os, runpy, signal, sys
program, number, place = sys.argv.pop(1), int(sys.argv.pop(1)), sys.argv.pop(1)

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == place:
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Hook())
if place == "end":
    atexit.register(os.kill, os.getpid(), number)
sys.argv[0] = f"fcn8s_ms/{program}.py"
runpy.run_module(f"fcn8s_ms.{program}", run_name="__main__", alter_sys=True)
"""
PLACES = ["cv2", "numpy.linalg", "mindspore", "mindspore._c_expression", "mindspore.train", "end"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_line_and_the_status(record, tmp_path, place, number):
    given = arguments(record, tmp_path / "run", "--steps", "1")
    if place == "end":  # an error, so that the end comes soon
        given = arguments(tmp_path / "none.mindrecord", tmp_path / "run")
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, "train", str(int(number)), place, *given],
        env=clean_environment(PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = [line for line in process.stderr.splitlines() if "WARNING" not in line]
    # Once MindSpore is there, it may turn Ctrl-C into SIGTERM.
    possible = [number, signal.SIGTERM] if place == "end" else [number]
    ended = signal.Signals(process.returncode - 128)
    assert ended in possible
    assert lines[-1].endswith(f"train: stopped by {ended.name}")
    assert len(lines) == (2 if place == "end" else 1), process.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("program", sorted(set(SUBCOMMANDS) - {"train"}))
def test_imports_of_the_other_programs(program, number):
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, program, str(int(number)), "numpy.linalg", "--help"],
        env=clean_environment(PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 128 + number
    assert process.stderr == f"python -m fcn8s_ms.{program}: stopped by {number.name}\n"


# --- all programs, from outside ------------------------------------------------------------------


def is_ready(pid):
    """Whether a program of the package has taken over from Python's own start.

    Until then Ctrl-C meets Python's handler, and SIGTERM none.
    """
    with contextlib.suppress(OSError):
        caught = re.search(r"^SigCgt:\s+(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def interrupted(arguments, number, seconds, output):
    """Starts a program, sends a signal some seconds after it is ready.

    Returns:
        Its status and what it wrote on standard error.
    """
    with open(output, "w+") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            env=clean_environment(PYTHONPATH=os.pathsep.join(sys.path)),
            stderr=file,
            stdout=subprocess.DEVNULL,
        )
        try:
            while not is_ready(process.pid):
                assert process.poll() is None, "ended without being ready for signals"
                time.sleep(0.001)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.send_signal(number)
            status = process.wait(120)
        finally:
            process.kill()
        file.seek(0)
        return status, file.read()


@pytest.fixture(scope="module")
def small(record, tmp_path_factory):
    """A folder with a checkpoint, a run, pictures, and a record of them."""
    folder = tmp_path_factory.mktemp("small")
    checkpoint.save(model.FCN8s(21, **TINY), folder / "network.ckpt", {})
    write_voc(folder)
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        train.main(arguments(record, folder / "run", "--steps", "2"))
    return folder


def command_of(name, small, record, folder):
    """Arguments of a program that has some work to do."""
    pictures = small / "VOCdevkit" / "VOC2012"
    network = ["--checkpoint", small / "network.ckpt", "--device", "CPU"]
    given = {
        "build": ["--voc-root", pictures, "--split", "trainval", "--output", folder / "r"],
        "train": arguments(record, folder / "run", "--steps", "2"),
        "eval": [*network, "--data", record, "--output", folder / "scores.json"],
        "predict": [*network, pictures / "JPEGImages", "--output", folder / "out"],
        "demo": [*network, "--port", "0"],
        "export": [*network, "--output", folder / "network.onnx", "--overwrite"],
        "info": [small / "network.ckpt"],
        "compare": [small / "run", "--output", folder / "runs.png"],
    }
    return given[name]


LONGEST = {"build": 2.5, "train": 5, "eval": 4, "predict": 4, "export": 4, "info": 1, "compare": 3}
LONGEST |= {"demo": 3}


def hidden(folder):
    """Unfinished files; a training keeps its lock."""
    return [path for path in folder.rglob(".*") if "unfinished" in path.name or path.is_dir()]


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc")
@pytest.mark.parametrize(
    "is_subcommand",
    [
        pytest.param(False, id="module"),
        pytest.param(True, id="subcommand", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_at_any_moment(name, is_subcommand, small, record, tmp_path, pytestconfig):
    if name == "demo" and importlib.util.find_spec("gradio") is None:
        pytest.skip('Gradio is not installed (pip install -e ".[demo]")')
    moments = random.Random(f"{name} {is_subcommand}")
    called = ["fcn8s_ms", name] if is_subcommand else [f"fcn8s_ms.{name}"]
    ended = collections.Counter()
    for number in range(pytestconfig.getoption("--signals")):
        folder = tmp_path / str(number)
        folder.mkdir()
        given = [*called, *command_of(name, small, record, folder)]
        seconds = moments.uniform(0, LONGEST[name])
        status, error = interrupted(given, signal.SIGINT, seconds, tmp_path / "error.txt")
        ended[status] += 1
        assert "Traceback" not in error, (seconds, error)
        # MindSpore may turn Ctrl-C into SIGTERM. 0 if the program had come to its end; in Python's
        # very last milliseconds the signal has no handler any more.
        possible = (0, 128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT)
        assert status in possible, (seconds, status, error)
        assert hidden(folder) == [], seconds
    print(f"{name}: {dict(ended)}")
