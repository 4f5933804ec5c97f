from pathlib import Path

import pytest

from fcn8s_ms import files


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


def test_a_folder_that_cannot_be_made(tmp_path):
    files.make_folder(tmp_path / "a" / "b", "--output")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(files.InputError, match="--output .*file/b cannot be created"):
        files.make_folder(tmp_path / "file" / "b", "--output")
