import json
import re

import pytest

from fcn8s_ms import compare, visualize
from fcn8s_ms.training import comparison

from .helpers import error_line_of


def write_run(folder, steps=40, ious=(0.1, 0.3, 0.2), **arguments):
    """A folder as a training with 10 steps per epoch leaves it, or is writing to it."""
    folder.mkdir(parents=True)
    (folder / "arguments.json").write_text(json.dumps({"arch": "fcn8s", "seed": 1, **arguments}))
    log = [
        {"step": step, "epoch": (step + 9) // 10, "loss": 4 / step, "lr": 0.1}
        for step in range(1, steps + 1)
    ]
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in log))
    validations = [
        {"step": 10 * epoch, "epoch": epoch, "mean IoU": iou, "pixel accuracy": 0.5}
        for epoch, iou in enumerate(ious, 1)
    ]
    (folder / "validations.jsonl").write_text(
        "".join(f"{json.dumps(line)}\n" for line in validations)
    )
    return folder


def bits(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def table_rows(printed):
    return [re.split(r" {2,}", line.strip()) for line in printed.splitlines()]


def test_runs_are_drawn_and_their_differences_named(tmp_path, capsys):
    a = write_run(tmp_path / "a", base_lr=0.1, freeze=["backbone", "fc"])
    b = write_run(tmp_path / "b", steps=12, ious=(0.25,), base_lr=0.2, output="elsewhere")
    (a / "FCN8s-best.ckpt").write_bytes(b"")
    (a / "FCN8s-best.ckpt.json").write_text(json.dumps({"step": 20, "seconds": 90}))
    with open(b / "log.jsonl", "a") as file:
        file.write('{"step": 13, "epo')  # being written
    before = [bits(a), bits(b)]
    picture = tmp_path / "new" / "both.png"
    compare.main([str(a), str(b), "--output", str(picture)])
    rows = table_rows(capsys.readouterr().out)
    assert rows[:3] == [
        ["argument", "a", "b"],
        ["base_lr", "0.1", "0.2"],
        ["freeze", "backbone fc", "-"],
    ]
    # 4/37 … 4/40 and 4/12: the last tenths of 40 and 12 steps.
    assert rows[5] == ["a", "40", "4", "0.1040", "0.3000", "0.5000", "-", "20", "2", "1.5"]
    assert rows[6] == ["b", "12", "2", "0.3333", "0.2500", "0.5000", "-", "10", "1", "-"]
    assert picture.stat().st_size > 10_000
    assert [path.name for path in picture.parent.iterdir()] == ["both.png"]
    assert [bits(a), bits(b)] == before


def test_one_is_a_number_and_true_is_yes(tmp_path, capsys):
    a = write_run(tmp_path / "a", seed=1, warmup_steps=0, freeze_bn=True)
    b = write_run(tmp_path / "b", seed=2, warmup_steps=1, freeze_bn=False)
    compare.main([str(a), str(b), "--output", str(tmp_path / "c.png")])
    rows = table_rows(capsys.readouterr().out)
    assert rows[1:4] == [["seed", "1", "2"], ["warmup_steps", "0", "1"], ["freeze_bn", "yes", "no"]]


def test_curves_are_those_of_the_logs(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(visualize, "runs_curves", lambda path, runs: drawn.append((path, runs)))
    run = write_run(tmp_path / "a")
    compare.main([str(run), "--output", str(tmp_path / "c.svg")])
    ((path, runs),) = drawn
    assert path.suffix == ".svg" and list(runs) == ["a"]
    course = runs["a"]
    assert [step["loss"] for step in course.steps] == [4 / step for step in range(1, 41)]
    assert course.epoch_steps == 10 and course.best["step"] == 20
    assert course.loss == "cross-entropy"


def test_equal_names_are_told_apart(tmp_path):
    paths = [tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "z"]
    assert comparison.names_of(paths) == ["x/run", "y/run", "z"]
    deeper = [tmp_path / "p" / "x" / "run", tmp_path / "q" / "x" / "run"]
    assert comparison.names_of(deeper) == ["p/x/run", "q/x/run"]


@pytest.mark.parametrize("kind", ["no run", "missing", "empty", "twice", "suffix"])
def test_what_cannot_be_compared(tmp_path, capfd, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "run", steps=0 if kind == "empty" else 3, ious=())
    (tmp_path / "other").mkdir()
    given, message = {
        "no run": (["run", "other"], "other is not the folder of a run: it has no arguments.json"),
        "missing": (["run", "nothing"], "nothing is not the folder of a run"),
        "empty": (["run"], "run has no finished step; wait for its first one"),
        "twice": (["run", str(run)], "run is given twice; leave one out"),
        "suffix": (["run", "--output", "a.txt"], "--output a.txt ends in none of .png, .pdf, .svg"),
    }[kind]
    assert message in error_line_of(compare.main, given, capfd)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run"]
