import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fcn8s_ms import records
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import sources

from ..helpers import SIZES, draw_pair, write_plain_record


def copied(record, folder, suffixes=("", ".db", ".json")):
    for suffix in suffixes:
        shutil.copy(f"{record}{suffix}", folder / f"{record.name}{suffix}")
    return folder / record.name


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_record_without_metadata_can_be_read(record, tmp_path):
    path = copied(record, tmp_path, ("", ".db"))
    assert records.read_metadata(path) is None
    assert records.open_record(path)[1] == 5


def test_a_record_of_others_can_be_read(tmp_path):
    """As the published one: no metadata, no seals."""
    path = write_plain_record(tmp_path / "r.mindrecord")
    assert records.open_record(path) == (path, 5)
    names = [name for name, _, _ in records.read_samples(path)]
    assert names == [name for name, _, _ in SIZES]
    found = records.survey_record(path)
    assert found.num_samples == 5 and found.num_sealed == 0


def test_metadata_of_another_record_are_not_taken(record, tmp_path):
    """A name that ends in digits may be a shard's, or not."""
    path = write_plain_record(tmp_path / f"{record.name}0")
    shutil.copy(f"{record}.json", tmp_path)
    assert records.read_metadata(path) is None


def test_columns(record):
    expected = {"data": "bytes", "file_name": "string", "label": "bytes"}
    assert records.columns(record) == expected


def test_survey(record):
    found = records.survey_record(record, progress=lambda rows, total: (row for row in rows))
    labels = [draw_pair(*size)[1] for size in SIZES]
    assert found.num_samples == found.num_sealed == 5
    assert found.sizes == {(height, width): 1 for _, height, width in SIZES}
    for label in (0, 7, 15, 20, 255):
        assert found.pixel_counts[label] == sum((one == label).sum() for one in labels)
        assert found.image_counts[label] == sum((one == label).any() for one in labels)


def test_record_that_is_missing(tmp_path):
    with pytest.raises(InputError, match=f"record {tmp_path}/none is missing; build it with"):
        records.open_record(tmp_path / "none")


def test_folder_in_place_of_a_record(record, tmp_path):
    with pytest.raises(InputError, match="is a folder, .*; name a record in it: .*all.mindrecord"):
        records.open_record(record.parent)
    with pytest.raises(InputError, match=f"{tmp_path} is a folder, not a file; name a record$"):
        records.open_record(tmp_path)


@pytest.mark.parametrize("suffixes", [("", ".json"), ("",)])
def test_record_without_its_index(record, tmp_path, suffixes):
    path = copied(record, tmp_path, suffixes)
    with pytest.raises(InputError, match="all.mindrecord.db is missing: MindRecord needs it"):
        records.open_record(path)


def test_record_without_one_of_its_shards(voc_folder, tmp_path):
    output = tmp_path / "r"
    records.build_records(sources.voc_pairs(voc_folder, "trainval"), output, num_shards=3)
    (tmp_path / "r2").unlink()
    for name in ("r", "r0", "r1"):
        with pytest.raises(InputError, match="r2 is missing: .* copy all files of the record"):
            records.open_record(tmp_path / name)


@pytest.mark.parametrize("suffixes", [("", ".db", ".json"), ("", ".db")])
def test_record_that_is_garbage(record, tmp_path, capfd, suffixes):
    path = copied(record, tmp_path, suffixes)
    path.write_bytes(b"garbage" * 1000)
    message = "7,000 bytes instead of" if ".json" in suffixes else "cannot be read as a MindRecord"
    with pytest.raises(InputError, match=f"all.mindrecord .*{message}"):
        records.open_record(path)
    assert capfd.readouterr().err == ""


def test_record_that_is_cut_short(record, tmp_path):
    path = copied(record, tmp_path)
    with open(path, "rb+") as file:
        file.truncate(path.stat().st_size - 10)
    with pytest.raises(InputError, match="it is cut short or of another build"):
        records.open_record(path)


@pytest.mark.parametrize("suffix", ["", ".db"])
@pytest.mark.parametrize("position", [8, 100, 400])
def test_damage_to_head_and_index(record, tmp_path, suffix, position):
    """MindSpore would abort on some of these."""
    path = copied(record, tmp_path)
    flip(Path(f"{path}{suffix}"), position)
    with pytest.raises(InputError, match="all.mindrecord or all.mindrecord.db is damaged"):
        records.open_record(path)


def test_damage_to_samples(record, tmp_path):
    """Wherever a byte of image or label differs, reading ends with an error."""
    path = copied(record, tmp_path)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    whole = list(records.read_samples(record))
    payload = [
        content.tobytes().index(part) for _, image, label in whole for part in (image, label)
    ]
    for start in payload[:2] + payload[-2:]:
        for position in (start, start + 200):
            flip(path, position)
            with pytest.raises(InputError, match="a sample is damaged .*; copy or build"):
                list(records.read_samples(path))
            flip(path, position)
    flip(path, payload[3])
    with pytest.raises(InputError, match="a sample is damaged"):
        records.survey_record(path)
    flip(path, payload[3])
    assert list(records.read_samples(path)) == whole


