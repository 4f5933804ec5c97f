"""Downloads, from a server that each test starts on loopback."""

import contextlib
import gzip
import io
import json
import re
import shutil
import socketserver
import tarfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from fcn8s_ms import fetch
from fcn8s_ms.errors import InputError
from fcn8s_ms.system import transfer

from .helpers import Server, archive

GOLDEN = Path(__file__).parent / "golden"

GOOD = archive(
    {
        "dataset_fcn8s/mindname.mindrecord": b"record",
        "dataset_fcn8s/mindname.mindrecord.db": b"index",
    }
)


def field(content, number=1):
    """Bytes, as Protocol Buffers write them."""
    length, digits = len(content), bytearray([8 * number + 2])
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    return bytes(digits) + bytes([length]) + content


def entry(name, numbers=4):
    """A parameter of that many numbers, as MindSpore writes it."""
    shape = bytes([8, numbers])
    tensor = shape + field(b"Float32", 2) + field(bytes(range(4)) * numbers, 3)
    return field(field(name.encode()) + field(tensor, 2))


NAMES = json.loads((GOLDEN / "parameters.json").read_text())
TRAINED = [entry(name) for name in NAMES]
VGG16 = [entry(name) for name in NAMES if name.startswith(tuple(f"conv{n}" for n in range(1, 6)))]


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Odd(socketserver.ThreadingTCPServer):
    """A server that answers any request with some bytes, and then falls silent or ends.

    Or it goes on, `more` after each `pause` in seconds.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self, answer, silent=False, more=b"", pause=0):
        self.requests = self.sent = 0
        outer, self.ended = self, threading.Event()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                outer.requests += 1
                while self.rfile.readline().strip():
                    pass
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.0 200 OK\r\n" + answer)
                    self.wfile.flush()
                    while more and not outer.ended.wait(pause):
                        self.wfile.write(more)
                        outer.sent += len(more)
                    if silent:
                        outer.ended.wait(20)

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *error):
        self.ended.set()
        self.shutdown()
        super().__exit__(*error)


def test_a_server_that_falls_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_SILENCE", 0.2)
    others = urllib.request._opener
    with Odd(b"Content-Length: 1000\r\n\r\nhalf", silent=True) as server:
        started = time.monotonic()
        with pytest.raises(InputError, match="could not be downloaded .*timed out.*curl -LO"):
            fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url, wait=0.01)
        assert time.monotonic() - started < 10
    assert urllib.request._opener is others  # given back
    assert not (tmp_path / "FCN8s.ckpt").exists()


@pytest.mark.parametrize("answer", [b"Content-Length: 1000\r\n\r\n", b"\r\n", b""])
def test_a_server_that_trickles(tmp_path, monkeypatch, answer):
    """The body, of a length that is stated or not; or the header."""
    monkeypatch.setattr(transfer, "_PERIOD", 0.3)
    monkeypatch.setattr(transfer, "_SILENCE", 5)
    with Odd(answer, more=b"x", pause=0.02) as server:
        started = time.monotonic()
        with pytest.raises(InputError, match="could not be downloaded .*bytes have come in 0 s"):
            fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url, wait=0.01)
        assert time.monotonic() - started < 10
    assert not (tmp_path / "FCN8s.ckpt").exists()


def test_a_slow_server_that_is_fast_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_PERIOD", 0.2)
    monkeypatch.setattr(transfer, "_LEAST_PER_PERIOD", 5)
    started, content = time.monotonic(), b"".join(TRAINED)
    answer = b"Content-Length: %d\r\n\r\n" % len(content) + content[:-40]
    with (
        Odd(answer, more=content[-40:-39], pause=0.02) as server,
        pytest.raises(InputError) as caught,
    ):
        fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url, wait=0.01)
    assert "is not a whole checkpoint" in str(caught.value)  # and was read to its end
    assert time.monotonic() - started > 0.6


@pytest.mark.parametrize("name", ["record", "checkpoint"])
def test_a_server_without_end(tmp_path, monkeypatch, name):
    monkeypatch.setattr(fetch, "_LARGEST_CONTENT", 3 * 10**7)
    monkeypatch.setattr(fetch, "_LARGEST_CHECKPOINT", 3 * 10**7)
    with (
        Odd(b"\r\n", more=bytes(10**6)) as server,
        pytest.raises(InputError, match=r"is longer than 0 GB, .* is the address right\?"),
    ):
        if name == "record":
            fetch.fetch_data(tmp_path, server.url, wait=0.01)
        else:
            fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url, wait=0.01)
    assert server.sent < 8 * 10**7
    assert files_below(tmp_path) == []


def test_a_file_that_is_larger_than_it_may_be(tmp_path):
    answer = b"Content-Length: %d\r\n\r\n" % 10**15
    with Odd(answer, more=b"x") as server, pytest.raises(InputError, match="is longer than 9 GB"):
        fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url, wait=0.01)
    assert server.requests == 1 and files_below(tmp_path) == []


@pytest.mark.parametrize("length", [b"", b"Content-Length: 100000000\r\n"])
def test_a_file_that_the_disk_does_not_hold(tmp_path, monkeypatch, length):
    usage = shutil.disk_usage(tmp_path)
    free = iter([usage.free, usage.free])

    def disk_usage(path):
        return usage._replace(free=transfer.SPARE_BYTES + 10**7 if length else next(free, 0))

    monkeypatch.setattr(transfer.shutil, "disk_usage", disk_usage)
    with (
        Odd(length + b"\r\n", more=bytes(10**6)) as server,
        pytest.raises(InputError, match="needs 0.. GB more, but .* GB free: free some space"),
    ):
        fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url, wait=0.01)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("kept", [*range(1, 6), -40, -6, -1])
@pytest.mark.parametrize(
    ("file", "entries"), [(fetch.TRAINED_FILE, TRAINED), (fetch.VGG16_FILE, VGG16)]
)
def test_a_checkpoint_cut_between_two_entries(tmp_path, file, entries, kept):
    """By a server that states no length."""
    with Odd(b"\r\n" + b"".join(entries[:kept])) as server:
        with pytest.raises(InputError, match="is not a whole .*it lacks (conv|score_fr|ups)"):
            fetch.fetch_checkpoint(file, tmp_path, server.url, wait=0.01)
        assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "entries"),
    [
        (fetch.TRAINED_FILE, [*TRAINED, entry("moments.conv1.0.weight")]),
        (fetch.VGG16_FILE, VGG16),
        (fetch.VGG16_FILE, TRAINED),
        (fetch.VGG16_FILE, [one for one in VGG16 if b"weight" in one]),
        (fetch.VGG16_FILE, [entry("layers.0.weight")]),  # names of another program
    ],
)
def test_whole_checkpoints(tmp_path, file, entries):
    with Odd(b"\r\n" + b"".join(entries)) as server:
        path = fetch.fetch_checkpoint(file, tmp_path, server.url, wait=0.01)
    assert path.read_bytes() == b"".join(entries)


@pytest.mark.parametrize("length", [b"", b"Content-Length: 20\r\n", b"Content-Length: 2000\r\n"])
@pytest.mark.parametrize("name", ["record", "checkpoint"])
def test_a_server_with_a_wrong_length(tmp_path, length, name):
    """Too small or missing: the content is short, and looks whole to the client."""
    content = GOOD[:1000] if name == "record" else b"".join(TRAINED)[:1000]
    with Odd(length + b"\r\n" + content) as server, pytest.raises(InputError) as caught:
        if name == "record":
            fetch.fetch_data(tmp_path, server.url, wait=0.01)
        else:
            fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url, wait=0.01)
    expected = "could not be downloaded" if b"2000" in length else "is not a (readable tar|whole)"
    assert re.search(expected, str(caught.value))
    assert [path for path in files_below(tmp_path) if not path.endswith(".part")] == []


@pytest.mark.parametrize("url", ["file:///etc/", "ftp://127.0.0.1/", "/tmp", "drive.google.com"])
def test_addresses_of_other_kinds(tmp_path, url):
    with pytest.raises(InputError, match="is not an address that begins with http://"):
        fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, url)


def test_a_server_that_speaks_no_tls(server, tmp_path):
    url = server.url.replace("http:", "https:")
    with pytest.raises(InputError, match="could not be downloaded .*SSL"):
        fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, url, wait=0.01)
    assert files_below(tmp_path) == []


def test_records_land_where_the_tutorial_has_them(server, tmp_path):
    server.files["dataset_fcn8s.tar"] = GOOD
    path = fetch.fetch_data(tmp_path, server.url)
    assert path == tmp_path / "dataset" / "dataset_fcn8s" / "mindname.mindrecord"
    assert path.read_bytes() == b"record"
    assert files_below(tmp_path) == [
        "dataset/dataset_fcn8s/mindname.mindrecord",
        "dataset/dataset_fcn8s/mindname.mindrecord.db",
    ]


def test_archive_without_a_folder_works_too(server, tmp_path):
    server.files["dataset_fcn8s.tar"] = archive(
        {"mindname.mindrecord": b"record", "mindname.mindrecord.db": b"index"}
    )
    assert fetch.fetch_data(tmp_path, server.url).read_bytes() == b"record"


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    server.files["dataset_fcn8s.tar"] = GOOD
    server.files["FCN8s.ckpt"] = b"".join(TRAINED)
    record = fetch.fetch_data(tmp_path, server.url)
    weights = fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url)
    record.write_bytes(b"mine")
    weights.write_bytes(b"mine too")
    server.requests.clear()
    fetch.fetch_data(tmp_path, server.url)
    fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url)
    assert (record.read_bytes(), weights.read_bytes()) == (b"mine", b"mine too")
    assert not server.requests


def test_a_download_cut_short_is_tried_again(server, tmp_path, caplog):
    server.files["FCN8s.ckpt"] = b"".join(TRAINED)
    server.faults = 1
    path = fetch.fetch_checkpoint(fetch.TRAINED_FILE, tmp_path, server.url, wait=0.01)
    assert path.read_bytes() == server.files["FCN8s.ckpt"]
    assert "attempt 1 of 3 failed" in caplog.text
    assert files_below(tmp_path) == ["FCN8s.ckpt"]


def test_after_three_tries_the_manual_steps_are_named(server, tmp_path):
    with pytest.raises(InputError) as caught:
        fetch.fetch_checkpoint(fetch.VGG16_FILE, tmp_path, server.url, wait=0.01)
    assert len(server.requests) == 3
    assert f"curl -LO {server.url}fcn8s_vgg16_pretrain.ckpt" in str(caught.value)
    assert str(tmp_path / "fcn8s_vgg16_pretrain.ckpt") in str(caught.value)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "dataset_fcn8s/../../evil"])
def test_archive_member_outside_the_folder(server, tmp_path, name):
    server.files["dataset_fcn8s.tar"] = archive({"mindname.mindrecord": b"r", name: b"evil"})
    with pytest.raises(InputError, match=f"holds '{name}', which would land outside"):
        fetch.fetch_data(tmp_path / "root", server.url)
    assert files_below(tmp_path) == []


def test_archive_member_that_is_a_link(server, tmp_path):
    server.files["dataset_fcn8s.tar"] = archive({"mindname.mindrecord": b""}, tarfile.SYMTYPE)
    with pytest.raises(InputError, match="or is a link; nothing was unpacked"):
        fetch.fetch_data(tmp_path, server.url)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no tar file", "is not a readable tar file"), (archive({"x": b"y"}), "holds no mindname")],
)
def test_archive_of_another_kind(server, tmp_path, content, message):
    server.files["dataset_fcn8s.tar"] = content
    with pytest.raises(InputError, match=message):
        fetch.fetch_data(tmp_path, server.url)
    assert files_below(tmp_path) == []


def tar(*members):
    """A tar file of (name, content), where None stands for a folder."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return written.getvalue()


