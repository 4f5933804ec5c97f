"""Arrays in an HDF5 file, such as Keras's, that lie in this file alone.

h5py is needed, and loaded only when a file is read.
"""

import os
from typing import Any

import numpy as np

from .. import files

__all__ = ["read"]

_MOST_GROWTH = 16  # weights hardly compress


def read(path: files.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays of floating-point numbers, by their paths in the file.

    Links to other files are not followed.

    Raises:
        ImportError: h5py is not installed.
        ValueError: the file is damaged or of another kind, or an array lies in another file or is
            far larger than the file.
    """
    import h5py

    arrays: dict[str, np.ndarray] = {}
    left = _MOST_GROWTH * os.path.getsize(path)

    def add(name: str, item: Any) -> None:
        nonlocal left
        if not isinstance(item, h5py.Dataset) or item.dtype.kind != "f":
            return
        if item.external or item.is_virtual:
            raise ValueError(f"the numbers of {name} lie in another file")
        left -= item.nbytes
        if left < 0:
            raise ValueError(f"{name} has far more numbers than the file holds")
        arrays[name] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(add)
    except (OSError, RuntimeError, KeyError, TypeError, MemoryError) as error:
        raise ValueError("its structure is damaged") from error
    return arrays
