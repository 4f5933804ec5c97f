import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import build, records, transforms, visualize

from .helpers import (
    SIZES,
    TOOLS,
    draw_pair,
    error_of,
    shape,
    write_labelme,
    write_plain_record,
    write_sbd,
)

TOOL = TOOLS / "build_mindrecord.py"


def test_build(voc_folder, tmp_path, capsys):
    output = tmp_path / "out" / "r.mindrecord"
    build.main(["--voc-root", str(voc_folder), "--split", "trainval", "--output", str(output)])
    assert records.open_record(output)[1] == 5
    metadata = records.read_metadata(output)
    assert metadata.list_name == "trainval" and metadata.source == voc_folder.name
    printed = capsys.readouterr()
    total = sum(metadata.pixel_counts)
    row = f"{metadata.pixel_counts[15]:,} {metadata.pixel_counts[15] / total:7.2%}       5"
    assert row in printed.out
    assert f"python -m fcn8s_ms.train --data {output}" in printed.out
    assert "5/5" in printed.err


@pytest.mark.parametrize(
    ("split", "name", "expected"),
    [
        ("train", "a b.mindrecord", "Train with:\n  {train} --data '{folder}/a b.mindrecord'"),
        ("trainval", "val", "Train with:\n  {train} --data {folder}/val"),
        (
            "val",
            "x",
            "Validate a training on it with:\n  {train} --data RECORD --val-data {folder}/x",
        ),
        (
            "all",
            "my_val.mindrecord",
            "Validate a training on it with:\n  {train} --data {folder}/my_train.mindrecord "
            "--val-data {folder}/my_val.mindrecord",
        ),
        (
            "test",
            "x",
            "Score a checkpoint on it with:\n"
            "  python -m fcn8s_ms.eval --checkpoint CHECKPOINT --data {folder}/x",
        ),
    ],
)
def test_next_step(tmp_path, split, name, expected):
    (tmp_path / "my_train.mindrecord").touch()
    part = build.write.Part([], tmp_path / name, split)
    expected = expected.format(train="python -m fcn8s_ms.train", folder=tmp_path)
    assert build._next_step([part]) == expected
    two = [build.write.Part([], tmp_path / one, "all, validation") for one in ("t 1", "v")]
    assert build._next_step(two).endswith(f" --data '{tmp_path}/t 1' --val-data {tmp_path}/v")


def test_shards_and_overwrite(voc_folder, tmp_path, capsys):
    given = ["--voc-root", str(voc_folder), "--output", str(tmp_path / "r.mindrecord")]
    build.main([*given, "--num-shards", "3"])
    assert "3 images in r.mindrecord0, r.mindrecord1, r.mindrecord2" in capsys.readouterr().out
    error = error_of(build.main, [*given, "--num-shards", "3"], capsys)
    assert "r.mindrecord0 exists" in error
    build.main([*given, "--overwrite"])
    assert records.open_record(tmp_path / "r.mindrecord") == (tmp_path / "r.mindrecord", 3)


def run(*arguments):
    build.main([str(argument) for argument in arguments])


def labels_in(record):
    return {name: transforms.decode_label(png) for name, _, png in records.read_samples(record)}


# --- sources -----------------------------------------------------------------------------------


def test_trainaug(voc_folder, tmp_path, capsys):
    write_sbd(tmp_path / "sbd", {"train": "bdx", "val": "ey"})
    output = tmp_path / "r"
    given = ["--voc-root", voc_folder, "--sbd-root", tmp_path / "sbd"]
    run(*given, "--split", "trainaug", "--output", output)
    assert "trainaug: 5 images, 21 classes" in capsys.readouterr().out
    labels = labels_in(output)
    assert list(labels) == ["a", "b", "c", "x", "y"]
    assert (labels["b"] == draw_pair("b", 90, 70)[1]).all()  # VOC's, with its borders
    of_sbd = draw_pair("x", 50, 60)[1]
    assert (labels["x"] == np.where(of_sbd == 255, 0, of_sbd)).all()
    assert records.read_metadata(output).list_name == "trainaug"


@pytest.fixture
def folders(tmp_path):
    """Three images, and their masks as ids 0, 1, 2 and 255 and as colours."""
    colours = np.zeros((256, 3), np.uint8)
    colours[[1, 2, 255]] = (128, 64, 0), (0, 0, 255), (9, 9, 9)
    for name in ("images", "ids", "colours"):
        (tmp_path / name).mkdir()
    for number in range(3):
        image, _ = draw_pair("a", 24, 32)
        ids = np.full((24, 32), number % 2, np.uint8)
        ids[:9], ids[20:] = 2, 255
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.tif")
        Image.fromarray(ids).save(tmp_path / "ids" / f"{number}.png")
        Image.fromarray(colours[ids]).save(tmp_path / "colours" / f"{number}.png")
    (tmp_path / "names.txt").write_text("road\nhouse\nsky\n")
    (tmp_path / "list.txt").write_text("2\n0\n")
    lines = ["road 0 0 0", "house 128 64 0", "sky 0 0 255", "ignore 9 9 9"]
    (tmp_path / "colours.txt").write_text("\n".join(lines))
    return tmp_path


