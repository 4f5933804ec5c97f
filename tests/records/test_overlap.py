from fcn8s_ms import records
from fcn8s_ms.records import sources
from fcn8s_ms.records.overlap import shared_images

from ..helpers import SIZES, write_plain_record


def test_images_in_two_records(record, tmp_path):
    """By their files, whatever they are called; or by name, where records are large."""
    val = tmp_path / "val.mindrecord"
    records.build_records(sources.voc_pairs(record.parent / "voc", "val"), val)
    assert shared_images(record, val) == (2, True)
    assert shared_images(val, record) == (2, True)
    assert shared_images(record, val, limit=1000) == (2, False)
    sizes = [("x" + name, *sides) for name, *sides in SIZES]
    other = write_plain_record(tmp_path / "other.mindrecord", sizes)
    assert shared_images(record, other) == (0, True)
    assert shared_images(record, other, limit=1000) == (0, False)


def test_the_same_name_is_not_the_same_image(record, tmp_path):
    other = write_plain_record(tmp_path / "other.mindrecord", [("a", 64, 64), ("y", 64, 64)])
    assert shared_images(record, other) == (0, True)
    assert shared_images(record, other, limit=1000) == (1, False)
