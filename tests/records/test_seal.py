"""Records of others get their checksums, and from then on every damage is noticed."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from mindspore.mindrecord import FileWriter

from fcn8s_ms import records, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import Classes, sources
from fcn8s_ms.records.write import build_records

from ..helpers import SIZES, draw_pair, record_data, write_plain_record
from .test_read import copied, flip


@pytest.fixture
def plain(tmp_path):
    return write_plain_record(tmp_path / "plain.mindrecord")


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_sealed_record_is_described_as_a_built_one(plain, record):
    assert records.seal_record(plain)
    found, built = records.read_metadata(plain), records.read_metadata(record)
    for name in ("classes", "palette", "pixel_counts", "image_counts", "present_pixels"):
        assert getattr(found, name) == getattr(built, name), name
    assert found.num_samples == 5 and found.files == ("plain.mindrecord",)
    assert found.sha256 == (digest(plain),)
    assert records.open_record(plain) == (plain, 5)


@pytest.mark.parametrize("position", [40, 2000, 100_000, -3000, "image"])
def test_every_reader_refuses_a_flipped_byte(plain, position):
    records.seal_record(plain)
    if position == "image":  # inside of a JPEG, which has no checksum of its own
        position = plain.read_bytes().index(b"\xff\xd8\xff") + 400
    if position >= 0:
        position = min(position, plain.stat().st_size - 1)
    flip(plain, position)
    for read in (
        records.open_record,
        records.survey_record,
        lambda path: list(records.read_samples(path)),
        lambda path: record_data(path, crop_size=32).get_dataset(),
        records.seal_record,
    ):
        with pytest.raises(InputError, match="plain.mindrecord .*(damaged|cut short)"):
            read(plain)


def test_what_was_sealed_is_not_sealed_again(plain, record, tmp_path):
    assert records.seal_record(plain)
    before = Path(f"{plain}.json").read_bytes()
    assert not records.seal_record(plain, expected=[digest(plain)])
    assert Path(f"{plain}.json").read_bytes() == before
    built = copied(record, tmp_path)
    before = Path(f"{built}.json").read_bytes()
    assert not records.seal_record(built)
    assert Path(f"{built}.json").read_bytes() == before


def test_another_file_than_expected(plain):
    with pytest.raises(InputError, match="plain.mindrecord is not the file that was expected"):
        records.seal_record(plain, expected=["0" * 64])
    with pytest.raises(InputError, match="'abc' is not a SHA-256"):
        records.seal_record(plain, expected=["abc"])
    with pytest.raises(InputError, match="a record of 1 files; give --sha256 one value for each"):
        records.seal_record(plain, expected=["0" * 64] * 2)
    assert not Path(f"{plain}.json").exists()
    assert records.seal_record(plain, expected=[digest(plain).upper()])


def test_metadata_of_an_older_build_are_kept(record, tmp_path):
    path = copied(record, tmp_path)
    content = json.loads(Path(f"{path}.json").read_text())
    content.update(source="my pictures", list_name="mine")
    for name in ("file_sizes", "index_checksums"):
        del content[name]
    Path(f"{path}.json").write_text(json.dumps(content))
    assert records.seal_record(path)
    found = json.loads(Path(f"{path}.json").read_text())
    sealed = {"file_sizes", "index_checksums", "sha256"}
    assert {name: value for name, value in found.items() if name not in sealed} == {
        name: value for name, value in content.items() if name not in sealed
    }
    assert found["sha256"] == [digest(path)] and len(found["index_checksums"]) == 1


def test_shards(voc_folder, tmp_path):
    path = tmp_path / "s.mindrecord"
    build_records(sources.voc_pairs(voc_folder, "trainval"), path, num_shards=2)
    Path(f"{path}.json").unlink()
    assert records.seal_record(path)
    found = records.read_metadata(path)
    assert found.files == ("s.mindrecord0", "s.mindrecord1")
    assert found.sha256 == tuple(digest(tmp_path / name) for name in found.files)
    flip(tmp_path / "s.mindrecord1", -3000)
    with pytest.raises(InputError, match="s.mindrecord1 .*damaged"):
        records.open_record(path)


def test_classes_of_its_own(tmp_path):
    import cv2

    path = tmp_path / "own.mindrecord"
    writer = FileWriter(str(path))
    kinds = {"file_name": "string", "data": "bytes", "label": "bytes"}
    writer.add_schema({name: {"type": kind} for name, kind in kinds.items()})
    image, label = draw_pair(*SIZES[0])
    label[label == 15] = 30
    encoded = {"data": cv2.imencode(".jpg", image)[1], "label": cv2.imencode(".png", label)[1]}
    writer.write_raw_data([{"file_name": "a", **{k: v.tobytes() for k, v in encoded.items()}}])
    writer.commit()
    with pytest.raises(InputError, match="has label 30, and VOC's classes are 0…20; name its own"):
        records.seal_record(path)
    few = Classes(("a", "b"), {})
    with pytest.raises(InputError, match="has label 7, and its 2 classes are 0…1"):
        records.seal_record(path, classes=few)
    own = Classes(tuple(f"class {number}" for number in range(31)), {})
    assert records.seal_record(path, classes=own)
    assert records.read_metadata(path).classes == own.names
    with pytest.raises(InputError, match="has its classes in own.mindrecord.json; leave out"):
        records.seal_record(path, classes=own)


def test_damaged_records_are_not_sealed(plain):
    content = plain.read_bytes()
    start = content.index(b"\xff\xd8\xff")
    plain.write_bytes(content[: start + 2] + bytes(60) + content[start + 62 :])
    with pytest.raises(InputError, match="plain.mindrecord"):
        records.seal_record(plain)
    assert not Path(f"{plain}.json").exists()


def test_folder_that_cannot_be_written(plain, monkeypatch):
    def fail(path, value):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fcn8s_ms.formats.sealing.files.write_json", fail)
    with pytest.raises(InputError, match=r"plain.mindrecord.json cannot be written: Permission"):
        records.seal_record(plain)


def test_unsealed_record_is_named_once(plain, record, tmp_path, caplog):
    for _ in range(2):
        records.open_record(plain)
        record_data(plain, crop_size=32).get_dataset()
    (message,) = caplog.messages
    assert f"record {plain} has no checksum: its bits cannot be vouched for" in message
    caplog.clear()
    records.open_record(record)
    other = copied(record, tmp_path)
    shutil.copy(record, other)
    records.seal_record(write_plain_record(tmp_path / "other.mindrecord"))
    assert not caplog.messages


def test_names_of_classes_are_vocs_by_default(plain):
    records.seal_record(plain)
    assert records.read_metadata(plain).classes == voc.CLASSES
