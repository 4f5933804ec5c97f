"""The comparison of the three networks, in short."""

import functools
import json

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import files

from ..helpers import load_tool

SHORT = ["--narrow", "--crop-size", "32", "--batch-size", "2", "--workers", "1", "--device", "CPU"]
SHORT += ["--mode", "pynative"]


@pytest.fixture(scope="module")
def tool():
    return load_tool("compare")


@pytest.mark.slow
def test_trains_all_alike_and_draws(tool, record, tmp_path, capsys):
    output = tmp_path / "out"
    tool.main(
        ["--data", str(record), "--val-data", str(record), "--output", str(output), *SHORT]
        + ["--steps", "3", "--pictures", "2", "--arch", "fcn32s", "fcn8s", "--seed", "5"]
    )
    names = {path.name for path in output.iterdir()}
    assert names == {"fcn32s", "fcn8s", "curves.png", "predictions.png", "comparison.json"}
    arguments = [
        json.loads((output / arch / "arguments.json").read_text())
        for arch in names & {"fcn32s", "fcn8s"}
    ]
    differing = {name for name in arguments[0] if arguments[0][name] != arguments[1][name]}
    assert differing == {"arch"}
    assert arguments[0]["widths"] == [8, 16, 32, 32, 32] and arguments[0]["fc_width"] == 64
    assert arguments[0]["seed"] == 5 and arguments[0]["steps"] == 3
    found = json.loads((output / "comparison.json").read_text())
    assert list(found) == ["fcn32s", "fcn8s"]
    printed = capsys.readouterr().out
    for arch, name in (("fcn32s", "FCN-32s"), ("fcn8s", "FCN-8s")):
        assert (output / arch / f"FCN{arch[3:]}-best.ckpt").is_file()
        best = found[arch]["best"]
        losses = [line["loss"] for line in files.read_json_lines(output / arch / "log.jsonl")]
        row = next(line for line in printed.splitlines() if line.startswith(name + " "))
        assert row.split()[1:4] == ["3", f"{losses[-1]:.4f}", f"{best['mean IoU']:.4f}"]
    # Two images; beside each its truth and two predictions.
    picture = np.asarray(Image.open(output / "predictions.png").convert("RGB"))
    assert picture.shape[1] > 1.5 * picture.shape[0]


def test_sample_by_default(tool, tmp_path, monkeypatch, capsys):
    """Its preset holds, and flags given win over it."""
    asked = []

    def run(arch, flags):
        asked.append(tool.arguments.parse(flags))

    monkeypatch.setattr(tool, "_run", run)
    monkeypatch.setattr(tool, "_result", lambda folder: {})
    monkeypatch.setattr(tool, "_show", lambda *given: None)
    draw = functools.partial(tool.demo.write_dataset, num_train=4, num_val=2)
    monkeypatch.setattr(tool.demo, "write_dataset", draw)
    output = tmp_path / "out"
    tool.main(["--output", str(output), "--steps", "7", "--base-lr", "0.002"])
    assert [config.network.arch for config in asked] == ["fcn32s", "fcn16s", "fcn8s"]
    for config in asked:
        assert (
            config.data.data == output / "sample" / "train.mindrecord"
            and config.data.data.is_file()
        )
        assert config.data.val_data == output / "sample" / "val.mindrecord"
        assert (config.optimizer.steps, config.optimizer.base_lr, config.data.crop_size) == (
            7,
            0.002,
            128,
        )
        assert config.network.upsample_init == "bilinear" and config.run.val_every == 1
        assert config.run.output == output / config.network.arch


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--data", "x"], "--data and --val-data go together"),
        (["--sample"], "--sample is of a single training; leave it out"),
        (["--resume=run"], "--resume is of a single training"),
        (["--pictures", "0"], "--pictures is 0; it must be positive"),
        (["--crop-size", "33"], "--crop-size 33 is not a multiple of 32"),
    ],
)
def test_bad_arguments(tool, given, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        tool.main([*given, "--output", str(tmp_path / "new")])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_folder_in_use(tool, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        tool.main(["--output", str(tmp_path)])
    assert "exists and is not empty" in capsys.readouterr().err


def test_training_that_fails(tool, tmp_path, capsys):
    missing = str(tmp_path / "missing.mindrecord")
    with pytest.raises(SystemExit) as caught:
        tool.main(
            ["--data", missing, "--val-data", missing, "--output", str(tmp_path / "out"), *SHORT]
        )
    assert caught.value.code == 2
    assert "the training of FCN-32s ended with status 2" in capsys.readouterr().err
