"""Structure of MindRecord files of others, gone through before MindSpore reads them.

MindSpore trusts header and index: some damage to them ends the interpreter, and some makes other
rows of the file. Records of this package have a checksum of both, and are not looked at here.

A record file holds the length of its header (8 bytes, little-endian), the header as JSON, and from
`header_size` on pages of `page_size` bytes. A row has its bytes columns in a page of blobs: their
length, then each with its length in front, big-endian; and its other columns in a page of raw data:
their length, then MessagePack. The index is an SQLite file with the position of each row.

Source: the files that MindSpore 2.7 to 2.10 write.
"""

import contextlib
import mmap
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import files
from ..errors import InputError, program
from ..formats import schema
from .metadata import index_file, is_index

__all__ = ["COLUMNS", "check_foreign", "check_name", "shard_names"]

COLUMNS = ("data", "label", "file_name")
"""Columns of a record."""

_LENGTH = 8  # bytes of a length
_LARGEST_HEADER = 2**30
_LARGEST_PAGE = 2**32
_LONGEST_READ = 60.0  # seconds for a first row
_TYPES = ("int32", "int64", "float32", "float64", "string", "bytes")

_PAGE = schema.fields(
    {
        "page_id": schema.whole_number(0, 2**31 - 1),
        "shard_id": schema.whole_number(0, 999),
        "page_type": schema.choice(("BLOB_DATA", "RAW_DATA")),
        "page_type_id": schema.whole_number(0, 2**31 - 1),
        "start_row_id": schema.whole_number(0),
        "end_row_id": schema.whole_number(0),
        "page_size": schema.whole_number(0, _LARGEST_PAGE),
        "row_group_ids": schema.array(
            schema.fields(
                {"id": schema.whole_number(0, 2**31 - 1), "offset": schema.whole_number(0)}
            )
        ),
    }
)
_COLUMN = schema.fields(
    {"type": schema.choice(_TYPES)},
    {"shape": schema.array(schema.whole_number(-1, 2**31), 1, 8)},
)
_HEADER = schema.fields(
    {
        "header_size": schema.whole_number(_LENGTH, _LARGEST_HEADER),
        "page_size": schema.whole_number(1, _LARGEST_PAGE),
        "page": schema.array(_PAGE, 1, 10**6),
        "schema": schema.array(
            schema.fields(
                {
                    "desc": schema.text(),
                    "blob_fields": schema.array(schema.text(255), 0, 1000),
                    "schema": schema.mapping(_COLUMN),
                }
            ),
            1,
            1,
        ),
        "index_fields": schema.optional(
            schema.array(
                schema.fields(
                    {"index_field": schema.text(255), "schema_id": schema.whole_number(0, 0)}
                )
            )
        ),
        "shard_addresses": schema.array(schema.text(255), 1, 1000),
        "shard_id": schema.whole_number(0, 999),
        "version": schema.choice(("2.0", "3.0")),
    },
    {
        "compression_size": schema.whole_number(0),
        "statistics": schema.optional(schema.array(schema.anything())),
    },
)
_POSITIONS = (
    "ROW_ID",
    "ROW_GROUP_ID",
    "PAGE_ID_RAW",
    "PAGE_OFFSET_RAW",
    "PAGE_OFFSET_RAW_END",
    "PAGE_ID_BLOB",
    "PAGE_OFFSET_BLOB",
    "PAGE_OFFSET_BLOB_END",
)


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)


# --- header ------------------------------------------------------------------------------------


def _header(content: mmap.mmap) -> dict[str, Any]:
    """Header of a record file whose pages lie inside of the file; `page` is by number."""
    size = int.from_bytes(content[:_LENGTH], "little")
    _require(0 < size <= min(len(content) - _LENGTH, _LARGEST_HEADER), "its header is cut short")
    header = files.parse_json(content[_LENGTH : _LENGTH + size].decode("utf-8"))
    _HEADER(header, "")
    header["index_fields"] = header["index_fields"] or []
    _require(size + _LENGTH <= header["header_size"], "its header is longer than it says")
    columns = header["schema"][0]["schema"]
    blobs = header["schema"][0]["blob_fields"]
    binary = {
        name for name, column in columns.items() if column["type"] == "bytes" or "shape" in column
    }
    _require(set(blobs) == binary and len(set(blobs)) == len(blobs), "its columns do not agree")
    of_index = [field["index_field"] for field in header["index_fields"]]
    _require(set(of_index) <= set(columns) - binary, "its index is of other columns")
    pages = {page["page_id"]: page for page in header["page"]}
    _require(len(pages) == len(header["page"]), "its header repeats a page")
    for place, page in pages.items():
        start = header["header_size"] + place * header["page_size"]
        _require(page["shard_id"] == header["shard_id"], "it has pages of another shard")
        _require(
            page["page_size"] <= header["page_size"] and start + page["page_size"] <= len(content),
            f"page {place} reaches beyond its end",
        )
        groups = page["row_group_ids"]
        _require(
            all(group["offset"] <= page["page_size"] for group in groups),
            f"page {place} has rows beyond its end",
        )
    header["page"] = pages
    return header


