import numpy as np
import pytest

from fcn8s_ms import visualize, voc

CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "person")
# Linear RGB as people without red or green cones see it (Machado, Oliveira and Fernandes, 2009,
# severity 1).
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def lab(colours, sight):
    """CIE Lab, D65, of sRGB colours 0…255 under a sight."""
    encoded = np.asarray(colours) / 255
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    linear = np.clip(linear @ np.transpose(SIGHTS[sight]), 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(np.maximum(linear @ to_xyz.T / to_xyz.sum(axis=1), 1e-3)).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def least_distance(colours, sight):
    points = lab(colours, sight)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    return apart[np.triu_indices(len(points), 1)].min()


@pytest.mark.parametrize(("sight", "least"), [("normal", 45), *((s, 20) for s in list(SIGHTS)[1:])])
def test_the_first_twelve_colours_are_told_apart(sight, least):
    names = [f"class {number}" for number in range(12)]
    colours = visualize.default_palette(names)[:12]
    assert least_distance(colours, sight) > least
    assert least_distance(voc.palette()[:12], sight) < 15  # the reason for another list


@pytest.mark.parametrize("name", ["background", "_background_", "Void", "unlabelled", "背景"])
@pytest.mark.parametrize("place", [0, 2])
def test_only_the_background_is_black(name, place):
    names = list(CAMVID)
    names.insert(place, name)
    palette = visualize.default_palette(names)
    assert visualize.background_id(names) == place
    assert palette[place].tolist() == [0, 0, 0]
    others = np.delete(palette[: len(names)], place, axis=0)
    assert (others == visualize.default_palette(CAMVID)[: len(CAMVID)]).all()
    assert lab(others, "normal")[:, 0].min() > 15


def test_voc_keeps_its_colours():
    assert (visualize.default_palette(voc.CLASSES) == voc.palette()).all()
    assert (visualize.default_palette(list(voc.CLASSES)) == voc.palette()).all()


def test_as_many_colours_as_there_can_be_classes():
    palette = visualize.default_palette([str(number) for number in range(255)])
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == 256
    assert palette[voc.IGNORE_LABEL].tolist() == [224, 224, 192]
