import json

import pytest

from fcn8s_ms import files


def test_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_lines_up_to_one_that_was_cut_short(tmp_path):
    path = tmp_path / "log.jsonl"
    with open(path, "a", encoding="utf-8") as file:
        for value in (1.5, float("nan")):
            files.append_json_line(file, {"loss": value})
        assert files.read_json_lines(path) == [{"loss": 1.5}, {"loss": None}]
        file.write('{"loss": 2, "gre')
    assert files.read_json_lines(path) == [{"loss": 1.5}, {"loss": None}]
    assert files.read_json_lines(tmp_path / "none.jsonl") == []


def test_bytes_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    files.write_bytes(path, b"old")

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_that_cannot_be_made(tmp_path):
    files.make_folder(tmp_path / "a" / "b", "--output")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(files.InputError, match="--output .*file/b cannot be created"):
        files.make_folder(tmp_path / "file" / "b", "--output")
