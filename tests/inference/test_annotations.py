"""Masks as annotations and back, by this package's own readers of labelme's and COCO's files."""

import os

import cv2
import numpy as np
import pytest

from fcn8s_ms import build, records, voc
from fcn8s_ms.inference.annotations import Annotations, coco_content, labelme_file
from fcn8s_ms.inference.inputs import Picture
from fcn8s_ms.inference.polygons import Shape, shapes_of
from fcn8s_ms.records import coco, labelme
from fcn8s_ms.transforms import decode_label

from .test_polygons import noise

CLASSES = ("background", "road", "car", "tree")


def streets(tmp_path, count=2):
    """Pictures in two folders, and their masks."""
    pictures, masks = [], {}
    for number in range(count):
        name = f"{'ab'[number % 2]}/street{number}"
        path = tmp_path / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[:90, :120]
        ids = np.where((x - 60) ** 2 + (y - 40) ** 2 < 900, 1, 0).astype(np.uint8)
        ids[(x - 60) ** 2 + (y - 40) ** 2 < 400] = 0  # a hole
        ids[(x - 64) ** 2 + (y - 40) ** 2 < 60] = 2  # something in it
        ids[y + x // 3 > 95 - 4 * number] = 3
        ids[:6, :20] = 255
        cv2.imwrite(str(path), np.stack([ids] * 3, axis=-1))
        pictures.append(Picture(path, name))
        masks[name] = ids
    return pictures, masks


def annotate(folder, pictures, masks, classes=CLASSES, **options):
    annotations = Annotations(folder, pictures, classes, voc.palette(), **options)
    folder.mkdir(exist_ok=True)
    with annotations.collected():
        for name in reversed(masks):  # threads end in any order
            labelme_file(folder, name).parent.mkdir(parents=True, exist_ok=True)
            annotations.write(name, masks[name])
    return annotations


@pytest.mark.parametrize(("tolerance", "least"), [(0, 1), (0.75, 0.99)])
def test_masks_come_back_from_both_files(tmp_path, tolerance, least):
    pictures, masks = streets(tmp_path)
    annotate(tmp_path / "out", pictures, masks, tolerance=tolerance)
    source = coco.read_coco(tmp_path / "out" / "coco.json", tmp_path / "pictures")
    assert source.classes.names == CLASSES
    assert [pair.name for pair in source.pairs] == list(masks)
    for pair, (name, ids) in zip(source.pairs, masks.items()):
        path = tmp_path / "out" / "labelme" / f"{name}.json"
        assert os.path.samefile(labelme.image_of(path), tmp_path / "pictures" / f"{name}.png")
        found = labelme.read_mask(path, {one: label for label, one in enumerate(CLASSES)})
        assert (found == ids).mean() >= least
        assert (pair.draw(*ids.shape) == ids).mean() >= least


def test_specks_and_corners_come_back_exactly(tmp_path):
    """Of a mask without background, in COCO's file below the background that it always has."""
    ids = noise(40, 37)
    ids[3:5, 3:9] = 255
    pictures = [Picture(tmp_path / "a.png", "a")]
    annotate(tmp_path / "out", pictures, {"a": ids}, ("sky", "road", "car", "tree"), tolerance=0)
    found = labelme.read_mask(
        tmp_path / "out" / "labelme" / "a.json", {"sky": 0, "road": 1, "car": 2, "tree": 3}
    )
    assert np.array_equal(found, ids)
    (pair,) = coco.read_coco(tmp_path / "out" / "coco.json", tmp_path).pairs
    assert np.array_equal(pair.draw(40, 37), np.where(ids == 255, 255, ids + 1))


@pytest.mark.parametrize("source", ["coco", "labelme"])
def test_a_record_is_built_from_the_files(tmp_path, source):
    pictures, masks = streets(tmp_path)
    out = tmp_path / "out"
    annotate(out, pictures, masks, tolerance=0)
    flags = {
        "coco": ["--coco", out / "coco.json", "--images", tmp_path / "pictures"],
        "labelme": ["--labelme", out / "labelme", "--classes", out / "classes.txt"],
    }
    record = tmp_path / "again.mindrecord"
    build.main([str(one) for one in (*flags[source], "--output", record)])
    assert records.read_metadata(record).classes == CLASSES
    found = {name: decode_label(png) for name, _, png in records.read_samples(record)}
    assert found.keys() == masks.keys()
    assert all(np.array_equal(found[name], masks[name]) for name in masks)


def test_regions_with_holes_are_run_lengths():
    ids = np.zeros((5, 6), np.uint8)
    ids[1:4, 1:4] = 1
    ids[2, 2] = 0
    ids[4, 5] = 2
    ring, last = coco_content(shapes_of(ids, 0), ids.shape, ["background", "road", "car"])
    # Down the columns: after 6 pixels three of the ring, and so on.
    assert ring["segmentation"] == {"size": [5, 6], "counts": [6, 3, 2, 1, 1, 1, 2, 3, 11]}
    assert (ring["category_id"], ring["area"], ring["bbox"]) == (1, 8, [1, 1, 3, 3])
    assert last["segmentation"] == [[5, 4, 6, 4, 6, 5, 5, 5]] and last["category_id"] == 2
    whole = np.ones((3, 3), np.uint8)
    whole[1, 1] = 0  # runs go on from column to column
    (ring,) = coco_content(shapes_of(whole, 0), whole.shape, ["background", "road"])
    assert ring["segmentation"]["counts"] == [0, 4, 1, 4]


def test_a_run_that_fails_leaves_no_file_of_all_pictures(tmp_path):
    pictures, masks = streets(tmp_path)
    with pytest.raises(ZeroDivisionError):
        annotations = Annotations(tmp_path, pictures, CLASSES, voc.palette())
        with annotations.collected():
            raise ZeroDivisionError
    assert not (tmp_path / "coco.json").exists() and annotations.summary == ""


@pytest.mark.parametrize("label", [1, 255])
def test_a_ring_that_simplification_closes_is_no_region_of_coco(label):
    """The edge of a blob, a pixel wide: outline and hole may get the same points."""
    square = np.array([(2, 2), (6, 2), (6, 6), (2, 6)], np.int32)
    ring = Shape(label, square, (square[::-1],), 12)
    assert not ring.pixels().any()
    inside = Shape(2, square, (), 16)
    found = coco_content([ring, inside], (9, 9), CLASSES)
    assert [one["category_id"] for one in found] == [2]


def test_uncertain_edges_of_blobs():
    """As `--min-certainty` leaves them: masks of which some rings close, and none is an error."""
    rng = np.random.RandomState(0)
    for _ in range(20):
        blobs = cv2.GaussianBlur(rng.standard_normal((60, 80)).astype(np.float32), (0, 0), 5)
        ids = np.digitize(blobs, [-0.02, 0.02]).astype(np.uint8)
        ids[np.abs(np.abs(blobs) - 0.02) < 0.002] = 255
        shapes = shapes_of(ids)
        found = coco_content(shapes, ids.shape, CLASSES)
        for one in found:
            if isinstance(one["segmentation"], dict):
                assert sum(one["segmentation"]["counts"]) == ids.size
                assert len(one["segmentation"]["counts"]) > 1
