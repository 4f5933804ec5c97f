import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcn8s_ms import voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference.inputs import Picture
from fcn8s_ms.inference.outputs import Saver
from fcn8s_ms.inference.result_options import ResultOptions

from ..helpers import read_mask

CLASSES = ("sky", "road", "car")


def saver(folder, **options):
    return Saver(ResultOptions(output=folder, **options), CLASSES, voc.palette())


def names(saver, path):
    return [path.name for path in saver.paths(Picture(Path(path), Path(path).stem))]


def test_paths_of_images_and_videos(tmp_path):
    kinds = ("mask", "color", "overlay", "probability", "certainty", "heatmap")
    one = saver(tmp_path, save=kinds)
    assert names(one, "a.jpg") == [
        "a_mask.png",
        "a_color.png",
        "a_overlay.png",
        "a_probability.npz",
        "a_certainty.png",
        "a_heatmap.png",
    ]
    in_video = ["a_mask", "a_color.mp4", "a_overlay.mp4", "a_probability", "a_certainty"]
    assert names(one, "a.mp4") == [*in_video, "a_heatmap.mp4"]


def test_plain_names(tmp_path):
    assert names(saver(tmp_path, save=("color",), plain_names=True), "a.jpg") == ["a.png"]
    assert names(saver(tmp_path, save=("color",), plain_names=True), "a.mp4") == ["a.mp4"]
    with pytest.raises(InputError, match="for one kind of file"):
        ResultOptions(save=("mask", "color"), plain_names=True)


def test_probabilities_are_saved_with_the_class_ids_they_mean(tmp_path):
    one = saver(tmp_path, save=("mask", "probability"))
    assert one.needs_probabilities and not saver(tmp_path, save=("mask",)).needs_probabilities
    probabilities = np.zeros((3, 2, 2), np.float32)
    probabilities[[0, 2, 2, 0], [0, 0, 1, 1], [0, 1, 0, 1]] = 1
    line = one.save("sub/a", np.zeros((2, 2, 3), np.uint8), probabilities)
    assert line == f"{tmp_path / 'sub' / 'a_mask.png'}: sky, car"
    with np.load(tmp_path / "sub" / "a_probability.npz") as content:
        assert np.array_equal(content["probabilities"], probabilities)


@pytest.mark.parametrize("with_probabilities", [False, True])
def test_certainty_and_pixels_that_are_not_certain_enough(tmp_path, with_probabilities):
    kinds = ("mask", "certainty", "heatmap", *(["probability"] if with_probabilities else []))
    one = saver(tmp_path, save=kinds, min_certainty=0.6, legend=False)
    ids = np.array([[0, 1], [2, 2]], np.uint8)
    certainty = np.array([[0.6, 0.5], [1, 0.4]], np.float32)
    result = ids, certainty
    if with_probabilities:
        result = np.where(np.arange(3)[:, None, None] == ids, certainty, (1 - certainty) / 2)
        result = result.astype(np.float32)
    line = one.save("a", np.zeros((2, 2, 3), np.uint8), result)
    assert line.endswith("a_mask.png: sky, car, uncertain")
    assert read_mask(tmp_path / "a_mask.png").tolist() == [[0, 255], [2, 255]]
    grey = cv2.imread(str(tmp_path / "a_certainty.png"), cv2.IMREAD_UNCHANGED)
    assert grey.tolist() == [[153, 128], [255, 102]]
    heat = cv2.imread(str(tmp_path / "a_heatmap.png")).astype(int)
    assert (heat[1, 0] == [37, 231, 253]).all()  # viridis ends in yellow
    assert heat[1, 1].sum() < heat[0, 1].sum() < heat[0, 0].sum() < heat[1, 0].sum()


def test_uncertain_pixels_have_a_colour_and_a_name(tmp_path):
    one = saver(tmp_path, save=("overlay",), min_certainty=0.6, opacity=1)
    ids = np.zeros((400, 600), np.uint8)
    certainty = np.ones(ids.shape, np.float32)
    certainty[:, 300:] = 0.3
    image = np.full((400, 600, 3), 90, np.uint8)
    assert one.save("a", image, (ids, certainty)).endswith(": sky, uncertain")
    picture = cv2.imread(str(tmp_path / "a_overlay.png"))[..., ::-1]
    assert (picture[390, 590] == voc.palette()[255]).all()
    assert (picture[390, 10] == voc.palette()[0]).all()


def test_files_with_class_ids_only_are_refused_where_logits_are_needed(tmp_path):
    class Ids:
        has_logits = False

    saver(tmp_path, save=("mask", "polygons")).check_engine(Ids())
    for options, wish in (
        ({"save": ("mask", "certainty")}, "--save certainty"),
        ({"save": ("probability",)}, "--save probability"),
        ({"min_certainty": 0.5}, "--min-certainty"),
        ({"save": ("mask",), "geotiff": True}, "--geotiff"),
    ):
        with pytest.raises(InputError, match=f"{wish} needs logits.*export it without"):
            saver(tmp_path, **options).check_engine(Ids())
    with pytest.raises(InputError, match="--min-certainty is 2"):
        ResultOptions(min_certainty=2)


def test_missing_rasterio_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    one = saver(tmp_path, save=("mask",), geotiff=True)
    with pytest.raises(
        InputError,
        match="--geotiff needs the package rasterio, which is not installed: pip install",
    ):
        one.check_inputs_stay([Picture(tmp_path / "a.tif", "a")])


def test_no_result_takes_the_place_of_a_picture(tmp_path):
    pictures = [Picture(tmp_path / f"{name}.png", name) for name in ("a", "a_mask")]
    saver(tmp_path / "out", save=("mask",)).check_inputs_stay(pictures)
    with pytest.raises(InputError, match=r"a.png would overwrite .*a_mask.png"):
        saver(tmp_path, save=("mask",)).check_inputs_stay(pictures)
