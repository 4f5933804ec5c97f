"""Every program names files without a checksum, each in one line, and goes on."""

import pytest

from fcn8s_ms import checkpoint, eval, export, predict, train
from fcn8s_ms.formats import sealing
from fcn8s_ms.model import FCN8s

from .helpers import TINY, arguments, draw_pair, fill, write_plain_record


@pytest.fixture
def plain(tmp_path):
    return write_plain_record(tmp_path / "plain.mindrecord")


@pytest.fixture
def published(tmp_path):
    network = FCN8s(21, **TINY)
    fill(network)
    path = tmp_path / "published.ckpt"
    checkpoint.save(network, path, {})
    checkpoint.metadata_file(path).unlink()
    return path


def lines(caplog):
    return [text for text in caplog.messages if "has no checksum: its bits cannot be" in text]


def test_training(plain, published, tiny_network, tmp_path, caplog):
    more = ["--val-data", str(plain), "--steps", "1", "--pretrained", str(published)]
    train.main(arguments(plain, tmp_path / "run", *more))
    first, second = lines(caplog)
    assert f"record {plain} has" in first and f"checkpoint {published} has" in second
    assert f"info --seal {published} gives it one" in second


def test_evaluation(plain, published, caplog):
    eval.main(["--checkpoint", str(published), "--data", str(plain), "--device", "CPU"])
    assert sorted(text.split()[0] for text in lines(caplog)) == ["checkpoint", "record"]


def test_prediction_and_export(published, tmp_path, caplog):
    import cv2

    picture = tmp_path / "a.jpg"
    cv2.imwrite(str(picture), draw_pair("a", 40, 50)[0])
    given = ["--checkpoint", str(published), "--device", "CPU", "--output"]
    predict.main([*given, str(tmp_path / "out"), str(picture)])
    assert len(lines(caplog)) == 1
    caplog.clear()
    sealing._told.clear()
    export.main([*given, str(tmp_path / "a.mindir"), "--format", "MINDIR"])
    assert len(lines(caplog)) == 1


def test_sealed_files_are_not_named(record, published, tmp_path, tiny_network, caplog):
    checkpoint.seal(published)
    more = ["--steps", "1", "--pretrained", str(published)]
    train.main(arguments(record, tmp_path / "run", *more))
    eval.main(["--checkpoint", str(published), "--data", str(record), "--device", "CPU"])
    assert not lines(caplog)
