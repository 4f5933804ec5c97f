"""Model cards: what hubs read in the head, what people read below, what neither may tell."""

import json

import numpy as np
import pytest

from fcn8s_ms import checkpoint, evaluation, export, files
from fcn8s_ms.confusion import ConfusionMatrix
from fcn8s_ms.inspection.model_card import model_card
from fcn8s_ms.model import FCN8s

from ..helpers import TINY, error_of

METADATA = {
    "classes": ["sky", "r|oad", "tree"],
    "palette": [[0, 0, 0], [1, 2, 255], [9, 9, 9]],
    "epoch": 2,
    "step": 30,
    "loss": 0.5,
    "metric": {"mean IoU": 0.25, "pixel accuracy": 0.5, "epoch": 2, "step": 30},
    "arguments": {
        "data": "/home/someone/voc_train.mindrecord",
        "val_data": "dataset/voc_val.mindrecord",
        "class_weights": "C:\\\\Users\\\\someone\\\\weights.json",
        "output": "/home/someone/runs",
        "widths": [4, 4, 8, 8, 8],
        "patience": None,
    },
}


HEAD = """---
license: unknown  # fill in, such as apache-2.0
library_name: mindspore
pipeline_tag: image-segmentation
tags:
- image-segmentation
- semantic-segmentation
- fcn
- fcn8s-ms
# datasets: fill in the hub's names of the training data, such as [scene_parse_150]
metrics:
- mean_iou
- accuracy
model-index:
- name: "FCN8s-best"
  results:
  - task:
      type: image-segmentation
    dataset:
      name: "voc_val.mindrecord"
      type: "voc_val.mindrecord"
    metrics:
    - type: mean_iou
      name: mean IoU
      value: 0.2500
    - type: accuracy
      name: pixel accuracy
      value: 0.5000
---

"""


@pytest.fixture(params=["ckpt", "safetensors"])
def saved(request, tmp_path):
    path = tmp_path / f"FCN8s-best.{request.param}"
    checkpoint.save(FCN8s(3, **TINY), path, METADATA)
    return path


def test_card(saved):
    card = model_card(saved)
    assert "someone" not in card and str(saved.parent) not in card
    for part in (
        "# FCN8s-best\n",
        "segmentation: FCN-8s, backbone vgg16, --widths 4 4 8 8 8 --fc-width 16, 3 classes.",
        f"--checkpoint {saved.name} street.jpg",
        f'Segmenter.from_checkpoint("{saved.name}")',
        "| 1 | r\\|oad | #0102ff |",
        "| data | voc\\_train.mindrecord |",
        "| class\\_weights | weights.json |",
        "| widths | 4 4 8 8 8 |",
        "| mean IoU | 0.2500 |",
        "Protocol: validation after step 30 of the training: every image once, whole, at its own "
        "size; voc\\_val.mindrecord.",
        checkpoint.read_metadata(saved)["sha256"],
    ):
        assert part in card, part
    assert card.startswith(HEAD)


def test_a_network_of_squeezed_images_is_used_with_such(tmp_path):
    path = tmp_path / "FCN8s-best.ckpt"
    arguments = {**METADATA["arguments"], "resize_to": [64, 96]}
    checkpoint.save(FCN8s(3, **TINY), path, {**METADATA, "arguments": arguments})
    card = model_card(path)
    for part in (
        "street.jpg --resize 64x96 --output",
        'Segmenter.from_checkpoint("FCN8s-best.ckpt", resize="64x96")',
        "every image once, whole, squeezed to 64x96 pixels;",
        "| resize\\_to | 64 96 |",
    ):
        assert part in card, part


def scores_of(path, classes):
    """A JSON as an evaluation writes it; no pixel is of the last class."""
    counts = ConfusionMatrix(len(classes))
    counts.update(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 0]]))
    result = evaluation.scores(counts, classes)
    about = {"checkpoint": "runs/FCN8s-best.ckpt", "data": "dataset/v.mindrecord", "images": 1}
    files.write_json(path, {**about, "protocol": "whole images", "engine": "E 1", **result})
    return path


def test_scores_of_an_evaluation(saved, tmp_path):
    card = model_card(saved, scores_of(tmp_path / "scores.json", METADATA["classes"]))
    assert "| mean IoU | 0.5833 |" in card and "| sky | 0.6667 |" in card and "| tree | - |" in card
    expected = "Protocol: whole images; 1 images of v.mindrecord; E 1; checkpoint FCN8s-best.ckpt."
    assert expected in card and "validation after" not in card
    assert 'name: "v.mindrecord"' in card and "value: 0.5833" in card


def test_card_of_a_file_that_tells_nothing(tmp_path):
    path = tmp_path / "bare.ckpt"
    checkpoint.save(FCN8s(21, **TINY), path, {})
    checkpoint.metadata_file(path).unlink()
    card = model_card(path)
    assert "| 1 | aeroplane | #800000 |" in card and "Checksum" not in card
    assert card.count("Fill in: the file") == 2
    assert "metrics:" not in card


def test_card_by_the_program(saved, tmp_path, capsys):
    card = tmp_path / "hub" / "README.md"
    export.main(["--checkpoint", str(saved), "--model-card", str(card)])
    assert card.read_text() == model_card(saved)
    assert [path.name for path in card.parent.iterdir()] == ["README.md"]
    card.write_text("mine")
    given = ["--checkpoint", saved, "--model-card", card]
    assert f"--model-card {card} exists; pass --overwrite" in error_of(export.main, given, capsys)
    assert card.read_text() == "mine"
    pytest.importorskip("onnxruntime")
    more = ["--output", tmp_path / "hub" / "fcn8s.onnx", "--argmax", "--normalize", "--overwrite"]
    export.main([str(one) for one in [*given, *more, "--device", "CPU"]])
    text = "Exported: `fcn8s.onnx`, ONNX, image uint8 (N, H, W, 3), BGR -> class_ids int32"
    assert text in card.read_text()


def test_cards_that_are_refused(saved, tmp_path, capsys):
    card = tmp_path / "README.md"
    given = ["--checkpoint", saved, "--model-card", card, "--scores"]
    others = scores_of(tmp_path / "others.json", ["a", "b", "c"])
    line = error_of(export.main, [*given, others], capsys)
    assert "others.json has scores of other classes" in line
    (tmp_path / "list.json").write_text(json.dumps([1]))
    line = error_of(export.main, [*given, tmp_path / "list.json"], capsys)
    assert "list.json: its content is [1]; need an object" in line
    line = error_of(export.main, [*given[:2], "--scores", others], capsys)
    assert "--scores are for the model card" in line
    assert "nothing to write" in error_of(export.main, given[:2], capsys)
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.chmod(0o600)
    saved.write_bytes(content)
    assert "or is damaged; fetch or save it again" in error_of(export.main, given[:4], capsys)
    assert not card.exists()
