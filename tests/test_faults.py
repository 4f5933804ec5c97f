"""Every fault that data bring: one line that names file and remedy, status 2, nothing written."""

import re
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import build, checkpoint, eval, model, records, train, voc

from .helpers import (
    SIZES,
    TINY,
    draw_pair,
    error_line_of,
    error_of,
    error_table,
    ordinary_user,
    write_mask,
    write_plain_record,
)

# --- images, masks, lists ------------------------------------------------------------------------


def cut(path, count):
    path.write_bytes(path.read_bytes()[:-count])


def repaint(mask, change):
    label = np.array(Image.open(mask))
    change(label)
    write_mask(mask, label)


def put(label, value):
    label[0, 0] = value


def only_0_and_255(folder):
    for mask in (folder / "SegmentationClass").iterdir():
        write_mask(mask, np.where(np.array(Image.open(mask)) > 0, 255, 0).astype(np.uint8))


def labels_of(mask):
    return np.array(Image.open(mask))


def replace_list(folder, content):
    (folder / "ImageSets" / "Segmentation" / "trainval.txt").write_bytes(content)


# Fault, what makes it out of image, mask and VOC folder, and what the message says.
BAD_SOURCES = [
    ("truncated JPEG", lambda i, m, f: cut(i, 300), "b.jpg cannot be decoded .* fetch the file"),
    ("truncated PNG", lambda i, m, f: cut(m, 20), "b.png cannot be decoded .* fetch the file"),
    ("zero-byte image", lambda i, m, f: i.write_bytes(b""), r"b.jpg .*\(0 bytes\): fetch the file"),
    ("zero-byte mask", lambda i, m, f: m.write_bytes(b""), r"b.png .*\(0 bytes\): fetch the file"),
    (
        "text as image",
        lambda i, m, f: i.write_text("some text"),
        "b.jpg cannot be decoded .* fetch",
    ),
    (
        "mask of another size",
        lambda i, m, f: write_mask(m, labels_of(m)[:-1]),
        "b.png is 70x89, its image .*b.jpg 70x90; give both one size",
    ),
    (
        "id that is not a class",
        lambda i, m, f: repaint(m, lambda label: put(label, 22)),
        "b.png holds label 22; classes are 0…20, and 255 is ignored: correct the mask, or",
    ),
    (
        "RGB mask for ids",
        lambda i, m, f: Image.fromarray(voc.palette()[labels_of(m)]).save(m),
        "b.png is an image of mode RGB; a mask holds class ids .* file of --classes gives",
    ),
    (
        "masks of 0 and 255",
        lambda i, m, f: only_0_and_255(f),
        "a.png and all other masks hold nothing but 0 and 255.* --label-map '{\"255\": 1}'",
    ),
    (
        "16-bit mask",
        lambda i, m, f: cv2.imwrite(str(m), labels_of(m).astype(np.uint16) + 256),
        "b.png holds label 511; ids are 0…255, also in files of 16 bits: give every pixel",
    ),
    ("missing image", lambda i, m, f: i.unlink(), "b.jpg is missing; put it there or take it off"),
    ("missing mask", lambda i, m, f: m.unlink(), "b.png is missing; put it there or take its"),
    (
        "duplicate ids",
        lambda i, m, f: replace_list(f, b"a\nb\r\na \n"),
        "trainval.txt names a more than once; remove the repeats",
    ),
    ("empty list", lambda i, m, f: replace_list(f, b"\r\n \n"), "trainval.txt is empty; write one"),
    (
        "list that is not text",
        lambda i, m, f: replace_list(f, "größe".encode("utf-16")),
        "trainval.txt is not UTF-8 text; save it as UTF-8",
    ),
    (
        "image that is a folder",
        lambda i, m, f: (i.unlink(), i.mkdir()),
        "b.jpg is a folder, not a file; put it there",
    ),
]


@error_table(BAD_SOURCES)
def test_bad_sources(voc_folder, tmp_path, capfd, fault, message):
    image = voc_folder / "JPEGImages" / "b.jpg"
    fault(image, voc_folder / "SegmentationClass" / "b.png", voc_folder)
    output = tmp_path / "out" / "r.mindrecord"
    arguments = ["--voc-root", voc_folder, "--split", "trainval", "--output", output]
    said = error_line_of(build.main, arguments, capfd)
    assert said.startswith("python -m fcn8s_ms.build: error: ")
    assert re.search(message, said), said
    assert not output.parent.exists() or not list(output.parent.iterdir())


# --- outputs -----------------------------------------------------------------------------------


def test_existing_output(voc_folder, tmp_path, capfd):
    arguments = ["--voc-root", voc_folder, "--output", tmp_path / "r"]
    build.main([str(argument) for argument in arguments])
    before = {path: path.read_bytes() for path in tmp_path.glob("r*")}
    capfd.readouterr()
    said = error_line_of(build.main, arguments, capfd)
    assert f"{tmp_path}/r exists; choose another name or pass --overwrite" in said
    assert {path: path.read_bytes() for path in tmp_path.glob("r*")} == before


def test_read_only_folder(tmp_path, voc_folder, capfd):
    folder = Path(tempfile.mkdtemp())
    data = folder / "VOC2012"  # pytest's folder is closed to others
    shutil.copytree(voc_folder, data)
    output = folder / "out"
    output.mkdir(mode=0o555)
    folder.chmod(0o755)
    try:
        with ordinary_user():
            arguments = ["--voc-root", data, "--output", output / "r"]
            said = error_line_of(build.main, arguments, capfd)
        assert f"--output {output} cannot be written: {output} is not writable" in said
        assert not list(output.iterdir())
    finally:
        shutil.rmtree(folder)


