import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from PIL import Image

from fcn8s_ms import checkpoint, transforms, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.images import geometry
from fcn8s_ms.inference import Predictor, Segmenter, ViewOptions, from_logits, read_image
from fcn8s_ms.inference.mindspore_engine import MindSporeEngine
from fcn8s_ms.model import FCN8s

from ..helpers import TINY, draw_pair, overflowing


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
    found = Predictor(MindSporeEngine(network))(image)
    assert found.shape == (height, width) and found.dtype == np.uint8
    best = np.take_along_axis(logits, found[np.newaxis].astype(int), 0)[0]
    assert (logits.max(axis=0) - best).max() <= 1e-4 * np.abs(logits).max()


class _Constant(nn.Cell):
    """Logits 0, but for one class at half of the pixels of the first rows."""

    n_class = 4

    def __init__(self, value):
        super().__init__()
        logits = np.zeros((1, 4, 32, 32), np.float32)
        logits[0, 2, :4, ::2] = value
        self.value = Tensor(logits)

    def construct(self, x):
        return self.value + 0 * x[:, :1]


def test_sizes_are_checked_in_a_graph_of_any_size(network):
    engine = MindSporeEngine(network)
    assert engine.class_ids(np.zeros((1, 3, 32, 64), np.float32)).shape == (1, 32, 64)
    for run in (engine.class_ids, engine.logits):
        with pytest.raises(ValueError, match="multiples of 32"):
            run(np.zeros((1, 3, 32, 50), np.float32))


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"sliding": (32, 16)}])
def test_logits_that_are_not_finite_are_noticed(options):
    predictor = Predictor(MindSporeEngine(overflowing(4), "FCN8s.ckpt"), **options)
    with pytest.raises(InputError, match="FCN8s.ckpt computes logits that are not finite"):
        predictor(noise(40, 50))


@pytest.fixture(params=["host", "device"])
def memory(request, monkeypatch):
    """Where the logits are: elsewhere than in the host's memory their sum is looked at."""
    if request.param == "device":
        own = ms.get_context
        monkeypatch.setattr(
            "fcn8s_ms.inference.mindspore_engine.ms.get_context",
            lambda name: "Ascend" if name == "device_target" else own(name),
        )


def test_large_logits_are_finite(memory):
    """Their sum is not, and that alone is no reason to refuse them."""
    engine = MindSporeEngine(_Constant(3e38))
    assert engine.class_ids(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 32, 32)
    assert np.isfinite(engine.logits(np.zeros((1, 3, 32, 32), np.float32))).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_logit_that_is_not_finite_is_enough(memory, value):
    engine = MindSporeEngine(_Constant(value))
    for run in (engine.class_ids, engine.logits):
        with pytest.raises(InputError, match="the network computes logits that are not finite"):
            run(np.zeros((1, 3, 32, 32), np.float32))


def test_probabilities_equal_those_of_the_image_padded_by_hand(network):
    image = noise(375, 500)
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    padded = np.zeros((1, 3, 384, 512), np.float32)
    padded[0, :, :375, :500] = transforms.normalize(image, table)
    engine = MindSporeEngine(network)
    logits = engine.logits(padded)[0, :, :375, :500].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    found = Predictor(engine).probabilities(image)
    assert found.shape == (4, 375, 500) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_training_goes_on_in_training_mode(network):
    predictor = Predictor(MindSporeEngine(network))
    image = np.zeros((32, 32, 3), np.uint8)
    for training in (True, False):
        network.set_train(training)
        predictor(image)
        assert network.training is training
        assert network.conv1[1].training is training


def test_moving_statistics_are_used_and_not_changed(network):
    before = network.conv1[1].moving_mean.asnumpy().copy()
    network.set_train(True)
    Predictor(MindSporeEngine(network))(np.full((32, 32, 3), 200, np.uint8))
    network.set_train(False)
    assert np.array_equal(network.conv1[1].moving_mean.asnumpy(), before)


