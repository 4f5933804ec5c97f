"""The programs as functions: one road with the programs, errors raised, results returned."""

import json
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import fcn8s_ms
from fcn8s_ms import predict, records, train
from fcn8s_ms.errors import Faults, InputError

from ..helpers import TINY, arguments, draw_pair, state

SHORT = {"device": "CPU", "mode": "pynative", "workers": 1, "crop_size": 64, "batch_size": 2}


@pytest.fixture(scope="module")
def run(record, tmp_path_factory):
    """A run of two steps, made by the function."""
    output = tmp_path_factory.mktemp("runs") / "run"
    return fcn8s_ms.train_network(
        data=record, val_data=record, output=output, epochs=1, **SHORT, **TINY
    )


def test_a_training_gives_its_folder_checkpoint_and_scores(run):
    assert run.checkpoint == run.folder / "FCN8s-best.ckpt" and run.checkpoint.is_file()
    written = json.loads((run.folder / "metrics.json").read_text())
    assert written["validation"]["mean IoU"] == run.metrics["validation"]["mean IoU"]
    assert run.metrics.keys() == written.keys()
    assert "metrics" not in repr(run)


def test_the_program_trains_the_same(run, record, tmp_path):
    tiny = ["--widths", *map(str, TINY["widths"]), "--fc-width", str(TINY["fc_width"])]
    given = arguments(record, tmp_path / "run", "--val-data", str(record), *tiny)
    train.main([*given, "--epochs", "1"])
    found = state(tmp_path / "run", "FCN8s-best.ckpt")
    for name, value in state(run.folder, "FCN8s-best.ckpt").items():
        assert np.array_equal(found[name], value), name


def test_scores_predictions_and_an_exported_file(run, record, tmp_path):
    scores = fcn8s_ms.evaluate_network(checkpoint=run.checkpoint, data=record, device="CPU")
    assert scores["mean IoU"] == run.metrics["validation"]["mean IoU"]
    file = fcn8s_ms.export_network(
        checkpoint=run.checkpoint, output=tmp_path / "net.onnx", device="CPU"
    )
    assert file == tmp_path / "net.onnx" and file.is_file()

    cv2.imwrite(str(tmp_path / "street.png"), draw_pair("street", 50, 75)[0])
    given = {"images": tmp_path / "street.png", "save": ["mask"], "device": "CPU"}
    folder = fcn8s_ms.predict_images(checkpoint=file, output=tmp_path / "out", **given)
    assert [path.name for path in folder.iterdir()] == ["street_mask.png"]
    expected = fcn8s_ms.Segmenter.from_checkpoint(file)(tmp_path / "street.png")
    assert np.array_equal(np.asarray(Image.open(folder / "street_mask.png")), expected)


def test_a_model_card_alone(run, tmp_path):
    card = tmp_path / "README.md"
    assert fcn8s_ms.export_network(checkpoint=run.checkpoint, model_card=card) == card
    assert "FCN8s" in card.read_text(encoding="utf-8")


def test_records_from_a_folder(voc_folder, tmp_path, capsys):
    given = {"voc_root": voc_folder, "split": "trainval"}
    record = fcn8s_ms.build_records(output=tmp_path / "all.mindrecord", **given)
    assert records.open_record(record) == (tmp_path / "all.mindrecord", 5)
    train_record, val_record = fcn8s_ms.build_records(
        output=tmp_path / "t.mindrecord",
        val_fraction=0.5,
        val_output=tmp_path / "v.mindrecord",
        **given,
    )
    counts = [records.open_record(one)[1] for one in (train_record, val_record)]
    assert sum(counts) == 5 and min(counts) > 0
    assert [train_record.name, val_record.name] == ["t.mindrecord", "v.mindrecord"]
    capsys.readouterr()
    assert fcn8s_ms.build_records(inspect=record) == record
    assert "5 images" in capsys.readouterr().out


def test_errors_are_raised(record, tmp_path, capsys):
    with pytest.raises(InputError, match="--output is missing"):
        fcn8s_ms.build_records(voc_root=tmp_path)
    with pytest.raises(InputError, match="checkpoint .*none.ckpt is missing"):
        fcn8s_ms.evaluate_network(checkpoint=tmp_path / "none.ckpt", data=record, device="CPU")
    with pytest.raises(InputError, match="none.mindrecord"):
        fcn8s_ms.train_network(data=tmp_path / "none.mindrecord", device="CPU")


def test_pictures_that_cannot_be_done_are_named_at_the_end(monkeypatch, tmp_path):
    faults = Faults()
    faults.add("a.jpg is cut short", Path("a.jpg"))
    faults.add("b.jpg is empty", Path("b.jpg"))
    monkeypatch.setattr(predict, "predict", lambda config: faults)
    with pytest.raises(InputError) as caught:
        fcn8s_ms.predict_images(images="a.jpg", checkpoint="c.ckpt", output=tmp_path)
    assert str(caught.value) == "2 could not be done: a.jpg is cut short; b.jpg is empty"


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_training_that_is_stopped(number, expected, monkeypatch):
    def stopped(config):
        raise SystemExit(128 + number)

    monkeypatch.setattr(train, "train", stopped)
    with pytest.raises(expected):
        fcn8s_ms.train_network()


def test_the_programs_keep_their_names():
    """A function of a module's name would take its place in the package."""
    for name in ("build", "train", "eval", "predict", "export", "info"):
        assert name not in fcn8s_ms.__all__
