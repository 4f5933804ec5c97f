import numpy as np
import pytest

from fcn8s_ms.records import shapes


def filled(points, height=4, width=6):
    labels = np.zeros((height, width), np.uint8)
    shapes.fill_polygon(labels, np.array(points, np.float64), 1)
    return labels.tolist()


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        # A rectangle of whole coordinates has as many pixels as its area.
        (
            [(1, 1), (4, 1), (4, 3), (1, 3)],
            ["......", ".###..", ".###..", "......"],
        ),
        # Centres on the left and upper outlines belong to it, those on the others do not.
        (
            [(1.5, 0.5), (3.5, 0.5), (3.5, 2.5), (1.5, 2.5)],
            [".##...", ".##...", "......", "......"],
        ),
        # By hand: the hypotenuse passes the centres of row y at x = 4.2 - 1.05 y - 0.525.
        ([(0, 0), (4.2, 0), (0, 4)], ["####..", "###...", "##....", "#....."]),
        # It reaches outside, and has a notch.
        (
            [(-2, -2), (9, -2), (9, 2), (3, 2), (3, 1), (2, 1), (2, 9), (-2, 9)],
            ["######", "##.###", "##....", "##...."],
        ),
        # Its outline crosses itself: what lies inside twice is outside.
        (
            [(0, 0), (5, 0), (5, 3), (1, 3), (1, 1), (3, 1), (3, 4), (0, 4)],
            ["#####.", "#..##.", "#..##.", "###..."],
        ),
        ([(1.1, 1.1), (1.3, 1.1), (1.2, 1.3)], ["......"] * 4),  # no centre lies inside
        ([(7, 0), (9, 0), (9, 3)], ["......"] * 4),
        ([(0, 5), (3, 5), (3, 9)], ["......"] * 4),
    ],
)
def test_pixels_of_polygons(points, expected):
    wanted = [[int(one == "#") for one in row] for row in expected]
    assert filled(points) == wanted
    assert filled(points[::-1]) == wanted


def test_neighbours_share_no_pixel_and_leave_none_out():
    rng = np.random.RandomState(0)
    corners = rng.rand(40, 2) * 30
    total = np.zeros((30, 30), int)
    for one, other in zip(corners, np.roll(corners, -1, axis=0)):
        # Triangles from the middle to a closed line: even-odd, every pixel is covered as by it.
        labels = np.zeros((30, 30), np.uint8)
        shapes.fill_polygon(labels, np.array([(15.2, 14.9), one, other]), 1)
        total += labels
    whole = np.zeros((30, 30), np.uint8)
    shapes.fill_polygon(whole, corners, 1)
    assert (total % 2 == whole).all()


# Down the columns of 3 rows: 2 outside, 3 inside (two of the second column), 4 outside, 3 inside.
MASK = np.array([[0, 1, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]], np.uint8)


def test_runs_go_down_the_columns():
    decoded = shapes.decode_counts(np.array([2, 3, 4, 3]), 3, 4)
    assert (decoded == MASK).all()
    assert shapes.decode_counts(np.array([0, 12]), 3, 4).all()
    assert not shapes.decode_counts(np.array([12]), 3, 4).any()


@pytest.mark.parametrize(
    ("encoded", "runs"),
    [
        # Digits of 5 bits from '0': the fourth is the difference to the second, 3 - 3 = 0.
        ("2340", [2, 3, 4, 3]),
        # 100 = 3 * 32 + 4: 'T' (4 and more follow) and '3'. 16 needs a sixth bit for its sign.
        ("T3", [100]),
        ("`0", [16]),
        # 5 - 9 = -4 = 0b11100 is 'L'.
        ("193L", [1, 9, 3, 5]),
        # As pycocotools writes the mask of 40x50 with 34x4 and 2x10 pixels.
        ("c2R1600000Wn0POiRO00000000000000000V<", None),
        ("", []),
    ],
)
def test_compressed_runs(encoded, runs):
    found = shapes.decode_runs(encoded)
    if runs is None:
        mask = np.zeros((40, 50), bool)
        mask[3:37, 2:6] = mask[10:12, 30:40] = True
        assert (shapes.decode_counts(found, 40, 50) == mask).all()
    else:
        assert found.tolist() == runs


@pytest.mark.parametrize(
    ("encoded", "message"),
    [("2 4", "are damaged"), ("2é", "are damaged"), ("2T", "cut short"), ("o" * 20, "are damaged")],
)
def test_damaged_runs(encoded, message):
    with pytest.raises(ValueError, match=message):
        shapes.decode_runs(encoded)


@pytest.mark.parametrize("runs", [[2, 3], [2, 3, 4, 4], [13, -1], [2**52, 2**52], []])
def test_runs_of_another_size(runs):
    with pytest.raises(ValueError, match="of a mask of 4x3 cover 12"):
        shapes.decode_counts(np.array(runs, np.int64), 3, 4)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(1, 1), (2, 2)], "a polygon of 2 points has no area"),
        ([(1, 1), (9, 1), (1, 3)], r"the x 9, outside of the image \(6x4\)"),
        ([(1, 1), (5, 1), (1, -2)], r"the y -2, outside of the image \(6x4\)"),
    ],
)
def test_points_that_cannot_be_meant(points, message):
    with pytest.raises(ValueError, match=message):
        shapes.check_points(np.array(points, np.float64), 4, 6)
    shapes.check_points(np.array([(-0.5, -0.5), (6.5, 0), (6, 4.5)]), 4, 6)  # rounding
