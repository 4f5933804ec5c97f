"""The comparison with PyTorch; in full where FCN8S_MS_TORCH_PYTHON names its interpreter."""

import json
import os

import pytest

from ..helpers import load_tool

SMALL = ["--narrow", "--crop", "64", "--steps"]


@pytest.fixture(scope="module")
def tool():
    return load_tool("compare_torch")


def test_interpreter_without_torch(tool, capsys):
    with pytest.raises(SystemExit) as caught:
        tool.main([*SMALL, "2", "--torch-python", "/bin/false"])
    assert caught.value.code == 2
    assert "/bin/false failed" in capsys.readouterr().err


def test_first_steps_agree(tool, tmp_path, capsys):
    python = os.environ.get("FCN8S_MS_TORCH_PYTHON")
    if python is None:
        pytest.skip("set FCN8S_MS_TORCH_PYTHON to an interpreter with torch")
    figures = tmp_path / "figures.json"
    tool.main([*SMALL, "12", "--torch-python", python, "--json", str(figures)])
    relative = json.loads(figures.read_text())["relative"]
    assert len(relative) == 12 and max(relative[:10]) < 1e-3
    assert "largest relative difference of the first 10 steps" in capsys.readouterr().out


def test_disagreement_is_an_error(tool, monkeypatch, capsys):
    losses = {"here": [1.0, 2.0], "torch": [1.0, 2.1], "relative": [0.0, 0.1 / 2.1]}
    monkeypatch.setattr(tool, "compare", lambda options: losses)
    with pytest.raises(SystemExit):
        tool.main([])
    assert "that is more than 0.001" in capsys.readouterr().err
