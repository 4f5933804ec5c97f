import functools
import json

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import records, train
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import demo, sources

from ..helpers import read_mask


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample")
    demo.write_dataset(root, num_train=12, num_val=6)
    return root


def masks(root):
    folder = sources.find_voc_folder(root)
    return [read_mask(path) for path in sorted((folder / "SegmentationClass").iterdir())]


def test_same_seed_draws_the_same_files(drawn, tmp_path):
    demo.write_dataset(tmp_path / "again", num_train=12, num_val=6)
    demo.write_dataset(tmp_path / "other", num_train=12, num_val=6, seed=9)
    assert content(tmp_path / "again") == content(drawn)
    assert content(tmp_path / "other") != content(drawn)


def test_layout_is_vocs(drawn):
    train_pairs = sources.voc_pairs(drawn, "train")
    val_pairs = sources.voc_pairs(drawn, "val")
    assert (len(train_pairs), len(val_pairs)) == (12, 6)
    assert sources.voc_pairs(drawn, "trainval") == train_pairs + val_pairs
    for pair in train_pairs + val_pairs:
        assert Image.open(pair.image).format == "JPEG"
        assert Image.open(pair.mask).mode == "P"
        assert Image.open(pair.image).size == Image.open(pair.mask).size


def test_pictures_hold_several_classes_with_void_borders(drawn):
    labels = masks(drawn)
    known = set(range(len(demo.CLASSES))) | {255}
    for label in labels:
        present = set(np.unique(label))
        assert present <= known
        assert {0, 255} < present
        # Where two classes meet there is void between them, or the border of the picture is there.
        left, right = label[:, :-1].astype(int), label[:, 1:].astype(int)
        meeting = (left != right) & (left != 255) & (right != 255)
        assert meeting.mean() < 0.01
    shares = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=256)
    objects = shares[1 : len(demo.CLASSES)]
    assert objects.min() > 0.25 * objects.max()
    assert 0.2 < objects.sum() / shares.sum() < 0.6


def test_sizes_vary_and_need_padding(drawn):
    sizes = {label.shape for label in masks(drawn)}
    assert len(sizes) > 1
    assert any(height % 32 or width % 32 for height, width in sizes)


def test_validation_pictures_are_others(drawn):
    pictures = [pair.image.read_bytes() for pair in sources.voc_pairs(drawn, "trainval")]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("counts", [{"num_train": 0}, {"num_val": 0}])
def test_bad_counts(tmp_path, counts):
    with pytest.raises(InputError, match="is 0; draw at least 1 picture"):
        demo.write_dataset(tmp_path, **counts)


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another"):
        demo.write_dataset(tmp_path / "file")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_network")
def test_main_job_on_the_sample(tmp_path, monkeypatch, capsys):
    """The README's first command but for the network's width and a shorter training."""
    monkeypatch.chdir(tmp_path)
    train.main(["--sample", "--device", "CPU", "--epochs", "1", "--workers", "1"])
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("sample-")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["train"]["images"] == demo.NUM_TRAIN
    assert metrics["validation"]["images"] == demo.NUM_VAL
    assert list(metrics["validation"]["per class"]) == list(demo.CLASSES)
    assert (folder / "predictions.png").is_file()
    arguments = json.loads((folder / "arguments.json").read_text())
    assert arguments["epochs"] == 1  # the command line beats the preset
    assert arguments["base_lr"] == demo.PRESET["base_lr"]

    # The printed command is the preset: it trains the same without --sample.
    printed = capsys.readouterr().out
    (command,) = [
        line for line in printed.splitlines() if "--val-data" in line and "eval" not in line
    ]
    flags = command.split("fcn8s_ms.train ")[1].split()
    train.main([*flags, "--output", "again"])
    logs = [path / "log.jsonl" for path in (folder, tmp_path / "again")]
    first, second = (
        [json.loads(line)["loss"] for line in log.read_text().splitlines()] for log in logs
    )
    assert first == second


def test_draws_and_builds_both_splits(tmp_path, monkeypatch):
    draw = functools.partial(demo.write_dataset, num_train=4, num_val=2)
    monkeypatch.setattr(demo, "write_dataset", draw)
    found = demo.build_records(tmp_path)
    assert found == {split: tmp_path / f"{split}.mindrecord" for split in ("train", "val")}
    for path, count in zip(found.values(), (4, 2)):
        metadata = records.read_metadata(path)
        assert (metadata.num_samples, metadata.classes) == (count, demo.CLASSES)
    with pytest.raises(InputError, match="train.mindrecord"):
        demo.build_records(tmp_path)
    assert demo.build_records(tmp_path, overwrite=True) == found
