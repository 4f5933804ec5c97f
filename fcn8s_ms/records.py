"""MindRecord files: found, checked, read, surveyed.

A record file has the columns of the published one: `file_name` (string), `data` (bytes of an image
file) and `label` (bytes of a single-channel PNG whose pixels are class ids, 255 = ignore). Beside
`NAME` lie MindRecord's index `NAME.db` and `NAME.json` with the class names, the pixels of every
class, and where the data came from. The published file has no JSON and works without.
"""

import contextlib
import os
import tempfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import files, png, transforms
from .device import available_cpus
from .errors import InputError

__all__ = [
    "COLUMNS",
    "Metadata",
    "Survey",
    "check_sample",
    "columns",
    "index_checksum",
    "index_file",
    "map_ahead",
    "metadata_file",
    "open_record",
    "quiet_stderr",
    "read_metadata",
    "read_samples",
    "record_files",
    "rows",
    "survey",
]

COLUMNS = ("data", "label", "file_name")

_HEAD_BYTES = 2**20


@dataclass(frozen=True)
class Metadata:
    """What a record file's JSON says about its dataset.

    Attributes:
        classes: class names; the position is the class id.
        palette: RGB of every class.
        ignore_label: label of pixels that do not count.
        pixel_counts: labelled pixels of every class.
        num_samples: images in the record.
        source: folder the images came from.
        list_name: list of images that was converted, for instance "train".
        files: names of the record files (several if sharded).
        version: of this package when the record was built.
        image_counts: images that hold the class, for every class.
        present_pixels: labelled pixels of all classes in those images, for every class.
        file_sizes: bytes of the record files.
        index_checksums: `index_checksum` of the record files.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_label: int
    pixel_counts: tuple[int, ...]
    num_samples: int
    source: str
    list_name: str
    files: tuple[str, ...]
    version: str
    image_counts: tuple[int, ...] = ()
    present_pixels: tuple[int, ...] = ()
    file_sizes: tuple[int, ...] = ()
    index_checksums: tuple[int, ...] = ()


def record_files(path, num_shards: int) -> list[Path]:
    """The record files that MindRecord writes for a name: itself, or NAME0…NAME3 for 4 shards."""
    path = Path(path)
    if num_shards == 1:
        return [path]
    digits = len(str(num_shards - 1))
    return [path.with_name(f"{path.name}{shard:0{digits}d}") for shard in range(num_shards)]


def index_file(path: Path) -> Path:
    """MindRecord's index of a record file."""
    return path.with_name(path.name + ".db")


def index_checksum(path: Path) -> int:
    """Checksum of what MindRecord finds its rows by: the head of a record file, and its index.

    MindSpore trusts both, and some damage to them ends the process.
    """
    with open(path, "rb") as file:
        return zlib.crc32(index_file(path).read_bytes(), zlib.crc32(file.read(_HEAD_BYTES)))


def metadata_file(path: Path) -> Path:
    """The JSON of a record."""
    return path.with_name(path.name + ".json")


def map_ahead(pool, function, items, ahead: int):
    """`pool.map` that runs at most `ahead` items before the consumer, so memory stays bounded."""
    waiting = []
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    while waiting:
        yield waiting.pop(0).result()


def _count_rows(path: Path) -> int:
    import mindspore.dataset as ds

    return ds.MindDataset(str(path)).get_dataset_size()


def rows(path: Path, count: int | None = None):
    """The first rows of a record file, or all, in order, as dicts of arrays."""
    import mindspore.dataset as ds

    dataset = ds.MindDataset(str(path), columns_list=list(COLUMNS), shuffle=False)
    if count is not None:
        dataset = dataset.take(count)
    return dataset.create_dict_iterator(num_epochs=1, output_numpy=True)


def columns(path) -> dict[str, str]:
    """Names and types of a record file's columns.

    Raises:
        RuntimeError: it is no record file.
    """
    from mindspore.mindrecord import FileReader

    reader = FileReader(str(_first_file(path)))
    schema = reader.schema()
    reader.close()
    return {name: field["type"] for name, field in sorted(schema.items())}


def _first_file(path) -> Path:
    """The file to open for a record name: itself, or its first shard."""
    path = Path(path).absolute()
    if path.is_file():
        return path
    for zeros in ("0", "00", "000"):
        shard = path.with_name(path.name + zeros)
        if shard.is_file():
            return shard
    raise InputError(f"record {path} is missing; build it with tools/build_mindrecord.py")


def read_metadata(path) -> Metadata | None:
    """Metadata beside a record file; None where there is none, as for the published file.

    Raises:
        InputError: the JSON is no metadata.
    """
    path = Path(path).absolute()
    # A shard's lie under the name that the shards have in common.
    for name in (path.name, path.name.rstrip("0123456789")):
        file = metadata_file(path.with_name(name)) if name else None
        if file is not None and file.is_file():
            metadata = _parse_metadata(file)
            if path.name in (name, *metadata.files):
                return metadata
    return None


def _parse_metadata(file: Path) -> Metadata:
    try:
        content = files.read_json(file)
        found = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        found["palette"] = tuple(tuple(colour) for colour in found["palette"])
        return Metadata(**found)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not this package's metadata ({error}); build the record again or move the "
            "file away"
        ) from error


