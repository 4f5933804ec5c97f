from pathlib import Path

import numpy as np
import pytest

from fcn8s_ms import voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference.inputs import Picture
from fcn8s_ms.inference.outputs import ResultOptions, Saver

CLASSES = ("sky", "road", "car")


def saver(folder, **options):
    return Saver(ResultOptions(output=folder, **options), CLASSES, voc.palette())


def names(saver, path):
    return [path.name for path in saver.paths(Picture(Path(path), Path(path).stem))]


def test_paths_of_images_and_videos(tmp_path):
    kinds = ("mask", "color", "overlay", "probability")
    one = saver(tmp_path, save=kinds)
    assert names(one, "a.jpg") == [
        "a_mask.png",
        "a_color.png",
        "a_overlay.png",
        "a_probability.npz",
    ]
    assert names(one, "a.mp4") == ["a_mask", "a_color.mp4", "a_overlay.mp4", "a_probability"]


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


def test_no_result_takes_the_place_of_a_picture(tmp_path):
    pictures = [Picture(tmp_path / f"{name}.png", name) for name in ("a", "a_mask")]
    saver(tmp_path / "out", save=("mask",)).check_inputs_stay(pictures)
    with pytest.raises(InputError, match=r"a.png would overwrite .*a_mask.png"):
        saver(tmp_path, save=("mask",)).check_inputs_stay(pictures)
