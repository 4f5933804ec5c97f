import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import inference
from fcn8s_ms.errors import InputError
from fcn8s_ms.formats import png
from fcn8s_ms.images import header, reader
from fcn8s_ms.records.encode import Encoder
from fcn8s_ms.records.masks import MaskReader
from fcn8s_ms.records.sources import Pair

from ..helpers import draw_pair, mutations

IMAGE, LABEL = draw_pair("a", 30, 40)
RGB = np.ascontiguousarray(IMAGE[..., ::-1])
KINDS = [".jpg", ".png", ".webp", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".jp2", ".ras"]


def encoded(suffix, pixels=IMAGE, flags=()):
    if suffix in (".pgm", ".pbm"):
        pixels = pixels[..., 0]
    if suffix == ".jp2":  # OpenJPEG writes no small ones
        pixels = np.tile(pixels, (4, 4, 1))
    return cv2.imencode(suffix, pixels, list(flags))[1].tobytes()


def tagged(kind, orientation, pixels=RGB, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, exif=exif, **options)
    return file.getvalue()


def announcing(width, height):
    """A PNG of some bytes whose header announces an image of any size."""
    content = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", content), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return png.SIGNATURE + b"".join(png.chunk(*part) for part in parts)


@pytest.mark.parametrize("suffix", KINDS)
def test_sizes_of_every_format(suffix):
    found = header.read(encoded(suffix))
    size = (120, 160) if suffix == ".jp2" else (30, 40)
    assert (found.height, found.width) == found.size == size
    assert found.orientation == 1 and found.numbers is None


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}, {"exif": b"Exif\0\0"}])
def test_sizes_of_webp(options):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "webp", **options)
    assert header.read(file.getvalue()).size == (30, 40)


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_one_reading_of_the_orientation(tmp_path, kind, orientation):
    """Files, PIL images and OpenCV's own turning of JPEGs, by which records were read, agree."""
    options = {"lossless": True} if kind == "webp" else {}
    content = tagged(kind, orientation, **options)
    path = tmp_path / "a.any"
    path.write_bytes(content)
    expected = reader.upright(IMAGE, orientation)
    found = inference.read_image(path)
    assert found.shape == expected.shape == (*header.read(content).size, 3)
    if kind == "jpeg":
        expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(found, expected)
    segmenter = inference.images.as_bgr(Image.open(path), "BGR")
    assert segmenter.shape == found.shape
    assert np.abs(segmenter.astype(int) - found).mean() < 4


def test_orientation_out_of_range_or_damaged():
    assert header.exif_orientation(b"") == 1
    assert header.read(tagged("jpeg", 9)).orientation == 1
    whole = tagged("jpeg", 6)
    place = whole.index(b"Exif")
    for damaged in mutations(whole[place : place + 40], 5, 200):
        assert 1 <= header.exif_orientation(damaged) <= 8


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm", ".pgm"])
def test_conversion_and_prediction_accept_the_same_files(tmp_path, suffix):
    image, mask = tmp_path / "image.any", tmp_path / "mask.png"
    mask.write_bytes(encoded(".png", LABEL))
    convert = Encoder(MaskReader([str(number) for number in range(255)]))
    accepted = 0
    for content in mutations(encoded(suffix), 7, 150):
        image.write_bytes(content)
        found = []
        for read in (inference.read_image, lambda path: convert(Pair("a", path, mask)).image):
            try:
                found.append(read(image))
            except InputError as error:
                if "give both one size" in str(error):  # it was read
                    found.append(np.zeros(0))
                else:
                    assert str(image) in str(error)
                    found.append(None)
        assert (found[0] is None) == (found[1] is None)
        accepted += found[0] is not None
    assert accepted < 120 or suffix in (".bmp", ".ppm", ".pgm", ".tiff")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".ppm", ".jp2"])
def test_files_cut_short(tmp_path, suffix):
    whole = encoded(suffix)
    path = tmp_path / "a.any"
    for kept in (len(whole) // 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match="a.any cannot be decoded .*; fetch the file again"):
            inference.read_image(path)


def test_jpeg_of_several_scans(tmp_path):
    whole = encoded(".jpg", flags=[cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    scans = [place for place in range(len(whole)) if whole[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 3
    path = tmp_path / "a.jpg"
    for content in (whole, whole + b"trailing", whole[:2] + b"\xff\xff" + whole[2:]):
        path.write_bytes(content)
        assert inference.read_image(path).shape == (30, 40, 3)
    path.write_bytes(whole[: scans[2]])
    with pytest.raises(InputError, match="it is cut short"):
        inference.read_image(path)


def test_size_is_refused_before_memory_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(announcing(50_000, 50_000))
    with pytest.raises(InputError, match="a.png cannot be decoded"):  # more than OpenCV takes
        reader.open_file(path, 0).pixels()
    monkeypatch.setattr(cv2, "imdecode", None)
    for width, height in ((50_000, 50_000), (10_001, 10_000)):
        path.write_bytes(announcing(width, height))
        with pytest.raises(InputError, match=f"a.png has {width}x{height} pixels; up to 100,000,"):
            inference.read_image(path)


@pytest.mark.parametrize("suffix", [".tiff", ".hdr"])
def test_real_numbers(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(suffix, IMAGE.astype(np.float32)))
    with pytest.raises(InputError, match="holds float32 numbers; save it with 8 or 16 bits"):
        inference.read_image(path)


def test_pipes_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    for path in (tmp_path / "a.jpg", "/dev/zero"):
        with pytest.raises(InputError, match="is not a file but a device or pipe"):
            inference.read_image(path)