# --- records -----------------------------------------------------------------------------------


def damage(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\xd8\xff\xe0") + 300] ^= 1  # inside the first JPEG
    path.write_bytes(content)


def only_one_column(path):
    from mindspore.mindrecord import FileWriter

    for suffix in ("", ".db", ".json"):
        Path(f"{path}{suffix}").unlink()
    writer = FileWriter(str(path))
    writer.add_schema({"data": {"type": "bytes"}})
    writer.write_raw_data([{"data": b"1"}])
    writer.commit()


BAD_RECORDS = [
    ("no record", lambda p: p.unlink(), "all.mindrecord is missing; build it with"),
    (
        "no .db",
        lambda p: Path(f"{p}.db").unlink(),
        "all.mindrecord.db is missing: MindRecord needs it next to all.mindrecord; copy all files",
    ),
    (
        "truncated",
        lambda p: cut(p, 100),
        "all.mindrecord has .* bytes instead of .* copy all files",
    ),
    ("flipped bytes", damage, "all.mindrecord: a sample is damaged .*; copy or build the record"),
    ("wrong columns", only_one_column, "all.mindrecord has the columns data; needed are .* build"),
    (
        "damaged metadata",
        lambda p: Path(f"{p}.json").write_text("[]"),
        "all.mindrecord.json is not this package's metadata .* build the record again or move",
    ),
]


@error_table(BAD_RECORDS)
def test_bad_records(record, tmp_path, tiny_network, capfd, fault, message):
    """Neither looked into nor trained on."""
    path = tmp_path / record.name
    for suffix in ("", ".db", ".json"):
        shutil.copy(f"{record}{suffix}", f"{path}{suffix}")
    fault(path)
    said = error_line_of(build.main, ["--inspect", path], capfd)
    assert re.search(message, said), said
    arguments = ["--data", path, "--batch-size", 2, "--crop-size", 32, "--output", tmp_path / "run"]
    assert re.search(message, error_of(train.main, arguments, capfd))
    assert not list(tmp_path.glob("run/*.ckpt"))


LARGE = "image of '.' has [0-9]*x[0-9]* pixels; up to 5,000 are read: .* or raise --max-pixels"


@pytest.mark.parametrize(
    ("main", "given"),
    [
        (build.main, "--inspect RECORD"),
        (train.main, "--data RECORD --crop-size 32 --batch-size 2 --output OUT --mode pynative"),
        (eval.main, "--data RECORD --checkpoint CHECKPOINT"),
        (eval.main, "--data RECORD --checkpoint CHECKPOINT --protocol tutorial --crop-size 32"),
        (eval.main, "--data RECORD --predictions MASKS"),
    ],
)
def test_large_images_in_a_record(tiny_network, tmp_path, monkeypatch, capfd, main, given):
    """One rule for all that read a record; it holds before a picture is decoded."""
    record = write_plain_record(tmp_path / "all.mindrecord")
    checkpoint.save(model.FCN8s(21, **TINY), tmp_path / "n.ckpt", {})
    for name, height, width in SIZES:
        write_mask(tmp_path / f"{name}.png", np.zeros((height, width), np.uint8))
    places = {"RECORD": record, "OUT": tmp_path / "run", "CHECKPOINT": tmp_path / "n.ckpt"}
    arguments = [places.get(one, one) for one in given.replace("MASKS", str(tmp_path)).split()]
    said = error_of(main, [*arguments, "--max-pixels", 5000], capfd)
    assert re.search(LARGE.replace("image", "(image|label)"), said), said
    assert not list(tmp_path.glob("run/*.ckpt"))


def test_large_masks_of_another_program(record, tmp_path, capfd):
    for name, height, width in SIZES:
        write_mask(tmp_path / f"{name}.png", np.zeros((height, width), np.uint8))
    write_mask(tmp_path / "a.png", np.zeros((200, 90), np.uint8))
    given = ["--data", record, "--predictions", tmp_path, "--max-pixels", 10_000]
    assert "a.png has 90x200 pixels; up to 10,000 are read" in error_of(eval.main, given, capfd)


# --- not a fault ---------------------------------------------------------------------------------


def test_lists_and_names_of_all_systems(tmp_path, capsys):
    images, labels = tmp_path / "Straße 1", tmp_path / "数据"
    for folder in (images, labels):
        folder.mkdir()
    for name in ("größe", "b c", "d"):
        image, label = draw_pair("a", 20, 30)
        (images / f"{name}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
        write_mask(labels / f"{name}.png", label)
    (tmp_path / "list é.txt").write_bytes("\ufeffgröße\r\n\r\nb c  ".encode())
    (tmp_path / "classes.txt").write_text("\n".join(voc.CLASSES))
    output = tmp_path / "aus gabe" / "größe.mindrecord"
    arguments = ["--images", images, "--labels", labels, "--list", tmp_path / "list é.txt"]
    arguments += ["--classes", tmp_path / "classes.txt", "--output", output]
    build.main([str(argument) for argument in arguments])
    assert [name for name, _, _ in records.read_samples(output)] == ["größe", "b c"]
    assert records.read_metadata(output).list_name == "list é"
