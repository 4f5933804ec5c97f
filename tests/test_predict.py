"""The program that predicts; but for one test, with an engine that needs no time."""

import io
import os
import shutil
import sys

import cv2
import mindspore as ms
import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import checkpoint, files, inference, predict, visualize, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import Segmenter, video
from fcn8s_ms.model import FCN8s
from fcn8s_ms.records import coco

from .helpers import TINY, draw_pair, overflowing, read_mask

CLASSES = ["sky", "road", "car", "tree"]
PALETTE = [[10, 200, 30], [200, 20, 20], [20, 20, 220], [200, 200, 0]]


class Brightest:
    """An engine of four classes: which of blue, green and red is the strongest around, or none."""

    n_class = 4
    multiple = 32
    name = "brightest"

    def logits(self, batch):
        around = np.stack(
            [cv2.blur(x.transpose(1, 2, 0), (5, 5)).transpose(2, 0, 1) for x in batch]
        )
        return np.concatenate([around, np.full_like(around[:, :1], -0.5)], axis=1)

    def class_ids(self, batch):
        return self.logits(batch).argmax(1).astype(np.int32)


def segmenter_with(**options):
    return Segmenter(Brightest(), CLASSES, PALETTE, **options)


@pytest.fixture
def weights(monkeypatch):
    """Stands for a checkpoint."""
    monkeypatch.setattr(
        Segmenter, "from_checkpoint", lambda path, device, **options: segmenter_with(**options)
    )
    return "FCN8s.ckpt"


@pytest.fixture(scope="module")
def real_weights(tmp_path_factory):
    """Checkpoint of a tiny network."""
    ms.set_seed(3)
    path = tmp_path_factory.mktemp("weights") / "FCN8s.ckpt"
    checkpoint.save(FCN8s(4, **TINY), path, {"classes": CLASSES, "palette": PALETTE})
    return path


@pytest.fixture
def street(tmp_path):
    image, _ = draw_pair("street", 50, 75)
    cv2.imwrite(str(tmp_path / "street.png"), image)
    return image


def run(weights, tmp_path, *arguments):
    """Runs the program; returns its exit status."""
    given = ["--checkpoint", weights, "--device", "CPU", "--output", tmp_path / "out", *arguments]
    try:
        predict.main([str(one) for one in given])
    except SystemExit as stop:
        return stop.code
    return 0


def written(tmp_path):
    out = tmp_path / "out"
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_every_kind_of_result_has_the_pictures_own_size(weights, tmp_path, street, capsys):
    kinds = "mask,color,overlay,probability,certainty"
    assert run(weights, tmp_path, tmp_path / "street.png", "--save", kinds) == 0
    assert written(tmp_path) == [
        "street_certainty.png",
        "street_color.png",
        "street_mask.png",
        "street_overlay.png",
        "street_probability.npz",
    ]
    segmenter = segmenter_with()
    ids = segmenter(street)
    assert len(np.unique(ids)) > 1
    mask = Image.open(tmp_path / "out" / "street_mask.png")
    assert mask.mode == "P" and mask.size == (75, 50)
    assert (np.asarray(mask) == ids).mean() > 0.999  # of equal logits, either may win
    colour = np.asarray(Image.open(tmp_path / "out" / "street_color.png"))
    assert np.array_equal(colour, segmenter.palette[np.asarray(mask)])
    legend = ("--save", "overlay", "--no-legend", "--output", tmp_path / "plain")
    assert run(weights, tmp_path, tmp_path / "street.png", *legend) == 0
    assert Image.open(tmp_path / "plain" / "street_overlay.png").size == (75, 50)
    width, height = Image.open(tmp_path / "out" / "street_overlay.png").size
    assert width > 75 and height >= 50  # of a picture so small the legend stands beside it
    with np.load(tmp_path / "out" / "street_probability.npz") as content:
        assert content["classes"].tolist() == CLASSES
        assert content["probabilities"].dtype == np.float16
        expected = segmenter.probabilities(street)
        np.testing.assert_allclose(content["probabilities"], expected, atol=1e-3)
    printed = capsys.readouterr().out
    assert "street_mask.png: " in printed
    assert "1 image in" in printed and "compiling the network included" in printed


