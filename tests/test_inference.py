import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms import checkpoint, transforms, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import Predictor, Segmenter, read_image
from fcn8s_ms.model import FCN8s

from .conftest import TINY, draw_pair


@pytest.fixture(scope="module")
def network():
    ms.set_seed(1)
    return FCN8s(4, **TINY).set_train(False)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 75), (33, 31), (1, 1)])
def test_ids_of_any_size_equal_those_of_the_image_padded_by_hand(network, height, width):
    image = np.random.RandomState(height).randint(0, 256, (height, width, 3)).astype(np.uint8)
    rows, columns = -(-height // 32) * 32, -(-width // 32) * 32
    padded = np.zeros((1, 3, rows, columns), np.float32)
    for channel in range(3):
        values = (image[:, :, channel] - voc.IMAGE_MEAN[channel]) / voc.IMAGE_STD[channel]
        padded[0, channel, :height, :width] = values
    logits = network(Tensor(padded)).asnumpy()[0, :, :height, :width]
    found = Predictor(network)(image)
    assert found.shape == (height, width) and found.dtype == np.uint8
    best = np.take_along_axis(logits, found[np.newaxis].astype(int), 0)[0]
    assert (logits.max(axis=0) - best).max() <= 1e-4 * np.abs(logits).max()


def test_training_goes_on_in_training_mode(network):
    predictor = Predictor(network)
    image = np.zeros((32, 32, 3), np.uint8)
    for training in (True, False):
        network.set_train(training)
        predictor(image)
        assert network.training is training
        assert network.conv1[1].training is training


def test_moving_statistics_are_used_and_not_changed(network):
    before = network.conv1[1].moving_mean.asnumpy().copy()
    network.set_train(True)
    Predictor(network)(np.full((32, 32, 3), 200, np.uint8))
    network.set_train(False)
    assert np.array_equal(network.conv1[1].moving_mean.asnumpy(), before)


def test_segmenter_from_checkpoint(network, tmp_path):
    path = tmp_path / "FCN8s.ckpt"
    palette = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]
    checkpoint.save(network, path, {"classes": ["a", "b", "c", "d"], "palette": palette})
    segmenter = Segmenter.from_checkpoint(path)
    assert not any("moving" in name for name in segmenter.predictor.network.parameters_dict())
    assert segmenter.classes == ("a", "b", "c", "d")
    assert segmenter.palette[:4].tolist() == palette
    assert segmenter.palette[255].tolist() == [224, 224, 192]
    image, _ = draw_pair("x", 40, 50)
    import cv2

    cv2.imwrite(str(tmp_path / "x.png"), image)
    assert np.array_equal(segmenter(str(tmp_path / "x.png")), segmenter(image))


def test_published_checkpoint_has_vocs_classes():
    segmenter = Segmenter(FCN8s(21, **TINY))
    assert segmenter.classes == voc.CLASSES
    assert Segmenter(FCN8s(3, **TINY)).classes == ("class 0", "class 1", "class 2")


def test_names_that_do_not_fit(network):
    with pytest.raises(InputError, match="2 class names for a network of 4 classes"):
        Segmenter(network, ["a", "b"])


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_array_that_is_no_image(network, image):
    with pytest.raises(InputError, match=r"give uint8 \(H, W, 3\), BGR"):
        Segmenter(network)(image)


def test_unreadable_picture(tmp_path):
    with pytest.raises(InputError, match="none.jpg cannot be read: No such file"):
        read_image(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(InputError, match="text.jpg cannot be decoded"):
        read_image(tmp_path / "text.jpg")


def test_padding_is_the_datasets(network):
    """The predictor and evaluation batches pad alike: validation scores what predict shows."""
    image, _ = draw_pair("y", 50, 75)
    predictor = Predictor(network)
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    batch = transforms.pad_to_multiple(transforms.normalize(image, table))[np.newaxis]
    assert np.array_equal(predictor.class_ids(batch)[0, :50, :75], predictor(image))
