"""Colours that are off by some levels. What other masks hold is in test_encode."""

import re

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms.errors import InputError
from fcn8s_ms.records.masks import MaskReader

COLOURS = {(0, 0, 0): 0, (128, 64, 0): 1, (0, 0, 255): 2, (60, 60, 60): 255}


def read(path, pixels, tolerance, **options):
    Image.fromarray(np.array(pixels, np.uint8)).save(path, **options)
    reader = MaskReader(["a", "b", "c"], colours=COLOURS, colour_tolerance=tolerance)
    return reader.read(path).tolist()


def test_the_nearest_colour_counts(tmp_path):
    pixels = [[(0, 0, 0), (2, 0, 2), (125, 67, 3)], [(1, 2, 252), (61, 57, 60), (128, 64, 0)]]
    assert read(tmp_path / "m.png", pixels, 3) == [[0, 0, 1], [2, 255, 1]]
    with pytest.raises(InputError) as caught:
        read(tmp_path / "m.png", pixels, 2)
    assert "of no class: (1, 2, 252), (61, 57, 60), (125, 67, 3); they" in str(caught.value)
    assert "off by up to 3 levels" in str(caught.value)
    assert "pass --colour-tolerance 3, or save" in str(caught.value)


def test_colours_in_between_are_of_no_class(tmp_path):
    with pytest.raises(InputError, match=r"no class: \(64, 32, 0\); add them to the class file"):
        read(tmp_path / "m.png", [[(0, 0, 0), (64, 32, 0)]], 3)


def test_jpeg_with_a_tolerance(tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 16:] = 0, 0, 255
    expected = [[0] * 16 + [2] * 16] * 16
    assert read(tmp_path / "m.jpg", pixels, 20, quality=95, subsampling=0) == expected
    with pytest.raises(InputError, match="is a JPEG.*as PNG, or pass --colour-tolerance"):
        read(tmp_path / "m.jpg", pixels, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colours": COLOURS, "colour_tolerance": 30}, "at most 29 tells them apart"),
        ({"colours": COLOURS, "colour_tolerance": -1}, "is -1; take a level, 0…255"),
        ({"colour_tolerance": 1}, "--colour-tolerance needs a class file"),
    ],
)
def test_tolerances_that_cannot_be(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        MaskReader(["a", "b", "c"], **options)


@pytest.mark.parametrize(
    ("colours", "is_taken"),
    [
        ([(0, 0, 0), (9, 8, 7), (200, 0, 0), (1, 2, 3)], True),
        ([(0, 0, 0), (9, 8, 7)], False),
        ([(0, 0, 0), (9, 8, 7), (9, 8, 7)], False),
        ([(0, 0, 0), (1, 1, 1), (2, 2, 2)], False),
    ],
    ids=["colours", "too few", "repeated", "gray"],
)
def test_the_palette_of_a_mask_is_taken_if_it_tells_classes_apart(tmp_path, colours, is_taken):
    path = tmp_path / "m.png"
    mask = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    mask.putpalette(np.array(colours, np.uint8).ravel().tolist())
    mask.save(path)
    found = MaskReader(["a", "b", "c"]).palette_of(path)
    assert (found is not None) == is_taken
    if found is not None:
        assert found.tolist() == [list(colour) for colour in colours[:3]]
    assert MaskReader(["a", "b", "c"], label_map={0: 1}).palette_of(path) is None


def test_other_files_state_no_palette(tmp_path):
    reader = MaskReader(["a", "b", "c"])
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "gray.png")
    (tmp_path / "polygons.json").write_text("{}")
    for name in ("gray.png", "polygons.json", "missing.png"):
        assert reader.palette_of(tmp_path / name) is None
