import numpy as np
import pytest

from fcn8s_ms import confusion

# Truth in rows: class 0 three right, one taken for 1; class 1 two right, two taken for 0; class 2
# absent in truth, once predicted for a pixel of class 1.
MATRIX = np.array([[3, 1, 0], [2, 2, 1], [0, 0, 0]])


def test_counts():
    label = np.array([[0, 0, 0, 0, 1], [1, 1, 1, 1, 255]])
    prediction = np.array([[0, 0, 0, 1, 1], [1, 0, 0, 2, 2]])
    assert confusion.confusion_matrix(label, prediction, 3).tolist() == MATRIX.tolist()


@pytest.mark.parametrize("num_class", [2, 21, 256, 300])
def test_every_pair_has_its_place(num_class):
    rng = np.random.RandomState(0)
    label = rng.randint(0, num_class, 5000)
    prediction = rng.randint(0, num_class, 5000)
    expected = np.zeros((num_class, num_class), np.int64)
    np.add.at(expected, (label, prediction), 1)
    found = confusion.confusion_matrix(label.astype(np.int32), prediction, num_class)
    assert found.dtype == np.int64
    assert (found == expected).all()


def test_scores_by_hand():
    assert confusion.pixel_accuracy(MATRIX) == pytest.approx(5 / 9)
    assert confusion.mean_pixel_accuracy(MATRIX) == pytest.approx((3 / 4 + 2 / 5) / 2)
    assert confusion.mean_iou(MATRIX) == pytest.approx((3 / 6 + 2 / 6 + 0) / 3)
    assert confusion.frequency_weighted_iou(MATRIX) == pytest.approx(4 / 9 * 3 / 6 + 5 / 9 * 2 / 6)


def test_classes_that_never_occur_do_not_count():
    matrix = np.zeros((5, 5), int)
    matrix[:3, :3] = MATRIX
    assert confusion.mean_iou(matrix) == pytest.approx(confusion.mean_iou(MATRIX))
    assert np.isnan(confusion.class_iou(matrix)[3:]).all()
    assert np.isnan(confusion.class_accuracy(matrix)[2:]).all()


def test_no_labelled_pixel():
    values = confusion.ConfusionMatrix(3).scores()
    assert len(values) == 4 and np.isnan(list(values.values())).all()


def test_shapes_that_differ():
    with pytest.raises(ValueError, match="bring both to one size"):
        confusion.confusion_matrix(np.zeros((2, 3), int), np.zeros((3, 2), int), 2)
    with pytest.raises(ValueError, match="bring both to one size"):
        confusion.ConfusionMatrix(2).update(np.zeros((2, 3), int), np.zeros((3, 2), int))


def test_prediction_outside_the_classes():
    with pytest.raises(ValueError, match="for 3 classes"):
        confusion.confusion_matrix(np.array([0, 255]), np.array([3, 0]), 3)
    ignored = confusion.confusion_matrix(np.array([0, 255]), np.array([2, 3]), 3)
    assert ignored.sum() == 1


def test_filled_image_by_image_or_as_a_batch():
    label = np.array([[[0, 0, 0], [0, 1, 255]], [[1, 1, 1], [1, 255, 255]]])
    prediction = np.array([[[0, 0, 0], [1, 1, 2]], [[1, 0, 0], [2, 2, 2]]])
    batch, images = confusion.ConfusionMatrix(3), confusion.ConfusionMatrix(3)
    batch.update(label, prediction)
    for one_label, one_prediction in zip(label, prediction):
        images.update(one_label, one_prediction)
    pixels = confusion.ConfusionMatrix(3)
    pixels.update(label.ravel(), prediction.ravel())
    for found in (batch, images, pixels):
        assert found.matrix.tolist() == MATRIX.tolist() and found.num_class == 3
        assert found.scores()["pixel accuracy"] == pytest.approx(5 / 9)
    for found in (batch, images):
        assert found.class_images.tolist() == [1, 2, 0] and found.num_images == 2
    batch.add(images)
    assert batch.matrix.tolist() == (2 * MATRIX).tolist()
    assert batch.class_images.tolist() == [2, 4, 0] and batch.num_images == 4
    assert images.num_images == 2


def test_nothing_to_count():
    found = confusion.ConfusionMatrix(3)
    found.update(np.zeros(0, np.uint8), np.zeros(0, np.uint8))
    found.update(np.zeros((0, 4, 4), int), np.zeros((0, 4, 4), int))
    assert not found.matrix.any() and not found.class_images.any()


def test_precision_by_hand():
    found = confusion.class_precision(MATRIX)
    np.testing.assert_allclose(found, [3 / 5, 2 / 3, 0])
    assert np.isnan(confusion.class_precision(np.array([[1, 0], [1, 0]]))[1])


@pytest.mark.parametrize("width", [1, 2, 5])
def test_trimap_is_what_lies_close_to_another_value(width):
    rng = np.random.RandomState(0)
    label = np.kron(rng.randint(0, 3, (4, 5)), np.ones((7, 6), int)).astype(np.uint8)
    label[10:12, 3:20] = 255
    expected = np.zeros(label.shape, bool)
    for y, x in np.ndindex(label.shape):
        for other_y, other_x in np.ndindex(label.shape):
            distance = (y - other_y) ** 2 + (x - other_x) ** 2
            if distance <= width**2 and label[y, x] != label[other_y, other_x]:
                expected[y, x] = True
    assert 0 < expected.mean() < 1
    assert (confusion.trimap(label, width) == expected).all()


def test_one_value_has_no_boundary():
    assert not confusion.trimap(np.full((20, 30), 7, np.uint8), 5).any()


def test_most_confused_pairs_by_hand():
    matrix = np.array([[7, 0, 3], [9, 1, 0], [0, 0, 0]])
    assert confusion.most_confused(matrix, 5) == [(1, 0, 9, 0.9), (0, 2, 3, 0.3)]
    assert confusion.most_confused(matrix, 1) == [(1, 0, 9, 0.9)]
    assert confusion.most_confused(np.eye(2, dtype=int), 5) == []
    assert matrix.tolist() == [[7, 0, 3], [9, 1, 0], [0, 0, 0]]
