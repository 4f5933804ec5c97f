import json
import os
import re
from pathlib import Path

import pytest

from fcn8s_ms import train
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import demo
from fcn8s_ms.training.arguments import parse

from ..helpers import error_of


def write(folder, content, name="a.json"):
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def taken(folder, content, *flags):
    return parse(["--arguments", str(write(folder, content)), *flags])


def flat(config):
    """All options but the output, with absolute paths."""
    values = {**config.flat(), "output": None}
    return {
        name: os.path.abspath(value) if isinstance(value, Path) else value
        for name, value in values.items()
    }


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--data", "a.mindrecord", "--val-data", "/data/b.mindrecord", "--patience", "3"],
        ["--steps", "7", "--optimizer", "adamw", "--clip-norm", "0.5", "--no-bias-decay"],
        ["--freeze", "backbone", "--freeze-bn", "--no-allow-tf32", "--lr-factor", "head=10"],
        ["--resize-to", "64", "96", "--augment", "blur,vflip"],
        ["--resize-short", "64", "96", "--cat-max-ratio", "0.75", "--crop-size", "64"],
        ["--widths", "4", "4", "8", "8", "8", "--fc-width", "16", "--pretrained", "p.ckpt"],
        ["--sample", "--epochs", "3"],
        ["--download", "https://example.org/fcn8s", "--distributed", "--scale-lr"],
    ],
)
def test_what_a_run_writes_is_what_another_takes(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    first = parse([*given, "--output", "runs/a"])
    (tmp_path / "runs" / "a").mkdir(parents=True)
    path = write(tmp_path, first.stored(2, "runs/a"), "runs/a/arguments.json")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    second = parse(["--arguments", os.path.relpath(path)])
    monkeypatch.chdir(tmp_path)
    assert flat(second) == flat(first)
    assert second.run.output is None and second.run.resume is None


def test_a_run_stands_for_its_file(tmp_path):
    write(tmp_path, {"epochs": 9, "data": "a"}, "arguments.json")
    config = parse(["--arguments", str(tmp_path)])
    assert config.optimizer.epochs == 9 and config.data.data == tmp_path / "a"
    write(tmp_path, {"crop_size": 33}, "arguments.json")
    with pytest.raises(InputError, match="/arguments.json: crop_size 33 is not a multiple"):
        parse(["--arguments", str(tmp_path)])


def test_flags_beat_the_file(tmp_path):
    stored = parse(["--epochs", "9", "--base-lr", "0.2", "--freeze-bn"]).stored(1)
    config = taken(tmp_path, stored, "--base-lr", "0.05", "--no-freeze-bn", "--output", "b")
    assert (config.optimizer.epochs, config.optimizer.base_lr) == (9, 0.05)
    assert not config.network.freeze_bn and config.run.output == Path("b")
    assert taken(tmp_path, stored).network.freeze_bn


@pytest.mark.parametrize(
    ("stored", "flags", "expected"),
    [
        (["--steps", "7"], ["--epochs", "3"], {"steps": None, "epochs": 3}),
        ([], ["--resize-to", "64", "96"], {"crop_size": None, "resize_to": [64, 96]}),
        (["--resize-to", "64", "96"], ["--crop-size", "64"], {"crop_size": 64, "resize_to": None}),
        (["--cat-max-ratio", "0.5"], ["--resize-to", "64", "96"], {"cat_max_ratio": None}),
        ([], ["--resize-short", "64", "96"], {"min_scale": None, "crop_size": 512}),
        (
            ["--resize-short", "9", "9"],
            ["--min-scale", "1"],
            {"resize_short": None, "max_scale": 2},
        ),
    ],
)
def test_what_contradicts_a_flag_is_left_in_the_file(tmp_path, stored, flags, expected):
    found = taken(tmp_path, parse(stored).stored(1), *flags).flat()
    assert {name: found[name] for name in expected} == expected


def test_a_file_beats_the_preset_of_the_sample(tmp_path):
    config = taken(tmp_path, {"sample": True, "epochs": 5, "resize_to": [64, 64]}, "--keep", "2")
    assert (config.optimizer.epochs, config.run.keep) == (5, 2)
    assert config.optimizer.base_lr == demo.PRESET["base_lr"] and config.data.crop_size is None
    assert not taken(tmp_path, {"sample": True}, "--no-sample").data.sample


def test_toml(tmp_path):
    text = """
    # a comment
    data = "records/a.mindrecord"
    class_weights = "weights.json"
    val_data = "~/b.mindrecord"
    base_lr = 1
    widths = [4, 4, 8, 8, 8]
    freeze = ["backbone"]
    freeze_bn = true
    output = "not taken"
    """
    config = parse(["--arguments", str(write(tmp_path, text, "a.toml"))])
    assert config.data.data == tmp_path / "records" / "a.mindrecord"
    assert config.data.val_data == Path.home() / "b.mindrecord"
    assert config.optimizer.class_weights == str(tmp_path / "weights.json")
    assert type(config.optimizer.base_lr) is float and config.optimizer.base_lr == 1
    assert config.network.widths == [4, 4, 8, 8, 8] and config.network.freeze_bn
    assert config.run.output is None


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ({"epoch": 3}, (), "the training has no argument 'epoch'; did you mean epochs?"),
        ({"crop-size": 64}, (), "no argument 'crop-size'; did you mean crop_size?"),
        ({"zzz": 64}, (), "the training has no argument 'zzz'$"),
        ({"resume": "a"}, (), "resume is for the command line: --resume; remove it"),
        ({"preview": "a.png"}, (), "preview is for the command line: --preview; remove it"),
        ({"arguments": "a"}, (), "arguments is for the command line: --arguments; remove it"),
        ({"epochs": "3"}, (), "epochs is '3'; need a whole number of at least 1: correct the file"),
        ({"epochs": 0}, (), "epochs is 0; need a whole number of at least 1"),
        ({"widths": [1, 2]}, (), "widths has 2 items; need 5"),
        ({"arch": "fcn9s"}, (), "arch is 'fcn9s'; need one of"),
        ({"data": None}, (), "data is None; need a text"),
        ({"base_lr": -1}, (), "base_lr is -1.0; it must be positive: correct the file, or give"),
        ({"crop_size": 33}, (), "crop_size 33 is not a multiple of 32; take 64: correct the file"),
        ({"crop_size": 64, "resize_to": [64, 64]}, (), "resize_to takes the place of crop_size;"),
        ({"min_lr": 0.1}, ("--base-lr", "0.01"), "min_lr 0.1 is above base_lr 0.01: correct"),
        ([], (), "its content is not an object: correct the file"),
        ("{", (), "is not valid JSON"),
        ("[" * 100_000, (), "is not valid JSON"),
        (" " * 2**20 + "{}", (), "has more than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, content, flags, message):
    with pytest.raises(InputError) as caught:
        taken(tmp_path, content, *flags)
    assert str(caught.value).startswith(str(tmp_path / "a.json"))
    assert re.search(message, str(caught.value)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "epochs = 3\nepochs = 4\nseed = 1",
            "is not valid TOML (Cannot overwrite a value (at line 2",
        ),
        ("epochs = 3.5", "epochs is 3.5; need a whole number"),
        ("epochs = 2026-01-01", "epochs is datetime.date(2026, 1, 1); need a whole number"),
        ("base_lr = nan", "base_lr is nan; need a finite number"),
        ("[training]\nepochs = 3", "the training has no argument 'training'"),
        ("a = " + "[" * 5000, "is not valid TOML"),
    ],
)
def test_toml_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        parse(["--arguments", str(write(tmp_path, text, "a.toml"))])
    assert str(caught.value).startswith(str(tmp_path / "a.toml"))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_fault_of_the_command_line_is_its_own(tmp_path):
    with pytest.raises(InputError) as caught:
        taken(tmp_path, {"epochs": 3}, "--base-lr", "-1")
    assert str(caught.value) == "--base-lr is -1.0; it must be positive"


def test_files_that_are_not_there(tmp_path, capsys):
    for path, message in ((tmp_path / "no.json", "no.json is missing;"), (tmp_path, "is a folder")):
        error = error_of(train.main, ["--arguments", path], capsys)
        assert message in error and "pass --arguments the arguments.json of a run" in error
    error = error_of(train.main, ["--resume", tmp_path, "--arguments", tmp_path / "a"], capsys)
    assert "--resume takes the arguments of its run; leave out --arguments" in error
