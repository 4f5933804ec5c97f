import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import transforms, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.formats import png
from fcn8s_ms.records import checksums, encode, masks
from fcn8s_ms.records.encode import Encoder
from fcn8s_ms.records.masks import MaskReader
from fcn8s_ms.records.sources import Pair

from ..helpers import draw_pair, read_mask, shape, write_labelme, write_mask, write_mat

IMAGE, LABEL = draw_pair("a", 30, 40)
COLOURS = {(0, 0, 0): 0, (128, 64, 0): 1, (0, 0, 255): 2, (10, 10, 10): 255}


def converted(tmp_path, image=None, mask=None, classes=voc.CLASSES, suffix=".jpg", **options):
    """The sample of an image and a mask, each given as the bytes of a file."""
    image_path, mask_path = tmp_path / f"a{suffix}", tmp_path / "a.png"
    image_path.write_bytes(encoded(".jpg", IMAGE) if image is None else image)
    if mask is None:
        write_mask(mask_path, LABEL)
    else:
        mask_path.write_bytes(mask)
    return Encoder(MaskReader(classes, **options))(Pair("a", image_path, mask_path))


def encoded(suffix, array, flags=()):
    return cv2.imencode(suffix, array, list(flags))[1].tobytes()


def pillow(array, kind="png", **options):
    file = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(file, kind, **options)
    return file.getvalue()


# --- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
def test_jpeg_is_kept(tmp_path, flags):
    content = encoded(".jpg", IMAGE, flags)
    assert converted(tmp_path, content).image == content


def test_png_is_kept(tmp_path):
    content = encoded(".png", IMAGE)
    assert converted(tmp_path, content).image == content


