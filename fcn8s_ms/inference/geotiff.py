"""TIFF files of any size, read, segmented and written part by part, with their place on the map."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from ..errors import InputError, check_package
from ..voc import IGNORE_LABEL
from . import from_logits, windows
from .predictor import Predictor

if TYPE_CHECKING:  # not every machine has it
    import rasterio

__all__ = ["SUFFIXES", "check_installed", "segment"]

SUFFIXES = (".tif", ".tiff")
"""Endings of the files that can be read in parts, in lower case."""

_CACHE = 128 * 2**20  # bytes of the file that GDAL keeps decoded
_LARGEST_PIECE = 64 * 2**20  # bytes of a tile or strip
_TILE = 256  # side of the tiles that are written, pixels

Draw = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Picture of a part, uint8 (h, w) or (h, w, 3), from image, class ids and certainty."""


def check_installed() -> None:
    """Raises InputError if the package that reads and writes such files is missing."""
    check_package("rasterio", "--geotiff", 'pip install -e ".[geotiff]"')


def segment(
    predictor: Predictor, path: Path, results: Mapping[Path, Draw], batch_size: int
) -> np.ndarray:
    """Segments a TIFF file by the windows of the predictor's option `sliding`.

    Of more than three bands the first three are red, green and blue. Pixels that the file says hold
    no data get the ignore label. The results have the file's coordinate system and transform.

    Args:
        predictor: computes the windows, in one view.
        path: the file.
        results: the files to write, `*.tif`, with what draws a part of each.
        batch_size: largest number of windows at once.

    Returns:
        Number of pixels of each class id: int64 (256,).

    Raises:
        InputError: the file cannot be read in parts.
        OSError: a result cannot be written.
    """
    sliding = predictor.view.sliding
    assert sliding is not None
    counts = np.zeros(256, np.int64)
    with _opened(path) as source, contextlib.ExitStack() as stack:
        read = _reader(source, path)
        size = source.height, source.width
        writers = {
            target: stack.enter_context(_Writer.opened(target, source)) for target in results
        }
        parts = windows.bands(
            read, size, predictor.n_class, sliding, batch_size, predictor.logits_of
        )
        for top, left, logits in parts:
            _, height, width = logits.shape
            ids, certainty = from_logits.class_ids_and_certainty(logits, (height, width))
            known = _valid(source, top, left, height, width)
            if known is not None:
                ids[~known] = IGNORE_LABEL
            counts += np.bincount(ids.ravel(), minlength=256)
            image = read(top, left, height, width)
            for target, draw in results.items():
                writers[target].add(top, left, draw(image, ids, certainty))
        for writer in writers.values():
            writer.finish()
    return counts


@contextlib.contextmanager
def _opened(path: Path) -> Iterator["rasterio.DatasetReader"]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    if not path.is_file():
        raise InputError(f"{path} is missing; check the path")
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=_CACHE):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            source = rasterio.open(path, driver="GTiff")
        except RasterioIOError as error:
            raise InputError(
                f"{path} is not a TIFF file that can be read in parts ({error})"
            ) from error
        with source:
            _check(source, path)
            yield source


def _check(source: "rasterio.DatasetReader", path: Path) -> None:
    kinds = set(source.dtypes[:3])
    if not kinds <= {"uint8", "uint16"}:
        raise InputError(
            f"{path} holds {', '.join(sorted(kinds))} numbers; save it with 8 or 16 bits per band"
        )
    if source.count == 2 or source.colorinterp[0].name == "palette":
        raise InputError(f"{path} has {source.count} bands, no picture; save it as RGB")
    height, width = source.block_shapes[0]
    is_packed = source.compression is not None
    if is_packed and height * width * source.count > _LARGEST_PIECE:
        raise InputError(
            f"{path} is stored in pieces of {width}x{height} pixels and cannot be read in parts; "
            "save it in tiles: gdal_translate -co TILED=YES"
        )


