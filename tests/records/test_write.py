import json
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcn8s_ms import files, records, transforms, visualize, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import checksums, fill, sources, write

from ..helpers import SIZES, draw_pair, read_mask, write_mask, write_plain_record


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def pairs(voc_folder):
    return sources.voc_pairs(voc_folder, "trainval")


def test_rows_are_the_files_and_the_ids(record):
    rows = list(records.read_samples(record, 99))
    assert [name for name, _, _ in rows] == [name for name, _, _ in SIZES]
    jpegs = record.parent / "voc" / "VOCdevkit" / "VOC2012" / "JPEGImages"
    for (name, data, label), (_, height, width) in zip(rows, SIZES):
        assert data == (jpegs / f"{name}.jpg").read_bytes()
        assert (transforms.decode_label(label) == draw_pair(name, height, width)[1]).all()
        assert checksums.verify_seal(label, data, name)
    assert len(list(records.read_samples(record, 2))) == 2


def test_metadata(record):
    metadata = records.read_metadata(record)
    labels = [draw_pair(*size)[1] for size in SIZES]
    assert metadata.classes == voc.CLASSES
    assert metadata.palette[15] == (192, 128, 128)
    assert metadata.ignore_label == 255
    assert metadata.num_samples == 5
    assert metadata.files == ("all.mindrecord",)
    assert metadata.file_sizes == (record.stat().st_size,)
    for label in (0, 7, 15, 20):
        holding = [one for one in labels if (one == label).any()]
        assert metadata.pixel_counts[label] == sum((one == label).sum() for one in labels)
        assert metadata.image_counts[label] == len(holding)
        assert metadata.present_pixels[label] == sum((one != 255).sum() for one in holding)


def test_shards(pairs, tmp_path):
    output = tmp_path / "out" / "r.mindrecord"
    metadata = records.build_records(pairs, output, num_shards=2)
    assert metadata.files == ("r.mindrecord0", "r.mindrecord1")
    for name in (output, output.with_name("r.mindrecord0")):
        assert records.open_record(name) == (output.with_name("r.mindrecord0"), 5)
        assert records.read_metadata(name).num_samples == 5
    # With another number of shards nothing of the old record stays.
    records.build_records(pairs, output, overwrite=True)
    assert files_in(output.parent) == ["r.mindrecord", "r.mindrecord.db", "r.mindrecord.json"]


def test_permissions_are_those_of_an_ordinary_file(pairs, tmp_path):
    umask = os.umask(0o027)
    try:
        records.build_records(pairs, tmp_path / "r.mindrecord")
    finally:
        os.umask(umask)
    for name in ("r.mindrecord", "r.mindrecord.db", "r.mindrecord.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640


def test_existing_output_is_kept(pairs, tmp_path):
    output = tmp_path / "r.mindrecord"
    records.build_records(pairs, output)
    before = output.read_bytes()
    with pytest.raises(InputError, match="r.mindrecord exists; choose another name or pass"):
        records.build_records(pairs[:2], output)
    pairs[1].image.unlink()
    with pytest.raises(InputError, match="1 of 5 images"):
        records.build_records(pairs, output, overwrite=True)
    assert output.read_bytes() == before
    records.build_records(pairs[:1], output, overwrite=True)
    assert records.open_record(output)[1] == 1


def test_damaged_metadata_do_not_stand_in_the_way(pairs, tmp_path):
    output = tmp_path / "r.mindrecord"
    records.build_records(pairs, output)
    Path(f"{output}.json").write_text("{")
    records.build_records(pairs, output, overwrite=True)
    assert records.read_metadata(output).num_samples == 5


def test_a_neighbour_with_a_similar_name_is_left_alone(pairs, tmp_path):
    records.build_records(pairs[:2], tmp_path / "train2")
    records.build_records(pairs, tmp_path / "train")
    records.build_records(pairs, tmp_path / "train", overwrite=True)
    assert records.open_record(tmp_path / "train2")[1] == 2


def test_overwriting_removes_files_of_the_record_only(pairs, tmp_path):
    """The JSON's list of files is not believed."""
    output = tmp_path / "r.mindrecord"
    records.build_records(pairs, output)
    content = json.loads(Path(f"{output}.json").read_text())
    for names in (["thesis.tex"], ["r.mindrecord", "thesis.tex"], ["sub/thesis.tex"]):
        content["files"] = names
        Path(f"{output}.json").write_text(json.dumps(content))
        (tmp_path / "sub").mkdir(exist_ok=True)
        theses = tmp_path / "thesis.tex", tmp_path / "sub" / "thesis.tex"
        for thesis in theses:
            thesis.write_text("years of work")
        records.build_records(pairs, output, overwrite=True)
        assert all(thesis.read_text() == "years of work" for thesis in theses)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r", "a letter"),
        ("r.db", "a letter"),
        ("r1", "a letter"),
        ("r.json", "[1, 2]"),
        ("r.json", '{"my": "notes"}'),
        ("r.db", None),
        ("r1.db", None),
    ],
)
def test_nothing_else_is_overwritten(pairs, tmp_path, name, content):
    """Files and folders that bear the name of a record's file."""
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name} is in the way and is not a file of the record r"):
        shards = 2 if "1" in name else 1
        records.build_records(pairs, tmp_path / "r", num_shards=shards, overwrite=True)
    assert files_in(tmp_path) == sorted([name, "voc"])
    assert content is None or (tmp_path / name).read_text() == content