def test_uncertain_pixels_are_ignored(weights, tmp_path, street):
    largest = segmenter_with().probabilities(street).max(axis=0)
    least = round(float(np.median(largest)), 3)
    flags = ("--save", "mask,certainty", "--min-certainty", least, "--batch-size", 2)
    assert run(weights, tmp_path, tmp_path / "street.png", *flags) == 0
    ignored = read_mask(tmp_path / "out" / "street_mask.png") == 255
    assert 0 < ignored.mean() < 1 and np.array_equal(ignored, largest < np.float32(least))
    grey = cv2.imread(str(tmp_path / "out" / "street_certainty.png"), cv2.IMREAD_UNCHANGED)
    assert np.abs(grey / 255 - largest).max() < 0.6 / 255


def test_a_large_tiff_can_be_read_in_parts(weights, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "field.tif"), np.zeros((40, 50, 3), np.uint8))
    assert run(weights, tmp_path, tmp_path / "field.tif", "--max-pixels", 1000) == 1
    error = capsys.readouterr().err
    assert "or raise --max-pixels, or read it in parts with --geotiff" in error


def test_segmenter_gives_certainty_and_polygons(street):
    segmenter = segmenter_with()
    ids, certainty = segmenter.certainty(street[..., ::-1], order="RGB")
    assert (ids == segmenter(street)).mean() > 0.999
    np.testing.assert_allclose(certainty, segmenter.probabilities(street).max(0), atol=1e-6)
    shapes = segmenter.polygons(street, 0)
    assert {shape.label for shape in shapes} == set(segmenter(street).flat)
    assert sum(shape.area for shape in shapes) == 50 * 75


def test_polygons_of_all_pictures(weights, tmp_path, street, capsys):
    (tmp_path / "more").mkdir()
    shutil.copy(tmp_path / "street.png", tmp_path / "more" / "other.png")
    pictures = (tmp_path / "street.png", tmp_path / "more")
    assert run(weights, tmp_path, *pictures, "--save", "polygons", "--tolerance", 0) == 0
    assert written(tmp_path) == [
        "classes.txt",
        "coco.json",
        "labelme/other.json",
        "labelme/street.json",
    ]
    assert f"coco.json: polygons of 2 pictures, whose names start from {tmp_path}" in (
        capsys.readouterr().out
    )
    expected = segmenter_with()(street)
    source = coco.read_coco(tmp_path / "out" / "coco.json", tmp_path)
    assert [pair.name for pair in source.pairs] == ["street", "more/other"]
    for pair in source.pairs:
        assert ((pair.draw(50, 75) - 1) == expected).mean() > 0.999  # no background of its own
    (tmp_path / "film.mp4").touch()
    assert run(weights, tmp_path, tmp_path / "film.mp4", "--save", "polygons") == 2
    assert "film.mp4 has none for its frames" in capsys.readouterr().err


@pytest.mark.parametrize("fate", ["deleted", "renamed"])
@pytest.mark.parametrize("nested", [False, True])
def test_folder_that_goes_during_the_prediction(
    weights, tmp_path, street, monkeypatch, capsys, fate, nested
):
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    (pictures / "a").mkdir(parents=True)
    for number in range(20):
        folder = pictures / "a" if nested else pictures
        shutil.copy(tmp_path / "street.png", folder / f"{number:02d}.png")
    class_ids, calls = Brightest.class_ids, iter(range(20))

    def meanwhile(self, batch):
        if next(calls) == 12:
            out.rename(tmp_path / "moved")  # at once, unlike a removal
            if fate == "deleted":
                shutil.rmtree(tmp_path / "moved", ignore_errors=True)
        return class_ids(self, batch)

    monkeypatch.setattr(Brightest, "class_ids", meanwhile)
    assert run(weights, tmp_path, pictures) == 2
    error = capsys.readouterr().err
    assert f"--output {out} was deleted, renamed or replaced during the prediction" in error
    assert not out.exists()


def test_folder_of_a_run_and_a_path_that_goes_up(real_weights, tmp_path, street, caplog, capsys):
    shutil.copy(real_weights, tmp_path / "FCN8s-best.ckpt")
    shutil.copy(f"{real_weights}.json", tmp_path / "FCN8s-best.ckpt.json")
    up = tmp_path / "out" / ".."
    assert run(up, tmp_path, up / "street.png", up / "none.png") == 1
    assert caplog.messages == [f"{tmp_path} is a folder; its checkpoint FCN8s-best.ckpt is taken"]
    assert f"{tmp_path}/none.png is missing" in capsys.readouterr().err
    assert "street_mask.png" in written(tmp_path)


def test_overlay_colours_sky_where_no_class_is_background(weights, tmp_path, street):
    arguments = ("--save", "overlay", "--no-legend", "--opacity", "1")
    assert run(weights, tmp_path, tmp_path / "street.png", *arguments) == 0
    segmenter = segmenter_with()
    picture = np.asarray(Image.open(tmp_path / "out" / "street_overlay.png"))
    assert (picture == segmenter.palette[segmenter(street)]).mean() > 0.999


