import io
import os
import shutil
import stat
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fcn8s_ms import records, transforms, voc
from fcn8s_ms.errors import InputError

from .conftest import SIZES, draw_pair, write_mask, write_voc


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("level", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_folder_is_found_at_every_level(tmp_path, level):
    folder = write_voc(tmp_path)
    assert records.find_voc_folder(tmp_path / level) == folder


def test_no_voc_folder(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} is no VOC folder: give"):
        records.find_voc_folder(tmp_path)


def test_list_with_foreign_line_ends(voc_folder):
    path = voc_folder / "ImageSets" / "Segmentation" / "odd.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\n\r\n b  \r\nc")
    assert [pair.name for pair in records.voc_pairs(voc_folder, "odd")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("\n \n", "is empty"), ("a\nb\na\n", "names a more than once")],
)
def test_bad_lists(voc_folder, content, message):
    (voc_folder / "ImageSets" / "Segmentation" / "bad.txt").write_text(content)
    with pytest.raises(InputError, match=f"bad.txt {message}"):
        records.voc_pairs(voc_folder, "bad")


def test_missing_list_names_those_there(voc_folder):
    with pytest.raises(InputError, match="test.txt is missing; lists there: train, trainval, val"):
        records.voc_pairs(voc_folder, "test")


def test_rows_are_the_files_and_the_ids(record, tmp_path):
    rows = list(records.read_samples(record, 99))
    assert [name for name, _, _ in rows] == [name for name, _, _ in SIZES]
    jpegs = record.parent / "voc" / "VOCdevkit" / "VOC2012" / "JPEGImages"
    for (name, data, label), (_, height, width) in zip(rows, SIZES):
        assert data == (jpegs / f"{name}.jpg").read_bytes()
        assert (transforms.decode_label(label) == draw_pair(name, height, width)[1]).all()
    assert len(list(records.read_samples(record, 2))) == 2


def test_metadata(record):
    metadata = records.read_metadata(record)
    labels = [draw_pair(*size)[1] for size in SIZES]
    assert metadata.classes == voc.CLASSES
    assert metadata.palette[15] == (192, 128, 128)
    assert metadata.ignore_label == 255
    assert metadata.num_samples == 5
    assert metadata.files == ("all.mindrecord",)
    for label in (0, 7, 15, 20):
        assert metadata.pixel_counts[label] == sum((one == label).sum() for one in labels)


def test_a_record_without_metadata_can_be_read(record, tmp_path):
    for name in ("all.mindrecord", "all.mindrecord.db"):
        shutil.copy(record.parent / name, tmp_path / name)
    assert records.read_metadata(tmp_path / "all.mindrecord") is None
    assert records.open_record(tmp_path / "all.mindrecord")[1] == 5


def test_gray_masks_are_ids_too(tmp_path):
    path = tmp_path / "gray.png"
    ids = np.array([[0, 20], [255, 7]], np.uint8)
    cv2.imwrite(str(path), ids)
    assert (records.read_mask(path) == ids).all()


def test_palette_masks_are_not_read_as_luminance(tmp_path):
    path = tmp_path / "palette.png"
    ids = np.array([[0, 20], [255, 15]], np.uint8)
    write_mask(path, ids)
    assert cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[1, 1] != 15  # what luminance would give
    assert (records.read_mask(path) == ids).all()


def test_label_keeps_the_masks_compressed_pixels(tmp_path):
    """The record's label is gray, whatever the mask was, and is not compressed anew."""
    _, ids = draw_pair("a", 70, 90)
    write_mask(tmp_path / "palette.png", ids)
    # Two IDAT chunks and a chunk of text, as other programs write them.
    gray = io.BytesIO()
    Image.fromarray(ids).save(gray, "png", pnginfo=text_chunk(), compress_level=9)
    (tmp_path / "gray.png").write_bytes(with_two_idat(gray.getvalue()))
    for name in ("palette", "gray"):
        path = tmp_path / f"{name}.png"
        found, label = records._read_label(path)
        assert (found == ids).all()
        assert (cv2.imdecode(np.frombuffer(label, np.uint8), cv2.IMREAD_GRAYSCALE) == ids).all()
        opened = Image.open(io.BytesIO(label))
        assert opened.mode == "L" and (np.asarray(opened) == ids).all()
        assert compressed_pixels(label) == compressed_pixels(path.read_bytes())


def text_chunk():
    info = PngInfo()
    info.add_text("Author", "somebody")
    return info


def chunks(png):
    position = 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        yield png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        position += length + 12