def expected_ids(number):
    ids = np.full((24, 32), number % 2, np.uint8)
    ids[:9], ids[20:] = 2, 255
    return ids


@pytest.mark.parametrize(("masks", "classes"), [("ids", "names"), ("colours", "colours")])
def test_folders(folders, masks, classes):
    output = folders / "r"
    given = ["--images", folders / "images", "--labels", folders / masks]
    run(*given, "--classes", folders / f"{classes}.txt", "--output", output)
    labels = labels_in(output)
    for number in range(3):
        assert (labels[str(number)] == expected_ids(number)).all()
    metadata = records.read_metadata(output)
    assert metadata.classes == ("road", "house", "sky") and metadata.list_name == "all"
    default = visualize.default_palette(metadata.classes)[1].tolist()
    assert list(metadata.palette[1]) == (default if masks == "ids" else [128, 64, 0])
    assert metadata.pixel_counts == (2 * 11 * 32, 11 * 32, 3 * 9 * 32)


def in_a_file(folder):
    (folder / "map.json").write_text(json.dumps({"1": "sky", "255": "road"}))
    return folder / "map.json"


@pytest.mark.parametrize("map_from", [in_a_file, lambda folder: '{"1": "sky", "255": "road"}'])
def test_list_label_map_and_ignore_label(folders, map_from):
    output = folders / "r"
    given = ["--images", folders / "images", "--labels", folders / "ids"]
    given += ["--classes", folders / "names.txt", "--list", folders / "list.txt"]
    given += ["--label-map", map_from(folders), "--ignore-label", 2, "--output", output]
    run(*given)
    labels = labels_in(output)
    assert list(labels) == ["2", "0"]
    expected = np.zeros((24, 32), np.uint8)
    expected[:9] = 255
    assert (labels["2"] == expected).all()


@pytest.fixture
def from_one(folders):
    """As `folders`, with masks whose ids are 1, 2 and 3."""
    for path in (folders / "ids").iterdir():
        ids = np.asarray(Image.open(path))
        Image.fromarray(np.where(ids == 255, 255, ids + 1).astype(np.uint8)).save(path)
    given = ["--images", folders / "images", "--labels", folders / "ids"]
    return [*given, "--output", folders / "r", "--classes", folders / "names.txt"]


@pytest.mark.parametrize("flags", [["--label-offset", "-1"], ["--reduce-zero-label"]])
def test_ids_that_start_at_one(from_one, folders, capsys, flags):
    error = error_of(build.main, from_one, capsys)
    assert "holds label 3; classes are 0…2, and 255 is ignored: do your ids start at 1?" in error
    assert "pass --label-offset -1" in error and not (folders / "r").exists()
    ids = np.asarray(Image.open(folders / "ids" / "1.png")).copy()
    ids[0] = 0
    Image.fromarray(ids).save(folders / "ids" / "1.png")
    run(*from_one, *flags)
    expected = expected_ids(1)
    expected[0] = 255
    assert (labels_in(folders / "r")["1"] == expected).all()
    assert "No pixel of any mask has id 0" not in capsys.readouterr().err


def test_ids_that_start_at_one_and_fit_the_list(from_one, folders, caplog):
    """Nothing tells them from a dataset without its first class, but the counts look odd."""
    (folders / "names.txt").write_text("road\nhouse\nsky\nsea\n")
    run(*from_one)
    assert "No pixel of any mask has id 0, the first class." in caplog.text
    assert "build again with --label-offset -1 --overwrite" in caplog.text
    caplog.clear()
    run(*from_one, "--overwrite", "--label-offset", "-1")
    assert not caplog.text


