import cv2
import numpy as np
import pytest

from fcn8s_ms import transforms
from fcn8s_ms.images import augmentation

from ..helpers import TABLE, draw_pair

FILL = (104, 117, 124)


def draws(seed):
    return np.random.RandomState(seed)


def test_photometric_by_plain_steps():
    """In float32 and one after the other, as published; rounded to levels in between."""
    image, _ = draw_pair("a", 40, 50)
    kinds = set()
    for seed in range(40):
        rng = draws(seed)
        brightness, last, contrast, saturation, hue = rng.uniform(0, 1, 5) < 0.5
        delta, gain = rng.uniform(-32, 32), rng.uniform(0.5, 1.5)
        colour, shift = rng.uniform(0.5, 1.5), rng.randint(-18, 19)
        kinds.add((brightness, contrast and last, contrast and not last, saturation, hue))

        def levels(values):
            return np.clip(np.rint(values.astype(np.float32)), 0, 255).astype(np.uint8)

        expected = levels(image + np.float32(delta)) if brightness else image
        if contrast and not last:
            expected = levels(expected * np.float32(gain))
        hsv = cv2.cvtColor(expected, cv2.COLOR_BGR2HSV)
        if saturation:
            hsv[..., 1] = levels(hsv[..., 1] * np.float32(colour))
        if hue:
            hsv[..., 0] = (hsv[..., 0].astype(int) + shift) % 180
        if saturation or hue:
            expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        if contrast and last:
            expected = levels(expected * np.float32(gain))
        found = augmentation.photometric(image, draws(seed))
        assert np.abs(found.astype(int) - expected).max() <= 1, seed
    assert len(kinds) > 15


def test_image_and_label_move_together():
    """A picture of its own label stays one, up to the edges of its regions."""
    label = np.zeros((60, 80), np.uint8)
    label[10:40, 20:70] = 200
    image = np.repeat(label[..., None], 3, axis=2)
    outcomes = set()
    for seed in range(12):
        moved, ids = augmentation.apply(("rotate", "vflip"), image, label, draws(seed), FILL, 255)
        outside = ids == 255
        assert (np.abs(moved[~outside, 0].astype(int) - ids[~outside]) > 110).mean() < 0.01
        if outside.sum() > 50:
            assert np.abs(moved[outside].astype(int) - FILL).mean() < 40
        outcomes.add((bool(outside.any()), bool(ids[45, 40])))
    assert outcomes == {(a, b) for a in (True, False) for b in (True, False)}


@pytest.mark.parametrize("names", [augmentation.AUGMENTATIONS, ("photometric",)])
def test_draws_come_after_the_tutorials(names):
    """Same seed, same bits; the crop is that of a run without."""
    image, label = draw_pair("a", 90, 70)
    given = {"table": TABLE, "crop_size": 64, "min_scale": 0.5, "max_scale": 2.0}
    given["ignore_label"] = 255
    plain = transforms.augment(image, label, draws(3), **given)
    found = transforms.augment(image, label, draws(3), **given, augmentations=names)
    again = transforms.augment(image, label, draws(3), **given, augmentations=names)
    assert all(np.array_equal(one, other) for one, other in zip(found, again))
    assert not np.array_equal(found[0], plain[0])
    if names == ("photometric",):
        assert np.array_equal(found[1], plain[1])