def compressed_pixels(png):
    return b"".join(content for kind, content in chunks(png) if kind == b"IDAT")


def with_two_idat(png):
    written = png[:8]
    for kind, content in chunks(png):
        parts = [content[:50], content[50:]] if kind == b"IDAT" else [content]
        for part in parts:
            checksum = zlib.crc32(kind + part).to_bytes(4, "big")
            written += len(part).to_bytes(4, "big") + kind + part + checksum
    return written


def test_images_cut_anywhere_are_refused(tmp_path):
    image, _ = draw_pair("a", 70, 90)
    path = tmp_path / "a.jpg"
    for flags in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]):
        encoded = cv2.imencode(".jpg", image, flags)[1].tobytes()
        assert records._check_image(encoded, path) == (90, 70)
        for kept in [*range(1, len(encoded) - 1, 97), len(encoded) - 2, len(encoded) - 1]:
            with pytest.raises(InputError, match="a.jpg cannot be decoded"):
                records._check_image(encoded[:kept], path)


def test_any_flipped_or_missing_byte_of_a_mask_is_refused(tmp_path):
    path = tmp_path / "m.png"
    write_mask(path, draw_pair("a", 30, 40)[1])
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        for content in (damaged, whole[:position]):
            path.write_bytes(content)
            with pytest.raises(InputError, match="m.png cannot be decoded"):
                records.read_mask(path)


def test_image_with_orientation_is_upright_as_in_training(voc_folder, tmp_path):
    path = voc_folder / "JPEGImages" / "b.jpg"  # 70 wide, 90 high
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    output = tmp_path / "r.mindrecord"
    records.build_records(records.voc_pairs(voc_folder, "trainval"), output)
    _, encoded_image, encoded_label = list(records.read_samples(output, 2))[1]
    image = transforms.decode_image(encoded_image)
    assert image.shape[:2] == transforms.decode_label(encoded_label).shape == (90, 70)


def test_shards(voc_folder, tmp_path):
    output = tmp_path / "out" / "r.mindrecord"
    pairs = records.voc_pairs(voc_folder, "trainval")
    metadata = records.build_records(pairs, output, num_shards=2)
    assert metadata.files == ("r.mindrecord0", "r.mindrecord1")
    for name in (output, output.with_name("r.mindrecord0")):
        assert records.open_record(name) == (output.with_name("r.mindrecord0"), 5)
        assert records.read_metadata(name).num_samples == 5
    # With another number of shards nothing of the old record stays.
    records.build_records(pairs, output, overwrite=True)
    assert files_in(output.parent) == ["r.mindrecord", "r.mindrecord.db", "r.mindrecord.json"]


def test_permissions_are_those_of_an_ordinary_file(voc_folder, tmp_path):
    umask = os.umask(0o027)
    try:
        records.build_records(records.voc_pairs(voc_folder, "val"), tmp_path / "r.mindrecord")
    finally:
        os.umask(umask)
    for name in ("r.mindrecord", "r.mindrecord.db"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640


def test_existing_output_is_kept(voc_folder, tmp_path):
    output = tmp_path / "r.mindrecord"
    pairs = records.voc_pairs(voc_folder, "trainval")
    records.build_records(pairs, output)
    before = output.read_bytes()
    with pytest.raises(InputError, match="r.mindrecord exists; choose another name or pass"):
        records.build_records(pairs[:2], output)
    (voc_folder / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(InputError, match="1 of 5 images"):
        records.build_records(pairs, output, overwrite=True)
    assert output.read_bytes() == before
    records.build_records(pairs[:1], output, overwrite=True)
    assert records.open_record(output)[1] == 1


def test_a_neighbour_with_a_similar_name_is_left_alone(voc_folder, tmp_path):
    pairs = records.voc_pairs(voc_folder, "val")
    records.build_records(pairs, tmp_path / "train2")
    records.build_records(pairs, tmp_path / "train")
    records.build_records(pairs, tmp_path / "train", overwrite=True)
    assert records.open_record(tmp_path / "train2")[1] == 2


def broken(voc_folder, fault):
    image, mask = voc_folder / "JPEGImages" / "b.jpg", voc_folder / "SegmentationClass" / "b.png"
    label = np.array(Image.open(mask))
    if fault == "no image":
        image.unlink()
    elif fault == "no mask":
        mask.unlink()
    elif fault == "cut image":
        image.write_bytes(image.read_bytes()[:-300])
    elif fault == "cut mask":
        mask.write_bytes(mask.read_bytes()[:-40])
    elif fault == "empty image":
        image.write_bytes(b"")
    elif fault == "text as image":
        image.write_text("not a picture")
    elif fault == "other size":
        write_mask(mask, label[:-1])
    elif fault == "foreign id":
        label[0, 0], label[1, 1] = 21, 150
        write_mask(mask, label)
    elif fault == "colour mask":
        Image.fromarray(voc.palette()[label]).save(mask)
    elif fault == "16-bit mask":
        cv2.imwrite(str(mask), label.astype(np.uint16))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no image", "b.jpg is missing"),
        ("no mask", "b.png is missing"),
        ("cut image", "b.jpg cannot be decoded"),
        ("cut mask", "b.png cannot be decoded"),
        ("empty image", r"b.jpg cannot be decoded \(0 bytes\)"),
        ("text as image", "b.jpg cannot be decoded"),
        ("other size", "b.png is 70x89, its image .*b.jpg 70x90; both must have one size"),
        ("foreign id", "b.png holds label 21, 150; classes are 0…20, and 255 is ignored"),
        ("colour mask", "b.png is a RGB image; a mask is"),
        ("16-bit mask", "b.png is a I.* image; a mask is"),
    ],
)
def test_faults_are_named_and_nothing_is_written(voc_folder, tmp_path, fault, message):
    broken(voc_folder, fault)
    output = tmp_path / "out" / "r.mindrecord"
    with pytest.raises(InputError, match=message):
        records.build_records(records.voc_pairs(voc_folder, "trainval"), output)
    assert files_in(output.parent) == []


