import numpy as np
import pytest

from fcn8s_ms.formats import hdf5_file

h5py = pytest.importorskip("h5py")


def test_numbers_of_other_files_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(400))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.ones(3, np.float32)
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["b"] = np.zeros(2, np.float32)
        file["names"] = np.zeros(2, np.int32)
        file["a"] = h5py.ExternalLink("other.h5", "a")
    assert list(hdf5_file.read(tmp_path / "linked.h5")) == ["b"]
    with h5py.File(tmp_path / "external.h5", "w") as file:
        where = [(str(tmp_path / "secret"), 0, 400)]
        file.create_dataset("a", (100,), "f4", external=where)
    with pytest.raises(ValueError, match="numbers of a lie in another file"):
        hdf5_file.read(tmp_path / "external.h5")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "a", (3,))
        file.create_virtual_dataset("a", layout)
    with pytest.raises(ValueError, match="numbers of a lie in another file"):
        hdf5_file.read(tmp_path / "virtual.h5")


def test_more_numbers_than_the_file_holds(tmp_path):
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("a", (1 << 40,), "f4", chunks=(1024,))
    with pytest.raises(ValueError, match="a has far more numbers than the file holds"):
        hdf5_file.read(tmp_path / "huge.h5")
