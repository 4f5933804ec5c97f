"""Ctrl-C in each part of the real program: one line and status 130."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fcn8s_ms.training.ending import ended_by_signals

from ..helpers import arguments, clean_environment


def test_handlers_are_given_back():
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with ended_by_signals("program"):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


# The program is run with a hook that sends the signal where a module is imported, or at the end.
SCRIPT = """
import atexit, os, runpy, signal, sys
number, place = int(sys.argv.pop(1)), sys.argv.pop(1)

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == place:
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Hook())
if place == "end":
    atexit.register(os.kill, os.getpid(), number)
sys.argv[0] = "fcn8s_ms/train.py"
runpy.run_module("fcn8s_ms.train", run_name="__main__", alter_sys=True)
"""
PLACES = ["cv2", "numpy.linalg", "mindspore", "mindspore._c_expression", "mindspore.train", "end"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_line_and_the_status(record, tmp_path, place, number):
    given = arguments(record, tmp_path / "run", "--steps", "1")
    if place == "end":  # an error, so that the end comes soon
        given = arguments(tmp_path / "none.mindrecord", tmp_path / "run")
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(int(number)), place, *given],
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


def test_second_of_the_start(record, tmp_path):
    """From outside, within the imports."""
    given = arguments(record, tmp_path / "run", "--steps", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "fcn8s_ms.train", *given],
        env=clean_environment(PYTHONPATH=os.pathsep.join(sys.path)),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 130 and "Traceback" not in error
