"""YOLO's format through the whole program; masks are known pixel by pixel."""

import pytest

from fcn8s_ms import records
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import yolo

from .test_layouts import labels_in, picture, refused, run, write

DATA = """# a comment
path: coco  # relative to this file
train: images/train
val: images/val
nc: 2
names:
  0: cat
  1: 'traffic light'
download: https://example.org/x.zip
"""


@pytest.fixture
def data(tmp_path):
    """Images of 10x5 pixels, so that tenths and fifths are whole pixels."""
    for name in ("train/b", "train/a", "train/none", "val/v"):
        write(tmp_path / "coco" / "images" / f"{name}.png", picture(5, 10))
        (tmp_path / "coco" / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
    labels = tmp_path / "coco" / "labels"
    (labels / "train" / "b.txt").write_text(
        "0 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8\n\n1 .4 .4 .7 .4 .7 1.0 .4 1.0\n"
    )
    (labels / "train" / "a.txt").write_text("1 0.8 0 1 0 1 0.2 0.8 0.2")
    (labels / "train" / "classes.txt").write_text("cat\ntraffic light\n")
    (labels / "val" / "v.txt").write_text("")
    (tmp_path / "data.yaml").write_text(DATA)
    return tmp_path / "data.yaml"


def test_yolo(data, tmp_path):
    run("--yolo", data, "--output", tmp_path / "r")
    labels = labels_in(tmp_path / "r")
    assert list(labels) == ["a", "b", "none"]
    assert labels["b"].tolist() == [
        [0] * 10,
        [0, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 2, 2, 2, 0, 0, 0],
        [0, 1, 1, 1, 2, 2, 2, 0, 0, 0],
        [0, 0, 0, 0, 2, 2, 2, 0, 0, 0],
    ]
    assert labels["a"].tolist() == [[0] * 8 + [2, 2], *[[0] * 10] * 4]
    assert not labels["none"].any()
    metadata = records.read_metadata(tmp_path / "r")
    assert metadata.classes == ("background", "cat", "traffic light")
    assert metadata.list_name == "train"
    run("--yolo", data, "--split", "val", "--output", tmp_path / "val")
    assert list(labels_in(tmp_path / "val")) == ["v"]


@pytest.mark.parametrize(
    "names",
    [
        "names: [a, 'b, c']",
        'names: ["a", "b, c"]  # two',
        "names:\n- a\n- 'b, c'",
        "names:\n  - a\n  - b, c",
        "names: {0: a, 1: 'b, c'}",
        "names:\n  1: b, c\n  0: a",
        "names: [\n  a,\n  'b, c'\n  ]\nnc: 2",
    ],
)
def test_names_in_all_spellings(tmp_path, names):
    (tmp_path / "data.yaml").write_text(f"train: images\n{names}\n")
    assert yolo.read_data_file(tmp_path / "data.yaml")[1] == ["a", "b, c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: x\n", "names is missing"),
        ("names: [a, a]", "names repeats a"),
        ("names: [background]", "names repeats background"),
        ("names: {1: a, 2: b}", "names has the ids 1, 2; number them 0, 1, 2"),
        ("names: ['', b]", "names has a class without a name"),
        ("names:\n  0:\n  1: b", "names has a class without a name"),
        ("names: [a\n", "line 1: a list is not closed"),
        ("names: &x [a]", "is YAML that is not read here"),
        ("names: !!python/object:os.system x", "is YAML that is not read here"),
        ("what is this", "line 1: 'what is this' is not a key with a value"),
        ("a: 1\na: 2\n", "line 2: 'a' is repeated"),
        (f"names: [{', '.join(map(str, range(300)))}]", "up to 254 fit"),
    ],
)
def test_files_that_are_not_read(tmp_path, text, message):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match="data.yaml: ") as caught:
        yolo.read_data_file(tmp_path / "data.yaml")
    assert message in str(caught.value)