def test_segmenter_from_checkpoint(network, tmp_path):
    path = tmp_path / "FCN8s.ckpt"
    palette = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]
    checkpoint.save(network, path, {"classes": ["a", "b", "c", "d"], "palette": palette})
    segmenter = Segmenter.from_checkpoint(path)
    assert not any(
        "moving" in name for name in segmenter.predictor.engine.network.parameters_dict()
    )
    assert segmenter.classes == ("a", "b", "c", "d")
    assert segmenter.palette[:4].tolist() == palette
    assert segmenter.palette[255].tolist() == [224, 224, 192]
    image, _ = draw_pair("x", 40, 50)
    cv2.imwrite(str(tmp_path / "x.png"), image)
    assert np.array_equal(segmenter(str(tmp_path / "x.png")), segmenter(image))


def test_published_checkpoint_has_vocs_classes():
    segmenter = Segmenter(MindSporeEngine(FCN8s(21, **TINY)))
    assert segmenter.classes == voc.CLASSES
    assert Segmenter(MindSporeEngine(FCN8s(3, **TINY))).classes == ("class 0", "class 1", "class 2")


def test_names_that_do_not_fit(network):
    with pytest.raises(InputError, match="2 class names for a network of 4 classes"):
        Segmenter(MindSporeEngine(network), ["a", "b"])


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_array_that_is_no_image(network, image):
    with pytest.raises(InputError, match=r"give uint8 \(H, W, 3\), BGR"):
        Segmenter(MindSporeEngine(network))(image)


