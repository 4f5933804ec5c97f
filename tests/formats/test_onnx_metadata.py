"""The metadata of an ONNX file is checked before anything believes it."""

import json

import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.formats import onnx_metadata

from ..helpers import error_table

VALID = {
    "classes": ["sky", "road"],
    "palette": [[0, 0, 0], [255, 1, 2]],
    "mean": [103.53, 116.28, 123.675],
    "std": [57.375, 57.12, 58.395],
}


def texts(**changed):
    return {name: json.dumps(value) for name, value in {**VALID, **changed}.items()}


def test_entries_of_an_export():
    found = onnx_metadata.parse({**texts(), "version": "0.1.0"}, "network.onnx")
    assert found == {**VALID, "version": "0.1.0", "multiple": 32}
    found = onnx_metadata.parse(texts(multiple=1), "network.onnx")
    assert found["multiple"] == 1


def test_the_size_of_the_training_is_one_or_is_left_out():
    for text, kept in (
        ("224x224", True),
        ("224", False),
        ("9\nx9", False),
        ("1x" + "9" * 9, False),
    ):
        found = onnx_metadata.parse({**texts(), "resize_of_training": text}, "network.onnx")
        assert ("resize_of_training" in found) == kept


@error_table(
    [
        ("one class", {"classes": ["sky"]}, r"classes has 1 items; need 2 to 255"),
        ("too many", {"classes": ["a"] * 256}, r"classes has 256 items"),
        ("names", {"classes": ["sky", 3]}, r"classes\[1\] is 3; need a text"),
        ("surrogate", {"classes": ["sky", "\ud800"]}, r"classes\[1\] is .*lone surrogates"),
        ("long name", {"classes": ["sky", "x" * 2000]}, r"classes\[1\] is .*1,000 characters"),
        ("no list", {"classes": "sky"}, r"classes is 'sky'; need a list"),
        ("colours", {"palette": [[0, 0, 0]] * 3}, r"palette has 3 items; need 2, as classes"),
        ("colour", {"palette": [[0, 0, 0], [0, 256, 0]]}, r"palette\[1\]\[1\] is 256; need"),
        ("channels", {"palette": [[0, 0], [0, 0]]}, r"palette\[0\] has 2 items; need 3"),
        ("mean", {"mean": [1, 2]}, r"mean has 2 items; need 3"),
        ("truth", {"mean": [1, 2, True]}, r"mean\[2\] is True; need a finite number"),
        ("zero", {"std": [1, 0, 1]}, r"std\[1\] is 0; need a finite number from 1e-06"),
        ("null", {"std": None}, r"std is None; need a list"),
    ]
)
def test_wrong_entries(fault, message):
    with pytest.raises(InputError, match=f"^network.onnx: {message}.*: export it again") as error:
        onnx_metadata.parse(texts(**fault), "network.onnx")
    assert "\n" not in str(error.value)


@error_table(
    [
        ("not JSON", "sky, road", "classes is not valid JSON"),
        ("nested", "[" * 100_000, "classes is not valid JSON .*nested too deeply"),
        ("nested whole", "[" * 900 + "]" * 900, r"classes has 1 items"),
        ("infinite", "[NaN, 1]", "classes is not valid JSON"),
        ("digits", "9" * 10_000, "classes is"),
    ]
)
def test_text_that_is_not_json(fault, message):
    with pytest.raises(InputError, match=f"^network.onnx: {message}.*: export it again") as error:
        onnx_metadata.parse({**texts(), "classes": fault}, "network.onnx")
    assert len(str(error.value)) < 300


def test_file_of_another_program():
    found = texts()
    del found["std"]
    with pytest.raises(InputError, match="network.onnx has no std in its metadata; export it"):
        onnx_metadata.parse(found, "network.onnx")
