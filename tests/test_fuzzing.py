"""A few damaged files of every kind; `pytest --fuzz N tests/test_fuzzing.py` tries N of each."""

import importlib.util

import pytest

from . import fuzzing

NEEDS = {
    "ONNX": ("onnx", "onnxruntime"),
    "ONNX with checksum": ("onnx", "onnxruntime"),
    "ONNX metadata": ("onnx", "onnxruntime"),
    "info of ONNX": ("onnx",),
    "Keras .h5": ("h5py",),
    "safetensors": ("safetensors",),
    "MATLAB mask": ("scipy",),
    ".safetensors of others": ("safetensors",),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    reader = fuzzing.Reader(tmp_path_factory.mktemp("fuzzing"))
    yield reader
    reader.close()


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_damaged_files_are_refused_or_read(reader, pytestconfig, kind):
    for module in NEEDS.get(kind, ()):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    cases = pytestconfig.getoption("--fuzz")
    outcomes = {seed: reader.ask(kind, seed) for seed in range(cases)}
    assert {
        seed: outcome for seed, outcome in outcomes.items() if outcome not in ("refused", "read")
    } == {}


def test_what_is_counted():
    """The harness tells a traceback from an error that names the file."""
    counts, faults = fuzzing.run(["list"], 3)
    assert sum(counts["list"].values()) == 3 and not faults
    assert fuzzing.table(counts).splitlines()[-1].startswith("| all |")
