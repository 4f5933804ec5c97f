import json
import time

import numpy as np
import pytest

from fcn8s_ms import records, visualize
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import sources

from ..helpers import shape, write_labelme, write_sbd, write_voc

# --- VOC and SBD -------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_folder_is_found_at_every_level(tmp_path, level):
    folder = write_voc(tmp_path)
    assert sources.find_voc_folder(tmp_path / level) == folder


def test_no_voc_folder(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} is not a VOC folder: give"):
        sources.find_voc_folder(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"a\nb\nc\n", b"a\nb\nc", b"a\r\nb\r\nc", b"\xef\xbb\xbfa\r\n\r\n b  \r\nc\t", b"a\rb\rc\r"],
)
def test_lists_of_all_systems(voc_folder, content):
    (voc_folder / "ImageSets" / "Segmentation" / "odd.txt").write_bytes(content)
    assert [pair.name for pair in sources.voc_pairs(voc_folder, "odd")] == ["a", "b", "c"]


def test_one_of_several_years(tmp_path):
    folder = write_voc(tmp_path)
    other = folder.with_name("VOC2007")
    write_voc(tmp_path / "x").rename(other)
    (other / "ImageSets" / "Segmentation" / "train.txt").write_text("e\n")
    for root in (tmp_path, tmp_path / "VOCdevkit"):
        with pytest.raises(InputError, match="holds VOC2007, VOC2012; choose one with --year"):
            sources.voc_pairs(root, "train")
        (pair,) = sources.voc_pairs(root, "train", 2007)
        assert pair.image == other / "JPEGImages" / "e.jpg"
        assert len(sources.voc_pairs(root, "train", 2012)) == 3
    assert sources.find_voc_folder(other) == sources.find_voc_folder(other, 2007) == other
    with pytest.raises(InputError, match="VOCdevkit, or VOC2010 itself"):
        sources.find_voc_folder(tmp_path, 2010)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a\nb\na \n", "names a more than once"),
        ("größe\n".encode("latin-1"), "is not UTF-8 text"),
    ],
)
def test_bad_lists(voc_folder, content, message):
    (voc_folder / "ImageSets" / "Segmentation" / "bad.txt").write_bytes(content)
    with pytest.raises(InputError, match=f"bad.txt {message}"):
        sources.voc_pairs(voc_folder, "bad")


def test_missing_list_names_those_there(voc_folder):
    with pytest.raises(InputError, match="test.txt is missing; lists there: train, trainval, val"):
        sources.voc_pairs(voc_folder, "test")
    with pytest.raises(InputError, match="trainaug also needs --sbd-root"):
        sources.voc_pairs(voc_folder, "trainaug")


@pytest.mark.parametrize("level", [".", "benchmark_RELEASE", "benchmark_RELEASE/dataset"])
def test_trainaug_is_both_datasets_without_vocs_validation_images(tmp_path, level):
    """VOC: a b c train, d e val. SBD: train b d x (d is in VOC val), val e y."""
    voc_folder = write_voc(tmp_path / "voc")
    sbd = write_sbd(tmp_path / "sbd", {"train": "bdx", "val": "ey"})
    pairs = sources.trainaug_pairs(tmp_path / "voc", tmp_path / "sbd" / level)
    assert [pair.name for pair in pairs] == ["a", "b", "c", "x", "y"]
    masks = {pair.name: pair.mask for pair in pairs}
    assert masks["b"] == voc_folder / "SegmentationClass" / "b.png"  # VOC's own wins
    assert masks["x"] == sbd / "cls" / "x.mat"
    images = {pair.name: pair.image for pair in pairs}
    assert images["a"] == voc_folder / "JPEGImages" / "a.jpg"
    assert images["x"] == sbd / "img" / "x.jpg"


def test_trainaug_with_lists_of_another_system(tmp_path):
    write_voc(tmp_path / "voc")
    sbd = write_sbd(tmp_path / "sbd", {"train": "dx", "val": "y"})
    (sbd / "train.txt").write_bytes(b"d\r\nx")
    (sbd / "val.txt").write_bytes(b"y  \r\n\r\n")
    names = [pair.name for pair in sources.trainaug_pairs(tmp_path / "voc", tmp_path / "sbd")]
    assert names == ["a", "b", "c", "x", "y"]


def test_images_of_sbd_may_be_vocs_own(tmp_path):
    """SBD's images are VOC's; some copies come without them."""
    voc_folder = write_voc(tmp_path / "voc")
    sbd = write_sbd(tmp_path / "sbd", {"train": "x", "val": "y"})
    (sbd / "img" / "x.jpg").rename(voc_folder / "JPEGImages" / "x.jpg")
    pairs = {pair.name: pair for pair in sources.trainaug_pairs(voc_folder, sbd)}
    assert pairs["x"].image == voc_folder / "JPEGImages" / "x.jpg"


def test_no_sbd_folder(tmp_path):
    write_voc(tmp_path)
    with pytest.raises(InputError, match=f"{tmp_path} is not an SBD folder: give"):
        sources.trainaug_pairs(tmp_path, tmp_path)