def test_unreadable_picture(tmp_path):
    with pytest.raises(InputError, match="none.jpg is missing"):
        read_image(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(InputError, match="text.jpg cannot be decoded"):
        read_image(tmp_path / "text.jpg")


def test_padding_is_the_datasets(network):
    """The predictor and evaluation batches pad alike: validation scores what predict shows."""
    image, _ = draw_pair("y", 50, 75)
    predictor = Predictor(MindSporeEngine(network))
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    batch = transforms.pad_to_multiple(transforms.normalize(image, table))[np.newaxis]
    assert np.array_equal(predictor.engine.class_ids(batch)[0, :50, :75], predictor(image))


def noise(height, width, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randint(0, 256, (height, width, 3)).astype(np.uint8)


class Plain:
    """An engine without MindSpore: logits that depend on the 5x5 pixels around, padding too."""

    n_class = 3
    multiple = 32
    name = "plain"

    def logits(self, batch):
        self.shape = batch.shape
        around = np.stack(
            [cv2.blur(x.transpose(1, 2, 0), (5, 5)).transpose(2, 0, 1) for x in batch]
        )
        return np.ascontiguousarray(around[:, ::-1] * 2)

    def class_ids(self, batch):
        return self.logits(batch).argmax(1).astype(np.int32)


def test_one_window_is_the_plain_pass():
    image = noise(50, 75)
    plain = Predictor(Plain())
    for crop in (96, 128):
        sliding = Predictor(Plain(), sliding=(crop, 32))
        assert np.array_equal(sliding.probabilities(image), plain.probabilities(image))
        assert np.array_equal(sliding(image), plain(image))


def test_windows_that_overlap_are_averaged():
    image = noise(32, 70)
    logits = np.zeros((3, 32, 70), np.float32)
    counts = np.zeros(70)
    single = Predictor(Plain())
    for left in (0, 24, 38):  # the last one moved inwards: 48 would reach beyond 70
        window = single._batch([image[:, left : left + 32]])
        logits[..., left : left + 32] += Plain().logits(window)[0]
        counts[left : left + 32] += 1
    expected = np.exp(logits / counts) / np.exp(logits / counts).sum(axis=0)
    for batch_size in (1, 2, 5):
        predictor = Predictor(Plain(), sliding=(32, 24))
        ((key, found),) = predictor.many([("a", image)], batch_size, probabilities=True)
        assert key == "a"
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert np.array_equal(predictor(image), expected.argmax(axis=0))


def test_windows_take_no_memory_of_their_own():
    """A stride of one pixel on a large image has millions of them."""

    class Stopped(Exception):
        pass

    class Once(Plain):
        def logits(self, batch):
            raise Stopped

    predictor = Predictor(Once(), sliding=(32, 1))
    image = np.zeros((3000, 3000, 3), np.uint8)
    tracemalloc.start()
    with pytest.raises(Stopped):
        predictor(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 4 * 3000 * 3000  # sums and counts of three classes are four planes


def test_image_that_is_enlarged_too_far():
    predictor = Predictor(Plain(), scales=(1, 8))
    assert predictor(noise(8, 40)).shape == (8, 40)
    with pytest.raises(MemoryError, match="10,400 pixels on a side at scale 8; up to 10,000"):
        predictor(noise(8, 1300))


def test_one_view_of_scale_1_is_the_plain_pass():
    image = noise(50, 75)
    predictor = Predictor(Plain(), scales=[1.0], flip=False)
    assert np.array_equal(predictor(image), Predictor(Plain())(image))
    assert np.array_equal(predictor.probabilities(image).argmax(axis=0), predictor(image))
    np.testing.assert_allclose(predictor.probabilities(image).sum(axis=0), 1, atol=1e-6)


def test_views_are_averaged_at_the_images_own_size():
    image = noise(40, 64)
    single = Predictor(Plain())
    expected = np.zeros((3, 40, 64))
    for scale, size in ((0.5, (32, 20)), (1, (64, 40))):
        seen = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for mirror in (False, True):
            view = np.ascontiguousarray(seen[:, ::-1]) if mirror else seen
            logits = Plain().logits(single._batch([view]))[0][:, : size[1], : size[0]]
            if mirror:
                logits = logits[..., ::-1]
            logits = np.stack([cv2.resize(np.ascontiguousarray(one), (64, 40)) for one in logits])
            expected += np.exp(logits) / np.exp(logits).sum(axis=0) / 4
    predictor = Predictor(Plain(), scales=(0.5, 1), flip=True)
    np.testing.assert_allclose(predictor.probabilities(image), expected, atol=1e-6)
    assert np.array_equal(predictor(image), predictor.probabilities(image).argmax(axis=0))


def test_longer_side_is_what_the_network_sees():
    engine = Plain()
    predictor = Predictor(engine, resize=100)
    for height, width, seen in ((50, 200, (32, 128)), (400, 200, (128, 64)), (30, 40, (96, 128))):
        ids = predictor(noise(height, width))
        assert ids.shape == (height, width) and ids.dtype == np.uint8
        assert engine.shape[2:] == seen
        found = predictor.probabilities(noise(height, width)).argmax(axis=0)
        # Here logits are interpolated, there too: only ties may differ.
        assert (ids == found).mean() > 0.999


OPTIONS = [{}, {"resize": 60}, {"scales": (0.5, 1.25), "flip": True}, {"sliding": (32, 16)}]


@pytest.mark.parametrize("options", OPTIONS)
def test_results_do_not_depend_on_the_batches(network, options):
    sizes = [(40, 60), (33, 64), (64, 40), (50, 50), (40, 60), (20, 90), (64, 33), (60, 40)]
    images = [noise(*size, seed) for seed, size in enumerate(sizes)]
    predictor = Predictor(MindSporeEngine(network), **options)
    expected = [predictor(image) for image in images]
    for batch_size in (1, 3):
        found = dict(predictor.many(enumerate(images), batch_size))
        assert sorted(found) == list(range(len(images)))
        for number, ids in enumerate(expected):
            assert np.array_equal(found[number], ids)


class OnHost(Plain):
    reduces_on_host = True


@pytest.mark.parametrize("kind", ["ids", "probabilities", "certainty"])
@pytest.mark.parametrize("options", OPTIONS)
def test_results_are_the_same_where_another_thread_finishes_them(options, kind):
    images = [noise(40 + 9 * (seed % 3), 60, seed) for seed in range(7)]

    def results(engine, pool):
        predictor = Predictor(engine, **options)
        if kind == "certainty":
            return list(predictor.many_with_certainty(enumerate(images), 2, pool=pool))
        return list(predictor.many(enumerate(images), 2, kind == "probabilities", pool=pool))

    expected = results(Plain(), None)
    with ThreadPoolExecutor(2) as pool:
        for found in (results(Plain(), pool), results(OnHost(), pool), results(OnHost(), None)):
            assert [key for key, _ in found] == [key for key, _ in expected]
            for (_, one), (_, other) in zip(found, expected):
                assert np.array_equal(one, other)


@pytest.mark.parametrize("largest", [1 << 26, 0])
def test_a_result_that_cannot_be_finished_is_the_only_one_missing(monkeypatch, largest):
    reduce = from_logits.class_ids

    def fails(logits, size):
        if size == (33, 40):
            raise MemoryError("no room")
        return reduce(logits, size)

    monkeypatch.setattr("fcn8s_ms.inference.predictor._LARGEST_KEPT", largest)
    monkeypatch.setattr(from_logits, "class_ids", fails)
    images = [(side, noise(side, 40)) for side in (32, 33, 34)]
    failed = []
    with ThreadPoolExecutor(1) as pool:
        many = Predictor(OnHost()).many
        found = many(
            images, on_error=lambda keys, error: failed.append((keys, str(error))), pool=pool
        )
        assert [key for key, _ in found] == [32, 34]
        assert failed == [([33], "no room")]
        with pytest.raises(MemoryError, match="no room"):
            list(many(images, pool=pool))


def test_logits_of_large_pictures_are_finished_one_after_the_other(monkeypatch):
    """So that memory holds those of one picture at a time."""
    monkeypatch.setattr("fcn8s_ms.inference.predictor._LARGEST_KEPT", 3 * 32 * 32)
    reduce, threads = from_logits.class_ids, []

    def noted(logits, size):
        threads.append(threading.current_thread() is threading.main_thread())
        return reduce(logits, size)

    monkeypatch.setattr(from_logits, "class_ids", noted)
    with ThreadPoolExecutor(1) as pool:
        images = [(side, noise(side, 32)) for side in (32, 33)]
        assert [key for key, _ in Predictor(OnHost()).many(images, pool=pool)] == [32, 33]
    assert threads == [False, True]


def test_batches_are_of_one_padded_size_and_few_images_wait():
    class Counting(Plain):
        shapes = []

        def class_ids(self, batch):
            self.shapes.append(batch.shape)
            return super().class_ids(batch)

    sizes = [(30, 32 * (1 + number % 5)) for number in range(50)]
    alive = []

    def images():
        for number, size in enumerate(sizes):
            alive.append(number)
            yield number, noise(*size)

    engine = Counting()
    for number, _ in Predictor(engine).many(images(), 4):
        assert len(alive) <= 32 + 4
        alive.remove(number)
    assert not alive
    assert engine.shapes[0] == (4, 3, 32, 32)
    assert len(engine.shapes) == 5 * 3  # ten images of every size: 4, 4, 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 0}, "resize is 0"),
        ({"resize": "short:0"}, "resize is short:0; a side needs"),
        ({"resize": "long:9"}, "resize is long:9; write N, short:N or HxW"),
        ({"resize": "64x0"}, "resize is 64x0; a side needs"),
        ({"resize": "64x"}, "resize is 64x; write N, short:N or HxW"),
        ({"resize": "64x" + "9" * 5000}, "; write N, short:N or HxW"),
        ({"resize": "5001x64", "scales": (2,)}, "resize is 5001x64, scaled by up to 2"),
        ({"resize": "short:10001"}, "resize is short:10001, scaled by"),
        ({"scales": ()}, "give one or more"),
        ({"scales": (0,)}, "between 0 and 8"),
        ({"sliding": (50, 25)}, "multiples of 32"),
        ({"sliding": (64, 65)}, r"take 1…64"),
        ({"sliding": (64, 0)}, r"take 1…64"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        Predictor(Plain(), **options)


def test_protocol_says_how_images_are_seen():
    assert Predictor(Plain()).protocol == (
        "every image once, whole, at its own size (padded to a multiple of 32, scored without the "
        "padding), one scale, no mirroring"
    )
    options = {"resize": 512, "scales": (0.5, 1), "flip": True, "sliding": (256, 128)}
    assert Predictor(Plain(), **options).protocol == (
        "every image once, in windows of 256x256 every 128 pixels, resized to a longer side of 512 "
        "pixels (overlaps averaged), scored at its own size, scales 0.5, 1, with mirroring"
    )


def test_another_engine_sees_images_alike():
    options = {"resize": 64, "scales": [0.5, 1], "flip": True, "sliding": [32, 16]}
    one = Predictor(Plain(), (1, 2, 3), (4, 5, 6), **options)
    engine = Plain()
    other = one.with_engine(engine)
    assert other.engine is engine and one.engine is not engine
    image = noise(40, 50)
    assert np.array_equal(one.probabilities(image), other.probabilities(image))
    assert other.view == one.view == ViewOptions(64, (0.5, 1.0), True, (32, 16))


def test_logits_are_those_the_class_ids_come_from(network):
    engine = MindSporeEngine(network)
    batch = np.random.RandomState(3).standard_normal((2, 3, 64, 32)).astype(np.float32)
    logits = engine.logits(batch)
    assert logits.dtype == np.float32 and logits.shape == (2, 4, 64, 32)
    assert np.array_equal(engine.class_ids(batch), logits.argmax(axis=1))
    assert engine.class_ids(batch).dtype == np.int32
    np.testing.assert_allclose(logits, network(Tensor(batch)).asnumpy(), atol=1e-5)
    assert engine.n_class == 4 and engine.name.startswith("MindSpore")


def test_segmenter_takes_paths_arrays_and_pil_images(tmp_path):
    segmenter = Segmenter(Plain())
    bgr = noise(20, 30)
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    expected = segmenter(bgr)
    assert not np.array_equal(segmenter(rgb), expected)
    cv2.imwrite(str(tmp_path / "x.png"), bgr)
    picture = Image.fromarray(rgb)
    for image in (tmp_path / "x.png", str(tmp_path / "x.png"), picture, picture.convert("RGBA")):
        assert np.array_equal(segmenter(image), expected)
    assert np.array_equal(segmenter(rgb, order="RGB"), expected)
    assert segmenter.probabilities(rgb, order="RGB").shape == (3, 20, 30)
    with pytest.raises(InputError, match="choose 'BGR' or 'RGB'"):
        segmenter(rgb, order="rgb")


def test_a_list_of_images_gives_a_list(tmp_path):
    segmenter = Segmenter(Plain())
    one, other = noise(20, 30), noise(40, 25)
    cv2.imwrite(str(tmp_path / "other.png"), other)
    for images in ([one, tmp_path / "other.png"], (one, other)):
        found = segmenter(images)
        assert isinstance(found, list) and len(found) == 2
        assert np.array_equal(found[0], segmenter(one))
        assert np.array_equal(found[1], segmenter(other))
    assert segmenter([]) == []
    shapes = [found.shape for found in segmenter.probabilities([one, other])]
    assert shapes == [(3, 20, 30), (3, 40, 25)]
    missing = tmp_path / "missing.png"
    with pytest.raises(InputError, match=f"image 1 of the list: .*{missing}"):
        segmenter([one, missing])


def test_an_overlay_mixes_the_colours_of_the_classes_into_the_image():
    palette = [[10, 20, 30], [200, 100, 0], [0, 0, 250]]
    image = noise(24, 32)
    rgb = image[..., ::-1].astype(float)
    for names, untouched in ((["background", "a", "b"], 0), (["sky", "a", "b"], None)):
        segmenter = Segmenter(Plain(), names, palette)
        ids = segmenter(image)
        assert len(np.unique(ids)) == 3
        expected = rgb * 0.75 + np.array(palette)[ids] * 0.25
        expected[ids == untouched] = rgb[ids == untouched]
        found = segmenter.overlay(image, alpha=0.25, legend=False)
        assert found.shape == (24, 32, 3) and found.dtype == np.uint8
        assert np.abs(found - expected).max() <= 0.5
        assert np.array_equal(segmenter.overlay(image[..., ::-1], 0.25, "RGB", legend=False), found)
    assert np.array_equal(segmenter.overlay(image, alpha=0, legend=False), image[..., ::-1])
    assert not np.array_equal(segmenter.overlay(image), segmenter.overlay(image, legend=False))


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_an_overlay_of_no_such_opacity(alpha):
    with pytest.raises(InputError, match=r"alpha is .*; choose 0…1"):
        Segmenter(Plain()).overlay(noise(8, 8), alpha=alpha)


def test_a_segmenter_shows_what_it_is(network, tmp_path):
    assert repr(Segmenter(Plain(), ["a", "b", "c"])) == "<Segmenter: 3 classes (a, b, c); plain>"
    shown = repr(Segmenter(Plain(), scales=(0.5, 1), flip=True))
    assert shown.endswith("; plain; scales=(0.5, 1.0); flip=True>")
    many = Plain()
    many.n_class = 21
    assert "21 classes (background, aeroplane, bicycle, bird, boat and 16 more)" in repr(
        Segmenter(many)
    )
    path = tmp_path / "FCN8s.ckpt"
    checkpoint.save(network, path, {})
    shown = repr(Segmenter.from_checkpoint(path))
    assert shown.startswith(f"<Segmenter of {path}: 4 classes (")
    assert ms.__version__ in shown


def test_exif_turns_files_and_pil_images_upright(tmp_path):
    upright = cv2.resize(noise(3, 4), (64, 48), interpolation=cv2.INTER_CUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)[..., ::-1]))
    stored.save(tmp_path / "x.jpg", exif=exif, quality=100, subsampling=0)
    segmenter = Segmenter(Plain())
    expected = segmenter(upright)
    for image in (tmp_path / "x.jpg", Image.open(tmp_path / "x.jpg")):
        found = segmenter(image)
        assert found.shape == (48, 64)
        assert (found == expected).mean() > 0.9


def test_a_network_of_any_size_gets_no_padding():
    engine = Plain()
    engine.multiple = 1
    predictor = Predictor(engine)
    predictor(np.zeros((33, 47, 3), np.uint8))
    assert engine.shape == (1, 3, 33, 47)
    assert "(no padding)" in predictor.protocol


def test_shorter_side():
    view = ViewOptions(resize="short:520", scales=(1.0, 2.0))
    assert view.size(260, 400) == (520, 800) and view.size(400, 260) == (800, 520)
    assert view.size(10, 10_000) == (5, 5000)  # 10,000 pixels at scale 2
    assert "resized to a shorter side of 520 pixels" in view.protocol(32)


def test_squeezed_images_are_seen_as_in_training_and_scored_at_their_own_size():
    engine = Plain()
    predictor = Predictor(engine, resize="64x96")
    image = noise(50, 75)
    found = predictor(image)
    assert engine.shape == (1, 3, 64, 96) and found.shape == (50, 75)
    squeezed, _ = geometry.squeezed(image, np.zeros((50, 75), np.uint8), (64, 96))
    seen = transforms.normalize(squeezed, predictor._table)[np.newaxis]
    planes = [cv2.resize(plane, (75, 50)) for plane in engine.logits(seen)[0]]
    assert np.array_equal(found, np.argmax(planes, axis=0))
    expected = "every image once, whole, squeezed to 64x96 pixels (height x width) (no padding), "
    assert predictor.protocol.startswith(f"{expected}scored at its own size, one scale")
    assert "padded to a multiple of 32" in ViewOptions(resize="64x90").protocol(32)
    assert "padded to a multiple of 32" in ViewOptions(resize="64x96", scales=(0.7,)).protocol(32)
    shapes = {ids.shape for _, ids in predictor.many([("a", noise(20, 90)), ("b", image)], 2)}
    assert shapes == {(20, 90), (50, 75)} and engine.shape[0] == 2