PAIR = (("d/mindname.mindrecord", b"record"), ("d/mindname.mindrecord.db", b"index"))


@pytest.mark.parametrize(
    "others",
    [
        [(".", None)],
        [(".", b"a file")],
        [("", b"a file")],
        [("a", b"1"), ("a/b", b"2")],
        [("a/b", b"1"), ("a", b"2")],
        [("x" * 300, b"1")],
        [("x/" * 3000 + "x", b"1")],
        [("mindname.mindrecord", None), ("mindname.mindrecord/mindname.mindrecord.db", b"")],
    ],
)
def test_members_that_are_not_needed_are_not_unpacked(server, tmp_path, others):
    server.files["dataset_fcn8s.tar"] = tar(*others, *PAIR)
    assert fetch.fetch_data(tmp_path, server.url).read_bytes() == b"record"
    assert len(files_below(tmp_path)) == 2


@pytest.mark.parametrize(
    "members",
    [
        [("mindname.mindrecord", None), ("mindname.mindrecord.db", b"index")],
        [("a/mindname.mindrecord", b"record"), ("b/mindname.mindrecord.db", b"index")],
    ],
)
def test_archive_without_the_record(server, tmp_path, members):
    server.files["dataset_fcn8s.tar"] = tar(*members)
    with pytest.raises(InputError, match="holds no mindname.mindrecord with its .db"):
        fetch.fetch_data(tmp_path, server.url)
    assert files_below(tmp_path) == []