def test_opacity_and_legend(weights, tmp_path, street):
    for name, arguments in (
        ("plain", ("--opacity", "0", "--no-legend")),
        ("legend", ("--opacity", "0")),
    ):
        out = tmp_path / name
        source = tmp_path / "street.png"
        assert run(weights, out, source, "--save", "overlay", *arguments) == 0
    plain, legend = (
        cv2.imread(str(tmp_path / name / "out" / "street_overlay.png"))
        for name in ("plain", "legend")
    )
    assert np.array_equal(plain, street)
    assert not np.array_equal(legend, street)


def test_plain_names_are_what_vocs_server_wants(weights, tmp_path, street):
    source = tmp_path / "street.png"
    assert run(weights, tmp_path, source, "--save", "mask", "--plain-names") == 0
    assert written(tmp_path) == ["street.png"]
    assert read_mask(tmp_path / "out" / "street.png").shape == (50, 75)


def test_exif_turns_the_picture_upright(weights, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "turned.jpg", exif=exif)
    assert run(weights, tmp_path, tmp_path / "turned.jpg", "--save", "mask") == 0
    assert Image.open(tmp_path / "out" / "turned_mask.png").size == (40, 60)


def broken(folder):
    """Five files that are no pictures, each in a way of its own."""
    jpeg = cv2.imencode(".jpg", draw_pair("cut", 90, 120)[0])[1].tobytes()
    png = cv2.imencode(".png", draw_pair("cut", 90, 120)[0])[1].tobytes()
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 1
    contents = {
        "empty.jpg": b"",
        "text.png": b"no picture",
        "cut.jpg": jpeg[: len(jpeg) * 2 // 3],
        "cut.png": png[: len(png) * 2 // 3],
        "damaged.png": bytes(damaged),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return list(contents)


@pytest.mark.parametrize(("engine", "batch_size"), [("brightest", 1), ("MindSpore", 4)])
def test_two_hundred_pictures_five_of_them_broken(request, tmp_path, capsys, engine, batch_size):
    weights = request.getfixturevalue("weights" if engine == "brightest" else "real_weights")
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    bad = broken(folder)
    rng = np.random.RandomState(0)
    sizes = [tuple(rng.randint(20, 120, 2)) for _ in range(12)]
    for number in range(195):
        image = rng.randint(0, 256, (*sizes[number % 12], 3)).astype(np.uint8)
        name = f"more/{number}.png" if number % 3 else f"{number}.jpg"
        cv2.imwrite(str(folder / name), image)
    arguments = ("--save", "mask", "--batch-size", batch_size)
    assert run(weights, tmp_path, folder, *arguments) == 1
    masks = written(tmp_path)
    assert len(masks) == 195 and "more/1_mask.png" in masks
    shapes = [cv2.imread(str(tmp_path / "out" / f"{n}_mask.png"), 0).shape for n in (0, 3, 6)]
    assert shapes == [sizes[0], sizes[3], sizes[6]]
    captured = capsys.readouterr()
    named = [line for line in captured.err.splitlines() if line.startswith("python -m")]
    assert len(named) == 6
    for name in bad:
        assert sum(f"/{name} " in line for line in named) == 1
    assert "5 could not be done" in named[-1]
    assert "195 images in" in captured.out and "images/s" in captured.out
    assert f"of it the network ({engine}" in captured.out
    assert captured.out.count("_mask.png: ") == 195


def test_a_picture_that_the_network_fails_on_does_not_end_the_run(
    weights, tmp_path, capsys, monkeypatch
):
    for name, side in (("a", 32), ("b", 64), ("c", 32)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((side, side, 3), np.uint8))
    compute = Brightest.class_ids

    def fails(self, batch):
        if batch.shape[2] == 64:
            raise RuntimeError("Allocate memory failed\nmore")
        return compute(self, batch)

    monkeypatch.setattr(Brightest, "class_ids", fails)
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    assert run(weights, tmp_path, *paths, "--save", "mask") == 1
    assert written(tmp_path) == ["a_mask.png", "c_mask.png"]
    error = capsys.readouterr().err
    assert "b.png could not be segmented (Allocate memory failed); try --resize" in error


@pytest.mark.parametrize("options", [(), ("--save", "probability")])
def test_a_network_whose_logits_are_not_finite(tmp_path, street, capsys, options):
    checkpoint.save(overflowing(4), tmp_path / "FCN8s.ckpt", {"classes": CLASSES})
    assert run(tmp_path / "FCN8s.ckpt", tmp_path, tmp_path / "street.png", *options) == 2
    error = capsys.readouterr().err
    assert "FCN8s.ckpt computes logits that are not finite" in error
    assert "take an older checkpoint" in error
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_the_run(weights, tmp_path, street, capsys, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", full)
    assert run(weights, tmp_path, tmp_path / "street.png") == 2
    assert "takes no more files: No space left on device" in capsys.readouterr().err


def test_a_full_disk_ends_a_video_too(weights, tmp_path, capsys, monkeypatch):
    writer = video.Writer(tmp_path / "clip.mp4", 12.5)
    writer.write(draw_pair("frame", 48, 64)[0])
    writer.close()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", full)
    assert run(weights, tmp_path, tmp_path / "clip.mp4", "--save", "mask") == 2
    assert "takes no more files: No space left on device" in capsys.readouterr().err


def test_the_segmenter_stays_as_it_was_loaded(tmp_path, street, monkeypatch, capsys):
    """The network is timed without a change to what runs it."""
    segmenter = segmenter_with()
    before = segmenter.predictor, segmenter.predictor.engine
    monkeypatch.setattr(Segmenter, "from_checkpoint", lambda path, device, **options: segmenter)
    assert run("FCN8s.ckpt", tmp_path, tmp_path / "street.png") == 0
    assert "1 image in" in capsys.readouterr().out
    assert (segmenter.predictor, segmenter.predictor.engine) == before


def test_results_overwrite_no_picture_that_is_to_be_predicted(weights, tmp_path, street, capsys):
    cv2.imwrite(str(tmp_path / "street_mask.png"), street)
    paths = [tmp_path / "street.png", tmp_path / "street_mask.png"]
    assert run(weights, tmp_path, *paths, "--output", tmp_path) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert np.array_equal(cv2.imread(str(tmp_path / "street_mask.png")), street)


def test_a_list_on_standard_input(weights, tmp_path, street, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{tmp_path / 'street.png'}\n"))
    assert run(weights, tmp_path, "-", "--save", "mask") == 0
    assert written(tmp_path) == ["street_mask.png"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert run(weights, tmp_path, "-") == 2
    assert "standard input names no picture" in capsys.readouterr().err


def test_options_reach_the_network(weights, tmp_path, street):
    options = ("--resize", "64", "--scales", "0.5,1.0", "--flip", "--sliding", "32", "16")
    assert run(weights, tmp_path, tmp_path / "street.png", "--save", "mask", *options) == 0
    segmenter = segmenter_with(resize=64, scales=(0.5, 1.0), flip=True, sliding=(32, 16))
    mask = np.asarray(Image.open(tmp_path / "out" / "street_mask.png"))
    assert (mask == segmenter(street)).mean() > 0.999
    assert (mask != segmenter_with()(street)).any()


def test_video(weights, tmp_path, capsys):
    frames = [draw_pair(f"frame {number}", 48, 64)[0] for number in range(7)]
    writer = video.Writer(tmp_path / "clip.mp4", 12.5)
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.close()
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    sources = (tmp_path / "clip.mp4", tmp_path / "bad.mp4")
    arguments = ("--save", "mask,color,overlay,probability", "--batch-size", "3")
    assert run(weights, tmp_path, *sources, *arguments) == 1
    numbers = [f"{number:06d}" for number in range(7)]
    assert written(tmp_path) == sorted(
        ["clip_color.mp4", "clip_overlay.mp4"]
        + [f"clip_mask/{number}.png" for number in numbers]
        + [f"clip_probability/{number}.npz" for number in numbers]
    )
    reader = video.Reader(tmp_path / "out" / "clip_color.mp4")
    assert reader.fps == 12.5
    shown = list(reader)
    assert len(shown) == 7 and shown[0].shape == (48, 64, 3)
    segmenter = segmenter_with()
    for number, frame in zip(numbers, video.Reader(sources[0])):
        ids = np.asarray(Image.open(tmp_path / "out" / "clip_mask" / f"{number}.png"))
        assert (ids == segmenter(frame)).mean() > 0.999
    captured = capsys.readouterr()
    assert "clip_mask: 7 frames" in captured.out
    assert "bad.mp4 cannot be opened" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--save", "mask,colour"), "choose from mask, color, overlay, probability"),
        (("--plain-names",), "for one kind of file"),
        (("--opacity", "1.5"), "choose 0…1"),
        (("--batch-size", "0"), "must be positive"),
        (("--sliding", "50", "20"), "this network takes multiples of 32"),
        (("--resize", "300000"), "more than 10,000 pixels on a side take too much memory"),
        (("--resize", "5000", "--scales", "1,4"), "resize is 5000, scaled by up to 4; more than"),
        (("--batch-size", str(10**9)), "--batch-size is 1000000000; it must be at most 1,024"),
        (("--max-pixels", "-1"), "take 0 for no limit, or a positive number"),
    ],
)
def test_arguments_out_of_range(weights, tmp_path, street, capsys, arguments, message):
    assert run(weights, tmp_path, tmp_path / "street.png", *arguments) == 2
    assert message in capsys.readouterr().err


def test_reading_a_picture(tmp_path):
    image, _ = draw_pair("x", 30, 40)
    deep = (image[..., :1].astype(np.uint16) << 8) + 7
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    found = inference.read_image(tmp_path / "deep.png")
    assert found.dtype == np.uint8 and found.shape == (30, 40, 3)
    assert np.array_equal(found[..., 0], image[..., 0])
    # A thumbnail has an end mark of its own.
    thumbnail = cv2.imencode(".jpg", image[::8, ::8].copy())[1].tobytes()
    whole = cv2.imencode(".jpg", image)[1].tobytes()
    exif = b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail
    encoded = whole[:2] + exif + whole[2:]
    (tmp_path / "x.jpg").write_bytes(encoded)
    assert inference.read_image(tmp_path / "x.jpg").shape == (30, 40, 3)
    (tmp_path / "x.jpg").write_bytes(encoded[:-40])
    with pytest.raises(InputError, match="x.jpg cannot be decoded .*: it is cut short"):
        inference.read_image(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes(whole + b"trailing bytes")
    assert inference.read_image(tmp_path / "x.jpg").shape == (30, 40, 3)


def test_palette_of_voc_without_names():
    assert visualize.background_id(voc.CLASSES) == 0
    assert visualize.background_id(["sky", "road"]) is None


def test_names_that_are_not_utf_8(weights, tmp_path, street, monkeypatch, capsys):
    image = os.fsencode(tmp_path) + b"/caf\xe9.png"
    os.rename(tmp_path / "street.png", image)
    listed = image + b"\n" + os.fsencode(tmp_path) + b"/clip\xe9.mp4\n"
    shutil.copy(image, os.fsencode(tmp_path) + b"/clip\xe9.mp4")
    for errors in ("strict", "surrogateescape"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed), "utf-8", errors))
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
        assert run(weights, tmp_path, "-") == 1  # the video
        assert (tmp_path / "out" / os.fsdecode(b"caf\xe9_mask.png")).is_file()
        assert b"caf?_mask.png" in sys.stdout.buffer.getvalue()
        assert "has a name that is not UTF-8" in capsys.readouterr().err


def test_pictures_larger_than_allowed(weights, tmp_path, street, capsys):
    cv2.imwrite(str(tmp_path / "small.png"), street[:20])
    pictures = (tmp_path / "street.png", tmp_path / "small.png")
    assert run(weights, tmp_path, *pictures, "--max-pixels", "2000") == 1
    assert "street.png has 75x50 pixels; up to 2,000 are read" in capsys.readouterr().err
    assert written(tmp_path) == ["small_mask.png", "small_overlay.png"]


def test_nothing_is_left_of_a_run_without_a_result(weights, tmp_path, street, capsys):
    folder = tmp_path / "in" / "sub"
    folder.mkdir(parents=True)
    broken(folder)
    (folder / "bad.mp4").write_bytes(b"no video")
    given = (tmp_path / "in", tmp_path / "in/*/*.mp4", "--save", "color")
    assert run(weights, tmp_path, *given, "--output", tmp_path / "new" / "out") == 1
    assert "6 could not be done" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    assert run(weights, tmp_path, *given, "--output", tmp_path / "old") == 1
    assert not list((tmp_path / "old").iterdir())
    assert run(weights, tmp_path, tmp_path / "street.png", *given) == 1
    assert written(tmp_path) == ["street_color.png"]


def test_pipe_inside_a_folder(weights, tmp_path, street, capsys):
    os.mkfifo(tmp_path / "a.png")
    assert run(weights, tmp_path, tmp_path) == 1
    assert "a.png is not a file but a device or pipe" in capsys.readouterr().err
    assert written(tmp_path) == ["street_mask.png", "street_overlay.png"]