def test_record_with_other_columns(tmp_path):
    from mindspore.mindrecord import FileWriter

    path = tmp_path / "other.mindrecord"
    writer = FileWriter(str(path))
    writer.add_schema({"picture": {"type": "bytes"}, "data": {"type": "bytes"}})
    writer.write_raw_data([{"picture": b"1", "data": b"2"}])
    writer.commit()
    expected = "has the columns data, picture; needed are data, label, file_name: build it with"
    with pytest.raises(InputError, match=expected):
        records.open_record(path)


@pytest.mark.parametrize("suffixes", [("", ".db"), ("", ".db", ".json")])
@pytest.mark.parametrize("with_other", [False, True])
def test_record_that_was_renamed(record, tmp_path, suffixes, with_other):
    """MindRecord would read the record of the old name, where there is one."""
    for suffix in suffixes:
        shutil.copy(f"{record}{suffix}", tmp_path / f"renamed{suffix}")
    if with_other:
        copied(record, tmp_path)
    with pytest.raises(InputError, match="/renamed was renamed from all.mindrecord: MindRecord"):
        records.open_record(tmp_path / "renamed")


def test_json_of_another_record(record, tmp_path):
    path = copied(record, tmp_path)
    file = path.with_name(path.name + ".json")
    file.write_text(file.read_text().replace('"all.mindrecord"', '"other.mindrecord"'))
    with pytest.raises(InputError, match="the .json of .*/all.mindrecord is that of other.mind"):
        records.open_record(path)


@pytest.mark.parametrize("content", ['{"classes": 1}', "[]", "{", '{"palette": [[0, 0, 0]]}'])
def test_metadata_that_are_damaged(record, tmp_path, content):
    path = copied(record, tmp_path)
    path.with_name(path.name + ".json").write_text(content)
    kind = "valid JSON" if content == "{" else "this package's metadata"
    with pytest.raises(InputError, match=f"all.mindrecord.json is not {kind}"):
        records.read_metadata(path)


def test_metadata_of_an_older_build_can_be_read(record, tmp_path):
    path = copied(record, tmp_path)
    content = json.loads(Path(f"{path}.json").read_text())
    for name in ("image_counts", "present_pixels", "file_sizes", "index_checksums"):
        del content[name]
    Path(f"{path}.json").write_text(json.dumps(content))
    assert records.read_metadata(path).image_counts == ()
    assert records.open_record(path)[1] == 5


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("files", ["../../etc/passwd"], r"files\[0\] is '../../etc/passwd'; need a file name"),
        ("files", ["a\0b"], r"files\[0\] is 'a\\x00b'; need a file name"),
        ("files", [], "files has 0 items"),
        ("files", ["all.mindrecord"] * 2, "file_sizes has 1 items; need 2, as files"),
        ("files", "all.mindrecord", "files is 'all.mindrecord'; need a list"),
        ("classes", ["a"], "palette has 21 items; need 1, as classes"),
        ("classes", [3] * 21, r"classes\[0\] is 3; need a text"),
        ("classes", {}, "classes is {}; need a list"),
        ("palette", [[0, 0, 256]] * 21, r"palette\[0\]\[2\] is 256; need a whole number"),
        ("palette", [[0, 0]] * 21, r"palette\[0\] has 2 items"),
        ("palette", None, "palette is None; need a list"),
        ("pixel_counts", [1], "pixel_counts has 1 items; need 21, as classes"),
        ("pixel_counts", [], "pixel_counts has 0 items; need 21"),
        ("pixel_counts", [-1] * 21, r"pixel_counts\[0\] is -1"),
        ("present_pixels", [0] * 21, r"present_pixels\[0\] is 0, fewer than pixel_counts\[0\]"),
        ("image_counts", [1.5] * 21, r"image_counts\[0\] is 1.5"),
        ("image_counts", [10**400] * 21, r"image_counts\[0\] is 1000"),
        ("num_samples", "5", "num_samples is '5'"),
        ("num_samples", True, "num_samples is True"),
        ("file_sizes", [1, 2], "file_sizes has 2 items; need 1, as files"),
        ("index_checksums", [2**32], r"index_checksums\[0\] is 4294967296"),
        ("source", "\ud800", "source is .* without lone surrogates"),
        ("version", [], r"version is \[\]; need a text"),
        ("more", 1, "has more, unknown here"),
    ],
)
def test_metadata_with_a_wrong_field(record, tmp_path, field, value, message):
    path = copied(record, tmp_path)
    content = json.loads(Path(f"{path}.json").read_text())
    Path(f"{path}.json").write_text(json.dumps({**content, field: value}))
    expected = f"all.mindrecord.json is not this package's metadata .*{message}.*; build the"
    with pytest.raises(InputError, match=expected):
        records.open_record(path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\ud800"])
def test_names_that_no_file_has(tmp_path, name):
    with pytest.raises(InputError, match="record .* is missing; build it with"):
        records.open_record(tmp_path / name)


@pytest.mark.parametrize("suffix", [".json", ".db"])
def test_file_that_may_not_be_read(record, monkeypatch, suffix):
    """As root sees none, the refusal is made up."""
    read = Path.read_bytes

    def refuse(self):
        if self.suffix == suffix:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    expected = rf"all.mindrecord{suffix} cannot be read \(Permission denied\)"
    with pytest.raises(InputError, match=expected):
        records.open_record(record)