def test_another_record_is_not_overwritten_as_a_shard(pairs, tmp_path):
    records.build_records(pairs[:2], tmp_path / "train1")
    with pytest.raises(InputError, match="train1 is in the way"):
        records.build_records(pairs, tmp_path / "train", num_shards=2, overwrite=True)
    assert records.open_record(tmp_path / "train1")[1] == 2


def test_shards_replace_a_single_file_without_metadata(pairs, tmp_path):
    write_plain_record(tmp_path / "r")
    records.build_records(pairs[:2], tmp_path / "r", num_shards=2, overwrite=True)
    assert records.open_record(tmp_path / "r")[1] == 2


def test_paths_and_ids_of_all_languages(tmp_path):
    folder = tmp_path / "Straße – 数据"
    folder.mkdir()
    image, label = draw_pair("a", 20, 30)
    pairs = []
    for name in ("größe 1", "数据", 'it\'s a "test"', "sub/x"):
        pair = sources.Pair(name, folder / f"{len(pairs)} ä.png", folder / f"{len(pairs)} ö.png")
        visible = transforms.cv2.imencode(".png", image)[1].tobytes()
        pair.image.write_bytes(visible)
        write_mask(pair.mask, label)
        pairs.append(pair)
    output = folder / "größe 数据.mindrecord"
    records.build_records(pairs, output, source=folder)
    found = [name for name, _, _ in records.read_samples(output)]
    assert found == [pair.name for pair in pairs]
    assert records.read_metadata(output).source == str(folder)


def test_name_that_is_no_utf8(pairs, tmp_path):
    name = os.fsdecode(b"gr\xf6\xdfe")
    pairs[0] = sources.Pair(name, pairs[0].image, pairs[0].mask)
    with pytest.raises(InputError, match="a.jpg' has a name that is not UTF-8; rename it"):
        records.build_records(pairs, tmp_path / "r")


def test_faults_that_are_alike_are_told_once(pairs, tmp_path):
    pairs += [sources.Pair(f"x{i}", tmp_path / f"x{i}.jpg", tmp_path) for i in range(30)]
    with pytest.raises(InputError) as caught:
        records.build_records(pairs, tmp_path / "new" / "deep" / "r.mindrecord")
    assert not (tmp_path / "new").exists()
    assert str(caught.value) == (
        "30 of 35 images cannot be used, nothing was written: "
        f"{tmp_path}/x0.jpg is missing; put it there or take it off the list "
        "(30 files like this: x0.jpg, x1.jpg, x2.jpg and 27 more)"
    )


@pytest.mark.parametrize("num_shards", [0, 6])
def test_number_of_shards(pairs, tmp_path, num_shards):
    with pytest.raises(InputError, match=f"{num_shards} shards for 5 images; choose 1…5"):
        records.build_records(pairs, tmp_path / "r", num_shards=num_shards)


def test_no_images(tmp_path):
    with pytest.raises(InputError, match="no images to convert"):
        records.build_records([], tmp_path / "r")