GRAY = IMAGE[:, :, 0]
DEEP = GRAY.astype(np.uint16) * 256 + 200  # the upper 8 bits are GRAY
BGRA = np.dstack([IMAGE, np.full_like(GRAY, 9)])
RGB = IMAGE[:, :, ::-1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(".bmp", IMAGE), IMAGE),
        (encoded(".tiff", IMAGE), IMAGE),
        (encoded(".ppm", IMAGE), IMAGE),
        (encoded(".webp", IMAGE, [cv2.IMWRITE_WEBP_QUALITY, 101]), IMAGE),
        (encoded(".png", GRAY), np.dstack([GRAY] * 3)),
        (encoded(".pgm", GRAY), np.dstack([GRAY] * 3)),
        (encoded(".jpg", GRAY, [cv2.IMWRITE_JPEG_QUALITY, 100]), None),
        (encoded(".png", DEEP), np.dstack([GRAY] * 3)),
        (encoded(".tiff", DEEP), np.dstack([GRAY] * 3)),
        (encoded(".png", BGRA), IMAGE),
        (encoded(".tiff", BGRA), IMAGE),
        (encoded(".bmp", BGRA), IMAGE),
        (pillow(Image.fromarray(GRAY).convert("LA")), np.dstack([GRAY] * 3)),
        (pillow(Image.fromarray(RGB).convert("CMYK"), "jpeg", quality=100), None),
        (pillow(Image.fromarray(LABEL % 8 * 30).convert("P")), np.dstack([LABEL % 8 * 30] * 3)),
    ],
    ids="bmp tiff ppm webp gray pgm grayjpg png16 tiff16 rgba tiffa bmpa la cmyk palette".split(),
)
def test_any_image_becomes_8_bit_bgr(tmp_path, content, expected):
    """16 bits: the upper 8. Transparency: dropped."""
    stored = converted(tmp_path, content, suffix=".any").image
    assert stored.startswith((png.SIGNATURE, b"\xff\xd8"))
    decoded = transforms.decode_image(stored)
    assert decoded.dtype == np.uint8 and decoded.shape == (30, 40, 3)
    if expected is not None:
        assert (decoded == expected).all()


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_images_are_upright_as_in_training(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = np.rot90(RGB) if orientation == 6 else RGB
    content = pillow(np.ascontiguousarray(lying), kind, exif=exif)
    label = np.rot90(LABEL) if orientation == 6 else LABEL
    mask = pillow(np.ascontiguousarray(label), exif=exif)
    stored = converted(tmp_path, content, mask).image
    assert transforms.decode_image(stored).shape[:2] == LABEL.shape
    if kind != "jpeg":  # does not depend on whether the version of OpenCV looks at Exif
        assert Image.open(io.BytesIO(stored)).size == LABEL.shape[::-1]


@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
def test_jpegs_cut_anywhere_are_refused(tmp_path, flags):
    whole = encoded(".jpg", IMAGE, flags)
    for kept in [*range(1, len(whole) - 2, 97), len(whole) - 2, len(whole) - 1]:
        with pytest.raises(InputError, match="a.jpg cannot be decoded"):
            converted(tmp_path, whole[:kept])


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
@pytest.mark.parametrize(
    ("suffix", "lenient"),
    [
        *((suffix, False) for suffix in (".png", ".bmp", ".tiff", ".webp", ".ppm")),
        *((suffix, True) for suffix in (".png", ".bmp", ".webp", ".ppm")),
    ],
)
def test_other_images_cut_short_are_refused(tmp_path, suffix, lenient, monkeypatch):
    whole = encoded(suffix, IMAGE)
    if lenient:  # OpenCV gives what there is
        monkeypatch.setattr(transforms, "decode_image", lambda *args: IMAGE)
        monkeypatch.setattr(cv2, "imdecode", lambda *args: IMAGE)
    for kept in (len(whole) // 2, len(whole) - 1):
        with pytest.raises(InputError, match="a.jpg cannot be decoded"):
            converted(tmp_path, whole[:kept])


def test_flipped_bytes_in_a_png_image_are_refused(tmp_path):
    whole = encoded(".png", IMAGE)
    for position in range(0, len(whole), 101):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        with pytest.raises(InputError, match="a.jpg cannot be decoded"):
            converted(tmp_path, bytes(damaged))


def test_images_of_real_numbers_are_refused(tmp_path):
    content = encoded(".hdr", IMAGE.astype(np.float32))
    with pytest.raises(InputError, match="a.hdr holds float32 numbers; save it with 8 or 16 bits"):
        converted(tmp_path, content, suffix=".hdr")


def test_image_that_is_too_large_for_a_record(tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "_LIMIT", 1000)
    with pytest.raises(InputError, match="a.jpg takes .* MB; MindRecord stores up to"):
        converted(tmp_path)


def test_mask_with_more_pixels_than_pillow_trusts(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(InputError, match="a.png is too large .*; cut it into tiles"):
        converted(tmp_path, mask=pillow(LABEL, "bmp"))


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_more_pixels_than_allowed(tmp_path, kind):
    given = {kind: encoded(".png", np.zeros((40, 40), np.uint8))}
    name = {"image": "a.jpg", "mask": "a.png"}[kind]
    with pytest.raises(InputError, match=f"{name} has 40x40 pixels; .* raise --max-pixels"):
        converted(tmp_path, **given, max_pixels=1500)
    assert converted(tmp_path, max_pixels=0).counts.sum() == LABEL.size


# --- orientation -------------------------------------------------------------------------------


def tagged(array, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return pillow(array, kind, exif=exif, **({"lossless": True} if kind == "webp" else {}))


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("image_kind", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_turned_as_their_images(tmp_path, image_kind, kind, orientation):
    """A label stays on its image's pixels, whatever the formats of the two."""
    marks = np.zeros((30, 40), np.uint8)
    marks[2:8, 3:20] = 15
    image = np.dstack([marks * 17] * 3)
    row = converted(
        tmp_path, tagged(image, image_kind, orientation), tagged(marks, kind, orientation)
    )
    label = transforms.decode_label(row.label)
    found = transforms.decode_image(row.image)[..., 0]
    assert label.shape == ((30, 40) if orientation < 5 else (40, 30))
    assert ((found > 128) == (label == 15)).mean() > (0.98 if image_kind == "jpeg" else 0.9999)
    if orientation != 1:
        assert not np.array_equal(label, marks)


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
def test_image_and_mask_of_different_orientations(tmp_path, kind):
    square = np.ascontiguousarray(RGB[:30, :30])
    mask = pillow(np.ascontiguousarray(LABEL[:30, :30]))
    with pytest.raises(InputError, match="a.jpg has the Exif orientation 6, its mask .*a.png 1; "):
        converted(tmp_path, tagged(square, kind, 6), mask)
    turned = tagged(np.ascontiguousarray(LABEL[:30, :30]), "png", 3)
    with pytest.raises(InputError, match="orientation 1, its mask .* 3; save both upright"):
        converted(tmp_path, pillow(square, kind), turned)


def test_shapes_are_drawn_on_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(pillow(RGB, "jpeg", exif=exif))
    drawn = shape("car", [[1, 1], [20, 1], [20, 20]])
    path = write_labelme(tmp_path / "a.json", [drawn], width=30, height=40)
    row = Encoder(MaskReader(["background", "car"]))(Pair("a", tmp_path / "a.jpg", path))
    assert transforms.decode_label(row.label).shape == (40, 30)


# --- masks of ids ------------------------------------------------------------------------------


def test_gray_masks_are_ids(tmp_path):
    path = tmp_path / "gray.png"
    ids = np.array([[0, 20], [255, 7]], np.uint8)
    cv2.imwrite(str(path), ids)
    assert (read_mask(path) == ids).all()


def test_palette_masks_are_not_read_as_luminance(tmp_path):
    path = tmp_path / "palette.png"
    ids = np.array([[0, 20], [255, 15]], np.uint8)
    write_mask(path, ids)
    assert cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[1, 1] != 15  # what luminance would give
    assert (read_mask(path) == ids).all()


@pytest.mark.parametrize("kind", ["bmp", "tiff"])
def test_masks_of_other_formats(tmp_path, kind):
    for image in (Image.fromarray(LABEL), Image.fromarray(LABEL).convert("P")):
        sample = converted(tmp_path, mask=pillow(image, kind))
        assert (transforms.decode_label(sample.label) == LABEL).all()


@pytest.mark.parametrize(("depth", "highest"), [(1, 1), (2, 3), (4, 15)])
@pytest.mark.parametrize("colour_type", [0, 3])
def test_masks_of_few_bits(tmp_path, depth, highest, colour_type):
    """The numbers in the file are the ids, though viewers spread gray ones over 0…255."""
    ids = np.arange(64, dtype=np.uint8).reshape(4, 16) % (highest + 1)
    bits = np.unpackbits(ids[:, :, np.newaxis], axis=2)[:, :, -depth:].reshape(4, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    content = png.SIGNATURE + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in [
            (b"IHDR", struct.pack(">IIBBBBB", 16, 4, depth, colour_type, 0, 0, 0)),
            *([(b"PLTE", bytes(range(3 * (highest + 1))))] if colour_type == 3 else []),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ]
    )
    (tmp_path / "m.png").write_bytes(content)
    assert (read_mask(tmp_path / "m.png") == ids).all()


def test_label_is_the_masks_png_with_a_seal(tmp_path):
    sample = converted(tmp_path)
    mask = (tmp_path / "a.png").read_bytes()
    assert sample.label == checksums.sealed(png.gray(mask), sample.image, "a")
    assert (transforms.decode_label(sample.label) == LABEL).all()
    assert (sample.counts == np.bincount(LABEL.ravel(), minlength=256)).all()


def test_counts_of_large_masks_are_exact(monkeypatch):
    mask = np.full((100, 100), 7, np.uint8)
    expected = np.bincount(mask.ravel(), minlength=256)
    assert (masks.count_values(mask) == expected).all()
    monkeypatch.setattr(masks, "_FLOAT32_EXACT", 10)
    assert (masks.count_values(mask) == expected).all()


def test_any_flipped_or_missing_byte_of_a_mask_is_refused(tmp_path):
    path = tmp_path / "m.png"
    write_mask(path, LABEL)
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        for content in (damaged, whole[:position]):
            path.write_bytes(content)
            with pytest.raises(InputError, match="m.png cannot be decoded"):
                read_mask(path)


def test_label_map(tmp_path):
    ids = np.array([[0, 7], [255, 9]], np.uint8)
    sample = converted(
        tmp_path,
        image=encoded(".png", np.zeros((2, 2, 3), np.uint8)),
        mask=encoded(".png", ids),
        classes=["road", "sky"],
        label_map={7: 1, 255: 0, 9: 255},
    )
    assert transforms.decode_label(sample.label).tolist() == [[0, 1], [0, 255]]
    assert sample.counts[[0, 1, 255]].tolist() == [2, 1, 1] and sample.counts.sum() == 4
    assert not sample.from_values


@pytest.mark.parametrize(
    ("offset", "ids", "expected"),
    [(-1, [[0, 1], [255, 2]], [[255, 0], [255, 1]]), (1, [[0, 0], [255, 0]], [[1, 1], [255, 1]])],
)
def test_label_offset(tmp_path, offset, ids, expected):
    given = {"image": encoded(".png", np.zeros((2, 2, 3), np.uint8)), "classes": ["road", "sky"]}
    given["label_offset"] = offset
    sample = converted(tmp_path, mask=encoded(".png", np.array(ids, np.uint8)), **given)
    assert transforms.decode_label(sample.label).tolist() == expected and not sample.from_values
    ids[0][0] = 2 - offset
    with pytest.raises(
        InputError, match=f"with --label-offset {offset}, ids .* are classes: correct"
    ):
        converted(tmp_path, mask=encoded(".png", np.array(ids, np.uint8)), **given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_offset": 2}, "--label-offset 2 makes no id one of the 2 classes; take -1"),
        ({"label_offset": -(10**30)}, "0 makes no id one of the 2 classes"),
        ({"label_offset": -1, "label_map": {1: 0}}, "-1 does not go with a label map"),
    ],
)
def test_label_offsets_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        MaskReader(["road", "sky"], **options)


PHOTO = np.random.RandomState(0).randint(0, 256, (30, 40, 3)).astype(np.uint8)


@pytest.mark.parametrize("photo", [PHOTO, PHOTO[..., 0]], ids=["colour", "gray"])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("shift", [0, 1])
def test_swapped_folders(tmp_path, photo, kind, shift):
    """Masks whose ids start at 1 are recognised, too."""
    mask = pillow(np.array([[0, 1], [2, 0]], np.uint8).repeat(20, 1).repeat(15, 0) + shift)
    with pytest.raises(
        InputError, match="a.png looks like a photo, and .*a.jpg like its mask: are"
    ):
        converted(tmp_path, mask, pillow(photo, kind), classes=["a", "b", "c"])


def test_a_bad_mask_is_no_photo(tmp_path):
    with pytest.raises(InputError, match="holds label 7; classes are 0…2"):
        flat = pillow(np.zeros((30, 40), np.uint8))
        converted(tmp_path, flat, pillow(np.full((30, 40), 7, np.uint8)), classes=["a", "b", "c"])


def test_ids_in_files_of_16_bits(tmp_path):
    deep = LABEL.astype(np.uint16)
    for suffix in (".png", ".tiff"):
        sample = converted(tmp_path, mask=encoded(suffix, deep))
        assert np.array_equal(transforms.decode_label(sample.label), LABEL) and sample.from_values
    deep[3, 4] = 26001
    with pytest.raises(InputError, match="holds label 26001; ids are 0…255, also in files of 16"):
        converted(tmp_path, mask=encoded(".png", deep))


def test_another_ignore_label(tmp_path):
    """Whatever masks ignore, records ignore 255."""
    ids = np.array([[0, 1], [2, 2]], np.uint8)
    given = {"image": encoded(".png", np.zeros((2, 2, 3), np.uint8)), "classes": ["a", "b"]}
    sample = converted(tmp_path, mask=encoded(".png", ids), ignore_label=2, **given)
    assert transforms.decode_label(sample.label).tolist() == [[0, 1], [255, 255]]
    ids[0, 0] = 255
    with pytest.raises(InputError, match="holds label 255; classes are 0…1, and 2 is ignored"):
        converted(tmp_path, mask=encoded(".png", ids), ignore_label=2, **given)


# --- masks of colours --------------------------------------------------------------------------

IDS = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)
RGB_MASK = np.array([[[0, 0, 0], [128, 64, 0], [0, 0, 255]], [[0, 0, 255], [10] * 3, [128, 64, 0]]])
RGB_MASK = RGB_MASK.astype(np.uint8)


def coloured(tmp_path, mask, **options):
    options = {"colours": COLOURS, **options}
    (tmp_path / "m.png").write_bytes(mask)
    return MaskReader(["a", "b", "c"], **options).read(tmp_path / "m.png")


def test_colours(tmp_path):
    assert (coloured(tmp_path, pillow(RGB_MASK)) == IDS).all()
    with_alpha = np.dstack([RGB_MASK, np.full((2, 3), 255, np.uint8)])
    assert (coloured(tmp_path, pillow(with_alpha)) == IDS).all()
    assert (coloured(tmp_path, pillow(RGB_MASK, "bmp")) == IDS).all()
    sample = converted(
        tmp_path,
        image=encoded(".png", np.zeros((2, 3, 3), np.uint8)),
        mask=pillow(RGB_MASK),
        classes=["a", "b", "c"],
        colours=COLOURS,
    )
    assert (transforms.decode_label(sample.label) == IDS).all()


def test_flipped_bytes_in_a_mask_of_colours_are_refused(tmp_path):
    whole = pillow(RGB_MASK)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        with pytest.raises(InputError, match="m.png cannot be decoded"):
            coloured(tmp_path, bytes(damaged))


def test_gray_masks_hold_ids_even_if_there_are_colours(tmp_path):
    assert (coloured(tmp_path, encoded(".png", IDS)) == IDS).all()


def palette_mask(colours, indices=IDS % 200):
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette([value for colour in colours for value in colour])
    return pillow(image)


def test_palette_masks_and_colours(tmp_path):
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    agreeing = palette_mask([(0, 0, 0), (128, 64, 0), (0, 0, 255)], indices)
    other_colours = palette_mask([(5, 0, 0), (0, 5, 0), (0, 0, 5)], indices)
    turned = palette_mask([(0, 0, 255), (128, 64, 0), (0, 0, 0)], indices)
    for mask in (agreeing, other_colours):
        assert (coloured(tmp_path, mask) == indices).all()
    with pytest.raises(InputError, match="indices and colours disagree .* --mask-values"):
        coloured(tmp_path, turned)
    assert (coloured(tmp_path, turned, mask_values="ids") == indices).all()
    assert (coloured(tmp_path, turned, mask_values="colours") == 2 - indices).all()


def test_unknown_colours(tmp_path):
    mask = RGB_MASK.copy()
    mask[0, 0], mask[1, 1] = (1, 2, 3), (200, 0, 9)
    with pytest.raises(InputError, match=r"m.png holds colours of no class: \(1, 2, 3\), \(200, 0"):
        coloured(tmp_path, pillow(mask))


def test_colours_need_a_class_file(tmp_path):
    with pytest.raises(InputError, match="need a class file .*: --classes"):
        MaskReader(["a", "b"], mask_values="colours")


# --- other masks -------------------------------------------------------------------------------


def test_matlab_files_of_sbd(tmp_path):
    path = tmp_path / "a.mat"
    label = np.where(LABEL == 255, 0, LABEL)
    write_mat(path, label)
    assert (read_mask(path) == label).all()


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_matlab_files_cut_short(tmp_path, kept):
    path = tmp_path / "a.mat"
    write_mat(path, LABEL)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="a.mat cannot be read as a MATLAB file"):
        read_mask(path)


def test_matlab_files_of_another_kind(tmp_path):
    import scipy.io

    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"GTinst": np.zeros(3)})
    with pytest.raises(InputError, match="a.mat has no GTcls with a Segmentation; take the files"):
        read_mask(path)
    write_mat(path, LABEL.astype(np.float64))
    with pytest.raises(InputError, match="Segmentation is float64 of shape"):
        read_mask(path)


