"""Images made worse."""

import colorsys

import cv2
import numpy as np
import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.images import corruption
from fcn8s_ms.images.corruption import corrupt


def drawn(height=40, width=60):
    """A smooth picture with all three channels in motion."""
    rows, columns = np.mgrid[:height, :width]
    planes = [60 + 2 * rows, 40 + 3 * columns % 200, 120 + 40 * np.sin(rows / 5 + columns / 7)]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def rng():
    return np.random.RandomState(3)


@pytest.mark.parametrize("kind", corruption.KINDS)
def test_each_strength_is_farther_from_the_image(kind):
    image = drawn()
    before = image.copy()
    worse = [corrupt(image, kind, strength, rng()) for strength in corruption.STRENGTHS]
    assert np.array_equal(image, before)
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in worse)
    distance = [np.abs(one.astype(float) - image).mean() for one in worse]
    assert distance == sorted(distance) and distance[0] > 0.2
    again = corrupt(image, kind, 5, rng())
    assert np.array_equal(again, worse[-1])


@pytest.mark.parametrize(("strength", "deviation"), [(1, 0.08 * 255), (2, 0.12 * 255)])
def test_noise_has_its_standard_deviation(strength, deviation):
    gray = np.full((100, 120, 3), 128, np.uint8)
    found = corrupt(gray, "noise", strength, rng()).astype(float) - 128
    assert found.std() == pytest.approx(deviation, rel=0.02) and abs(found.mean()) < 0.5


def test_noise_of_all_strengths_is_one_drawing():
    gray = np.full((20, 20, 3), 128, np.uint8)
    weak, strong = (corrupt(gray, "noise", one, rng()).astype(float) - 128 for one in (1, 3))
    # 0.18 is 2.25 times 0.08; both are rounded to whole numbers.
    assert np.abs(strong - 2.25 * weak)[np.abs(strong) < 120].max() < 2


def test_blur_is_a_gaussian():
    point = np.zeros((61, 61, 3), np.uint8)
    point[30, 30] = 255
    found = corrupt(point, "blur", 2, rng())[..., 0].astype(float)
    expected = 255 * np.exp(-(np.hypot(*np.mgrid[-30:31, -30:31]) ** 2) / 8) / (8 * np.pi)
    assert np.abs(found - expected).max() <= 1


def test_jpeg_has_its_quality():
    image = drawn()
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 18])[1]
    assert np.array_equal(corrupt(image, "jpeg", 2, rng()), cv2.imdecode(content, 1))
    with pytest.raises(InputError, match="70000x1 pixels cannot be a JPEG.*leave out jpeg"):
        corrupt(np.zeros((1, 70_000, 3), np.uint8), "jpeg", 1, rng())


def test_brightness_raises_the_value_of_hsv():
    image = np.array([[[0, 0, 0], [10, 80, 200], [255, 3, 90], [7, 7, 7]]], np.uint8)
    found = corrupt(image, "brightness", 3, rng())
    for pixel, brighter in zip(image[0], found[0]):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel[::-1] / 255)
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.3, 1))
        assert brighter[::-1] == pytest.approx(255 * np.array(expected), abs=0.51)


def test_contrast_keeps_the_means():
    image = np.array([[[10, 100, 0], [30, 100, 200]]], np.uint8)
    found = corrupt(image, "contrast", 4, rng())
    assert found.tolist() == [[[19, 100, 90], [21, 100, 110]]]
