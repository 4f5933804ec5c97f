"""What is written into files tells nothing of the machine: no user, host or absolute path."""

import getpass
import json
import os
import socket
import sqlite3
import sys
from pathlib import Path

import pytest

from fcn8s_ms import build, eval, export, predict, train
from fcn8s_ms.formats import paths
from fcn8s_ms.training import arguments

from .helpers import arguments as short_training
from .helpers import error_of, use_tiny_networks, write_voc


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A working directory with the results of every program, all called with absolute paths."""
    root = tmp_path_factory.mktemp("place") / "secretuser" / "work"
    root.mkdir(parents=True)
    patch = pytest.MonkeyPatch()
    use_tiny_networks(patch)
    patch.chdir(root)
    patch.setenv("HOME", str(root.parent))
    try:
        voc = write_voc(root / "voc")
        record = root / "data" / "all.mindrecord"
        build.main(["--voc-root", str(voc), "--split", "trainval", "--output", str(record)])
        weights = root / "weights.json"
        weights.write_text(json.dumps([1.0] * 21))
        more = ["--steps", "2", "--val-data", str(record), "--class-weights", str(weights)]
        try:
            import tensorboardX  # noqa: F401

            more.append("--tensorboard")
        except ImportError:
            pass
        first = root / "first"
        train.main(short_training(record, first, "--steps", "1"))
        more += ["--pretrained", str(first / "FCN8s-last.ckpt")]
        run = root / "runs" / "a"
        train.main(short_training(record, run, *more))
        best = str(run / "FCN8s-best.ckpt")
        scores = [str(root / f"scores{suffix}") for suffix in (".json", ".csv", ".md")]
        given = ["--data", str(record), "--device", "CPU"]
        eval.main(["--checkpoint", best, *given, "--output", *scores])
        for suffix in ("onnx", "mindir"):
            output = str(root / f"a.{suffix}")
            export.main(
                ["--checkpoint", best, "--format", suffix, "--output", output, "--device", "CPU"]
            )
        picture = str(voc / "JPEGImages" / "a.jpg")
        output = str(root / "predictions")
        predict.main(["--checkpoint", best, picture, "--output", output, "--device", "CPU"])
        yield root
    finally:
        patch.undo()


def test_no_file_names_the_machine(workplace):
    secrets = {str(workplace), "secretuser", str(Path.home()), socket.gethostname()}
    user = getpass.getuser()
    if len(user) > 4:
        secrets.add(user)
    secrets = {secret.encode() for secret in secrets if len(secret) > 3}
    for path in [path for path in workplace.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        found = [secret for secret in secrets if secret in content or secret in path.name.encode()]
        assert not found, (path.relative_to(workplace), found)
    assert sum(path.is_file() for path in workplace.rglob("*")) > 20


def test_where_paths_are_from(workplace):
    """In files that travel from the working directory, in arguments.json from its folder."""
    run = workplace / "runs" / "a"
    kept = json.loads((run / "arguments.json").read_text())
    assert kept["data"] == kept["val_data"] == "../../data/all.mindrecord"
    assert kept["pretrained"] == "../../first/FCN8s-last.ckpt" and kept["output"] == "."
    assert kept["class_weights"] == "../../weights.json"
    travels = json.loads((run / "FCN8s-best.ckpt.json").read_text())["arguments"]
    assert travels["data"] == "data/all.mindrecord" and travels["output"] == "runs/a"
    assert travels["class_weights"] == "weights.json"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["train"]["data"] == metrics["validation"]["data"] == "data/all.mindrecord"
    scores = json.loads((workplace / "scores.json").read_text())
    assert scores["data"] == "data/all.mindrecord"
    assert scores["checkpoint"] == "runs/a/FCN8s-best.ckpt"
    record = json.loads((workplace / "data" / "all.mindrecord.json").read_text())
    assert record["source"] == "voc/VOCdevkit/VOC2012"
    with sqlite3.connect(workplace / "data" / "all.mindrecord.db") as index:
        assert index.execute("SELECT NAME FROM SHARD_NAME").fetchall() == [("all.mindrecord",)]


def test_resume_from_another_working_directory(workplace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = workplace / "runs" / "a"
    for folder in (run, Path(os.path.relpath(run))):
        config = arguments.parse(["--resume", str(folder)])
        record = workplace / "data" / "all.mindrecord"
        assert config.data.data == config.data.val_data == record
        assert config.network.pretrained == workplace / "first" / "FCN8s-last.ckpt"
        assert config.optimizer.class_weights == str(workplace / "weights.json")
    weights = os.path.relpath(workplace / "weights.json")
    config = arguments.parse(["--resume", str(run), "--class-weights", weights, "--steps", "3"])
    monkeypatch.setattr(sys, "argv", ["train"])
    train.main(["--resume", str(run), "--steps", "3"])
    kept = json.loads((run / "arguments.json").read_text())
    assert kept["steps"] == 3 and kept["data"] == "../../data/all.mindrecord"


def test_old_absolute_paths_are_accepted(workplace, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    record = str(workplace / "data" / "all.mindrecord")
    (run / "arguments.json").write_text(json.dumps({"data": record, "output": "/somewhere/else"}))
    config = arguments.parse(["--resume", str(run)])
    assert str(config.data.data) == record and config.run.output == run


def test_paths_that_travel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, expected in (
        ("a/b.mindrecord", "a/b.mindrecord"),
        (tmp_path / "a" / "b.mindrecord", "a/b.mindrecord"),
        ("../b.mindrecord", "b.mindrecord"),
        ("/mnt/pool/alice/b.mindrecord", "b.mindrecord"),
        (tmp_path, tmp_path.name),
        (".", tmp_path.name),
        ("/", "/"),
    ):
        assert paths.portable(path) == expected, path


def test_paths_from_a_folder(tmp_path, monkeypatch):
    home = tmp_path / "home" / "alice"
    monkeypatch.setenv("HOME", str(home))
    run = tmp_path / "scratch" / "run"
    for path, expected in (
        (tmp_path / "scratch" / "b", "../b"),
        (run / "b", "b"),
        (home / "data" / "b", "~/data/b"),
        (home, "~"),
    ):
        kept = paths.from_folder(path, run)
        assert kept == expected
        assert paths.in_folder(kept, run) == path
    inside = home / "runs" / "a"
    assert paths.from_folder(home / "data" / "b", inside) == "../../data/b"
    assert paths.in_folder("/mnt/b", run) == Path("/mnt/b")


def test_folder_behind_a_link(tmp_path):
    (tmp_path / "real" / "runs").mkdir(parents=True)
    (tmp_path / "real" / "b").touch()
    link = tmp_path / "elsewhere" / "deep" / "runs"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "real" / "runs")
    (link / "a").mkdir()
    assert paths.in_folder("../../b", link / "a") == tmp_path / "real" / "b"


def test_address_of_a_download_without_its_password(monkeypatch):
    config = arguments.parse(["--download", "https://me:secret@host.example/datasets/"])
    assert config.stored(1)["download"] == "https://host.example/datasets/"


def test_record_that_has_moved_is_named(workplace, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "arguments.json").write_text(json.dumps({"data": "../gone.mindrecord"}))
    message = error_of(train.main, ["--resume", run], capsys)
    assert str(tmp_path / "gone.mindrecord") in message
