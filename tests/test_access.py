"""Files that may not be read or written, and names that are not UTF-8: one line, status 2."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import pytest

from fcn8s_ms import build, checkpoint, eval, export, model, predict, train

from .helpers import (
    TINY,
    arguments,
    draw_pair,
    error_of,
    ordinary_user,
    use_tiny_networks,
    write_mask,
)

LATIN_1 = os.fsdecode(b"caf\xe9")


@pytest.fixture(scope="module")
def folder(record):
    """A folder that every user may enter, which pytest's are not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    for suffix in ("", ".db", ".json"):
        shutil.copy(f"{record}{suffix}", path / f"{record.name}{suffix}")
    checkpoint.save(model.FCN8s(21, **TINY), path / "n.ckpt", {})
    cv2.imwrite(str(path / "a.png"), draw_pair("a", 40, 50)[0])
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        train.main(arguments(path / record.name, path / "run", "--steps", "1"))
    for name in ("free", LATIN_1):
        (path / name).mkdir()
        (path / name).chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def closed(folder):
    """Function that takes all rights to a file or folder away, until the end of the test."""
    modes = {}

    def close(path):
        modes[path] = path.stat().st_mode
        path.chmod(0o500 if path.is_dir() else 0)

    yield close
    for path, mode in modes.items():
        path.chmod(mode)


def programs(folder, record="all.mindrecord", weights="n.ckpt", output="free"):
    """Each program that reads a checkpoint, and one that only reads a record."""
    data, weights, output = folder / record, folder / weights, folder / output
    on_cpu = ["--checkpoint", weights, "--device", "CPU"]
    return {
        "predict": (predict.main, [folder / "a.png", *on_cpu, "--output", output]),
        "eval": (eval.main, [*on_cpu, "--data", data]),
        "export": (export.main, [*on_cpu, "--output", output / "n.onnx"]),
        "train": (train.main, arguments(data, output / "run", "--pretrained", str(weights))),
        "build": (build.main, ["--inspect", data]),
    }


@pytest.mark.parametrize("program", ["predict", "eval", "export", "train"])
@pytest.mark.parametrize("name", ["n.ckpt", "n.ckpt.json"])
def test_checkpoint_that_may_not_be_read(folder, closed, tiny_network, capfd, name, program):
    if program == "export":  # loaded here: an ordinary user may not enter Python's own folders
        pytest.importorskip("onnx")
    closed(folder / name)
    with ordinary_user():
        said = error_of(*programs(folder)[program], capfd)
    assert f"{folder / name}" in said and "Permission denied" in said
    assert "accessible" in said or "check the path" in said
    assert not list((folder / "free").rglob("*.*"))
    shutil.rmtree(folder / "free" / "run", ignore_errors=True)


@pytest.mark.parametrize("program", ["eval", "train", "build"])
@pytest.mark.parametrize("suffix", ["", ".db", ".json"])
def test_record_that_may_not_be_read(folder, closed, tiny_network, capfd, suffix, program):
    closed(folder / f"all.mindrecord{suffix}")
    with ordinary_user():
        said = error_of(*programs(folder)[program], capfd)
    assert f"all.mindrecord{suffix} cannot be read (Permission denied)" in said


@pytest.mark.parametrize("name", [".", "arguments.json", "FCN8s-last.ckpt", "log.jsonl"])
def test_run_that_may_not_be_resumed(folder, closed, tiny_network, capfd, name):
    run = folder / "run"
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    closed(run / name)
    with ordinary_user():
        said = error_of(train.main, ["--resume", run, "--steps", "2"], capfd)
    assert str(run) in said and ("Permission denied" in said or "no readable arguments" in said)
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


@pytest.mark.parametrize("program", ["eval", "train", "build"])
def test_record_whose_name_is_not_utf_8(folder, tiny_network, capfd, program):
    """MindSpore opens none; pybind's complaint about it takes a page."""
    for suffix in ("", ".db", ".json"):
        shutil.copy(folder / f"all.mindrecord{suffix}", folder / LATIN_1 / f"r{suffix}")
    said = error_of(*programs(folder, record=f"{LATIN_1}/r")[program], capfd)
    assert "has a name that is not UTF-8; rename it" in said


@pytest.mark.parametrize("program", ["export", "train"])
def test_output_whose_name_is_not_utf_8(folder, tiny_network, capfd, program):
    said = error_of(*programs(folder, output=LATIN_1)[program], capfd)
    assert "has a name that is not UTF-8; rename it" in said
    assert not [*(folder / LATIN_1).glob("run*"), *(folder / LATIN_1).glob("*.onnx")]


def test_scores_of_a_checkpoint_whose_name_is_not_utf_8(folder, tmp_path, capfd):
    for suffix in ("", ".json"):
        shutil.copy(folder / f"n.ckpt{suffix}", tmp_path / f"{LATIN_1}.ckpt{suffix}")
    main, given = programs(folder, weights=tmp_path / f"{LATIN_1}.ckpt")["eval"]
    paths = [tmp_path / f"{LATIN_1}.{suffix}" for suffix in ("json", "csv", "md")]
    main([str(one) for one in (*given, "--output", *paths)])
    # Half of a surrogate pair in what a test writes, logs or compares would end pytest's workers.
    capfd.readouterr()
    found = json.loads(paths[0].read_text())["checkpoint"]
    assert ascii(found) == ascii(f"{LATIN_1}.ckpt")
    assert all("caf\\udce9.ckpt" in path.read_text() for path in paths[1:])


def test_builds_of_names_that_are_not_utf_8(tmp_path, capfd):
    image, label = draw_pair("a", 40, 50)
    for name in ("i", "l"):
        (tmp_path / name).mkdir()
    (tmp_path / "c.txt").write_text("\n".join(f"class {number}" for number in range(21)))
    (tmp_path / "i" / "a.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    write_mask(tmp_path / "l" / "a.png", label)
    given = ["--images", tmp_path / "i", "--labels", tmp_path / "l"]
    given += ["--classes", tmp_path / "c.txt", "--output"]
    said = error_of(build.main, [*given, tmp_path / LATIN_1], capfd)
    assert "has a name that is not UTF-8; rename it" in said
    for name in ("i", "l"):
        shutil.copy(tmp_path / name / "a.png", tmp_path / name / f"{LATIN_1}.png")
    said = error_of(build.main, [*given, tmp_path / "r"], capfd)
    assert "1 of 2 images cannot be used" in said and "is not UTF-8; rename it" in said
    assert sorted(os.listdir(tmp_path)) == ["c.txt", "i", "l"]


def test_predictions_among_names_that_are_not_utf_8(record, tmp_path, capfd):
    write_mask(tmp_path / "a.png", draw_pair("a", 40, 50)[1])
    shutil.copy(tmp_path / "a.png", tmp_path / f"{LATIN_1}.png")
    said = error_of(eval.main, ["--data", record, "--predictions", tmp_path], capfd)
    assert "lacks 4 of 5 masks: b.png, c.png, d.png, e.png" in said


def test_patterns_that_leave_their_folder_write_to_the_output(folder, tmp_path, monkeypatch):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("in/x.png", "a.png"):
        shutil.copy(folder / "a.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    given = ["in/s*/../x.png", "in/s*/../../a.png", "--checkpoint", folder / "n.ckpt"]
    predict.main([str(one) for one in (*given, "--device", "CPU", "--output", "o/p/q")])
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*_mask.png"))
    assert found == ["o/p/q/a_mask.png", "o/p/q/x_mask.png"]
