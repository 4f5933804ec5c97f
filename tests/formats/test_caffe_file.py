import struct

import numpy as np
import pytest

from fcn8s_ms.formats import caffe_file


def number(value):
    """A whole number of variable length."""
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(place, content):
    if isinstance(content, int):
        return number(place << 3) + number(content)
    return number(place << 3 | 2) + number(len(content)) + content


def blob(array, old=False):
    data = field(5, np.asarray(array, "<f4").tobytes())
    if not old:
        return field(7, field(1, b"".join(map(number, np.shape(array))))) + data
    sides = (1,) * (4 - np.ndim(array)) + np.shape(array)
    return b"".join(field(place, side) for place, side in enumerate(sides, 1)) + data


def network(layers, old=False):
    """A NetParameter of layers by name, each with its arrays; `old` as until 2014."""
    place, name_place, blobs_place = (2, 4, 6) if old else (100, 1, 7)
    return field(1, b"net") + b"".join(
        field(
            place,
            field(name_place, name.encode())
            + b"".join(field(blobs_place, blob(array, old)) for array in arrays),
        )
        for name, arrays in layers.items()
    )


@pytest.mark.parametrize("old", [False, True])
def test_arrays_of_layers(old):
    rng = np.random.RandomState(0)
    weight, matrix = rng.rand(4, 3, 3, 3), rng.rand(5, 4)
    content = network({"conv": [weight, np.arange(4)], "relu": [], "fc": [matrix]}, old)
    arrays = caffe_file.read(content)
    assert list(arrays) == ["conv.weight", "conv.bias", "fc.weight"]
    assert np.array_equal(arrays["conv.weight"], weight.astype(np.float32))
    assert np.array_equal(arrays["conv.bias"], [0, 1, 2, 3])
    assert np.array_equal(arrays["fc.weight"], matrix.astype(np.float32))


def test_numbers_one_by_one():
    single = b"".join(b"\x2d" + struct.pack("<f", value) for value in (1.5, -2))
    layer = field(1, b"a") + field(7, field(7, field(1, b"\x02")) + single)
    assert np.array_equal(caffe_file.read(field(100, layer))["a.weight"], [1.5, -2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (network({"a": [np.zeros(3)]})[:-1], "cut short"),
        (network({"a": [np.zeros(3)]}) * 2, "two layers are named a"),
        (field(100, field(7, field(7, field(1, b"\x05")))), r"shape \(5,\) has 0 numbers"),
        (field(100, field(7, field(1, 2**63) + field(5, b"1234"))), "has 1 numbers"),
        (field(100, field(7, field(5, b"123"))), "numbers are cut short"),
        (b"\xa2\x06\xff\xff\xff\xff\x7f", "cut short"),
    ],
)
def test_damage(content, message):
    with pytest.raises(ValueError, match=message):
        caffe_file.read(content)
