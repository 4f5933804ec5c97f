"""Masks in variables of MATLAB files. Those of SBD are in test_encode."""

import numpy as np
import pytest
import scipy.io

from fcn8s_ms import build
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import matlab

from .test_layouts import labels_in, picture, refused, run, write

IDS = np.array([[0, 1, 1], [2, 0, 1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64])
def test_a_variable(tmp_path, dtype):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"LabelMap": IDS.astype(dtype), "other": "x"}, do_compression=True)
    found = matlab.read_mask(path, "LabelMap")
    assert found.dtype == np.uint8 and found.tolist() == IDS.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"S": IDS, "names": "x"}, "has no variable 'LabelMap'; it has S, names: choose with"),
        ({"LabelMap": IDS + 0.5}, "other values than whole numbers from 0 to 255"),
        ({"LabelMap": IDS + 255}, "other values than whole numbers"),
        ({"LabelMap": np.zeros((2, 3, 3))}, r"LabelMap is float64 of shape \(2, 3, 3\)"),
        ({"LabelMap": np.zeros((200, 300))}, "has 300x200 pixels; up to 1,000 are read"),
        ({"LabelMap": "x"}, "LabelMap is"),
        (b"MATLAB 7.3 MAT-file", "is of MATLAB 7.3"),
        (b"x" * 200, "cannot be read as a MATLAB file"),
    ],
)
def test_faults(tmp_path, content, message):
    path = tmp_path / "a.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        scipy.io.savemat(path, content)
    with pytest.raises(InputError, match=message):
        matlab.read_mask(path, "LabelMap", 1000)


def test_the_program(tmp_path, capfd):
    write(tmp_path / "images" / "a.png", picture(2, 3))
    (tmp_path / "labels").mkdir()
    scipy.io.savemat(tmp_path / "labels" / "a.mat", {"S": IDS.astype(np.float64)})
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    given = ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]
    given += ["--classes", tmp_path / "classes.txt"]
    run(*given, "--mat-variable", "S", "--output", tmp_path / "r")
    assert labels_in(tmp_path / "r")["a"].tolist() == IDS.tolist()
    error = refused(given, tmp_path, capfd)
    assert "has no GTcls" in error and "name the variable of other files with --mat-var" in error
    assert "--mat-variable" in build.get_parser().format_help()