def test_other_places(data, tmp_path):
    """Roboflow's ../train for what lies next to the file, lists of files, several folders."""

    def names(text, **more):
        data.write_text(f"names: [cat, light]\n{text}\n")
        return [pair.name for pair in yolo.read_yolo(data, **more).pairs]

    root = tmp_path / "coco"
    assert names("train: ../coco/images/train") == ["a", "b", "none"]
    assert names("path: coco\ntrain: [images/train, images/val]") == ["a", "b", "none", "v"]
    assert names("path: /content/coco\ntrain: images/val", images=root) == ["v"]
    (root / "list.txt").write_text("./images/train/b.png\nimages/val/v.png\n")
    assert names("path: coco\ntrain: list.txt") == ["images/train/b", "images/val/v"]
    (root / "list.txt").write_text("../../secret.png\n")
    with pytest.raises(InputError, match="list.txt names the file '../../secret.png'"):
        names("path: coco\ntrain: list.txt")
    # Folders above the dataset's may be called images.
    image = tmp_path / "images" / "data" / "train" / "x.png"
    assert yolo._labels_of(image, tmp_path / "images" / "data") == image.with_suffix(".txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path: /content/coco\ntrain: x", "path is '/content/coco', which is not a folder below"),
        ("path: ../..\ntrain: x", "path is '../..', which is not a folder below"),
        ("path: coco\ntrain: /etc", "names the file '/etc', which is not below"),
        ("path: coco\ntrain: images/test", "names the folder 'images/test'"),
        ("path: coco\nval: images/val", "has no 'train'; it has val"),
    ],
)
def test_faults_of_places(data, text, message, tmp_path, capfd):
    data.write_text(f"names: [cat, light]\n{text}\n")
    error = refused(["--yolo", data], tmp_path, capfd)
    assert message in error, error


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.1 0.1 0.5 0.5", "a.txt, line 1: 4 coordinates are a box or a polygon of two points"),
        ("0 0.1 0.1 0.5 0.5 0.3", "5 coordinates are a box"),
        ("0 0.1 0.1 0.5 0.5 0.3 0.4 0.5", "it has 7 coordinates, an odd number"),
        ("2 0.1 0.1 0.5 0.5 0.3 0.4", "the class 2 has no name; names has 0…1"),
        ("0.5 0.1 0.1 0.5 0.5 0.3 0.4", "the class 0.5 has no name"),
        ("0 10 10 50 50 30 40", "the coordinate 50 is outside of the image; coordinates are rel"),
        ("0 -0.1 0.1 0.5 0.5 0.3 0.4", "the coordinate -0.1 is outside"),
        ("cat 0.1 0.1 0.5 0.5 0.3 0.4", "is not a line of numbers"),
        ("0 nan 0.1 0.5 0.5 0.3 0.4", "not finite"),
    ],
)
def test_faults_of_lines(data, line, message, tmp_path, capfd):
    (tmp_path / "coco" / "labels" / "train" / "a.txt").write_text(line)
    error = refused(["--yolo", data], tmp_path, capfd)
    assert message in error and error.rstrip().endswith("correct the line"), error


def test_faults_of_files(data, tmp_path, capfd):
    images, labels = tmp_path / "coco" / "images", tmp_path / "coco" / "labels"
    (images / "train" / "b.png").unlink()
    error = refused(["--yolo", data], tmp_path, capfd)
    assert "labels/train has label files without an image: b.txt; add" in error
    (labels / "val" / "v.txt").unlink()
    error = refused(["--yolo", data, "--split", "val"], tmp_path, capfd)
    assert "no image of val has a label file; the first would be" in error
    error = refused(["--yolo", data, "--split", "test"], tmp_path, capfd)
    assert "data.yaml has no 'test'; it has train, val" in error
    (images / "val" / "v.png").unlink()
    error = refused(["--yolo", data, "--split", "val"], tmp_path, capfd)
    assert "val holds no images" in error


def test_a_large_data_file_is_not_read(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [" + "a," * 2**19 + "]")
    with pytest.raises(InputError, match="is larger than 1 MB; is it a data.yaml"):
        yolo.read_data_file(tmp_path / "data.yaml")
