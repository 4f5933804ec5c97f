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


# --- CVAT --------------------------------------------------------------------------------------

LABEL_MAP = """# label:color_rgb:parts:actions
background:0,0,0::
cat:250,50,83::
dog:36,179,83::
"""


@pytest.fixture
def cvat(tmp_path):
    """Two frames; masks are RGB, as CVAT writes them."""
    root = tmp_path / "task"
    for name in ("frame_1", "sub/frame_2"):
        write(root / "JPEGImages" / f"{name}.jpg", picture(2, 3))
        mask = np.zeros((2, 3, 3), np.uint8)
        mask[0, 1:], mask[1, 2] = (83, 50, 250), (83, 179, 36)  # BGR
        write(root / "SegmentationClass" / f"{name}.png", mask)
    (root / "labelmap.txt").write_text(LABEL_MAP)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("sub/frame_2\nframe_1\n")
    return root


def test_cvat(cvat, tmp_path):
    run("--cvat", cvat, "--output", tmp_path / "r")
    labels = labels_in(tmp_path / "r")
    assert list(labels) == ["sub/frame_2", "frame_1"]
    assert labels["frame_1"].tolist() == [[0, 1, 1], [0, 0, 2]]
    metadata = records.read_metadata(tmp_path / "r")
    assert metadata.classes == ("background", "cat", "dog")
    assert metadata.palette[1] == (250, 50, 83) and metadata.list_name == "default"


def test_faults_of_cvat(cvat, tmp_path, capfd):
    given = ["--cvat", cvat]
    mask = np.zeros((2, 3, 3), np.uint8)
    mask[0, 0] = 3, 2, 201
    write(cvat / "SegmentationClass" / "frame_1.png", mask)
    error = refused(given, tmp_path, capfd)
    assert "frame_1.png holds colours of no class: (201, 2, 3); add them" in error
    (cvat / "SegmentationClass" / "frame_1.png").unlink()
    assert "SegmentationClass has no mask for 1 of 2 images: frame_1" in refused(
        given, tmp_path, capfd
    )
    (cvat / "JPEGImages" / "frame_1.jpg").unlink()
    error = refused(given, tmp_path, capfd)
    assert "default.txt names frame_1, of which there are no images" in error
    lists = cvat / "ImageSets" / "Segmentation"
    error = refused([*given, "--split", "val"], tmp_path, capfd)
    assert "val.txt is missing; lists there: default" in error
    (lists / "val.txt").write_text("frame_1\n")
    assert "has the lists default, val; choose with --split" in refused(given, tmp_path, capfd)
    (cvat / "JPEGImages").rename(tmp_path / "images")
    error = refused(given, tmp_path, capfd)
    assert "has no folder JPEGImages: export it again with 'Save images', or pass" in error
    flags = ["--images", tmp_path / "images", "--split", "default"]
    assert "default.txt names frame_1, of" in refused([*given, *flags], tmp_path, capfd)
    (cvat / "labelmap.txt").write_text("cat:1,2::\n")
    error = refused([*given, *flags], tmp_path, capfd)
    assert "labelmap.txt, line 1: 'cat:1,2::' is not a class with its colour" in error
    (cvat / "labelmap.txt").write_text("cat:1,2,3::\ndog:1,2,3::\n")
    error = refused([*given, *flags], tmp_path, capfd)
    assert "labelmap.txt, line 2: the name or colour of 'dog:1,2,3::' is repeated" in error


# --- ADE20K ------------------------------------------------------------------------------------


