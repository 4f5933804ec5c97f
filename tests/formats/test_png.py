import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fcn8s_ms import transforms
from fcn8s_ms.formats import png
from fcn8s_ms.records import checksums

from ..helpers import draw_pair, write_mask

IDS = draw_pair("a", 30, 40)[1]


def palette_png(tmp_path):
    write_mask(tmp_path / "m.png", IDS)
    return (tmp_path / "m.png").read_bytes()


def busy_gray_png():
    """Two chunks of pixels and one of text, as other programs write them."""
    info = PngInfo()
    info.add_text("Author", "somebody")
    encoded = io.BytesIO()
    Image.fromarray(IDS).save(encoded, "png", pnginfo=info, compress_level=9)
    written = png.SIGNATURE
    for kind, content in png.chunks(encoded.getvalue()):
        parts = [content[:50], content[50:]] if kind == b"IDAT" else [content]
        for part in parts:
            checksum = zlib.crc32(kind + part).to_bytes(4, "big")
            written += len(part).to_bytes(4, "big") + kind + part + checksum
    return written


def compressed_pixels(encoded):
    return b"".join(content for kind, content in png.chunks(encoded) if kind == b"IDAT")


def test_gray_keeps_the_compressed_pixels(tmp_path):
    for encoded in (palette_png(tmp_path), busy_gray_png()):
        gray = png.gray(encoded)
        opened = Image.open(io.BytesIO(gray))
        assert opened.mode == "L" and (np.asarray(opened) == IDS).all()
        assert (transforms.decode_label(gray) == IDS).all()
        assert compressed_pixels(gray) == compressed_pixels(encoded)
        assert [kind for kind, _ in png.chunks(gray)] == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize("mode", ["1", "LA", "RGB", "RGBA", "I;16"])
def test_other_pngs_are_not_turned_gray(mode):
    encoded = io.BytesIO()
    dtype = np.uint16 if mode == "I;16" else np.uint8
    image = Image.fromarray(np.zeros((4, 5), dtype))
    (image if mode == "I;16" else image.convert(mode)).save(encoded, "png")
    assert png.gray(encoded.getvalue()) is None


def test_every_flipped_or_missing_byte_shows(tmp_path):
    whole = palette_png(tmp_path)
    assert list(png.chunks(whole))
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        for content in (bytes(damaged), whole[:position]):
            with pytest.raises(ValueError, match="not a PNG|cut short|a checksum differs"):
                list(png.chunks(content))


def test_a_sealed_label_tells_whether_its_image_is_the_one(tmp_path):
    image = bytes(range(256))
    label = png.gray(palette_png(tmp_path))
    sealed = checksums.sealed(label, image, "größe")
    assert checksums.verify_seal(sealed, image, "größe")
    assert checksums.verify_seal(sealed, np.frombuffer(image, np.uint8), None)
    assert not checksums.verify_seal(label, image, "größe")  # of a record that others built
    with pytest.raises(ValueError, match="name's checksum differs"):
        checksums.verify_seal(sealed, image, "grösse")
    for position in (0, 100, 255):
        damaged = bytearray(image)
        damaged[position] ^= 4
        with pytest.raises(ValueError, match="image's checksum differs"):
            checksums.verify_seal(sealed, damaged, None)
    for position in range(0, len(sealed), 7):
        damaged = bytearray(sealed)
        damaged[position] ^= 4
        with pytest.raises(ValueError, match="not a PNG|cut short|checksum differs"):
            checksums.verify_seal(bytes(damaged), image, None)


def test_other_readers_decode_a_sealed_label(tmp_path):
    from mindspore.dataset import vision

    sealed = checksums.sealed(png.gray(palette_png(tmp_path)), b"image", "name")
    assert (cv2.imdecode(np.frombuffer(sealed, np.uint8), cv2.IMREAD_GRAYSCALE) == IDS).all()
    assert (np.asarray(Image.open(io.BytesIO(sealed))) == IDS).all()
    assert (vision.Decode()(np.frombuffer(sealed, np.uint8))[:, :, 0] == IDS).all()


def test_indexed_is_a_palette_png_that_pillow_and_opencv_read():
    rng = np.random.RandomState(0)
    ids = rng.randint(0, 256, (7, 11)).astype(np.uint8)
    palette = rng.randint(0, 256, (256, 3)).astype(np.uint8)
    encoded = png.indexed(ids, palette)
    opened = Image.open(io.BytesIO(encoded))
    assert opened.mode == "P" and (np.asarray(opened) == ids).all()
    assert (np.asarray(opened.convert("RGB")) == palette[ids]).all()
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert (decoded[..., ::-1] == palette[ids]).all()
    assert (transforms.decode_label(png.gray(encoded)) == ids).all()
