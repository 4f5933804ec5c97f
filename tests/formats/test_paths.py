import shutil
import tempfile
from pathlib import Path

import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.formats import paths

from ..helpers import ordinary_user


@pytest.fixture
def place():
    """A folder that every user may enter, with one that nobody may write to, and a file."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    (path / "closed").mkdir(mode=0o555)
    (path / "file").write_text("")
    yield path
    shutil.rmtree(path)


def test_places_that_can_be_written(place):
    paths.check_folder(place, "--output")
    paths.check_folder(place / "new" / "run", "--output")
    paths.check_file(place / "file", "--output")
    paths.check_file(place / "new" / "file.onnx", "--output")
    assert sorted(one.name for one in place.iterdir()) == ["closed", "file"]


@pytest.mark.parametrize("check", [paths.check_folder, paths.check_file])
def test_places_that_cannot_be_written(place, check):
    with ordinary_user():
        with pytest.raises(InputError, match=f"--output .*: {place}/closed is not writable; cho"):
            check(place / "closed" / "new" / "file", "--output")
    with pytest.raises(InputError, match=f"cannot be created: {place}/file is not a folder; cho"):
        check(place / "file" / "new" / "file", "--output")
    with pytest.raises(InputError, match="--output '.*' cannot be a folder; choose another"):
        check(place / "n\0" / "file", "--output")


def test_a_folder_in_place_of_a_file(place):
    with pytest.raises(InputError, match="--output .*closed is a folder; name a file"):
        paths.check_file(place / "closed", "--output")


def test_a_folder_that_cannot_be_made(tmp_path):
    paths.make_folder(tmp_path / "a" / "b", "--output")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--output .*file/b cannot be created"):
        paths.make_folder(tmp_path / "file" / "b", "--output")