@contextlib.contextmanager
def quiet_stderr():
    """Keeps MindSpore's own error lines off the terminal while a fault is turned into ours."""
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(2)
        try:
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _check_files(path: Path, metadata: Metadata | None) -> None:
    """Raises if files of a record are missing, or not of the size that the metadata tell."""
    names = [path.name] if metadata is None else metadata.files
    for name in names:
        for file in (path.with_name(name), index_file(path.with_name(name))):
            if not file.is_file():
                raise InputError(
                    f"{file} is missing: MindRecord needs it beside {names[0]}; copy all files of "
                    "the record, or build it again"
                )
    if metadata is None:
        return
    for name, size in zip(names, metadata.file_sizes):
        file = path.with_name(name)
        found = file.stat().st_size
        if found != size:
            raise InputError(
                f"{file} has {found:,} bytes instead of {size:,}: it is cut short or of another "
                "build than its .json; copy all files of the record, or build it again"
            )
    for name, checksum in zip(names, metadata.index_checksums):
        file = path.with_name(name)
        if index_checksum(file) != checksum:
            raise InputError(
                f"{file} or {index_file(file).name} is damaged or of another build than the .json; "
                "copy all files of the record, or build it again"
            )


def open_record(path) -> tuple[Path, int]:
    """Finds and checks a record file.

    Args:
        path: the record file, its first shard, or the name its shards have in common.

    Returns:
        Absolute path of the file to read from, and the number of rows.

    Raises:
        InputError: the file, its index or a column is missing, it is no MindRecord, or not of the
            size or number of rows that its metadata tell.
    """
    file = _first_file(path)
    metadata = read_metadata(path)
    _check_files(file, metadata)
    try:
        with quiet_stderr():
            num_rows = _count_rows(file)
            next(iter(rows(file, 1)), None)  # the count alone looks at no column
    except RuntimeError as error:
        found = None
        with contextlib.suppress(RuntimeError), quiet_stderr():
            found = columns(file)
        if found is not None and not set(COLUMNS) <= set(found):
            raise InputError(
                f"{file} has the columns {', '.join(found)}; needed are {', '.join(COLUMNS)}: "
                "build it with tools/build_mindrecord.py"
            ) from error
        raise InputError(
            f"{file} cannot be read as a MindRecord with the columns {', '.join(COLUMNS)}: it is "
            "damaged, renamed or of another kind; build or download it again"
        ) from error
    if num_rows < 1:
        raise InputError(f"{file} has no rows; build it again")
    if metadata is not None and metadata.num_samples != num_rows:
        raise InputError(
            f"{file} has {num_rows} rows instead of {metadata.num_samples}: it is damaged; build "
            "or copy it again"
        )
    return file, num_rows


def check_sample(path, name: str | None, image, label) -> bool:
    """Compares a sample's checksums, which MindSpore does not.

    Args:
        path: of the record, for the error.
        name: of the sample; None leaves it unchecked.
        image: bytes of the image file, or an array that holds them.
        label: bytes of the label's PNG, or an array that holds them.

    Returns:
        Whether the image has a checksum: it has if this package built the record. The label always
        has.

    Raises:
        InputError: a checksum differs.
    """
    try:
        label, image = np.frombuffer(label, np.uint8), np.frombuffer(image, np.uint8)
        return png.check_sample(label.tobytes(), image, name)
    except ValueError as error:
        raise InputError(
            f"{path}: a sample is damaged ({name or 'without a name'}: {error}); copy or build the "
            "record again"
        ) from error


def _samples(file: Path, count: int | None = None):
    """As `read_samples`, but unchecked, and of a file that was opened before."""
    try:
        for row in rows(file, count):
            yield str(row["file_name"]), row["data"].tobytes(), row["label"].tobytes()
    except RuntimeError as error:
        raise InputError(
            f"{file} cannot be read to its end: it is damaged; build or download it again"
        ) from error


def read_samples(path, count: int | None = None):
    """The first rows of a record file, or all of them.

    Args:
        path: as for `open_record`.
        count: how many, at most.

    Yields:
        (file name, bytes of the image file, bytes of the label PNG).

    Raises:
        InputError: a sample is damaged, or as `open_record`.
    """
    file, _ = open_record(path)
    for name, image, label in _samples(file, count):
        check_sample(file, name, image, label)
        yield name, image, label


@dataclass(frozen=True)
class Survey:
    """What goes through a whole record file finds.

    Attributes:
        num_samples: images.
        num_sealed: images with a checksum, all of which agree.
        sizes: how many images there are of every (height, width).
        pixel_counts: pixels of every label value, int64 (256,).
        image_counts: images that hold the label value, int64 (256,).
    """

    num_samples: int
    num_sealed: int
    sizes: Counter
    pixel_counts: np.ndarray
    image_counts: np.ndarray


def survey(path, progress=None) -> Survey:
    """Goes through all samples of a record file and checks them.

    Args:
        path: as for `open_record`.
        progress: as for `build_records`.

    Raises:
        InputError: a sample is damaged or cannot be decoded.
    """
    file, num_samples = open_record(path)
    sizes, num_sealed = Counter(), 0
    pixels, images = np.zeros(256, np.int64), np.zeros(256, np.int64)

    def look(sample):
        name, image, label = sample
        is_sealed = check_sample(file, name, image, label)
        label = transforms.decode_label(label, f"{file}: label of {name!r}")
        if not is_sealed:
            image = transforms.decode_image(image, f"{file}: image of {name!r}")
            if image.shape[:2] != label.shape:
                raise InputError(f"{file}: image and label of {name!r} differ in size")
        return is_sealed, label.shape, np.bincount(label.ravel(), minlength=256)

    with ThreadPoolExecutor(available_cpus()) as pool:
        results = map_ahead(pool, look, _samples(file), 16 * available_cpus())
        for is_sealed, shape, counts in progress(results, num_samples) if progress else results:
            num_sealed += is_sealed
            sizes[shape] += 1
            pixels += counts
            images += counts > 0
    return Survey(num_samples, num_sealed, sizes, pixels, images)
