import pytest

from fcn8s_ms.formats import protobuf
from fcn8s_ms.formats.protobuf import FIXED32, FIXED64, LENGTH, VARINT


def read(content):
    return list(protobuf.fields(memoryview(content), 0, len(content)))


def test_fields_of_every_kind():
    """Field 1 is 150, field 2 holds "testing" (both of the format's own documentation)."""
    content = b"\x08\x96\x01" + b"\x12\x07testing" + b"\x1d\x01\0\0\0" + b"\x21" + b"\xff" * 8
    number, text, small, large = read(content)
    assert number == (1, VARINT, 150, 3)
    assert (text.number, text.kind, content[text.value : text.end]) == (2, LENGTH, b"testing")
    assert (small.number, small.kind, small.value) == (3, FIXED32, 1)
    assert (large.number, large.kind, large.value, large.end) == (
        4,
        FIXED64,
        2**64 - 1,
        len(content),
    )
    assert read(b"") == []


def test_repeated_numbers():
    packed = b"\x22\x06\x03\x8e\x02\x9e\xa7\x05"  # of the format's documentation
    (field,) = read(packed)
    assert protobuf.packed(memoryview(packed), field) == [3, 270, 86942]
    single = b"\x20\x07"
    assert protobuf.packed(memoryview(single), *read(single)) == [7]
    with pytest.raises(ValueError, match="numbers of another kind"):
        protobuf.packed(memoryview(b"\x25\0\0\0\0"), *read(b"\x25\0\0\0\0"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x08", "cut short"),
        (b"\x08\x80", "cut short"),
        (b"\x12\x07test", "cut short"),
        (b"\x1d\x01\0", "cut short"),
        (b"\x21\x01\0", "cut short"),
        (b"\x08" + b"\xff" * 11, "a number is too long"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut short"),
        (b"\x00\x01", "the number 0"),
        (b"\x0b", "unknown wire type 3"),
        (b"\x0f", "unknown wire type 7"),
    ],
)
def test_damage(content, message):
    with pytest.raises(ValueError, match=message):
        read(content)
