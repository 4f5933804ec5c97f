"""The parts are known by hand: SHA-256 of an id, its first six bytes as a fraction."""

import hashlib
import shutil

import cv2
import numpy as np
import pytest

from fcn8s_ms import build, records
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import split, write
from fcn8s_ms.records.sources import Pair

from .test_layouts import labels_in, refused, run
from .test_layouts import write as write_picture

# sha256 of "0"…"9" begins with 5fec…, 6b86…, d473…, 4e07…, 4b22…, ef2d…, e7f6…, 7902…, 2c62…, 1958…
HELD_OUT = ["3", "4", "8", "9"]  # below 0.35 * 256 = 0x59.99


def pairs(names):
    return [Pair(name, f"{name}.png", f"{name}.png") for name in names]


def names(found):
    return [pair.name for pair in found]


def test_a_hash_of_the_id_decides():
    train, val = split.split_pairs(pairs("0123456789"), 0.35)
    assert names(val) == HELD_OUT and names(train) == ["0", "1", "2", "5", "6", "7"]
    more, _ = split.split_pairs(pairs(["a", "b", *"9876543210"]), 0.35)
    assert set(names(train)) <= set(names(more))  # images that are added move no other


def test_shares_are_met():
    many = [f"img_{number}" for number in range(10_000)]
    _, val = split.split_pairs(pairs(many), 0.15)
    assert abs(len(val) - 1500) < 110  # three standard deviations
    first = hashlib.sha256(b"img_0").digest()[0]
    assert ("img_0" in names(val)) == (first < 0.15 * 256 - 1)


@pytest.mark.parametrize("pattern", [r"^(\d)_", r"^\d"])
def test_groups_stay_together(pattern):
    ids = [f"{number}_{frame}" for number in range(10) for frame in "ab"]
    _, val = split.split_pairs(pairs(ids), 0.35, pattern)
    assert names(val) == [f"{number}_{frame}" for number in HELD_OUT for frame in "ab"]


@pytest.mark.parametrize(
    ("fraction", "group_by", "message"),
    [
        (0.01, None, "0.01 leaves a part of 10 images empty; take another"),
        (0.999, None, "leaves a part of 10 images empty"),
        (0.5, "[", r"'\[' is not a regular expression"),
        (0.5, "[0-7]", "does not fit 2 of 10 ids: 8, 9; give"),
        (0.5, ".*?", "leaves a part of 1 groups empty"),
    ],
)
def test_splits_that_cannot_be(fraction, group_by, message):
    with pytest.raises(InputError, match=message):
        split.split_pairs(pairs("0123456789"), fraction, group_by)


@pytest.fixture
def folder(tmp_path):
    """Ten images with an object in every second one; all differ."""
    for number in range(10):
        image = np.full((4, 4, 3), 20 * number, np.uint8)
        write_picture(tmp_path / "data" / f"{number}" / "images" / f"{number}.png", image)
        mask = np.zeros((4, 4), np.uint8)
        mask[0, : 2 * (number % 2)] = 255
        write_picture(tmp_path / "data" / f"{number}" / "masks" / "0.png", mask)
    return tmp_path


def given(folder, *more):
    return ["--instances", folder / "data", "--val-fraction", "0.35", *more]


def test_two_records(folder, capsys):
    val = folder / "val.mindrecord"
    run(*given(folder, "--val-output", val, "--output", folder / "train.mindrecord"))
    labels = labels_in(val)
    assert list(labels) == HELD_OUT and labels["3"][0].tolist() == [1, 1, 0, 0]
    assert list(labels_in(folder / "train.mindrecord")) == ["0", "1", "2", "5", "6", "7"]
    printed = capsys.readouterr().out
    assert "train.mindrecord: 6 images, 60.0% of all" in printed
    assert "val.mindrecord: 4 images, 40.0% of all" in printed
    # 2 pixels in each of 1, 5, 7 of 6*16, and in 3 and 9 of 4*16.
    assert "6   6.25%       3" in printed and "4   6.25%       2" in printed
    assert f"--data {folder / 'train.mindrecord'} --val-data {val}" in printed
    metadata = records.read_metadata(val)
    assert metadata.num_samples == 4 and metadata.list_name == "all, validation"
    assert "That is less" not in printed
    few = [
        *given(folder)[:-1],
        "0.17",
        "--val-output",
        val,
        "--output",
        folder / "train.mindrecord",
    ]
    run(*few, "--overwrite")
    printed = capsys.readouterr().out
    assert (
        "val.mindrecord: 1 images, 10.0% of all\nThat is less than --val-fraction 0.17" in printed
    )


def test_duplicates(folder, capfd):
    images = {number: folder / "data" / number / "images" / f"{number}.png" for number in "0123"}
    shutil.copy(images["0"], images["1"])
    flags = ["--val-output", folder / "new" / "val"]
    run(*given(folder, "--val-output", folder / "val", "--output", folder / "r"))
    assert "1 images are there under several names: 0 = 1" in capfd.readouterr().out
    shutil.copy(images["2"], images["3"])
    error = refused(given(folder, *flags), folder, capfd)
    assert "1 images would be in both records, under different names: 2 = 3; remove" in error


def test_all_or_nothing(folder, capfd, monkeypatch):
    val = folder / "new" / "val"
    for number in "35":  # one in each part
        path = folder / "data" / number / "masks" / "0.png"
        path.write_bytes(cv2.imencode(".png", np.zeros((3, 3), np.uint8))[1].tobytes())
    with pytest.raises(SystemExit):
        run(*given(folder, "--val-output", val, "--output", folder / "new" / "r"))
    error = capfd.readouterr().err
    assert "2 of 10 images cannot be used" in error and "3/masks" in error and "5/masks" in error
    assert not (folder / "new").exists()

    shutil.rmtree(folder / "data" / "3")
    shutil.rmtree(folder / "data" / "5")
    move = write._move_into_place

    def fail_second(built, output, *more):
        if output.name == "val":
            raise OSError(5, "out of luck")
        move(built, output, *more)

    monkeypatch.setattr(write, "_move_into_place", fail_second)
    error = refused(given(folder, "--val-output", val), folder, capfd)
    assert "out of luck" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--val-fraction and --val-output go together"),
        (["--val-output", "new/r"], "r would be of two records; give each a name of its own"),
        (["--val-output", "val", "--val-fraction", "1"], "is 1; take a number between 0 and 1"),
        (["--val-output", "val", "--val-fraction", "nan"], "is nan; take a number between"),
        (["--val-output", "exists"], "exists exists; choose another name or pass --overwrite"),
    ],
)
def test_flags(folder, flags, message, capfd):
    (folder / "exists").touch()
    flags = [folder / one if one in ("val", "new/r", "exists") else one for one in flags]
    assert message in refused(given(folder, *flags), folder, capfd)


def test_group_by_needs_a_fraction(folder, capfd):
    error = refused(["--instances", folder / "data", "--group-by", "x"], folder, capfd)
    assert "--group-by goes with --val-fraction" in error
    assert "--val-output" in build.get_parser().format_help()
