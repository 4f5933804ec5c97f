"""What is given to tensorboardX; with the package itself where it is installed."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fcn8s_ms import voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.training.tensorboard import TensorBoard

STEP = {"step": 3, "epoch": 1, "loss": 1.5, "lr": 0.1, "overflow": False}
RESULT = {
    "step": 4,
    "epoch": 2,
    "mean IoU": 0.5,
    "per class": {"cat": {"IoU": 0.25}, "dog": {"IoU": float("nan")}},
}
IMAGE = np.full((2, 3, 3), (1, 2, 3), np.uint8)
SAMPLE = (IMAGE, np.zeros((2, 3), np.uint8), np.full((2, 3), 15, np.uint8))


def write(folder, start_step=0):
    board = TensorBoard(folder, start_step)
    board.add_step(STEP)
    board.add_validation(RESULT)
    board.add_pictures([SAMPLE], voc.palette(), 4)
    board.flush()
    board.close()


class Writer:
    """Records what is written."""

    def __init__(self, folder, purge_step=None):
        self.purge_step = purge_step
        self.scalars = {}
        self.images = {}
        Writer.made = self

    def add_scalar(self, name, value, step):
        self.scalars[name, step] = value

    def add_image(self, name, image, step, dataformats):
        assert dataformats == "HWC"
        self.images[name, step] = image

    def flush(self):
        pass

    def close(self):
        pass


def test_run_is_written_with_its_validation(record, tmp_path, monkeypatch, tiny_network):
    from fcn8s_ms import train

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    given = ["--data", str(record), "--val-data", str(record), "--output", str(tmp_path / "run")]
    given += ["--crop-size", "64", "--batch-size", "2", "--workers", "1", "--device", "CPU"]
    train.main([*given, "--steps", "2", "--tensorboard"])
    written = Writer.made.scalars
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [written["train/loss", step] for step in (1, 2)] == [line["loss"] for line in lines]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["validation/mean_IoU", 2] == metrics["validation"]["mean IoU"]
    assert sorted(Writer.made.images) == [(f"pictures/{number}", 2) for number in range(3)]


def test_scalars_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    write(tmp_path)
    assert Writer.made.scalars == {
        ("train/loss", 3): 1.5,
        ("train/lr", 3): 0.1,
        ("train/overflow", 3): 0,
        ("validation/mean_IoU", 4): 0.5,
        ("IoU/cat", 4): 0.25,
    }
    (picture,) = Writer.made.images.values()
    assert picture.shape == (2, 9, 3)
    # The image in RGB, background, person.
    assert picture[0, [0, 3, 6]].tolist() == [[3, 2, 1], [0, 0, 0], [192, 128, 128]]
    assert Writer.made.purge_step is None
    write(tmp_path, start_step=7)
    assert Writer.made.purge_step == 8


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r'needs the extra of that name: pip install -e "\.\[te'):
        TensorBoard(tmp_path)


def test_events_in_a_file(tmp_path):
    pytest.importorskip("tensorboardX")
    write(tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for name in (b"train/loss", b"validation/mean_IoU", b"IoU/cat", b"pictures/0"):
        assert name in content
