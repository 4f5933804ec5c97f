"""MindRecord files: found, checked, read, surveyed.

A record file has the columns of the published one: `file_name` (string), `data` (bytes of an image
file) and `label` (bytes of a single-channel PNG whose pixels are class ids, 255 = ignore). Beside
`NAME` lie MindRecord's index `NAME.db` and `NAME.json` with the class names, the pixels of every
class, and where the data came from. The published file has no JSON and works without.
"""

import contextlib
import os
import tempfile
from pathlib import Path

from ..errors import InputError
from .checksums import check_sample, index_checksum
from .metadata import Metadata, index_file, read_metadata

__all__ = [
    "COLUMNS",
    "columns",
    "open_record",
    "quiet_stderr",
    "read_samples",
    "rows",
    "unchecked_samples",
]

COLUMNS = ("data", "label", "file_name")


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
    raise InputError(f"record {path} is missing; build it with python -m fcn8s_ms.build")


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
                "build it with python -m fcn8s_ms.build"
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


def unchecked_samples(file: Path, count: int | None = None):
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
    for name, image, label in unchecked_samples(file, count):
        check_sample(file, name, image, label)
        yield name, image, label
