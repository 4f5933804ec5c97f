"""`fcn8s_ms.demo`: its command line, and the page from start to end."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import urllib.request

import cv2
import pytest

from fcn8s_ms import checkpoint, demo, errors, model
from fcn8s_ms.webpage import bind

from .helpers import TINY, clean_environment, draw_pair, error_line_of, error_table

has_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None,
    reason='Gradio is not installed (pip install -e ".[demo]")',
)


@error_table(
    [
        ("port", ["--port", "70000"], "--port is 70000; choose 1…65535, or 0 for any"),
        ("side", ["--longest-side", "-1"], "--longest-side is -1; take 0 or a positive"),
        ("pixels", ["--max-pixels", "-1"], "--max-pixels is -1"),
        ("megabytes", ["--max-megabytes", "0"], "--max-megabytes is 0; it must be positive"),
        ("sliding", ["--sliding", "64", "0"], "sliding stride of 0"),
    ]
)
def test_values_out_of_range(fault, message, capfd):
    assert message in error_line_of(demo.main, ["--checkpoint", "x.ckpt", *fault], capfd)


def test_the_cpu_is_the_default():
    assert demo.parse(["--checkpoint", "x"]).device == "CPU"
    assert demo.parse(["--checkpoint", "x"]).host == "127.0.0.1"


def test_without_gradio(monkeypatch, capfd):
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    line = error_line_of(demo.main, ["--checkpoint", "missing.ckpt"], capfd)
    assert (
        'the page needs the package gradio, which is not installed: pip install -e ".[demo]"'
        in line
    )


@has_gradio
def test_what_is_missing_is_said_before_anything_is_loaded(tmp_path, capfd):
    given = ["--checkpoint", tmp_path / "missing.ckpt", "--port", "0"]
    assert "missing.ckpt" in error_line_of(demo.main, given, capfd)
    assert "nowhere" in error_line_of(demo.main, [*given, "--examples", "nowhere"], capfd)
    (tmp_path / "empty").mkdir()
    assert "empty" in error_line_of(demo.main, [*given, "--examples", tmp_path / "empty"], capfd)
    checkpoint.save(model.FCN8s(21, **TINY), tmp_path / "network.ckpt", {})
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        given = ["--checkpoint", tmp_path / "network.ckpt", "--port", port]
        assert "cannot be used (Address already in use)" in error_line_of(demo.main, given, capfd)


@has_gradio
def test_from_start_to_end(tmp_path):
    """The page answers with MindSpore, and Ctrl-C leaves nothing of what was sent."""
    from gradio_client import Client, handle_file

    checkpoint.save(model.FCN8s(21, **TINY), tmp_path / "network.ckpt", {})
    cv2.imwrite(str(tmp_path / "street.jpg"), draw_pair("street", 70, 90)[0])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "fcn8s_ms.demo", "--port", "0"]
        + ["--checkpoint", str(tmp_path / "network.ckpt")]
        + ["--examples", str(tmp_path / "street.jpg")],
        env=clean_environment(PYTHONPATH=os.pathsep.join(sys.path), TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        url = re.fullmatch(r"The page is at (http://127\.0\.0\.1:\d+); Ctrl-C ends it\.\n", line)[1]
        client = Client(url, verbose=False, analytics_enabled=False)
        found = client.predict(handle_file(tmp_path / "street.jpg"), api_name="/segment")
        assert (found["width"], found["height"]) == (90, 70) and found["certainty"]
        mask = urllib.request.urlopen(f"{url}/answers/{found['key']}/mask.png").read()
        assert mask.startswith(b"\x89PNG")
        assert list(temporary.rglob("street.jpg"))
        process.send_signal(signal.SIGINT)
        # MindSpore may turn Ctrl-C into SIGTERM.
        assert process.wait(60) in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    assert list(temporary.glob("fcn8s-ms-*")) == []
