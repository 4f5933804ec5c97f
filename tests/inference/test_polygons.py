import numpy as np
import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.inference.polygons import shapes_of
from fcn8s_ms.records.shapes import fill_polygon


def mask(*rows):
    return np.array([[int(one) for one in row] for row in rows], np.uint8)


def noise(height, width, classes=4, seed=0):
    """Regions of every size down to single pixels, some of which touch at corners only."""
    random = np.random.default_rng(seed)
    ids = np.kron(random.integers(0, classes, (5, 4)), np.ones((height // 5 + 1, width // 4 + 1)))
    ids = ids[:height, :width].astype(np.uint8)
    is_speck = random.random(ids.shape) < 0.3
    ids[is_speck] = random.integers(0, classes, is_speck.sum())
    return ids


def drawn(shapes, size, with_holes=True):
    ids = np.full(size, 99, np.uint8)
    for shape in shapes:
        if with_holes:
            left, top, width, height = shape.box
            ids[top : top + height, left : left + width][shape.pixels()] = shape.label
        else:
            fill_polygon(ids, shape.outline.astype(float), shape.label)
    return ids


def test_outlines_follow_the_edges_of_pixels():
    ids = mask("00000", "01110", "01010", "01110", "00000")
    ground, ring, inside = shapes_of(ids, 0)
    assert ground.outline.tolist() == [[0, 0], [5, 0], [5, 5], [0, 5]]
    assert [hole.tolist() for hole in ground.holes] == [[[1, 1], [1, 4], [4, 4], [4, 1]]]
    assert (ring.label, ring.area, ring.box) == (1, 8, (1, 1, 3, 3))
    assert ring.outline.tolist() == [[1, 1], [4, 1], [4, 4], [1, 4]]
    assert inside.label == 0 and inside.holes == ()
    assert np.array_equal(ring.pixels(), ids[1:4, 1:4] == 1)


@pytest.mark.parametrize("with_holes", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (40, 37)])
def test_without_tolerance_every_pixel_comes_back(size, with_holes):
    ids = noise(*size)
    ids[0, -1] = 255
    shapes = shapes_of(ids, 0)
    assert np.array_equal(drawn(shapes, size, with_holes), ids)
    assert sum(shape.area for shape in shapes) == ids.size


def test_neighbours_share_the_points_of_simplified_outlines():
    y, x = np.mgrid[:120, :160]
    ids = (x + 20 * np.sin(y / 17) > 80) + np.uint8(2) * (y + 25 * np.cos(x / 23) > 60)
    exact, shapes = shapes_of(ids, 0), shapes_of(ids, 2)
    assert sum(len(one.outline) for one in shapes) < sum(len(one.outline) for one in exact) / 8
    covered = np.zeros(ids.shape, int)
    for shape in shapes:
        left, top, width, height = shape.box
        covered[top : top + height, left : left + width] += shape.pixels()
    assert (covered == 1).all()  # no gaps, no overlaps
    assert 0.97 < (drawn(shapes, ids.shape) == ids).mean() < 1


def test_what_is_narrower_than_the_tolerance_vanishes():
    ids = np.zeros((30, 30), np.uint8)
    ids[5, 5] = 1
    ids[10:25, 12] = 2  # a line one pixel wide
    assert [shape.label for shape in shapes_of(ids, 0.5)] == [0, 2, 1]
    assert [shape.label for shape in shapes_of(ids)] == [0, 2]
    (ground,) = shapes_of(ids, 1.5)
    assert ground.holes == ()


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_tolerance_is_checked(tolerance):
    with pytest.raises(InputError, match="--tolerance is"):
        shapes_of(np.zeros((2, 2), np.uint8), tolerance)
