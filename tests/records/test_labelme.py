import base64
import io

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms.errors import InputError
from fcn8s_ms.records import labelme

from ..helpers import shape, write_labelme

IDS = {"background": 0, "car": 1, "tree": 2}


def read(tmp_path, shapes, ids=IDS):
    return labelme.read_mask(write_labelme(tmp_path / "a.json", shapes), ids)


def test_polygons_and_rectangles_cover_the_pixels_up_to_their_edges(tmp_path):
    expected = np.zeros((10, 12), np.uint8)
    expected[2:6, 1:5] = 1
    expected[4:9, 3:11] = 2  # drawn later: on top
    found = read(
        tmp_path,
        [
            shape("car", [[1.0, 2.0], [4.0, 2.0], [4.0, 5.0], [1.0, 5.0]]),
            shape("tree", [[10.0, 8.0], [3.0, 4.0]], "rectangle"),  # from corner to corner
        ],
    )
    assert found.dtype == np.uint8 and (found == expected).all()


def test_circles(tmp_path):
    found = read(tmp_path, [shape("tree", [[5.0, 5.0], [5.0, 8.0]], "circle")])
    y, x = np.mgrid[:10, :12]
    distance = np.hypot(x - 5, y - 5)
    assert (found[distance <= 2.5] == 2).all()
    assert (found[distance >= 4] == 0).all()


@pytest.mark.parametrize("high", [1, 255])
def test_masks(tmp_path, high):
    drawn = np.zeros((3, 4), np.uint8)
    drawn[1:, 2:] = high
    encoded = io.BytesIO()
    Image.fromarray(drawn).save(encoded, "png")
    text = base64.b64encode(encoded.getvalue()).decode()
    found = read(tmp_path, [shape("car", [[5.0, 6.0], [8.0, 8.0]], "mask", mask=text)])
    expected = np.zeros((10, 12), np.uint8)
    expected[7:9, 7:9] = 1
    assert (found == expected).all()


def test_what_is_not_covered_is_background_or_ignored(tmp_path):
    shapes = [shape("car", [[0, 0], [5, 0], [5, 5], [0, 5]])]
    assert set(np.unique(read(tmp_path, shapes))) == {0, 1}
    assert set(np.unique(read(tmp_path, shapes, {"_background_": 3, "car": 1}))) == {1, 3}
    assert set(np.unique(read(tmp_path, shapes, {"car": 0}))) == {0, 255}
    ignored = [*shapes, shape("__ignore__", [[2, 2], [9, 2], [9, 9]])]
    assert set(np.unique(read(tmp_path, ignored))) == {0, 1, 255}


def test_image_paths_of_any_system(tmp_path):
    path = write_labelme(tmp_path / "a.json", [], imagePath="..\\pictures\\a.jpg")
    assert labelme.image_of(path) == tmp_path / "../pictures/a.jpg"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([shape("bus", [[0, 0], [1, 1], [2, 0]])], "class 'bus', which is not among the classes"),
        ([shape("car", [[0, 0], [1, 1]])], "a polygon of 2 points has no area"),
        ([shape("car", [[0, 0], [1, 1]], "line")], "a line has no area"),
        ([shape("car", [[0, 0]], "mask", mask="no base64!")], "a shape of 'car' cannot be drawn"),
        ([shape("car", [[0, 0, 0]])], "a shape of 'car' cannot be drawn"),
        ([{"label": "car"}], "a shape of 'car' cannot be drawn"),
        ([shape("car", None)], r"cannot be drawn \(points is None; need a list"),
        ([shape("car", [[0, 0], "ab", [1, 1]])], r"drawn \(points\[1\] is 'ab'; need a list"),
        ([shape("car", [[0, 0], [1e300, 0], [1, 1]])], r"drawn \(points\[1\]\[0\] is 1e\+300"),
        ([shape("car", [[0, 0], [True, 0], [1, 1]])], r"drawn \(points\[1\]\[0\] is True"),
        ([shape(["car"], [[0, 0], [1, 1]], "circle")], r"shapes\[0\].label is \['car"),
        ([shape("car", [[0, 0]], "mask", mask=None)], "a shape of 'car' cannot be drawn"),
    ],
)
def test_shapes_that_cannot_be_used(tmp_path, shapes, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, shapes)
    assert str(tmp_path / "a.json") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "a.json is not a labelme file"),
        ('{"name": 1}', "a.json is not a labelme file"),
        ('{"shapes": ["car"]}', r"not a labelme file: shapes\[0\] is 'car'; need an object"),
        ('{"shapes": []', "a.json is not valid JSON"),
        ('{"shapes": []}', "a.json does not state the image's size"),
    ],
)
def test_files_of_other_kinds(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=message):
        labelme.read_mask(tmp_path / "a.json", IDS)


@pytest.mark.parametrize("side", [0, -1, 1.5, "12", True, [3], 10**400, 70_000])
@pytest.mark.parametrize("name", ["width", "height"])
def test_sizes_that_no_image_has(tmp_path, side, name):
    path = write_labelme(tmp_path / "a.json", [], **{name: side})
    with pytest.raises(InputError, match=f"a.json: image{name.title()} is .*; need a whole number"):
        labelme.read_mask(path, IDS)


def test_size_that_takes_the_machine(tmp_path):
    path = write_labelme(tmp_path / "a.json", [], width=60_000, height=60_000)
    with pytest.raises(InputError, match="a.json states 60000×60000 pixels, too many; cut it"):
        labelme.read_mask(path, IDS)


def test_file_without_a_picture(tmp_path):
    with pytest.raises(InputError, match="names no image"):
        labelme.image_of(write_labelme(tmp_path / "a.json", [], imagePath=""))
