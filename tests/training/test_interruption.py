import os
import signal
import subprocess
import sys
import time

import pytest

from fcn8s_ms.training.interruption import Interrupted, StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_only_asks(number, capfd):
    request = StopRequest()
    with request:
        request.raise_if_asked()
        os.kill(os.getpid(), number)
        time.sleep(0.1)
        assert request.signum == number
        with pytest.raises(Interrupted):
            request.raise_if_asked()
    name = signal.Signals(number).name
    assert f"{name} stopping after this step; again: at once" in capfd.readouterr().err


def test_handlers_are_given_back():
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_handler_that_somebody_else_has_set_is_replaced():
    """As MindSpore does it below Python, whenever it runs a graph."""
    import ctypes

    request = StopRequest()
    with request:
        ctypes.CDLL(None).signal(int(signal.SIGINT), ctypes.c_void_p(1))  # SIG_IGN
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        assert request.signum == signal.SIGINT


def test_second_signal_ends_the_process_in_the_middle_of_anything(tmp_path):
    # A long call below Python stands for a step: Python runs its handlers only after it.
    script = (
        "import hashlib\n"
        "from fcn8s_ms.training.interruption import StopRequest\n"
        "with StopRequest():\n"
        "    print('ready', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)\n"
        "    print('the end')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    line = process.stderr.readline() + process.stderr.readline()
    assert "SIGTERM stopping after this step" in line
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "SIGINT again: stopped at once" in error and "the end" not in out
