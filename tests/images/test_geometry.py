import cv2
import numpy as np
import pytest
from PIL import Image

from fcn8s_ms.images import geometry


def ramp(*values):
    """A row of grey pixels, and one of labels with the same numbers."""
    row = np.array([values], np.uint8)
    return np.repeat(row[..., None], 3, axis=2), row


def test_pixels_are_interpolated_and_labels_are_not():
    image, label = geometry.squeezed(*ramp(0, 100), (1, 4))
    assert image[0, :, 0].tolist() == [0, 25, 75, 100] and label.tolist() == [[0, 0, 100, 100]]
    image, label = geometry.squeezed(*ramp(0, 100), (3, 2))
    assert image[..., 1].tolist() == [[0, 100]] * 3 and label.tolist() == [[0, 100]] * 3


def test_labels_are_those_under_the_centres():
    """As Pillow takes them; OpenCV's ordinary INTER_NEAREST is half a pixel off."""
    rng = np.random.RandomState(0)
    image, label = np.zeros((45, 61, 3), np.uint8), rng.randint(0, 9, (45, 61)).astype(np.uint8)
    for height, width in ((45, 61), (32, 32), (90, 122), (64, 96), (7, 200)):
        _, found = geometry.squeezed(image, label, (height, width))
        expected = Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST)
        assert np.array_equal(found, np.array(expected))


@pytest.mark.parametrize(
    ("size", "pixels", "longest", "expected"),
    [
        ((60, 80), 30, 999, (30, 40)),
        ((80, 60), 30, 999, (40, 30)),
        ((50, 75), 33, 999, (33, 49)),  # 49.5
        ((50, 50), 33, 999, (33, 33)),
        ((50, 75), 50, 999, (50, 75)),
        ((10, 400), 100, 999, (24, 960)),  # as long as allowed
        ((1, 400), 100, 200, (1, 200)),
    ],
)
def test_shorter_side(size, pixels, longest, expected):
    image, label = np.full((*size, 3), 7, np.uint8), np.full(size, 9, np.uint8)
    image, label = geometry.shorter_side(image, label, pixels, longest)
    assert image.shape == (*expected, 3) and label.shape == expected
    assert (image == 7).all() and (label == 9).all()


def test_what_shrinks_is_averaged():
    checks = (np.indices((60, 60)).sum(axis=0) % 2 * 200).astype(np.uint8)
    image, _ = geometry.shorter_side(np.repeat(checks[..., None], 3, 2), checks, 30, 999)
    assert (image == 100).all()


def plain_place(label, size, rng, cat_max_ratio):
    """mmsegmentation's loop, with NumPy; also how often it drew, and whether it gave up."""

    def draw():
        limits = [max(side - size, 0) + 1 for side in label.shape]
        return rng.randint(0, limits[0]), rng.randint(0, limits[1])

    def is_good(place):
        crop = label[place[0] : place[0] + size, place[1] : place[1] + size]
        classes, counts = np.unique(crop, return_counts=True)
        counts = counts[classes != 255]
        return len(counts) > 1 and counts.max() / counts.sum() < cat_max_ratio

    place, draws = draw(), 1
    while not is_good(place) and draws < 11:
        place, draws = draw(), draws + 1
    return place, draws


@pytest.mark.parametrize("ratio", [0.55, 0.75, 0.95])
def test_crops_of_one_class_are_drawn_anew(ratio):
    label = np.zeros((70, 90), np.uint8)
    label[:30, :35], label[10:60, 60:], label[40:, 20:30] = 7, 255, 3
    draws = set()
    for seed in range(40):
        expected, count = plain_place(label, 24, np.random.RandomState(seed), ratio)
        found = geometry.random_place(label, 24, np.random.RandomState(seed), 255, ratio)
        assert found == expected, seed
        draws.add(count)
    assert {1, 2} < draws
    if ratio == 0.55:
        assert 11 in draws


def test_a_crop_that_has_one_place_is_taken():
    rng = np.random.RandomState(0)
    assert geometry.random_place(np.zeros((20, 24), np.uint8), 24, rng, 255, 0.75) == (0, 0)
    expected = np.random.RandomState(0)
    expected.randint(0, 1), expected.randint(0, 1)
    assert rng.uniform() == expected.uniform()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({0: 100}, False),
        ({0: 75, 1: 25}, False),
        ({0: 74, 1: 26}, True),
        ({0: 10, 255: 90}, False),
        ({0: 10, 3: 10, 255: 80}, True),
        ({255: 100}, False),
    ],
)
def test_mixed_labels(counts, expected):
    label = np.concatenate([np.full(count, one, np.uint8) for one, count in counts.items()])
    label = np.random.RandomState(0).permutation(label).reshape(10, 10)
    assert geometry.is_mixed(label, 255, 0.75) is expected
    assert (
        geometry.is_mixed(cv2.copyMakeBorder(label, 0, 0, 3, 3, 0, value=9)[:, 3:-3], 255, 0.75)
        is expected
    )