# --- index -------------------------------------------------------------------------------------


def _positions(path: Path, header: dict[str, Any]) -> list[tuple[int, ...]]:
    """Positions of the rows, `_POSITIONS` each, as the index has them."""
    _require(is_index(path), f"{path.name} is not an index of MindRecord")
    uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        _require(verdict == "ok", f"{path.name} is damaged")
        kinds = database.execute("SELECT type, name FROM sqlite_master").fetchall()
        own = [(kind, name) for kind, name in kinds if not str(name).startswith("sqlite_")]
        _require(
            sorted(own) == [("table", "INDEXES"), ("table", "SHARD_NAME")],
            f"{path.name} has other tables than an index",
        )
        columns = {row[1] for row in database.execute("PRAGMA table_info(INDEXES)")}
        fields = {
            f"{field['index_field']}_{field['schema_id']}" for field in header["index_fields"]
        }
        _require({*_POSITIONS, *fields} <= columns, f"{path.name} lacks columns")
        names = database.execute("SELECT NAME FROM SHARD_NAME").fetchall()
        _require(
            names == [(path.name.removesuffix(".db"),)], f"{path.name} is of a file of another name"
        )
        query = f"SELECT {', '.join(_POSITIONS)} FROM INDEXES ORDER BY ROW_ID"
        found = database.execute(query).fetchall()
    for row in found:
        _require(
            all(type(value) is int and value >= 0 for value in row), "its index has odd values"
        )
    rows = [row[0] for row in found]
    _require(rows == list(range(len(rows))), f"{path.name} lacks or repeats rows")
    return found


# --- rows --------------------------------------------------------------------------------------


def _check_row(content: mmap.mmap, header: dict[str, Any], row: tuple[int, ...]) -> None:
    """Compares the lengths that a row consists of with its place in the index."""
    _, _, raw_page, raw_start, raw_end, blob_page, blob_start, blob_end = row
    for number, start, end, kind in (
        (raw_page, raw_start, raw_end, "RAW_DATA"),
        (blob_page, blob_start, blob_end, "BLOB_DATA"),
    ):
        _require(number in header["page"], f"row {row[0]} is in a page that is missing")
        page = header["page"][number]
        _require(
            page["page_type"] == kind and start + _LENGTH <= end <= page["page_size"],
            f"row {row[0]} reaches beyond its page",
        )
        offset = header["header_size"] + number * header["page_size"]
        length = int.from_bytes(content[offset + start : offset + start + _LENGTH], "little")
        _require(length == end - start - _LENGTH, f"row {row[0]} has another length")
        if kind == "BLOB_DATA":
            position, stop = offset + start + _LENGTH, offset + end
            for _ in header["schema"][0]["blob_fields"]:
                length = int.from_bytes(content[position : position + _LENGTH], "big")
                position += _LENGTH + length
                _require(position <= stop, f"a column of row {row[0]} is cut short")
            _require(position == stop, f"row {row[0]} has more columns than the header")
        else:
            _check_message(content, offset + start + _LENGTH, offset + end, row[0])


def _check_message(content: mmap.mmap, position: int, end: int, row: int) -> None:
    """Walks the MessagePack object of names and plain values that a row's raw columns are."""
    fault = f"the plain columns of row {row} are damaged"

    def take(count: int) -> bytes:
        nonlocal position
        _require(position + count <= end, fault)
        position += count
        return content[position - count : position]

    def text(first: int) -> None:
        if 0xA0 <= first <= 0xBF:
            length = first & 31
        else:
            _require(first in (0xD9, 0xDA, 0xDB), fault)
            length = int.from_bytes(take(1 << (first - 0xD9)), "big")
        take(length).decode("utf-8", "surrogateescape")

    first = take(1)[0]
    if first == 0xDE:
        count = int.from_bytes(take(2), "big")
    else:
        _require(0x80 <= first <= 0x8F, fault)
        count = first & 15
    for _ in range(count):
        text(take(1)[0])
        kind = take(1)[0]
        if kind in (0xCC, 0xCD, 0xCE, 0xCF):
            take(1 << (kind - 0xCC))
        elif kind in (0xD0, 0xD1, 0xD2, 0xD3):
            take(1 << (kind - 0xD0))
        elif kind in (0xCA, 0xCB):
            take(4 << (kind - 0xCA))
        elif 0x80 <= kind < 0xA0 or kind in (0xC1,):
            raise ValueError(fault)
        elif not (kind < 0x80 or kind >= 0xE0):
            text(kind)
    _require(position == end, fault)


