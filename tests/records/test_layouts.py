"""Small trees of published layouts, through the whole program: masks are known pixel by pixel."""

import re
import shutil

import cv2
import numpy as np
import pytest

from fcn8s_ms import build, records, transforms

from ..helpers import error_line_of


def picture(height, width):
    return np.full((height, width, 3), 90, np.uint8)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())


def run(*arguments):
    build.main([str(argument) for argument in arguments])


def labels_in(record):
    return {name: transforms.decode_label(png) for name, _, png in records.read_samples(record)}


def refused(given, folder, capfd):
    """The one line of a build that fails; it leaves nothing behind."""
    error = error_line_of(build.main, [*given, "--output", folder / "new" / "r"], capfd)
    assert not (folder / "new").exists()
    return error


# --- a mask per object -------------------------------------------------------------------------


@pytest.fixture
def nuclei(tmp_path):
    """Two images: one with two objects that overlap, one with none."""
    root = tmp_path / "stage1_train"
    for name in ("b7", "a3"):
        write(root / name / "images" / f"{name}.png", picture(8, 10))
        (root / name / "masks").mkdir()
        (root / name / "._masks").touch()
    for number, (rows, columns) in enumerate([((1, 4), (2, 6)), ((3, 6), (5, 9))]):
        mask = np.zeros((8, 10), np.uint8)
        mask[rows[0] : rows[1], columns[0] : columns[1]] = 255
        write(root / "a3" / "masks" / f"{number}.png", mask)
    (root / "a3" / "masks" / "._0.png").write_bytes(b"left by macOS")
    (root / "labels.csv").touch()
    return root


def test_instances(nuclei, tmp_path):
    run("--instances", nuclei, "--output", tmp_path / "r")
    expected = np.zeros((8, 10), np.uint8)
    expected[1:4, 2:6] = expected[3:6, 5:9] = 1
    labels = labels_in(tmp_path / "r")
    assert list(labels) == ["a3", "b7"]
    assert (labels["a3"] == expected).all() and not labels["b7"].any()
    metadata = records.read_metadata(tmp_path / "r")
    assert metadata.classes == ("background", "object")
    assert metadata.pixel_counts == (160 - 23, 23) and metadata.source == "stage1_train"


def no_image(root):
    (root / "a3" / "images" / "a3.png").unlink()


def two_images(root):
    write(root / "a3" / "images" / "more.png", picture(8, 10))


def no_masks(root):
    shutil.rmtree(root / "b7" / "masks")


def other_size(root):
    write(root / "b7" / "masks" / "0.png", np.zeros((10, 8), np.uint8))


def three_values(root):
    mask = np.zeros((8, 10), np.uint8)
    mask[0, :2] = 1, 2
    write(root / "b7" / "masks" / "0.png", mask)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (no_image, r"stage1_train is not a folder of ID/images.*: a3 \(no images\); give"),
        (two_images, r"a3 \(2 images\)"),
        (no_masks, r"b7 \(no folder masks\)"),
        (other_size, "b7/masks/0.png is 8x10, its image 10x8; give both one size"),
        (three_values, "b7/masks/0.png holds more than two values"),
    ],
)
def test_faults_of_instances(nuclei, tmp_path, fault, message, capfd):
    fault(nuclei)
    capfd.readouterr()
    error = refused(["--instances", nuclei], tmp_path, capfd)
    assert re.search(message, error), error


def test_masks_of_objects_are_limited_like_images(nuclei, tmp_path, capfd):
    write(nuclei / "b7" / "masks" / "0.png", np.zeros((90, 90), np.uint8))
    error = refused(["--instances", nuclei, "--max-pixels", "100"], tmp_path, capfd)
    assert "0.png has 90x90 pixels; up to 100 are read" in error


# --- Oxford-IIIT Pet ---------------------------------------------------------------------------

TRIMAP = np.array([[2, 2, 2, 2], [2, 3, 3, 2], [3, 1, 1, 3]], np.uint8)


@pytest.fixture
def pets(tmp_path):
    root = tmp_path / "oxford-iiit-pet"
    for name in ("Bengal_1", "pug_2", "pug_3"):
        write(root / "images" / f"{name}.jpg", picture(3, 4))
        write(root / "annotations" / "trimaps" / f"{name}.png", TRIMAP)
        (root / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"left by macOS")
    (root / "annotations" / "trainval.txt").write_text("pug_2 2 2 1\nBengal_1 1 1 1\n")
    (root / "annotations" / "test.txt").write_text("#Image CLASS-ID SPECIES BREED\npug_3 2 2 1\n")
    return root


@pytest.mark.parametrize("ignored", [False, True])
def test_pets(pets, tmp_path, ignored):
    flags = ["--ignore-outline"] if ignored else []
    run("--pets", pets, *flags, "--output", tmp_path / "r")
    labels = labels_in(tmp_path / "r")
    assert list(labels) == ["pug_2", "Bengal_1"]
    outline = 255 if ignored else 2
    expected = [[0, 0, 0, 0], [0, outline, outline, 0], [outline, 1, 1, outline]]
    assert labels["pug_2"].tolist() == expected
    metadata = records.read_metadata(tmp_path / "r")
    assert metadata.classes == ("background", "pet", "outline")[: 2 if ignored else 3]
    assert metadata.list_name == "trainval"
    run("--pets", pets, "--split", "test", "--output", tmp_path / "test")
    assert list(labels_in(tmp_path / "test")) == ["pug_3"]


def test_faults_of_pets(pets, tmp_path, capfd):
    given = ["--pets", pets]
    error = refused([*given, "--split", "val"], tmp_path, capfd)
    assert "val.txt is missing; lists there: test, trainval" in error
    assert "names the file '../x.txt'" in refused([*given, "--split", "../x"], tmp_path, capfd)

    write(pets / "annotations" / "trimaps" / "pug_2.png", TRIMAP.T)
    error = refused(given, tmp_path, capfd)
    assert "pug_2.png is 3x4, its image" in error and "give both one size" in error
    write(pets / "annotations" / "trimaps" / "pug_2.png", TRIMAP - 1)
    assert "pug_2.png holds label 0; this format has 1…3: correct" in refused(
        given, tmp_path, capfd
    )
    (pets / "annotations" / "trimaps" / "pug_2.png").unlink()
    assert "trimaps/pug_2.png is missing" in refused(given, tmp_path, capfd)

    lines = pets / "annotations" / "trainval.txt"
    lines.write_text("pug_2 1\npug_2 2\n")
    assert "trainval.txt names pug_2 more than once" in refused(given, tmp_path, capfd)
    lines.write_text("../../secret 1\n")
    assert "trainval.txt names the file '../../secret.jpg'" in refused(given, tmp_path, capfd)
    error = refused(["--pets", pets / "annotations"], tmp_path, capfd)
    assert "annotations has no folder annotations; give the folder" in error


@pytest.mark.parametrize(
    "flags", [("--classes", "c"), ("--ignore-label", "3"), ("--mask-values", "ids")]
)
def test_classes_of_a_format_are_its_own(pets, tmp_path, capfd, flags):
    error = refused(["--pets", pets, *flags], tmp_path, capfd)
    assert f"{flags[0]} does not go with --pets, which has classes of its own" in error