def test_without_scipy_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(InputError, match=r"a.mat is a MATLAB file.*pip install 'fcn8s-ms\[sbd\]'"):
        read_mask(tmp_path / "a.mat")


def test_labelme_files(tmp_path):
    path = write_labelme(tmp_path / "a.json", [shape("b", [[0, 0], [3, 3]], "rectangle")])
    found = MaskReader(["background", "b"], ignore_label=7).read(path)
    assert set(np.unique(found)) == {0, 1}
    # Without a background, what is not covered is ignored, whatever value masks ignore.
    found = MaskReader(["b"], ignore_label=7).read(path)
    assert set(np.unique(found)) == {0, 255}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            pillow(RGB_MASK),
            "is an image of mode RGB; a mask holds class ids .* or colours that the file of",
        ),
        (
            encoded(".png", DEEP),
            f"holds label {DEEP.max()}; ids are 0…255, also in files of 16 bits",
        ),
        (
            pillow(Image.fromarray(LABEL).convert("LA")),
            "is an image of mode LA; a mask is a gray or palette",
        ),
        (encoded(".jpg", LABEL), "is a JPEG, which blurs class ids; save masks as PNG"),
        (b"", r"cannot be decoded \(0 bytes\): fetch the file again"),
    ],
)
def test_masks_of_other_kinds(tmp_path, mask, message):
    (tmp_path / "m.png").write_bytes(mask)
    with pytest.raises(InputError, match=f"m.png {message}"):
        read_mask(tmp_path / "m.png")
