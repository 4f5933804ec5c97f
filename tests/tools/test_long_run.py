"""A short version of what `python tools/long_run.py` does at length."""

import os
import re

import pytest

from fcn8s_ms.errors import InputError

from ..helpers import load_tool


@pytest.fixture(scope="module")
def tool():
    return load_tool("long_run")


@pytest.mark.slow
def test_real_programs_are_sampled(tool, tmp_path, capsys):
    found = tool.run_parts(
        ["train", "predict", "eval"], tmp_path, count=20, largest=80, log_steps=1
    )
    assert list(found) == ["train", "predict", "eval"]
    for part, samples in found.items():
        assert samples, part
        done = [one.done for one in samples]
        assert done == sorted(set(done)) and done[-1] <= 20, part
        for one in samples:
            assert 100 < one.memory_mb < 10_000 and one.files > 2 and one.threads > 0
    assert len(list((tmp_path / "predictions").glob("*_mask.png"))) == 20
    assert len(capsys.readouterr().out.splitlines()) == 6 + sum(map(len, found.values()))


def test_steps_next_to_a_long_log(tool, tmp_path, capsys):
    tool.main(["log", "--log-steps", "3000", "--folder", str(tmp_path)])
    *_, short, long = capsys.readouterr().out.splitlines()
    assert short.split()[0] == "10" and long.split()[0] == "3,000"
    for name, steps in (("log_10", 10), ("log_3000", 3000)):
        written = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        assert len(written) == steps + tool._MEASURED_STEPS
        assert re.match(rf'{{"step": {len(written)}, ', written[-1])


def test_a_program_that_fails(tool, tmp_path):
    given = ["predict", tmp_path / "none.jpg", "--checkpoint", tmp_path / "none.ckpt"]
    with pytest.raises(InputError, match="predict failed with status 2: .*none.ckpt is missing"):
        list(tool.watch(given, tmp_path / "output.txt", lambda output: 0, 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["trian"], "'trian' is not a part; choose from train, predict, eval, log"),
        (["--count", "1"], "--count must be at least 2"),
        (["--largest", "40"], "--largest must be 0 or more than 40"),
    ],
)
def test_bad_arguments(tool, given, message, capsys):
    with pytest.raises(SystemExit) as caught:
        tool.main(given)
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_state_of_a_process(tool):
    memory, files, threads = tool._state(os.getpid())
    assert memory > 10 and files > 2 and threads > 0
    assert tool._state(2**22 + 1) is None