def test_labelme(tmp_path):
    image, _ = draw_pair("a", 24, 32)
    cv2.imwrite(str(tmp_path / "p.jpg"), image)
    square = [[4.0, 4.0], [20.0, 20.0]]
    write_labelme(tmp_path / "p.json", [shape("car", square, "rectangle")], 32, 24)
    output = tmp_path / "out" / "r"
    run("--labelme", tmp_path, "--output", output)
    expected = np.zeros((24, 32), np.uint8)
    expected[4:21, 4:21] = 1
    assert (labels_in(output)["p"] == expected).all()
    assert records.read_metadata(output).classes == ("background", "car")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "give one of --voc-root, --images, --labelme, "),
        ("--voc-root x --images y", "not 2 of them"),
        ("--voc-root x", "--output is missing"),
        ("--images x --output r", "--images needs --labels, the folder of masks, and --classes"),
        ("--images x --labels y --split train --output r", "--split goes with --voc-root"),
        ("--inspect x --list y", "--list goes with --images only"),
        (
            "--voc-root x --sbd-root y --split train --output r",
            "--sbd-root makes the list trainaug",
        ),
        ("--voc-root x --ignore-label 256 --output r", "--ignore-label is 256; masks hold 0…255"),
        ("--voc-root x --preview 0 --output r", "--preview is 0; it must be positive"),
        ("--inspect x --preview 1000000", "--preview is 1000000; it must be at most 100"),
        ("--images x --labels y --classes c --output r --label-map {255:1}", "c is missing; check"),
        ("--inspect x --preview 1 --crop-size 0", "--crop-size is 0; it must be positive"),
        ("--inspect x --preview 1 --crop-size 1000000", "--crop-size is 1000000; it must be at"),
        ("--inspect x --preview 9 --crop-size 9999", "--preview and --crop-size make 9 crops of"),
    ],
)
def test_flags_that_do_not_go_together(arguments, message, capsys):
    assert message in error_of(build.main, arguments.split(), capsys)


# --- looking at data -----------------------------------------------------------------------------


def test_inspect(record, tmp_path, capsys):
    copies = [tmp_path / f"all.mindrecord{suffix}" for suffix in ("", ".db", ".json")]
    for copy in copies:
        copy.write_bytes((record.parent / copy.name).read_bytes())
    run("--inspect", copies[0])
    out = capsys.readouterr().out
    assert "5 images, 1 shard(s)" in out
    assert "columns: data (bytes), file_name (string), label (bytes)" in out
    assert "checksums: all images and labels are as they were written" in out
    assert "90×70 (1)" in out and "trainval" not in out
    pixels = sum((draw_pair(*size)[1] == 15).sum() for size in SIZES)
    assert f"person          {pixels:,}".replace(" ", "") in out.replace(" ", "")
    assert "No pixel is labelled aeroplane" in out
    picture = np.asarray(Image.open(f"{copies[0]}.samples.png").convert("RGB"))
    assert (picture == (192, 128, 128)).all(axis=2).mean() > 0.02  # persons


def test_inspect_a_record_of_others(tmp_path, capsys):
    record = write_plain_record(tmp_path / "mindname.mindrecord")
    run("--inspect", record, "--preview", 2, "--crop-size", 64)
    out = capsys.readouterr().out
    assert "no metadata (.json) next to it; class names are guessed" in out
    assert "checksums: 5 images have none; they decode" in out
    assert "tvmonitor" in out
    assert (tmp_path / "mindname.mindrecord.preview.png").is_file()


def test_preview_of_a_record_of_others_with_more_classes_than_voc(tmp_path, capsys):
    image, mask, record = (tmp_path / name for name in ("a.png", "m.png", "r"))
    cv2.imwrite(str(image), draw_pair("a", 64, 64)[0])
    cv2.imwrite(str(mask), np.arange(64, dtype=np.uint8)[:, np.newaxis].repeat(64, axis=1) % 30)
    classes = [f"c{number}" for number in range(30)]
    records.build_records([records.sources.Pair("a", image, mask)], record, classes=classes)
    (tmp_path / "r.json").unlink()
    run("--inspect", record, "--preview", 1, "--crop-size", 64)
    assert "class 29" in capsys.readouterr().out
    assert (tmp_path / "r.preview.png").is_file()


def test_preview_next_to_a_new_record(voc_folder, tmp_path, capsys):
    output = tmp_path / "r"
    run("--voc-root", voc_folder, "--output", output, "--preview", 9, "--crop-size", 64)
    assert f"Look at {output}.preview.png" in capsys.readouterr().out
    assert (tmp_path / "r.preview.png").is_file()


def test_help_shows_examples():
    done = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True)
    assert "python -m fcn8s_ms.build --images camvid/images --labels" in done.stdout


def test_masks_without_checksums_are_counted(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("background\ncar\n")
    for number, suffix in enumerate((".png", ".bmp", ".tif")):
        pixels = np.zeros((20, 30), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / "labels" / f"{number}{suffix}")
    given = ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]
    given += ["--classes", tmp_path / "classes.txt", "--output", tmp_path / "r.mindrecord"]
    build.main([*map(str, given)])
    printed = capsys.readouterr().out
    assert printed.count("2 masks are in a format without checksums") == 1
    assert "save them as PNG" in printed
    limited = [*given, "--overwrite", "--max-pixels", "500"]
    assert "0.png has 30x20 pixels; up to 500 are read" in error_of(build.main, limited, capsys)