# --- labelme -----------------------------------------------------------------------------------


def test_labelme_folder(tmp_path):
    triangle = [[0, 0], [5, 0], [5, 5]]
    write_labelme(tmp_path / "b.json", [shape("tree", triangle), shape("_background_", triangle)])
    write_labelme(tmp_path / "a.json", [shape("car", triangle), shape("__ignore__", triangle)])
    assert sources.labelme_classes(tmp_path).names == ("background", "car", "tree")
    assert sources.labelme_pairs(tmp_path)[0] == sources.Pair(
        "a", tmp_path / "a.jpg", tmp_path / "a.json"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no labelme files"):
        sources.labelme_pairs(tmp_path / "empty")


# --- classes -----------------------------------------------------------------------------------


def write_classes(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8-sig")
    return tmp_path / "classes.txt"


def test_names_alone(tmp_path):
    path = write_classes(tmp_path, "# street\nsky\n\ntraffic light\r\n__ignore__\nroad 2\n")
    found = records.read_classes(path)
    assert found == records.Classes(("sky", "traffic light", "road 2"), {})
    assert (found.palette() == visualize.default_palette(found.names)[:3]).all()


@pytest.mark.parametrize(
    "text",
    [
        "sky 128 128 128\ntraffic light 0 64 64\nsky 128 128 0\nignore 0 0 0\n",
        "128 128 128\tsky\n0 64 64\ttraffic light\n128 128 0 sky\n0 0 0 ignore\n",
        "name,r,g,b\nsky,128,128,128\n'traffic light', 0, 64, 64\nsky,128,128,0\nignore,0,0,0\n",
        "# label:color_rgb:parts:actions\nsky:128,128,128::\ntraffic light:0,64,64::\n"
        "sky:128,128,0::\nignore:0,0,0::\n",
    ],
)
def test_names_and_colours(tmp_path, text):
    found = records.read_classes(write_classes(tmp_path, text))
    assert found.names == ("sky", "traffic light")
    assert found.colours == {
        (128, 128, 128): 0,
        (0, 64, 64): 1,
        (128, 128, 0): 0,
        (0, 0, 0): 255,
    }
    assert found.palette().tolist() == [[128, 128, 128], [0, 64, 64]]
    assert found.palette().dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "classes.txt names no class"),
        ("ignore 0 0 0\n", "classes.txt names no class"),
        ("a\nb\na\n", "line 3: 'a' is repeated; remove one"),
        ("a 1 2 3\nb 1 2 3\n", r"line 2: the colour \(1, 2, 3\) is repeated; remove one"),
        ("a 1 2 300\n", r"line 1: \(1, 2, 300\) is not a colour; use 0…255"),
        ("a 1 2 3\nb\n", "classes.txt has no colour for b"),
        ("\n".join(f"c{i}" for i in range(256)), "names 256 classes; at most 255"),
        ("a" * 2000, "'aaa.*… has 2,000 characters; shorten it"),
    ],
)
def test_bad_class_files(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        records.read_classes(write_classes(tmp_path, text))


@pytest.mark.parametrize(
    "line", ["a" + " " * 60_000 + "b", "a" + " 1" * 30_000, "1 " * 30_000 + "a", ";" * 60_000]
)
def test_long_lines_take_no_longer_than_they_should(tmp_path, line):
    path = write_classes(tmp_path, f"{line}\nb\n" * 5)
    started = time.monotonic()
    with pytest.raises(InputError):
        records.read_classes(path)
    assert time.monotonic() - started < 1


def write_map(tmp_path, content):
    path = tmp_path / "map.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_label_map(tmp_path):
    path = write_map(tmp_path, {"255": 1, "7": "sky", "0": "ignore", "8": 255})
    assert records.read_label_map(path, ("sky", "road")) == {255: 1, 7: 0, 0: 255, 8: 255}


def test_label_map_on_the_command_line():
    assert records.read_label_map(' {"255": "road"}', ("sky", "road")) == {255: 1}
    with pytest.raises(
        InputError, match=r"--label-map '\{255:1\}' is not valid JSON .* quotes, as"
    ):
        records.read_label_map("{255:1}", ("sky", "road"))
    with pytest.raises(InputError, match="--label-map: 255 maps to 2; give a class id 0…1"):
        records.read_label_map('{"255": 2}', ("sky", "road"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "map.json is not a JSON object"),
        ("{", "map.json is not valid JSON"),
        ({"256": 1}, "'256' is not a value of a mask"),
        ({"sky": 1}, "'sky' is not a value of a mask"),
        ({"1": 2}, "1 maps to 2; give a class id 0…1"),
        ({"1": "moon"}, "1 maps to 'moon'"),
        ({"1": True}, "1 maps to True"),
        ({"1" * 5000: 1}, "'1111.*… is not a value of a mask"),
        ({"1": 10**400}, "1 maps to 1000.*…; give a class id"),
        ({"1": [1]}, r"1 maps to \[1\]"),
    ],
)
def test_bad_label_maps(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        records.read_label_map(write_map(tmp_path, content), ("sky", "road"))
