"""Files next to a record file: MindRecord's index, and the JSON with the dataset's classes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError
from ..files import PathLike
from ..formats import schema

__all__ = [
    "Metadata",
    "index_file",
    "is_index",
    "is_metadata",
    "is_record_file",
    "metadata_file",
    "read_metadata",
    "record_files",
]

_INDEX_MAGIC = b"SQLite format 3\0"
_HEADER_STARTS = b'{"'  # the header's JSON, after its length


@dataclass(frozen=True)
class Metadata:
    """Content of a record's JSON: its dataset, and how to tell whether its files are complete.

    Attributes:
        classes: class names; the position is the class id.
        palette: RGB of each class.
        ignore_label: label of pixels that are ignored.
        pixel_counts: labelled pixels of each class.
        num_samples: number of images in the record.
        source: folder that the images came from.
        list_name: list of images that was converted, for instance "train".
        files: names of the record files (several if sharded).
        version: version of this package that built the record.
        image_counts: number of images that hold the class, for each class.
        present_pixels: labelled pixels of all classes in those images, for each class.
        file_sizes: sizes of the record files in bytes.
        index_checksums: `index_checksum` of the record files.
        sha256: SHA-256 of the record files, of a record that was sealed later (`records.seal`).
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
    sha256: tuple[str, ...] = ()


def record_files(path: PathLike, num_shards: int) -> list[Path]:
    """Record files that MindRecord writes for a name: itself, or NAME0…NAME3 for 4 shards."""
    path = Path(path)
    if num_shards == 1:
        return [path]
    digits = len(str(num_shards - 1))
    return [path.with_name(f"{path.name}{shard:0{digits}d}") for shard in range(num_shards)]


def index_file(path: Path) -> Path:
    """MindRecord's index of a record file."""
    return path.with_name(path.name + ".db")


def metadata_file(path: Path) -> Path:
    """JSON of a record, with its metadata."""
    return path.with_name(path.name + ".json")


def _starts_with(path: Path, count: int) -> bytes:
    """First bytes of a regular file; none of anything else, or if it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


def is_record_file(path: Path) -> bool:
    """Whether a file begins as MindRecord's do: the length of its header, then a JSON object."""
    start = _starts_with(path, 10)
    return start[8:] == _HEADER_STARTS and 0 < int.from_bytes(start[:8], "little") < 2**28


def is_index(path: Path) -> bool:
    """Whether a file begins as SQLite's do, which MindRecord's indices are."""
    return _starts_with(path, len(_INDEX_MAGIC)) == _INDEX_MAGIC


def is_metadata(path: Path) -> bool:
    """Whether a file is the JSON of a record, or what damage and interruptions left of one."""
    if not path.is_file():
        return False
    try:
        content = files.read_json(path)
    except InputError:
        return _starts_with(path, 1) in (b"", b"{")
    return isinstance(content, dict) and {"classes", "files"} <= set(content)


def read_metadata(path: PathLike) -> Metadata | None:
    """Metadata of a record; None if it has none, like the published file.

    Args:
        path: the record file, one of its shards, or the name that its shards have in common.

    Raises:
        InputError: the JSON is not this package's.
    """
    path = Path(path).absolute()
    # The JSON of a shard has the name that the shards have in common.
    for name in (path.name, path.name.rstrip("0123456789")):
        file = metadata_file(path.with_name(name)) if name else None
        if file is not None and os.path.lexists(file):
            metadata = _parse_metadata(file)
            if path.name in (name, *metadata.files):
                return metadata
    return None


def _file_name() -> schema.Description:
    name = schema.text(255)

    def describe(value: Any, path: str) -> None:
        name(value, path)
        if value in ("", ".", "..") or set(value) & set("/\\\0"):
            raise schema.Mismatch(f"{path} is {value[:40]!r}; need a file name without a folder")

    return describe


_COUNTS = schema.array(schema.whole_number(0))
_DESCRIPTION = schema.fields(
    {
        "classes": schema.array(schema.text(), 1, 255),
        "palette": schema.array(schema.COLOUR, 1, 255),
        "ignore_label": schema.whole_number(0, 255),
        "pixel_counts": _COUNTS,
        "num_samples": schema.whole_number(1),
        "source": schema.text(),
        "list_name": schema.text(),
        "files": schema.array(_file_name(), 1, 1000),
        "version": schema.text(),
    },
    {
        "image_counts": _COUNTS,
        "present_pixels": _COUNTS,
        "file_sizes": _COUNTS,
        "index_checksums": schema.array(schema.whole_number(0, 2**32 - 1)),
        "sha256": schema.array(schema.text(64)),
    },
    closed=True,
)
# Fields that have one value per class or file. Older builds lack some.
_AS_LONG_AS = {
    "palette": "classes",
    "pixel_counts": "classes",
    "image_counts": "classes",
    "present_pixels": "classes",
    "file_sizes": "files",
    "index_checksums": "files",
    "sha256": "files",
}


def _describe(content: Any, path: str) -> None:
    _DESCRIPTION(content, path)
    for name, other in _AS_LONG_AS.items():
        schema.as_many(name, other)(content, path)
    if not content["pixel_counts"]:
        raise schema.Mismatch(f"pixel_counts has 0 items; need {len(content['classes'])}")
    if len(set(content["files"])) < len(content["files"]):
        raise schema.Mismatch("files repeats a name")
    pairs = zip(content["pixel_counts"], content.get("present_pixels", ()))
    for place, (pixels, present) in enumerate(pairs):
        if present < pixels:
            raise schema.Mismatch(
                f"present_pixels[{place}] is {present}, fewer than pixel_counts[{place}]"
            )


def _parse_metadata(file: Path) -> Metadata:
    content = files.read_json(file)
    try:
        _describe(content, "")
    except schema.Mismatch as error:
        raise InputError(
            f"{file} is not this package's metadata ({error}); build the record again or move the "
            "file away"
        ) from None
    found: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    found["palette"] = tuple(tuple(colour) for colour in found["palette"])
    return Metadata(**found)
