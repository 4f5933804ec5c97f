"""Records of others: damage is noticed before MindSpore sees it."""

import json
import shutil
import sqlite3
import struct
import time

import pytest

from fcn8s_ms import records
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import sources, structure

from ..helpers import mutations, write_plain_record


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return write_plain_record(tmp_path_factory.mktemp("foreign") / "r.mindrecord")


@pytest.fixture
def path(foreign, tmp_path):
    for suffix in ("", ".db"):
        shutil.copy(f"{foreign}{suffix}", tmp_path / f"{foreign.name}{suffix}")
    return tmp_path / foreign.name


def refused(path, reason):
    with pytest.raises(InputError, match=f"r.mindrecord cannot be read as a MindRecord .*{reason}"):
        records.open_record(path)


def header_of(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


def write_header(path, header):
    written = json.dumps(header).encode()
    with open(path, "rb+") as file:
        file.write(struct.pack("<Q", len(written)) + written)


def test_whole_records_take_no_second(path, voc_folder, tmp_path):
    started = time.monotonic()
    structure.check_foreign(path)
    assert time.monotonic() - started < 5
    started = time.monotonic()
    structure.check_foreign(path)  # known
    assert time.monotonic() - started < 0.01
    pairs = sources.voc_pairs(voc_folder, "trainval")
    metadata = records.build_records(pairs, tmp_path / "sharded", num_shards=3)
    (tmp_path / "sharded.json").unlink()
    assert records.open_record(tmp_path / metadata.files[0])[1] == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header.update(header_size=2**40), "header_size is 1099511627776"),
        (lambda header: header.update(page_size=2**31), "page 1 reaches beyond its end"),
        (lambda header: header.update(page_size=10), "page 0 reaches beyond its end"),
        (lambda header: header.update(version="9"), "version is '9'"),
        (lambda header: header.update(schema=[]), "schema has 0 items"),
        (lambda header: header.update(schema=None), "schema is None"),
        (lambda header: header["schema"][0].update(blob_fields=["data"]), "columns do not agree"),
        (lambda header: header["page"].pop(), "row 0 is in a page that is missing"),
        (lambda header: header["page"][0].update(page_size=100), "row 0 reaches beyond its page"),
        (lambda header: header["page"][0].update(page_id=1), "repeats a page"),
        (lambda header: header["page"][0].update(page_type="X"), "page_type is 'X'"),
        (lambda header: header.update(shard_addresses=["../x"]), "odd names"),
    ],
)
def test_headers_that_do_not_fit(path, change, reason):
    header = header_of(path)
    change(header)
    write_header(path, header)
    refused(path, reason)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE INDEXES SET PAGE_OFFSET_BLOB_END = 99999999 WHERE ROW_ID = 2", "row 2 reaches"),
        ("UPDATE INDEXES SET PAGE_OFFSET_BLOB = 0 WHERE ROW_ID = 2", "row 2 has another length"),
        ("UPDATE INDEXES SET PAGE_OFFSET_RAW = 1 WHERE ROW_ID = 0", "row 0 has another length"),
        ("UPDATE INDEXES SET PAGE_ID_BLOB = 1 WHERE ROW_ID = 0", "row 0 reaches beyond its page"),
        ("UPDATE INDEXES SET PAGE_ID_RAW = -1", "odd values"),
        ("UPDATE INDEXES SET PAGE_ID_RAW = 'x'", "odd values"),
        ("DELETE FROM INDEXES WHERE ROW_ID = 3", "lacks or repeats rows"),
        ("UPDATE SHARD_NAME SET NAME = 'other'", "is of a file of another name"),
        ("DROP TABLE SHARD_NAME", "has other tables"),
        ("CREATE VIEW more AS SELECT * FROM INDEXES", "has other tables"),
        ("ALTER TABLE INDEXES RENAME COLUMN PAGE_ID_RAW TO x", "lacks columns"),
    ],
)
def test_indices_that_do_not_fit(path, statement, reason):
    with sqlite3.connect(f"{path}.db") as database:
        database.execute(statement)
    database.close()
    refused(path, reason)


def test_rows_whose_lengths_differ(path):
    header = header_of(path)
    start = header["header_size"]
    for position, reason in (
        (start, "row 0 has another length"),
        (start + 15, "row 0 has more columns|column of row 0 is cut short"),
        (start + header["page_size"] + 8, "the plain columns of row 0 are damaged"),
    ):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        refused(path, reason)
        content[position] ^= 1
        path.write_bytes(content)
    assert records.open_record(path)[1] == 5


@pytest.mark.parametrize("suffix", ["", ".db"])
def test_damage_of_any_kind_is_refused_or_read(path, suffix):
    """The interpreter survives."""
    file = path.with_name(path.name + suffix)
    for damaged in mutations(file.read_bytes(), seed=8, count=10):
        file.write_bytes(damaged)
        try:
            assert records.open_record(path)[1] == 5
        except InputError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("script", "reason"),
    [("import os; os.abort()", "reading it ended with signal 6"), ("while 1: 1", "does not end")],
)
def test_what_ends_the_interpreter_ends_another_one(path, monkeypatch, script, reason):
    monkeypatch.setattr(structure, "_FIRST_READ", script)
    monkeypatch.setattr(structure, "_LONGEST_READ", 2)
    refused(path, reason)


def test_first_read_reads_a_row(path, monkeypatch):
    checked = 'import sys\nassert "mindspore.dataset" not in sys.modules\n'
    script = structure._FIRST_READ.replace(
        "reader.get_next()", "sys.exit(len(reader.get_next()) != 1)"
    ).replace("sys.exit(0)", "sys.exit(1)")
    result = structure.subprocess.run([structure.sys.executable, "-c", script + checked, path])
    assert result.returncode == 0


def test_our_own_records_are_not_looked_at(record, monkeypatch):
    monkeypatch.setattr(structure, "_check_file", None)
    assert records.open_record(record)[1] == 5
