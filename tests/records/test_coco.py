"""COCO through the whole program; masks are known pixel by pixel."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import build, records
from fcn8s_ms.errors import InputError
from fcn8s_ms.formats.json_lists import read_lists
from fcn8s_ms.records import coco

from ..helpers import error_line_of
from .test_layouts import labels_in, picture, refused, run, write

# Two categories whose ids are neither in order nor next to each other; images of 6x4 pixels.
CONTENT = {
    "info": {"year": 2024, "annotations": [1]},
    "annotations": [
        {
            "id": 7,
            "image_id": 30,
            "category_id": 9,
            "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3], [5, 0, 6, 0, 6, 1, 5, 1]],
            "iscrowd": 0,
        },
        {"id": 8, "image_id": 30, "category_id": 2, "segmentation": [[3, 2, 5, 2, 5, 4, 3, 4]]},
        {
            "id": 9,
            "image_id": 30,
            "category_id": 2,
            "segmentation": {"size": [4, 6], "counts": [0, 2, 22]},
            "iscrowd": 1,
        },
        # 20 outside, then the four pixels of the last column; '0' is 20 - 20 of 5 bits and a sign.
        {
            "id": 10,
            "image_id": 10,
            "category_id": 2,
            "segmentation": {"size": [4, 6], "counts": "d04"},
        },
    ],
    "images": [
        {"id": 30, "file_name": "b.png", "width": 6, "height": 4},
        {"id": 10, "file_name": "sub/a.png", "width": 6, "height": 4},
        {"id": 20, "file_name": "nothing.png"},
    ],
    "categories": [{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}],
}
EXPECTED = [
    [255, 0, 0, 0, 0, 2],
    [255, 2, 2, 2, 0, 0],
    [0, 2, 2, 1, 1, 0],
    [0, 0, 0, 1, 1, 0],
]


@pytest.fixture
def content():
    return copy.deepcopy(CONTENT)


@pytest.fixture
def folder(tmp_path):
    for name in ("b", "sub/a", "nothing"):
        write(tmp_path / "images" / f"{name}.png", picture(4, 6))
    return tmp_path


def given(folder, content):
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    (folder / "instances.json").write_text(text)
    return ["--coco", folder / "instances.json", "--images", folder / "images"]


def test_coco(folder, content):
    run(*given(folder, content), "--output", folder / "r")
    labels = labels_in(folder / "r")
    assert list(labels) == ["b", "sub/a", "nothing"]
    assert labels["b"].tolist() == EXPECTED
    assert labels["sub/a"].tolist() == [[0, 0, 0, 0, 0, 1]] * 4
    assert not labels["nothing"].any()
    metadata = records.read_metadata(folder / "r")
    assert metadata.classes == ("background", "dog", "cat")
    assert metadata.list_name == "instances"


def of_annotation(**changes):
    return lambda content: content["annotations"][0].update(changes)


def without_name(content):
    del content["categories"][1]["name"]


def empty_name(content):
    content["categories"][1]["name"] = " "


def same_names(content):
    content["categories"][1]["name"] = "cat"


def no_categories(content):
    del content["categories"]


def other_size(content):
    content["images"][0].update(width=4, height=6)


def missing_image(content):
    content["images"][2]["file_name"] = "gone.png"


def outside(content):
    content["images"][2]["file_name"] = "../secret.png"


def absolute(content):
    content["images"][2]["file_name"] = "/data/upload/1/a.png"


def of_windows(content):
    content["images"][2]["file_name"] = "..\\..\\media\\a.png"


def twice(content):
    content["images"][2]["id"] = 30


def one_name(content):
    content["images"][2]["file_name"] = "b.jpg"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (missing_image, "gone.png is missing; put it there or take it off the annotations"),
        (without_name, "instances.json: categories[1] lacks name: export it again"),
        (empty_name, "categories[1] has no name"),
        (same_names, "has several categories cat; merge or rename them"),
        (no_categories, "instances.json has no categories; is it a COCO file?"),
        (other_size, "image b.png is stated to be 4x6, the file is 6x4; export"),
        (outside, "names the file '../secret.png', which is not below"),
        (absolute, "names the file '/data/upload/1/a.png', which is not below"),
        (of_windows, "media"),
        (twice, "has several images of the id 30; keep one"),
        (one_name, "has several images b; keep one of each"),
        (of_annotation(category_id=3), "annotation 7 is of the category 3, which is not among"),
        (of_annotation(image_id=3), "annotation 7 is of the image 3, which is not among"),
        (of_annotation(segmentation=[]), "annotation 7: it has no segmentation (only a box?)"),
        (
            of_annotation(segmentation=[[1, 1, 4, 3]]),
            "b.png: annotation 7: a polygon of 2 points has no area; correct the annotation",
        ),
        (of_annotation(segmentation=[[1, 1, 4, 3, 5]]), "a polygon has 5 coordinates, an odd"),
        (
            of_annotation(segmentation=[[1, 1, 400, 1, 1, 3]]),
            "annotation 7: a polygon has the x 400, outside of the image (6x4)",
        ),
        (
            of_annotation(segmentation={"size": [6, 4], "counts": [24]}),
            "annotation 7: its run lengths are of a mask of 4x6, the image is 6x4",
        ),
        (
            of_annotation(segmentation={"size": [4, 6], "counts": "T0"}),
            "annotation 7: its run lengths cover",
        ),
        (of_annotation(segmentation={"size": [4, 6], "counts": None}), "counts is None; need"),
        (of_annotation(segmentation=[[1, "x", 4, 3, 5, 5]]), "segmentation[0][1] is 'x'; need"),
    ],
)
def test_faults(folder, content, fault, message, capfd):
    fault(content)
    error = refused(given(folder, content), folder, capfd)
    assert message in error, error


def test_all_images_with_faults_are_listed(folder, content):
    for annotation in content["annotations"][1], content["annotations"][3]:
        annotation["segmentation"] = [[1, 1, 2, 2]]
    source = coco.read_coco(*given(folder, content)[1::2])
    with pytest.raises(InputError, match=r"2 of 3 images cannot be used[^~]*b.png[^~]*sub/a.png"):
        records.build_records(source.pairs, folder / "new" / "r", classes=source.classes.names)


def test_flags_of_coco(folder, content, capfd):
    (folder / "x.txt").write_text("a\n")
    flags = given(folder, content)
    assert "--coco needs --images" in refused(flags[:2], folder, capfd)
    error = refused([*flags, "--labels", folder], folder, capfd)
    assert "--labels goes with --images only, not with --coco" in error
    error = refused([*flags, "--pets", folder], folder, capfd)
    assert "give one of" in error and "not 2 of them" in error
    error = refused([*flags[:3], folder / "none"], folder, capfd)
    assert "none is not a folder; check --images" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON (it is not an object"),
        ("[]", "it is not an object"),
        ('{"images": [', "is not valid JSON"),
        ('{"images": [{"id": 1, "file_name": "a"} 2]}', "Expecting ','"),
        ('{"images": [NaN]}', "NaN is not JSON"),
        ('{"images": [1e999]}', "too large"),
        ('{"images": [], }', "is not valid JSON"),
        ('{"images" []}', "Expecting ':'"),
        ("{1: []}", "is not a text"),
        ('{"images": []} x', "Extra data"),
        ('{"images": ' + "[" * 100_000, "nested too deeply"),
        ('{"images": 3}', "images[0] is 3; need an object"),
    ],
)
def test_damaged_files(folder, text, message, capfd):
    error = error_line_of(build.main, [*given(folder, text), "--output", folder / "r"], capfd)
    assert message in error, error


def test_lists_are_read_item_by_item(tmp_path):
    path = tmp_path / "a.json"
    values = {"a": [1, [2], {"c": [3]}], "d": {"a": [9]}, "b": [], "e": ["x", None], "f": []}
    for indent in (None, 2):
        path.write_text(json.dumps(values, indent=indent))
        assert list(read_lists(path, ("a", "b", "e"))) == [
            ("a", 1),
            ("a", [2]),
            ("a", {"c": [3]}),
            ("e", "x"),
            ("e", None),
        ]


def test_memory_of_many_annotations_is_that_of_their_numbers(folder, content):
    """Of a list of Python's floats a polygon would take four times the memory."""
    region = coco._region({**content["annotations"][1], "segmentation": [[1.5] * 200]}, "x")
    (points,) = region.polygons
    assert points.dtype == np.float64 and points.shape == (100, 2) and points.nbytes == 1600


def test_coordinates_are_those_of_the_upright_image(folder, content):
    """As browsers show it: 6 rows of 4 pixels in the file, 6x4 when they are turned."""
    turned = Image.fromarray(picture(6, 4))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "images" / "b.jpg", exif=exif)
    content["images"][0]["file_name"] = "b.jpg"
    run(*given(folder, content), "--output", folder / "r")
    assert labels_in(folder / "r")["b"].tolist() == EXPECTED
