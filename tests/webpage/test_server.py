"""The page as programs call it: answers, refusals, and what it keeps to itself."""

import io
import json
import os
import socket
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms.errors import InputError
from fcn8s_ms.webpage import Answerer, bind, serving

from .pictures import BLUE, CLASSES, GREEN, RED, halves, segmenter, write_bad_files


def fetched(url, data=None):
    """Status, headers and content of an address."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.fixture(scope="module")
def url():
    """Address of a page that is served."""
    pytest.importorskip("gradio", reason='Gradio is not installed (pip install -e ".[demo]")')
    answerer = Answerer(segmenter(), max_pixels=50_000_000)
    with serving(answerer, bind("127.0.0.1", 0), title="a <network>", max_bytes=300_000) as served:
        yield served.url


def client(url):
    from gradio_client import Client

    return Client(url, verbose=False, analytics_enabled=False)


def asked(caller, path):
    from gradio_client import handle_file

    return caller.predict(handle_file(path), api_name="/segment")


def mask(url, summary):
    status, _, content = fetched(f"{url}/answers/{summary['key']}/mask.png")
    assert status == 200
    return np.asarray(Image.open(io.BytesIO(content)))


def test_an_answer_and_its_files(url, tmp_path):
    found = asked(client(url), halves(tmp_path / "field.png", RED, GREEN))
    assert found["name"] == "field.png"
    assert [one["name"] for one in found["classes"]] == [CLASSES[1], CLASSES[2]]
    ids = mask(url, found)
    assert (ids[:, :40] == 2).all() and (ids[:, 40:] == 1).all()
    address = f"{url}/answers/{found['key']}"
    for _, _, file, name in found["files"]:
        status, headers, content = fetched(f"{address}/{file}")
        assert status == 200 and content.startswith(b"{" if name == "field.json" else b"\x89PNG")
        assert headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{name}"
    whole = fetched(f"{address}/overlay.png?opacity=0&hidden=1,2")[2]
    assert np.asarray(Image.open(io.BytesIO(whole)))[30, 5].tolist() == list(RED)
    odd = fetched(f"{address}/overlay.png?opacity=nan&hidden=x,,999")
    assert odd[0] == 200


def test_bad_files_get_a_sentence_and_the_server_lives_on(url, tmp_path):
    caller = client(url)
    for name, message in write_bad_files(tmp_path).items():
        found = asked(caller, tmp_path / name)
        assert message in found["error"], name
    assert "key" in asked(caller, halves(tmp_path / "field.png", RED, GREEN))


def test_a_file_that_is_too_large_is_refused(url, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(300_001))
    with pytest.raises(Exception, match="(?i)size|413|large"):
        asked(client(url), tmp_path / "large.png")


def test_two_users_at_once(url, tmp_path):
    colours = {"ann": (RED, GREEN), "bob": (GREEN, BLUE)}
    expected = {"ann": [2, 1], "bob": [1, 0]}
    found = {name: [] for name in colours}

    def use(name):
        caller = client(url)
        for number in range(5):
            path = halves(tmp_path / f"{name}{number}.png", *colours[name], width=80 + number)
            ids = mask(url, asked(caller, path))
            found[name].append((ids.shape[1], ids[30, 5], ids[30, 75]))

    users = [threading.Thread(target=use, args=(name,)) for name in colours]
    for user in users:
        user.start()
    for user in users:
        user.join()
    for name, (left, right) in expected.items():
        assert found[name] == [(80 + number, left, right) for number in range(5)]


def called(url, payload):
    """What the page says to a call as a program of ill will may write it."""
    data = json.dumps({"data": [payload]}).encode()
    request = urllib.request.Request(
        f"{url}/gradio_api/call/segment", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{url}/gradio_api/call/segment/{event}") as answer:
        return answer.read().decode()


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_files_of_the_machine_stay_there(url, meta, tmp_path):
    path = halves(tmp_path / "private.png", RED, GREEN)
    text = called(url, {"path": str(path), **meta})
    assert "not a file that was sent" in text or "was not uploaded" in text
    assert '"key"' not in text
    assert fetched(f"{url}/gradio_api/file={path}")[0] in (403, 404)


@pytest.mark.parametrize("payload", [{"path": None}, {"path": "a\0b"}, {"x": 1}])
def test_calls_without_a_file(url, payload):
    assert "not a file that was sent" in called(url, payload)


def test_answers_that_are_not_kept(url):
    status, _, content = fetched(f"{url}/answers/unknown/mask.png")
    assert status == 410 and b"give the picture again" in content


def test_the_page_lets_nothing_in_from_elsewhere(url):
    status, headers, content = fetched(url)
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    config = content.decode()
    assert '"analytics_enabled":false' in config.replace(" ", "")
    assert "a <network>" not in config  # the name of a file is text, not markup


def test_files_that_were_sent_go_with_the_server(tmp_path, monkeypatch):
    pytest.importorskip("gradio", reason='Gradio is not installed (pip install -e ".[demo]")')
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    folders = set(os.listdir(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving(Answerer(segmenter()), bind("127.0.0.1", 0), title="x") as served:
        found = asked(client(served.url), halves(tmp_path / "field.png", RED, GREEN))
        assert "key" in found and len(os.listdir(tmp_path)) == len(folders) + 2
    assert os.environ["GRADIO_TEMP_DIR"] == "before"
    assert [name for name in os.listdir(tmp_path) if name != "field.png"] == []


# --- the address ---------------------------------------------------------------------------------


def test_an_address_is_of_this_machine_only():
    with bind("127.0.0.1", 0) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(InputError, match=rf"--port {port} cannot be used \(Address already"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 300])
def test_an_unknown_address(host, monkeypatch):
    def unknown(*arguments, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(InputError, match="is unknown .*; take 127.0.0.1"):
        bind(host, 0)


def test_an_address_of_another_machine():
    with pytest.raises(InputError, match="--host 192.0.2.1 --port 0 cannot be used"):
        bind("192.0.2.1", 0)
