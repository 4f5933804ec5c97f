"""What cannot end well is refused before any work: missing packages, places, endings of names."""

import sys

import pytest

from fcn8s_ms import build, checkpoint, errors, eval, export, model, predict, train
from fcn8s_ms.errors import InputError

from .helpers import TINY, arguments, error_line_of, load_tool


@pytest.fixture(scope="module")
def place(tmp_path_factory, record):
    """A checkpoint of 21 classes, a picture and a file that is in the way of a folder."""
    folder = tmp_path_factory.mktemp("place")
    checkpoint.save(model.FCN8s(21, **TINY), folder / "n.ckpt", {})
    for name in ("file", "a.png"):
        (folder / name).write_text("")
    return folder


@pytest.fixture
def no_work(monkeypatch):
    """Makes it an error to load a network or open a record."""

    def work(*_, **__):
        raise AssertionError("work has begun")

    monkeypatch.setattr("fcn8s_ms.inference.Segmenter.from_checkpoint", work)
    monkeypatch.setattr("fcn8s_ms.training.data.open_data", work)
    monkeypatch.setattr("fcn8s_ms.build.source_of", work)


def test_package_that_is_missing(monkeypatch):
    errors.check_package("numpy", "this", "pip install numpy")
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(InputError, match="this needs the package numpy, which .*: pip install it"):
        errors.check_package("numpy", "this", "pip install it")


@pytest.mark.parametrize(
    ("name", "given", "remedy"),
    [
        ("x.pth", [], r"does not end in \.onnx, .*; pass --output .*x\.onnx"),
        ("x", [], r"does not end in \.onnx, .*; pass --output .*x\.onnx"),
        ("x.mindir", [], r"does not end in \.onnx, .*; pass --format MINDIR"),
        ("x.onnx", ["--format", "mindir"], r"does not end in \.mindir, .*; pass --format ONNX"),
    ],
)
def test_ending_of_an_exported_file(place, name, given, remedy):
    given = ["--checkpoint", str(place / "n.ckpt"), "--output", str(place / name), *given]
    with pytest.raises(InputError, match=remedy):
        export.parse(given)
    assert export.parse([*given[:3], str(place / "x.ONNX")]).format == "ONNX"


def of(program, place, record):
    """Flags that have a program write to where it cannot."""
    there = place / "file" / "there"
    checkpoint = ["--checkpoint", place / "n.ckpt", "--device", "CPU"]
    return {
        "train": (train.main, arguments(record, there)),
        "predict": (predict.main, [place / "a.png", *checkpoint, "--output", there]),
        "export": (export.main, [*checkpoint, "--output", there / "n.onnx"]),
        "card": (export.main, [*checkpoint, "--model-card", there / "README.md"]),
        "eval": (eval.main, [*checkpoint, "--data", record, "--output", there / "s.json"]),
        "pictures": (eval.main, [*checkpoint, "--data", record, "--pictures", there]),
        "build": (build.main, ["--voc-root", place, "--output", there / "r.mindrecord"]),
        "convert": (load_tool("convert_weights").main, [place / "file", there / "n.ckpt"]),
    }[program]


@pytest.mark.parametrize(
    "program", ["train", "predict", "export", "card", "eval", "pictures", "build", "convert"]
)
def test_place_that_cannot_be_written(program, place, record, no_work, capfd):
    main, given = of(program, place, record)
    line = error_line_of(main, given, capfd)
    assert f"cannot be created: {place / 'file'} is not a folder; choose another" in line


def test_tensorboard_without_its_package(record, tmp_path, no_work, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    given = arguments(record, tmp_path / "run", "--tensorboard")
    line = error_line_of(train.main, given, capfd)
    assert 'needs the package tensorboardX, which is not installed: pip install -e ".[ten' in line


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_export_without_onnx(package, place, no_work, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, package, None)
    given = ["--checkpoint", place / "n.ckpt", "--device", "CPU", "--output", place / "n.onnx"]
    assert 'pip install -e ".[onnx]"' in error_line_of(export.main, given, capfd)