def test_output_folder_that_is_a_file(pairs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--output .*file cannot be created: .*choose another"):
        records.build_records(pairs, tmp_path / "file" / "r.mindrecord")


def test_output_that_is_a_folder(pairs, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} is a folder; name .*/train.mindrecord"):
        records.build_records(pairs, tmp_path)


def test_name_that_mindrecord_refuses(pairs, tmp_path):
    with pytest.raises(InputError, match="MindRecord allows none of .* in a file name"):
        records.build_records(pairs, tmp_path / "a:b.mindrecord")
    assert files_in(tmp_path) == ["voc"]


def only_background_and_ignored(pair):
    write_mask(pair.mask, np.where(draw_pair("a", 70, 90)[1] > 0, 255, 0).astype(np.uint8))


def test_masks_of_0_and_255_are_refused_unless_a_label_map_says_what_they_are(pairs, tmp_path):
    only_background_and_ignored(pairs[0])
    given = {"classes": ("ground", "object"), "overwrite": True}
    with pytest.raises(InputError, match='a.png .* nothing but 0 and 255.*label-map .{"255": 1}'):
        records.build_records(pairs[:1], tmp_path / "r", **given)
    records.build_records(pairs[:1], tmp_path / "r", label_map={255: 1}, **given)
    assert min(records.read_metadata(tmp_path / "r").pixel_counts) > 0
    records.build_records(pairs[:1], tmp_path / "r", label_map={255: 255}, **given)
    assert records.read_metadata(tmp_path / "r").pixel_counts[1] == 0
    # One such mask among others is nothing odd.
    records.build_records(pairs, tmp_path / "r", overwrite=True)


# --- disks -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", folder]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here; it takes root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("spare", [fill._SPARE_BYTES, -(10**12)])
def test_disk_that_is_full(pairs, small_disk, monkeypatch, spare):
    """Told by ourselves before it is, or else by MindSpore."""
    monkeypatch.setattr(fill, "_SPARE_BYTES", spare)
    reason = "No space left on device" if spare > 0 else "MindSpore says: No free disk to be used.*"
    with pytest.raises(InputError, match=f"r cannot be written: {reason}; free some space"):
        records.build_records(pairs, small_disk / "r")
    assert files_in(small_disk) == []


def test_disk_that_is_full_without_root(pairs, tmp_path, monkeypatch):
    from mindspore.mindrecord import FileWriter

    def fail(self, rows):
        raise RuntimeError("Error.\n[ERROR] No free disk to be used, free disk size: 8\nStack: …")

    monkeypatch.setattr(FileWriter, "write_raw_data", fail)
    with pytest.raises(InputError, match="MindSpore says: No free disk.* 8; free some space"):
        records.build_records(pairs, tmp_path / "r")
    assert files_in(tmp_path) == ["voc"]


@pytest.mark.parametrize("fault", ["zeros", "cut", "dropped row"])
def test_what_does_not_read_back_is_not_kept(pairs, tmp_path, monkeypatch, fault):
    from mindspore.mindrecord import FileWriter

    commit, write = FileWriter.commit, FileWriter.write_raw_data

    def commit_badly(self):
        commit(self)
        (path,) = tmp_path.glob(".r.*.building/r")
        content = bytearray(path.read_bytes())
        start = content.index(b"\xff\xd8\xff\xe0")  # where the first JPEG begins
        if fault == "zeros":
            content[start : start + 4] = bytes(4)
        else:
            del content[start:]
        path.write_bytes(content)

    if fault == "dropped row":
        monkeypatch.setattr(FileWriter, "write_raw_data", lambda self, rows: write(self, rows[1:]))
    else:
        monkeypatch.setattr(FileWriter, "commit", commit_badly)
    expected = "only 4 of 5 images were written" if fault == "dropped row" else "does not read back"
    with pytest.raises(InputError, match=f"r cannot be written: .*{expected}.*; free some space"):
        records.build_records(pairs, tmp_path / "r")
    assert files_in(tmp_path) == ["voc"]


# --- builds that are killed --------------------------------------------------------------------

_HALF_A_BUILD = """
import sys, time
from fcn8s_ms.records import encode, fill, sources, write

class Encoder(encode.Encoder):
    def __call__(self, pair):
        while pair.name == "e":  # the fifth image never comes
            time.sleep(1)
        return super().__call__(pair)

fill._ROWS_PER_WRITE, write.Encoder = 2, Encoder
write.build_records(sources.voc_pairs(sys.argv[1], "trainval"), sys.argv[2], overwrite=True)
"""


def test_build_that_is_killed(pairs, voc_folder, tmp_path, monkeypatch):
    """The old record stays, a build at work stays, what a killed one left goes."""
    output = tmp_path / "out" / "r"
    records.build_records(pairs[:2], output)
    before = {path.name: path.read_bytes() for path in output.parent.iterdir()}

    monkeypatch.setattr(fill, "_ROWS_PER_WRITE", 2)
    process = subprocess.Popen([sys.executable, "-c", _HALF_A_BUILD, voc_folder, output])
    try:
        while not list(output.parent.glob(".r.*.building/r")):
            assert process.poll() is None
        (building,) = output.parent.glob(".r.*.building")
        records.build_records(pairs[:3], output, overwrite=True)
        assert building.is_dir()
        after = {path.name: path.read_bytes() for path in output.parent.iterdir() if path.is_file()}
    finally:
        process.kill()
        process.wait()
    assert set(after) == set(before)
    assert records.open_record(output)[1] == 3
    assert {
        path.name: path.read_bytes() for path in output.parent.iterdir() if path.is_file()
    } == after

    assert building.is_dir()
    records.build_records(pairs[:4], output, overwrite=True)
    assert files_in(output.parent) == ["r", "r.db", "r.json"]


def test_two_builds_to_one_name(pairs, tmp_path, monkeypatch):
    """Neither may overwrite: one wins, whichever is ready first, and the other says so."""
    output = tmp_path / "out" / "r"
    move = write._move_into_place

    def second(*arguments):
        monkeypatch.setattr(write, "_move_into_place", move)
        records.build_records(pairs[:2], output, num_shards=2)
        move(*arguments)

    monkeypatch.setattr(write, "_move_into_place", second)
    with pytest.raises(InputError, match="r.json was written by another build meanwhile"):
        records.build_records(pairs, output)
    assert records.open_record(output)[1] == 2
    assert files_in(output.parent) == ["r.json", "r0", "r0.db", "r1", "r1.db"]


def _build_slowly(pairs, output, moved):
    replace = os.replace

    def slowly(source, target):
        replace(source, target)
        if Path(target).parent == output.parent:
            moved.set()
            time.sleep(0.7)  # longer than the other build takes

    write.os.replace = slowly
    records.build_records(pairs, output, overwrite=True)


@pytest.mark.skipif(files.fcntl is None, reason="locks")
def test_two_builds_to_one_name_that_overwrite(pairs, tmp_path, monkeypatch):
    """The record is one of the two, also if both move their files at the same time."""
    output = tmp_path / "r"
    records.build_records(pairs, output)
    context = multiprocessing.get_context("fork")
    moved = context.Event()
    slow = context.Process(target=_build_slowly, args=(pairs[:2], output, moved))
    slow.start()
    assert moved.wait(60)
    records.build_records(pairs[:3], output, num_shards=2, overwrite=True)
    slow.join()
    assert slow.exitcode == 0
    assert records.open_record(output)[1] == 3
    assert files_in(tmp_path) == ["r.json", "r0", "r0.db", "r1", "r1.db", "voc"]


def test_folder_that_something_else_has_locked(pairs, tmp_path, monkeypatch):
    """Such as a training, whose run the record is built into."""
    monkeypatch.setattr(write, "_SECONDS_TO_LOCK", 0.1)
    descriptor = files.lock_folder(tmp_path)
    records.build_records(pairs[:2], tmp_path / "r")
    os.close(descriptor)
    assert records.open_record(tmp_path / "r")[1] == 2


def test_colours_are_those_of_the_masks_or_the_default(pairs, tmp_path):
    names = [f"kind {number}" for number in range(21)]
    found = records.build_records(pairs, tmp_path / "a", classes=names)
    assert found.palette == tuple(map(tuple, voc.palette()[:21].tolist()))
    gray = []
    for pair in pairs[:2]:
        mask = tmp_path / f"{pair.name}.png"
        cv2.imwrite(str(mask), read_mask(pair.mask))
        gray.append(sources.Pair(pair.name, pair.image, mask))
    found = records.build_records(gray, tmp_path / "b", classes=names)
    assert found.palette == tuple(map(tuple, visualize.default_palette(names)[:21].tolist()))


def test_palette_of_other_classes(pairs, tmp_path):
    with pytest.raises(InputError, match="palette has 2 colours for 21 classes"):
        records.build_records(pairs, tmp_path / "r", palette=[(0, 0, 0), (1, 1, 1)])


def test_build_that_was_cut_off_while_files_were_moved(pairs, tmp_path):
    """A new record file next to an old index and metadata is not read."""
    records.build_records(pairs, tmp_path / "new" / "r")
    records.build_records(pairs[:3], tmp_path / "old" / "r")
    shutil.copy(tmp_path / "new" / "r", tmp_path / "old" / "r")
    with pytest.raises(InputError, match="r .* of another build than"):
        records.open_record(tmp_path / "old" / "r")
    records.build_records(pairs, tmp_path / "old" / "r", overwrite=True)
    assert records.open_record(tmp_path / "old" / "r")[1] == 5


def test_metadata_are_plain_json(record):
    content = json.loads(Path(f"{record}.json").read_text(encoding="utf-8"))
    assert content["classes"][15] == "person" and content["palette"][15] == [192, 128, 128]
    assert content["index_checksums"] == [
        zlib.crc32(record.read_bytes()[: 2**20] + Path(f"{record}.db").read_bytes())
    ]