def test_all_faults_are_named_up_to_a_readable_number(voc_folder, tmp_path):
    pairs = records.voc_pairs(voc_folder, "trainval")
    pairs += [records.Pair(f"x{i}", tmp_path / f"x{i}.jpg", tmp_path) for i in range(30)]
    with pytest.raises(InputError) as caught:
        records.build_records(pairs, tmp_path / "r.mindrecord")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("30 of 35 images cannot be used, nothing was written")
    assert len(lines) == 22 and lines[-1].strip() == "… and 10 more"


@pytest.mark.parametrize("num_shards", [0, 3])
def test_number_of_shards(voc_folder, tmp_path, num_shards):
    with pytest.raises(InputError, match=f"{num_shards} shards for 2 images; choose 1…2"):
        records.build_records(
            records.voc_pairs(voc_folder, "val"), tmp_path / "r", num_shards=num_shards
        )


def test_output_folder_that_is_a_file(voc_folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file cannot be written to: .*choose another --output"):
        records.build_records(
            records.voc_pairs(voc_folder, "val"), tmp_path / "file" / "r.mindrecord"
        )


def copied(record, folder):
    for name in ("all.mindrecord", "all.mindrecord.db", "all.mindrecord.json"):
        shutil.copy(record.parent / name, folder / name)
    return folder / "all.mindrecord"


def test_record_that_is_missing(tmp_path):
    with pytest.raises(InputError, match=f"record {tmp_path}/none is missing; build it with"):
        records.open_record(tmp_path / "none")


def test_record_without_its_index(record, tmp_path):
    path = copied(record, tmp_path)
    path.with_name(path.name + ".db").unlink()
    with pytest.raises(InputError, match="all.mindrecord.db is missing: MindRecord needs it"):
        records.open_record(path)


def test_record_that_is_garbage(record, tmp_path, capfd):
    path = copied(record, tmp_path)
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(InputError, match="all.mindrecord cannot be read as a MindRecord"):
        records.open_record(path)
    assert capfd.readouterr().err == ""


def test_record_with_other_columns(tmp_path):
    from mindspore.mindrecord import FileWriter

    path = tmp_path / "other.mindrecord"
    writer = FileWriter(str(path))
    writer.add_schema({"picture": {"type": "bytes"}})
    writer.write_raw_data([{"picture": b"1"}])
    writer.commit()
    with pytest.raises(InputError, match="with the columns data, label, file_name"):
        records.open_record(path)


def test_record_that_was_renamed(record, tmp_path):
    for suffix in ("", ".db"):
        shutil.copy(f"{record}{suffix}", tmp_path / f"renamed{suffix}")
    with pytest.raises(InputError, match="damaged, renamed or of another kind"):
        records.open_record(tmp_path / "renamed")


def test_metadata_that_is_damaged(record, tmp_path):
    path = copied(record, tmp_path)
    path.with_name(path.name + ".json").write_text('{"classes": 1}')
    with pytest.raises(InputError, match="all.mindrecord.json is not this package's metadata"):
        records.read_metadata(path)
