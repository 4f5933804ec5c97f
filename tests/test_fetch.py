"""Downloads, from a server that each test starts on loopback."""

import tarfile

import pytest

from fcn8s_ms import fetch
from fcn8s_ms.errors import InputError

from .helpers import Server, archive

GOOD = archive(
    {
        "dataset_fcn8s/mindname.mindrecord": b"record",
        "dataset_fcn8s/mindname.mindrecord.db": b"index",
    }
)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


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
    server.files["FCN8s.ckpt"] = b"weights"
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
    server.files["FCN8s.ckpt"] = bytes(range(256)) * 4000
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
