"""Masks in MATLAB files: those of SBD, and a variable of any other."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InputError, listing
from ..images import reader

__all__ = ["read_mask"]

_LONGEST_NAME = 63  # MATLAB's own limit


def read_mask(path: Path, variable: str | None = None, max_pixels: int = 0) -> np.ndarray:
    """Values of a mask in a MATLAB file.

    Args:
        path: the file.
        variable: name of the variable that holds them; by default the field Segmentation of the
            structure GTcls, as in SBD.
        max_pixels: largest number of pixels; 0 for any.

    Returns:
        uint8 array (H, W).

    Raises:
        InputError: the file is missing, damaged or of MATLAB 7.3, has no such variable, or it holds
            something else than whole numbers from 0 to 255.
    """
    try:
        from scipy.io import loadmat, whosmat
    except ImportError as error:
        raise InputError(
            f"{path} is a MATLAB file, which needs SciPy to be read: pip install 'fcn8s-ms[sbd]'"
        ) from error
    encoded = files.read_bytes(path, "put it there or take it off the list")
    if encoded.startswith(b"MATLAB 7.3"):
        raise InputError(f"{path} is of MATLAB 7.3 (HDF5); save it with the option -v7")
    name = variable or "GTcls"
    try:
        sizes = {one: shape for one, shape, _ in whosmat(io.BytesIO(encoded))}
        if variable is not None and len(sizes.get(name, ())) == 2:
            height, width = sizes[name]
            reader.check_pixels(path, width, height, max_pixels)
        content = loadmat(io.BytesIO(encoded), variable_names=[name])
    except InputError:
        raise
    except Exception as error:  # SciPy raises all kinds of exceptions for damaged files
        raise InputError(
            f"{path} cannot be read as a MATLAB file ({len(encoded)} bytes): fetch the file again"
        ) from error
    if variable is not None:
        if variable not in content:
            there = listing((one[:_LONGEST_NAME] for one in sizes), 8)
            raise InputError(
                f"{path} has no variable {variable!r}; it has {there or 'none'}: choose with "
                "--mat-variable"
            )
        return _as_ids(content[variable], path, variable)
    try:
        ids = content["GTcls"]["Segmentation"][0, 0]
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} has no GTcls with a Segmentation; take the files of SBD's folder cls, or name "
            "the variable of other files with --mat-variable"
        ) from error
    if ids.dtype != np.uint8 or ids.ndim != 2:
        raise InputError(
            f"{path}: Segmentation is {ids.dtype} of shape {ids.shape}; save it as 8-bit ids (H, W)"
        )
    return np.ascontiguousarray(ids)


def _as_ids(found: Any, path: Path, variable: str) -> np.ndarray:
    """A variable as uint8; MATLAB's numbers are float64 unless they are converted."""
    found = np.asarray(found)
    if found.ndim != 2 or found.dtype.kind not in "buif" or not found.size:
        raise InputError(
            f"{path}: {variable} is {found.dtype} of shape {found.shape}; save it as 8-bit ids "
            "(H, W)"
        )
    ids = found.astype(np.uint8)
    if (ids != found).any():
        raise InputError(
            f"{path}: {variable} holds other values than whole numbers from 0 to 255; save it as "
            "8-bit ids"
        )
    return np.ascontiguousarray(ids)
