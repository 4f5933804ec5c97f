import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcn8s_ms import files
from fcn8s_ms.errors import InputError


@pytest.mark.parametrize(
    ("write", "old", "new"),
    [
        (files.write_bytes, b"old", b"new"),
        (files.write_text, "old", "new"),
        (files.write_json, {"a": 1}, {"a": 2}),
    ],
)
def test_complete_or_not_at_all(tmp_path, monkeypatch, write, old, new):
    path = tmp_path / "a.file"
    write(path, old)
    before = path.read_bytes()

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write(path, new)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write(path, new)
    assert path.read_bytes() != before


def test_json_is_strict():
    value = {"a": [float("nan"), (float("-inf"), 1.5)], "path": Path("x/y"), "größe": None}
    text = files.json_text(value, indent=None)
    assert text == '{"a": [null, [null, 1.5]], "path": "x/y", "größe": null}'


def test_lines_up_to_one_that_was_cut_short(tmp_path):
    path = tmp_path / "log.jsonl"
    with open(path, "a", encoding="utf-8") as file:
        for value in (1.5, float("nan")):
            files.append_json_line(file, {"loss": value})
        assert files.read_json_lines(path) == [{"loss": 1.5}, {"loss": None}]
        file.write('{"loss": 2, "gre')
    assert files.read_json_lines(path) == [{"loss": 1.5}, {"loss": None}]
    assert files.read_json_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("wait", [False, True])
def test_file_that_is_not_complete_never_gets_its_name(tmp_path, wait):
    path = tmp_path / "a.png"
    with pytest.raises(RuntimeError), files.written(path, wait) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    with files.written(path, wait) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old" and unfinished.suffix == ".png"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        (f"[{'9' * 5000}]", "integer string conversion"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[1e999]", "the number 1e999 is too large"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_what_is_not_json(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"a.json is not valid JSON \(.*{reason}.*correct it"):
        files.read_json(path)


def test_json_that_is_not_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match="a.json is not UTF-8 text"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("read", [files.read_bytes, files.read_text, files.read_json])
def test_paths_that_cannot_be_read(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        ("a\0b", "cannot be the path of a file"),
        ("\ud800", "cannot be the path of a file"),
        (tmp_path / ("x" * 300), r"cannot be read \(File name too long\)"),
        (tmp_path, "is a folder, not a file"),
        (tmp_path / "pipe", "is a pipe, socket or device; check"),
        ("/dev/zero", "is a pipe, socket or device; check"),
        (tmp_path / "none", "is missing"),
    ):
        with pytest.raises(InputError, match=reason):
            read(path)


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    """As root sees none, the refusal is made up."""

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.json").write_text("{}")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    for read in (files.read_bytes, files.read_text, files.read_json, files.read_json_lines):
        with pytest.raises(InputError, match=r"a.json cannot be read \(Permission denied\)"):
            read(tmp_path / "a.json")


def test_a_damaged_line_does_not_hide_the_later_ones(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n{"a": 2\n[3]\n{"a": 4}\n{"a": 5, ')
    assert files.read_json_lines(path) == [{"a": 1}, {"a": 4}]
    assert [record.args[1] for record in caplog.records] == [2, 3]


# --- several processes -------------------------------------------------------------------------

_WRITE = """
import sys, time
from fcn8s_ms import files
for number in range(200):
    files.write_json(sys.argv[1], {"number": number})
"""


def test_processes_that_write_one_file(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITE, tmp_path / "a.json"], stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in started:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert files.read_json(tmp_path / "a.json") == {"number": 199}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_process_left_is_removed(tmp_path, monkeypatch):
    alive = files.unfinished(tmp_path / "b.json")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    mark = f"-{os.getpid()}-"
    abandoned = alive.with_name(alive.name.replace(mark, f"-{process.pid}-"))
    neighbour = tmp_path / ".b.unfinished.json.backup"
    for path in (alive, abandoned, neighbour):
        path.write_text("half")
        assert path.match(".*.unfinished*")  # as a run's folder finds them
    monkeypatch.setattr(files, "_swept", set())
    files.write_text(tmp_path / "a.txt", "whole")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([alive.name, neighbour.name, "a.txt"])