def _reader(
    source: "rasterio.DatasetReader", path: Path
) -> Callable[[int, int, int, int], np.ndarray]:
    """Reads parts of a file: uint8 (h, w, 3), BGR."""
    from rasterio.errors import RasterioIOError
    from rasterio.windows import Window

    bands = [3, 2, 1] if source.count >= 3 else [1, 1, 1]

    def read(top: int, left: int, height: int, width: int) -> np.ndarray:
        try:
            planes = source.read(bands, window=Window(left, top, width, height))
        except RasterioIOError as error:
            raise InputError(f"{path} is damaged ({error}); fetch the file again") from error
        if planes.dtype == np.uint16:
            planes = (planes >> 8).astype(np.uint8)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    return read


def _valid(
    source: "rasterio.DatasetReader", top: int, left: int, height: int, width: int
) -> np.ndarray | None:
    """Pixels that hold data: bool (h, w); None if all of the file do."""
    from rasterio.enums import MaskFlags
    from rasterio.windows import Window

    if MaskFlags.all_valid in source.mask_flag_enums[0]:
        return None
    return np.asarray(source.read_masks(1, window=Window(left, top, width, height))) > 0


class _Writer:
    """A tiled TIFF that is written from top to bottom, in whole rows of tiles.

    Args:
        path: the file.
        source: file whose size and place on the map it gets.
    """

    def __init__(self, path: Path, source: "rasterio.DatasetReader"):
        self._path, self._source = path, source
        self._target: Any = None
        self._rows = np.zeros((0, 0), np.uint8)
        self._first = 0  # of the rows that are kept

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, source: "rasterio.DatasetReader") -> Iterator["_Writer"]:
        """A writer for a `with` block, at whose end the file gets its name."""
        from rasterio.errors import RasterioIOError

        try:
            with files.written(path) as temporary:
                writer = cls(temporary, source)
                try:
                    yield writer
                finally:
                    if writer._target is not None:
                        writer._target.close()
        except RasterioIOError as error:
            raise OSError(f"{path}: {error}") from error

    def _open(self, picture: np.ndarray) -> None:
        import rasterio

        source = self._source
        self._target = rasterio.open(
            self._path,
            "w",
            driver="GTiff",
            height=source.height,
            width=source.width,
            count=1 if picture.ndim == 2 else picture.shape[2],
            dtype="uint8",
            crs=source.crs,
            transform=None if source.transform.is_identity else source.transform,
            tiled=True,
            blockxsize=_TILE,
            blockysize=_TILE,
            compress="deflate",
            bigtiff="if_safer",
        )
        points, of_points = source.gcps
        if points:
            self._target.gcps = points, of_points
        if "AREA_OR_POINT" in source.tags():
            self._target.update_tags(AREA_OR_POINT=source.tags()["AREA_OR_POINT"])
        self._rows = np.zeros((0, source.width, *picture.shape[2:]), np.uint8)

    def add(self, top: int, left: int, picture: np.ndarray) -> None:
        """Adds a part, uint8 (h, w) or (h, w, 3); parts come in bands from top to bottom."""
        if self._target is None:
            self._open(picture)
        height, width = picture.shape[:2]
        if left == 0:
            self._write(len(self._rows) // _TILE * _TILE)
            grown = np.zeros((height, *self._rows.shape[1:]), np.uint8)
            self._rows = np.concatenate([self._rows, grown])
        place = top - self._first
        self._rows[place : place + height, left : left + width] = picture

    def finish(self) -> None:
        """Writes the last rows."""
        self._write(len(self._rows))

    def _write(self, count: int) -> None:
        from rasterio.windows import Window

        if not count:
            return
        rows = self._rows[:count]
        planes = rows[np.newaxis] if rows.ndim == 2 else rows.transpose(2, 0, 1)
        self._target.write(planes, window=Window(0, self._first, rows.shape[1], count))
        self._rows, self._first = self._rows[count:].copy(), self._first + count
