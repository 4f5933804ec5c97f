"""`arguments.json` is checked before anything believes it."""

import json
import random

import pytest

from fcn8s_ms import fetch, train
from fcn8s_ms.errors import InputError
from fcn8s_ms.training import arguments
from fcn8s_ms.training.run_folder import RunFolder

from ..helpers import arguments as short
from ..helpers import mutations


@pytest.fixture
def content():
    config = arguments.parse(["--val-data", "v", "--widths", "4", "4", "8", "8", "8"])
    return json.loads(json.dumps(config.stored(1), default=str))


def read(folder, content):
    (folder / "arguments.json").write_text(json.dumps(content))
    return arguments.parse(["--resume", str(folder)])


def test_every_field_is_described(tmp_path, content):
    """What the program writes passes; no field may have a value of every type."""
    read(tmp_path, content)
    values = [None, True, -1, 2**70, 1e400, "x\0", "\ud800", [], [[]], {}, ["a"] * 2000, -0.5]
    for name in content:
        refused = 0
        for value in values:
            try:
                read(tmp_path, {**content, name: value})
            except InputError as error:
                refused += 1
                message = str(error)
                assert message.startswith(str(tmp_path / "arguments.json")), message
                assert name in message and "\n" not in message
                assert f"--{name.replace('_', '-')}" not in message
                assert message.endswith("correct the file")
        assert refused or name in ("download", "sample"), name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("widths", [4, 4], "widths has 2 items; need 5"),
        ("widths", [4, 4, 8, 8, "8"], r"widths\[4\] is '8'; need a whole number"),
        ("arch", "fcn9s", "arch is 'fcn9s'; need one of fcn32s, fcn16s, fcn8s"),
        ("epochs", 0, "epochs is 0; need a whole number of at least 1"),
        ("base_lr", -1, "base_lr is -1; it must be positive: correct the file"),
        ("min_lr", 9.0, "min_lr 9.0 is above base_lr 0.05: correct the file"),
        ("crop_size", 33, "crop_size 33 is not a multiple of 32; take 64: correct the file"),
        ("freeze", ["all"], r"freeze\[0\] is 'all'; need one of backbone, fc, head, upsampling"),
        ("ranks", 0, "ranks is 0; need a whole number"),
        ("data", None, "data is None; need a text"),
    ],
)
def test_wrong_fields(tmp_path, content, name, value, message):
    with pytest.raises(InputError, match=f"arguments.json: {message}"):
        read(tmp_path, {**content, name: value})


def test_wrong_flag_is_called_a_flag(tmp_path, content):
    read(tmp_path, content)
    with pytest.raises(InputError, match="^--steps is 0; it must be positive"):
        arguments.parse(["--resume", str(tmp_path), "--steps", "0"])


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "[]", "null", '"a"', "\0"])
def test_other_json(tmp_path, text):
    (tmp_path / "arguments.json").write_text(text)
    with pytest.raises(InputError, match="arguments.json"):
        arguments.parse(["--resume", str(tmp_path)])
    with pytest.raises(InputError, match="arguments.json"):
        RunFolder.open(tmp_path)


def test_damaged_files(tmp_path, content):
    path = tmp_path / "arguments.json"
    for damaged in mutations(json.dumps(content).encode(), 7, 300):
        path.write_bytes(damaged)
        try:
            arguments.parse(["--resume", str(tmp_path)])
        except InputError as error:
            assert "arguments.json" in str(error)


def test_fields_of_random_types(tmp_path, content):
    rng = random.Random(3)
    values = [*content.values(), {}, [1], -3, "", 1e9, None]
    for _ in range(300):
        changed = dict(content)
        for name in rng.sample(sorted(content), 2):
            changed[name] = rng.choice(values)
        try:
            read(tmp_path, changed)
        except InputError as error:
            assert "arguments.json" in str(error)


@pytest.mark.usefixtures("tiny_network")
def test_nothing_is_fetched_again(record, tmp_path, monkeypatch):
    run = tmp_path / "run"
    train.main(short(record, run, "--steps", "1"))
    stored = json.loads((run / "arguments.json").read_text())
    (run / "arguments.json").write_text(json.dumps({**stored, "download": "http://127.0.0.1:9/"}))

    def fetched(*args, **kwargs):
        raise AssertionError("contacted")

    monkeypatch.setattr(fetch, "fetch_data", fetched)
    monkeypatch.setattr(fetch, "fetch_checkpoint", fetched)
    train.main(["--resume", str(run), "--steps", "2"])