def test_compressed_archive(server, tmp_path):
    server.files["dataset_fcn8s.tar"] = gzip.compress(GOOD)
    assert fetch.fetch_data(tmp_path, server.url).read_bytes() == b"record"


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "gzip"])
def test_archive_that_is_cut_short_anywhere(tmp_path, compress):
    content = compress(GOOD)
    path = tmp_path / "a.tar"
    # Of the padding of a tar file any part may be missing.
    whole = len(content) if compress is gzip.compress else 5 * 512
    for length in [*range(0, whole, 7), whole - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="a.tar is not a readable tar file"):
            fetch._check_archive(path)


def test_archive_that_unpacks_to_more_than_the_disk_holds(server, tmp_path, monkeypatch):
    content = tar(("mindname.mindrecord", bytes(10**7)), ("mindname.mindrecord.db", b""))
    server.files["dataset_fcn8s.tar"] = gzip.compress(content)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        fetch.shutil, "disk_usage", lambda path: usage._replace(free=fetch.SPARE_BYTES + 10**6)
    )
    with pytest.raises(InputError, match="dataset_fcn8s.tar needs 0.0 GB, but .*free some space"):
        fetch.fetch_data(tmp_path, server.url)
    assert files_below(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(fetch, "_LARGEST_CONTENT", 10**6)
    with pytest.raises(InputError, match="holds more than .* nothing was unpacked"):
        fetch.fetch_data(tmp_path, server.url)
    assert files_below(tmp_path) == []


def test_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "dataset").write_text("a file")
    with pytest.raises(InputError, match="dataset/dataset_fcn8s cannot be created"):
        fetch.fetch_data(tmp_path, server.url)
