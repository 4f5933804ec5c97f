"""Finding, checking and reading MindRecord files.

A record file has the columns of the published one: `file_name` (string), `data` (bytes of an image
file) and `label` (bytes of a single-channel PNG whose pixels are class ids, 255 = ignore). Next to
`NAME` lie MindRecord's index `NAME.db`, and `NAME.json` with the class names, the pixels of each
class, and the source of the data. The published file has no JSON and works without it.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError, listing, program
from ..files import PathLike, sha256
from ..formats import sealing
from ..formats.paths import check_utf8
from .checksums import check_sample, index_checksum
from .metadata import Metadata, index_file, read_metadata
from .structure import COLUMNS, check_foreign, check_name

__all__ = [
    "COLUMNS",
    "columns",
    "first_file",
    "open_record",
    "quiet_stderr",
    "read_samples",
    "rows",
    "unchecked_samples",
]


def _count_rows(path: Path) -> int:
    import mindspore.dataset as ds

    return ds.MindDataset(str(path)).get_dataset_size()


def rows(path: PathLike, count: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a record file in their order, unchecked.

    Args:
        path: the record file, or its first shard.
        count: maximum number of rows; all by default.

    Returns:
        Iterator over dicts of arrays by column.

    Raises:
        RuntimeError: MindSpore cannot read the file.
    """
    import mindspore.dataset as ds

    dataset = ds.MindDataset(str(path), columns_list=list(COLUMNS), shuffle=False)
    if count is not None:
        dataset = dataset.take(count)
    return dataset.create_dict_iterator(num_epochs=1, output_numpy=True)


def columns(path: PathLike) -> dict[str, str]:
    """Types of a record file's columns, by their names.

    Raises:
        InputError: the file is missing.
        RuntimeError: it is not a record file.
    """
    from mindspore.mindrecord import FileReader

    reader = FileReader(str(first_file(path)))
    schema = reader.schema()
    reader.close()
    return {name: field["type"] for name, field in sorted(schema.items())}


def first_file(path: PathLike) -> Path:
    """File to open for the name of a record: itself, or its first shard.

    Raises:
        InputError: it is missing, or was renamed.
    """
    path = Path(path).absolute()
    if os.path.isfile(path):  # of paths too long or with a NUL it is false, too
        check_utf8(path)
        check_name(path)
        return path
    for zeros in ("0", "00", "000"):
        shard = path.with_name(path.name + zeros)
        if os.path.isfile(shard):
            check_utf8(shard)
            check_name(shard)
            return shard
    if os.path.isdir(path):
        there = sorted(one.stem for one in path.glob("*.db") if one.with_suffix("").is_file())
        remedy = f"name a record in it: {listing(there, 3)}" if there else "name a record"
        raise InputError(f"{path} is a folder, not a file; {remedy}")
    shown = str(path).replace("\0", "\\0")
    raise InputError(f"record {shown} is missing; build it with {program('build')}")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keeps MindSpore's own error lines off the terminal while its error is turned into ours."""
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(2)
        try:
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _check_files(path: Path, metadata: Metadata | None) -> None:
    """Raises InputError if files of a record are missing or differ from what its JSON says."""
    if metadata is not None and path.name not in metadata.files:
        raise InputError(
            f"the .json of {path} is that of {metadata.files[0]}; copy the record's own, or remove "
            "it"
        )
    names = [path.name] if metadata is None else metadata.files
    for name in names:
        for file in (path.with_name(name), index_file(path.with_name(name))):
            if not os.path.isfile(file):
                raise InputError(
                    f"{file} is missing: MindRecord needs it next to {names[0]}; copy all files of "
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
        try:
            found = index_checksum(file)
        except OSError as error:
            raise InputError(
                f"{error.filename or file} cannot be read ({error.strerror}); make the files of "
                "the record readable"
            ) from error
        if found != checksum:
            raise InputError(
                f"{file} or {index_file(file).name} is damaged or of another build than the .json; "
                "copy all files of the record, or build it again"
            )


_whole: set[tuple[object, ...]] = set()


def _check_digests(path: Path, metadata: Metadata) -> None:
    """Compares whole files with their SHA-256 in the JSON, once until they change.

    Raises:
        InputError: a file differs.
    """
    for name, expected in zip(metadata.files, metadata.sha256):
        file = path.with_name(name)
        found = file.stat()
        identity = (file, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if (*identity, expected) in _whole:
            continue
        if sha256(file) != expected:
            raise InputError(
                f"{file} is damaged: its checksum is not the one in its .json; copy all files of "
                "the record again"
            )
        _whole.add((*identity, expected))


def open_record(path: PathLike) -> tuple[Path, int]:
    """Finds and checks a record file; a warning names one without checksums.

    Args:
        path: the record file, its first shard, or the name that its shards have in common.

    Returns:
        Absolute path of the file to read from, and the number of rows.

    Raises:
        InputError: the file, its index or a column is missing, it is not a MindRecord, or its size
            or number of rows is not that of its metadata.
    """
    file = first_file(path)
    metadata = read_metadata(path)
    _check_files(file, metadata)
    if metadata is None or not metadata.index_checksums:
        check_foreign(file)
    if metadata is not None:
        _check_digests(file, metadata)
    try:
        with quiet_stderr():
            num_rows = _count_rows(file)
            next(iter(rows(file, 1)), None)  # counting alone does not look at the columns
    except RuntimeError as error:
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
    if metadata is None or not (metadata.index_checksums or metadata.sha256):
        sealing.name_unsealed("record", file)
    return file, num_rows


def unchecked_samples(file: Path, count: int | None = None) -> Iterator[tuple[str, bytes, bytes]]:
    """Samples as `read_samples` yields them, but unchecked, of a file that was opened before."""
    try:
        for row in rows(file, count):
            yield str(row["file_name"]), row["data"].tobytes(), row["label"].tobytes()
    except RuntimeError as error:
        raise InputError(
            f"{file} cannot be read to its end: it is damaged; build or download it again"
        ) from error


def read_samples(path: PathLike, count: int | None = None) -> Iterator[tuple[str, bytes, bytes]]:
    """Samples of a record file in their order, with their checksums compared.

    Args:
        path: as for `open_record`.
        count: maximum number of samples; all by default.

    Yields:
        Name, bytes of the image file, bytes of the label's PNG.

    Raises:
        InputError: a sample is damaged, or as for `open_record`.
    """
    file, _ = open_record(path)
    for name, image, label in unchecked_samples(file, count):
        check_sample(file, name, image, label)
        yield name, image, label
