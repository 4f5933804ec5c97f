"""Boundary IoU, on drawings whose bands can be counted, and against the definition."""

import cv2
import numpy as np
import pytest

from fcn8s_ms.confusion import ConfusionMatrix, iou_of_counts
from fcn8s_ms.evaluation import Boundaries, Prediction
from fcn8s_ms.evaluation.boundaries import RATIO, band


def counted(label, ids, num_classes):
    found = Boundaries(num_classes)
    found.add(Prediction("x", None, label, ids), ConfusionMatrix(num_classes))
    return found


def by_definition(label, ids, num_classes):
    """Mask by mask: what erosion with steps of one pixel takes away, the border being outside."""
    width = max(int(round(RATIO * np.sqrt(label.shape[0] ** 2 + label.shape[1] ** 2))), 1)
    cross = np.ones((3, 3), np.uint8)
    result = []
    for number in range(num_classes):
        bands = []
        for of_all in (label, ids):
            mask = ((of_all == number) & (label < num_classes)).astype(np.uint8)
            padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
            eroded = cv2.erode(padded, cross, iterations=width)[1:-1, 1:-1]
            bands.append((mask - eroded).astype(bool))
        union = (bands[0] | bands[1]).sum()
        result.append((bands[0] & bands[1]).sum() / union if union else np.nan)
    return result


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_definition(seed):
    rng = np.random.RandomState(seed)
    shape = (70 + 31 * seed, 120)
    coarse = rng.randint(0, 5, (2, 5, 6)).astype(np.uint8)
    label, ids = (cv2.resize(one, shape[::-1], interpolation=cv2.INTER_NEAREST) for one in coarse)
    label[rng.uniform(size=shape) < 0.001] = 255
    label[:, 40:44] = 255
    ids = np.where(rng.uniform(size=shape) < 0.7, ids, label % 5).astype(np.uint8)
    ids = cv2.medianBlur(ids, 5)
    found = iou_of_counts(counted(label, ids, 6).counts)
    np.testing.assert_allclose(found, by_definition(label, ids, 6), atol=1e-9)
    assert np.isnan(found[5]) and 0 < np.nanmin(found[:5]) < np.nanmax(found[:5]) < 1


def test_square_that_is_moved_by_a_pixel():
    """Worked out by hand: diagonal of 50 pixels, bands one pixel wide."""
    label, ids = np.zeros((2, 30, 40), np.uint8)
    label[10:20, 10:20] = 1
    ids[10:20, 11:21] = 1
    # Outlines of 36 pixels each; they share 9 of the upper and of the lower side.
    assert counted(label, ids, 2).counts[:, 1].tolist() == [18, 36, 36]
    assert iou_of_counts(counted(label, ids, 2).counts)[1] == pytest.approx(18 / 54)
    assert iou_of_counts(counted(label, label, 2).counts).tolist() == [1, 1]


def test_band_is_inside_along_the_border_too():
    ids = np.zeros((9, 9), np.uint8)
    assert band(ids, 2).sum() == 81 - 25
    ids[:] = 255
    assert band(ids, 1).sum() == 81 - 49


def test_images_add_up_and_the_latest_is_kept():
    label = np.zeros((30, 40), np.uint8)
    found = counted(label, label, 2)
    first = found.latest.copy()
    found.add(Prediction("y", None, label, 1 - label), ConfusionMatrix(2))
    assert found.latest[0].tolist() == [0, 0] and found.latest[2, 1] == first[1, 0]
    assert (found.counts == first + found.latest).all()