@pytest.fixture
def ade20k(tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    for split, name in (("training", "ADE_train_1"), ("validation", "ADE_val_1")):
        write(root / "images" / split / f"{name}.jpg", picture(2, 3))
        mask = np.array([[0, 1, 2], [150, 150, 0]], np.uint8)
        write(root / "annotations" / split / f"{name}.png", mask)
    return root


def test_ade20k(ade20k, tmp_path):
    run("--ade20k", tmp_path, "--output", tmp_path / "r")
    labels = labels_in(tmp_path / "r")
    assert labels["ADE_train_1"].tolist() == [[255, 0, 1], [149, 149, 255]]
    metadata = records.read_metadata(tmp_path / "r")
    assert len(metadata.classes) == 150 and metadata.classes[0] == "class 1"
    rows = [f"{number}\t0.1\t9\t9\t1\tthing{number // 2}, item" for number in range(1, 151)]
    (ade20k / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\t…\tName", *rows]))
    run("--ade20k", ade20k, "--split", "validation", "--output", tmp_path / "val")
    metadata = records.read_metadata(tmp_path / "val")
    assert metadata.classes[:3] == ("thing0", "thing1 2", "thing1 3")
    assert metadata.list_name == "validation" and metadata.num_samples == 1


def test_faults_of_ade20k(ade20k, tmp_path, capfd):
    given = ["--ade20k", ade20k]
    error = refused([*given, "--split", "train"], tmp_path, capfd)
    assert "images/train is missing; splits there: training, validation" in error
    write(ade20k / "annotations" / "training" / "ADE_train_1.png", np.full((2, 3), 151, np.uint8))
    assert "holds label 151; this format has 0…150" in refused(given, tmp_path, capfd)
    write(ade20k / "annotations" / "training" / "ADE_train_1.png", np.zeros((3, 3), np.uint8))
    assert "is 3x3, its image" in refused(given, tmp_path, capfd)
    (ade20k / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    assert "names 1 classes, not 150; fetch it again" in refused(given, tmp_path, capfd)
    assert "has no folder images; give the folder" in refused(
        ["--ade20k", ade20k / "images"], tmp_path, capfd
    )


# --- Cityscapes --------------------------------------------------------------------------------

LABEL_IDS = np.array([[7, 8, 0], [33, 6, 29]], np.uint8)
TRAIN_IDS = np.array([[0, 1, 255], [18, 255, 255]], np.uint8)


@pytest.fixture
def cityscapes(tmp_path):
    root = tmp_path / "cityscapes"
    for name in ("ulm/ulm_0_1", "aachen/aachen_0_1"):
        write(root / "leftImg8bit" / "train" / f"{name}_leftImg8bit.png", picture(2, 3))
        folder = root / "gtFine" / "train"
        write(folder / f"{name}_gtFine_labelIds.png", LABEL_IDS)
        write(folder / f"{name}_gtFine_color.png", picture(2, 3))
    return root


def test_cityscapes(cityscapes, tmp_path):
    run("--cityscapes", cityscapes, "--output", tmp_path / "r")
    labels = labels_in(tmp_path / "r")
    assert list(labels) == ["aachen/aachen_0_1", "ulm/ulm_0_1"]
    assert (labels["ulm/ulm_0_1"] == TRAIN_IDS).all()
    metadata = records.read_metadata(tmp_path / "r")
    assert metadata.classes[0] == "road" and metadata.classes[18] == "bicycle"
    assert metadata.palette[13] == (0, 0, 142)
    for path in (cityscapes / "gtFine").rglob("*_labelIds.png"):
        write(path.with_name(path.name.replace("labelIds", "labelTrainIds")), TRAIN_IDS)
        path.unlink()
    run("--cityscapes", cityscapes, "--output", tmp_path / "train_ids")
    assert (labels_in(tmp_path / "train_ids")["ulm/ulm_0_1"] == TRAIN_IDS).all()


def test_faults_of_cityscapes(cityscapes, tmp_path, capfd):
    given = ["--cityscapes", cityscapes]
    error = refused([*given, "--split", "val"], tmp_path, capfd)
    assert "leftImg8bit/val is missing; splits there: train" in error
    assert "are not published" in refused([*given, "--split", "test"], tmp_path, capfd)
    mask = cityscapes / "gtFine" / "train" / "ulm" / "ulm_0_1_gtFine_labelIds.png"
    write(mask, LABEL_IDS + 1)
    assert "holds label 34; this format has 0…33: correct the mask" in refused(
        given, tmp_path, capfd
    )
    mask.unlink()
    error = refused(given, tmp_path, capfd)
    assert "has no mask for 1 of 2 images: ulm/ulm_0_1; fetch gtFine again" in error