def shard_names(path: Path) -> tuple[str, ...]:
    """Names of all files of a record, from the header of one that was found good."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return tuple(_header(content)["shard_addresses"])


def check_name(path: Path) -> None:
    """Checks that a record file has the name that its header tells.

    MindRecord opens the files that the header names, so that a renamed record next to the original
    would be that one. A header that cannot be read is left to the other checks.

    Raises:
        InputError: the file was renamed.
    """
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(_LENGTH), "little")
            header = files.parse_json(file.read(min(size, _LARGEST_HEADER)).decode("utf-8"))
        names = header["shard_addresses"]
        if not names or path.name in names or any(set(name) & set("/\\\0") for name in names):
            return
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return
    raise InputError(
        f"{path} was renamed from {names[0]}: MindRecord keeps that name in the file, and would "
        f"read {names[0]} instead. Give it, its .db and its .json their old names again, in a "
        "folder of their own if others have them, or build it under the new name"
    )


# --- a file, and a first read ------------------------------------------------------------------


def _check_file(path: Path) -> list[str]:
    """Checks a record file and its index; returns the names of all shards."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        header = _header(content)
        columns = sorted(header["schema"][0]["schema"])
        if not set(COLUMNS) <= set(columns):
            raise InputError(
                f"{path} has the columns {', '.join(columns)}; needed are {', '.join(COLUMNS)}: "
                f"build it with {program('build')}"
            )
        for row in _positions(index_file(path), header):
            _check_row(content, header, row)
    names: list[str] = header["shard_addresses"]
    _require(
        not any(set(name) & set("/\\\0") or name in ("", ".", "..") for name in names)
        and len(set(names)) == len(names),
        "its shards have odd names",
    )
    return names


# MindRecord's reader without the rest of MindSpore, which takes seconds to load.
_FIRST_READ = """
import importlib.util, sys, types
package = types.ModuleType("mindspore")
package.__path__ = list(importlib.util.find_spec("mindspore").submodule_search_locations)
sys.modules["mindspore"] = package
try:
    from mindspore._c_mindrecord import ShardReader
except ImportError:
    sys.exit(0)
reader = ShardReader()
reader.open([sys.argv[1]], True, 1, ["data", "file_name", "label"], [])
reader.launch()
reader.get_next()
reader.close()
"""


def _try_reading(path: Path) -> None:
    """Raises ValueError if reading a first row ends the interpreter, another one than this."""
    try:
        process = subprocess.run(
            [sys.executable, "-c", _FIRST_READ, path],
            capture_output=True,
            timeout=_LONGEST_READ,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError("reading it does not end") from None
    # Status 1 is an error of Python, which whoever reads the file here will tell.
    ended = process.returncode
    how = f"signal {-ended}" if ended < 0 else f"status {ended:#x}"
    _require(ended in (0, 1), f"reading it ended with {how}")


_checked: set[tuple[object, ...]] = set()


def _identity(path: Path) -> tuple[object, ...]:
    """Changes if a record file or its index does."""
    stats = [file.stat() for file in (path, index_file(path))]
    return (path, *((one.st_ino, one.st_size, one.st_mtime_ns) for one in stats))


def check_foreign(path: Path) -> None:
    """Checks the files of a record that has no checksum of its header and index.

    Files that were found good are not looked at again until they change.

    Raises:
        InputError: they are damaged or of another kind; the message names the file.
    """
    file = path
    try:
        identity = _identity(path)
        if identity in _checked:
            return
        shards = _check_file(path)
        _require(path.name in shards, "it was renamed")
        for name in shards:
            if name != path.name:
                file = path.with_name(name)
                files.check_regular(file, "copy all files of the record")
                _require(name in _check_file(file), "it is a shard of another record")
        file = path
        _try_reading(path)
        _checked.add(identity)
    except InputError:
        raise
    except (ValueError, sqlite3.Error, OSError, OverflowError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise InputError(
            f"{file} cannot be read as a MindRecord ({reason}): it is damaged, renamed or of "
            "another kind; build or download it again"
        ) from error
