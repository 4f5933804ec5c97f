"""Files in the safetensors format: written here, read elsewhere, and the other way round."""

import json
import struct

import numpy as np
import pytest

from fcn8s_ms.formats import safetensors_file

from ..helpers import mutations

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([0.5, -2], np.float16),
    "step": np.array(4, np.int32),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
}


def written(path, header, numbers=bytes(24), length=None):
    """A file with any header: an object, or the bytes themselves."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(content) if length is None else length
    path.write_bytes(struct.pack("<Q", length) + content + numbers)
    return path


def entry(begin=0, end=24, shape=(2, 3), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


@pytest.mark.parametrize("by", ["here", "package"])
def test_round_trip_with_the_formats_own_package(tmp_path, by):
    package = pytest.importorskip("safetensors")
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "a.safetensors"
    if by == "here":
        safetensors_file.write(path, list(ARRAYS.items()), {"name": "\u00fc"})
        with package.safe_open(path, "np") as file:
            assert file.metadata()["name"] == "\u00fc"
        found = numpy.load_file(path)
    else:
        numpy.save_file(ARRAYS, path, metadata={"name": "\u00fc"})
        assert safetensors_file.structure(path).metadata == {"name": "\u00fc"}
        found = dict(safetensors_file.read(path))
    assert found.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        assert found[name].dtype == expected.dtype and np.array_equal(found[name], expected)
        assert found[name].shape == expected.shape


def test_bytes_of_a_file(tmp_path):
    """By the format's description: length of the header, header, numbers."""
    path = tmp_path / "a.safetensors"
    safetensors_file.write(path, [("w", np.array([1, -2], np.float32))], {})
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert (8 + length) % 8 == 0 and len(header["__metadata__"]["content_sha256"]) == 64
    assert header["w"] == {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    assert content[8 + length :] == struct.pack("<2f", 1, -2)


def test_bfloat16_becomes_float32(tmp_path):
    numbers = struct.pack("<3H", 0x3F80, 0xC020, 0x0000)  # 1, -2.5, 0
    path = written(tmp_path / "a.safetensors", {"w": entry(0, 6, [3], "BF16")}, numbers)
    ((_, array),) = safetensors_file.read(path)
    assert array.dtype == np.float32 and array.tolist() == [1, -2.5, 0]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "its header is not an object of JSON"),
        (b"[]", "its header is not an object of JSON"),
        (b"{", "Expecting property name"),
        (b"\xff{}", "its header is not an object of JSON"),
        (b'{"\xff": 1}', "can't decode"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a":' * 50_000, "its header is nested too deeply"),
        (b'{"w": 1, "w": 2}', "a name occurs twice in its header"),
        ({}, "it has no parameters"),
        ({"__metadata__": {"a": "b"}}, "it has no parameters"),
        ({"__metadata__": {"a": 1}, "w": entry()}, "its metadata are not texts"),
        ({"__metadata__": ["a"], "w": entry()}, "its metadata are not texts"),
        ({"__metadata__": {"a": "\ud800"}, "w": entry()}, "its metadata are not texts"),
        ({"w": entry(dtype="F33")}, "'w' has numbers of the unknown type 'F33'"),
        ({"w": entry(dtype=[])}, "'w' has numbers of the unknown type"),
        ({"w": entry(shape=[-2, -3])}, "'w' has a shape that is none"),
        ({"w": entry(shape=[True, 6])}, "'w' has a shape that is none"),
        ({"w": entry(shape=[1] * 33)}, "'w' has a shape that is none"),
        ({"w": entry(shape=[2**62, 2**62])}, "'w' has 24 bytes of numbers instead of"),
        ({"w": entry(shape=[2, 2])}, "'w' has 24 bytes of numbers instead of 16"),
        ({"w": entry(24, 0)}, "'w' has data_offsets that are not a range"),
        ({"w": entry(-8, 16)}, "'w' has data_offsets that are not a range"),
        ({"w": entry(0, 24.0)}, "'w' has data_offsets that are not a range"),
        ({"w": entry(more=1)}, "the entry of 'w' has other fields"),
        ({"w": [1, 2]}, "the entry of 'w' has other fields"),
        ({"": entry()}, "'' cannot be the name of a tensor"),
        ({"w" * 1001: entry()}, "cannot be the name of a tensor"),
        ({"v": entry(0, 16, [4]), "w": entry(8, 24, [4])}, "numbers of w overlap those of"),
        ({"v": entry(0, 24), "w": entry(0, 24)}, "numbers of w overlap those of another"),
        ({"v": entry(0, 8, [2]), "w": entry(12, 24, [3])}, "the numbers of w leave a gap"),
        ({"w": entry(4, 24, [5])}, "the numbers of w leave a gap"),
        ({"w": entry(0, 16, [4])}, "it has 24 bytes of numbers instead of 16"),
        ({"w": entry(0, 48, [12])}, "it has 24 bytes of numbers instead of 48"),
    ],
)
def test_headers_that_are_refused(tmp_path, header, message):
    path = written(tmp_path / "a.safetensors", header)
    with pytest.raises(ValueError, match=message):
        safetensors_file.structure(path)
    assert written(path, {"w": entry()}) and safetensors_file.structure(path).tensors


@pytest.mark.parametrize("length", [0, 2**63, 10**9])
def test_lengths_of_headers(tmp_path, length):
    path = written(tmp_path / "a.safetensors", {"w": entry()}, length=length)
    with pytest.raises(ValueError, match="cut short|not an object"):
        safetensors_file.structure(path)


def test_a_huge_header_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 1 << 30))
        file.truncate((1 << 30) + 8)  # takes no space on the disk
    with pytest.raises(ValueError, match="its header takes 1,073,741,824 bytes, allowed are"):
        safetensors_file.structure(path)


def test_damaged_files_are_refused_or_have_other_numbers(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors_file.write(path, list(ARRAYS.items()), {"classes": "[]"})
    for damaged in mutations(path.read_bytes(), 1, 300):
        path.write_bytes(damaged)
        try:
            found = dict(safetensors_file.read(path))
        except ValueError as error:
            assert str(error)
        else:
            assert sum(one.nbytes for one in found.values()) < len(damaged)


@pytest.mark.parametrize(
    "arrays",
    [[("w", np.zeros(2, np.complex128))], [("w", np.zeros(2)), ("w", np.zeros(2))]],
)
def test_what_cannot_be_written(tmp_path, arrays):
    with pytest.raises(ValueError, match="w of .* cannot be written, or occurs twice"):
        safetensors_file.write(tmp_path / "a.safetensors", arrays, {})


def test_checksum_does_not_depend_on_order_or_layout(tmp_path):
    digests = []
    for order in (list(ARRAYS), list(reversed(ARRAYS))):
        path = tmp_path / "a.safetensors"
        safetensors_file.write(path, [(name, ARRAYS[name]) for name in order], {"a": "1"})
        contents = safetensors_file.structure(path)
        assert list(contents.tensors) == order or "empty" in order
        digests.append(contents.metadata[safetensors_file.DIGEST])
        of_numbers = safetensors_file.digests(path, contents)
        assert digests[-1] == safetensors_file.checksum(
            contents.tensors, of_numbers, contents.metadata
        )
    assert digests[0] == digests[1]
    changed = {**ARRAYS, "step": np.array(5, np.int32)}
    safetensors_file.write(path, list(changed.items()), {"a": "1"})
    assert safetensors_file.structure(path).metadata[safetensors_file.DIGEST] != digests[0]
