"""The comparison with PyTorch; in full where FCN8S_MS_TORCH_PYTHON names its interpreter."""

import json
import os

import pytest

from ..helpers import load_tool

SMALL = ["--narrow", "--crop", "64", "--steps"]


@pytest.fixture(scope="module")
def tool():
    return load_tool("compare_torch")


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("/bin/false", "/bin/false cannot import torch and numpy (no message); pip install torch"),
        ("/no/python", "/no/python cannot be run (No such file or directory); give the path"),
    ],
)
def test_interpreter_without_torch(tool, monkeypatch, capsys, python, message):
    """An error before anything is trained here."""
    monkeypatch.setattr(tool, "_train_here", lambda *given: pytest.fail("trained in vain"))
    with pytest.raises(SystemExit) as caught:
        tool.main([*SMALL, "2", "--torch-python", python])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_pytorch_that_fails_later(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool, "_train_here", lambda *given: [1.0])
    monkeypatch.setattr(tool, "_check_torch", lambda python: None)
    with pytest.raises(SystemExit) as caught:
        tool.main([*SMALL, "2", "--torch-python", "/bin/false"])
    assert caught.value.code == 2
    assert "/bin/false failed: no message" in capsys.readouterr().err


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
