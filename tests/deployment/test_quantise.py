"""Exports in 8-bit integers: what is in the file, what it computes, and what a loss leaves."""

import json
import logging
import os
import re

import cv2
import numpy as np
import pytest

from fcn8s_ms import build, checkpoint, eval, export, info, predict
from fcn8s_ms.deployment import quantise
from fcn8s_ms.inference import Segmenter

from ..helpers import draw_pair, error_of, fill, tiny_network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CLASSES = ["sky", "road", "tree"]
SIZES = [("a", 64, 96), ("b", 75, 50), ("c", 40, 70)]


def trained(folder, arch, **metadata):
    network = tiny_network(arch, 3)
    fill(network)
    path = folder / f"{arch}.ckpt"
    checkpoint.save(network, path, {"classes": CLASSES, **metadata})
    return path


def exported(path, output, *more):
    given = ["--checkpoint", path, "--output", output, "--device", "CPU", *more]
    export.main([str(one) for one in given])
    return output


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A checkpoint, and a record whose labels are what the checkpoint predicts in float32."""
    folder = tmp_path_factory.mktemp("int8")
    path = trained(folder, "fcn8s")
    segmenter = Segmenter.from_checkpoint(exported(path, folder / "float.onnx"), device="CPU")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for name, height, width in SIZES:
        picture = draw_pair(name, height, width)[0]
        cv2.imwrite(str(folder / "images" / f"{name}.png"), picture)
        cv2.imwrite(str(folder / "labels" / f"{name}.png"), segmenter(picture))
    record = folder / "data.mindrecord"
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    given = ["--images", folder / "images", "--labels", folder / "labels", "--output", record]
    build.main([*map(str, given), "--classes", str(folder / "classes.txt")])
    return path, record


def quantised(small, output, *more, checkpoint_=None):
    path, record = small
    given = ["--int8", "--calibration-data", record, "--max-drop", "1", *more]
    return exported(checkpoint_ or path, output, *given)


def scores_printed(text):
    """Numbers of the table's two rows."""
    return [
        [float(cell) for cell in re.findall(r"[\d.]+", re.search(rf"^{name} (.*)$", text, re.M)[1])]
        for name in ("float32", "int8 ")
    ]


def test_what_is_in_the_file(small, tmp_path, capsys):
    path = quantised(small, tmp_path / "int8.onnx", "--activations", "uint8")
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    values = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    made_by = {node.output[0]: node for node in model.graph.node}
    of_float = set()
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        source = made_by.get(node.input[1])
        if source is None:
            of_float.add(node.name)
            continue
        weight, scale = (values[name] for name in source.input[:2])
        assert source.op_type == "DequantizeLinear" and weight.dtype == np.int8
        # A scale per output channel: its largest weight is 127 steps from 0.
        assert scale.shape == (len(weight),)
        assert np.array_equal(
            np.abs(weight).reshape(len(weight), -1).max(axis=1), [127] * len(weight)
        )
    assert of_float == {
        *("score_fr", "score_pool4", "score_pool3"),
        *("upscore2", "upscore_pool4", "upscore8"),
    }
    assert not any(node.op_type == "Relu" for node in model.graph.node)  # part of the rounding
    points = {
        values[node.input[2]].dtype for node in model.graph.node if node.op_type == "QuantizeLinear"
    }
    assert points == {np.dtype(np.uint8)}
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(found["classes"]) == CLASSES and found["architecture"] == "FCN8s"
    assert model.producer_name == "fcn8s_ms" and "onnx.infer" not in found
    assert found["precision"] == (
        "int8: weights of 8 bits per channel, uint8 activations, calibrated on 3 images of "
        "data.mindrecord"
    )
    capsys.readouterr()
    info.main([str(path)])
    said = capsys.readouterr().out
    assert "int8: weights of 8 bits" in said and "sky" in said and "SHA-256" in said


def test_scores_are_those_of_eval(small, tmp_path, capsys):
    """Of float32 1, for the labels are its own; the other's share of pixels by class ids."""
    path = quantised(small, tmp_path / "int8.onnx")
    float32, int8 = scores_printed(capsys.readouterr().out)
    assert float32[0] == 1 and 0.5 < int8[0] < 1
    scores = tmp_path / "scores.json"
    given = ["--checkpoint", path, "--data", small[1], "--output", scores, "--device", "CPU"]
    eval.main([str(one) for one in given])
    found = json.loads(scores.read_text())
    assert int8[:2] == [round(found["mean IoU"], 4), round(found["pixel accuracy"], 4)]
    assert int8[2] == pytest.approx(100 * (1 - found["pixel accuracy"]), abs=0.006)


def test_a_loss_leaves_no_file(small, tmp_path, capsys):
    output = tmp_path / "new" / "int8.onnx"
    path, record = small
    given = ["--checkpoint", path, "--output", output, "--device", "CPU", "--int8"]
    line = error_of(export.main, [*given, "--calibration-data", record, "--max-drop", "0"], capsys)
    said = line.splitlines()[-1]
    assert "from 1.0000 to 0." in said and "nothing was written" in said
    for remedy in ("--calibration-images", "--float-layers", "--fp16", "--max-drop"):
        assert remedy in said
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("arch", "flags", "operators"),
    [
        ("fcn_resnet50", ("--normalize",), {"Conv", "Add", "MaxPool"}),
        ("fcn8s_paper", (), {"Conv", "MaxPool"}),
        ("fcn32s", ("--normalize", "--argmax", "--height", "64", "--width", "96"), {"Conv"}),
    ],
)
def test_every_kind_of_network(small, tmp_path, arch, flags, operators):
    """Computes nearly the same, its blocks in integers."""
    other = trained(tmp_path, arch)
    path = quantised(small, tmp_path / "int8.onnx", *flags, checkpoint_=other)
    picture = draw_pair("a", 64, 96)[0]
    ids = Segmenter.from_checkpoint(path, device="CPU")(picture)
    expected = Segmenter.from_checkpoint(
        exported(other, tmp_path / "float.onnx", *flags), device="CPU"
    )(picture)
    assert 0.8 < (ids == expected).mean()
    nodes = onnx.load(str(path)).graph.node
    rounded = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    inside = [node for node in nodes if any(name in rounded for name in node.input)]
    assert operators <= {node.op_type for node in inside}
    out = tmp_path / "out"
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    given = ["--checkpoint", path, tmp_path / "a.png", "--output", out, "--device", "CPU"]
    predict.main([str(one) for one in given])
    assert any(out.iterdir())


def test_layers_left_in_float32(small, tmp_path, capsys):
    path = quantised(
        small, tmp_path / "a.onnx", "--float-layers", "conv1", "conv7.0", "--activations", "int8"
    )
    model = onnx.load(str(path))
    names = {one.name for one in model.graph.initializer}
    assert {"conv1.0.weight", "conv1.2.weight", "conv7.0.weight"} <= names
    assert "conv2.0.weight" not in names and "conv2.0.weight_quantized" in names
    (note,) = (one.value for one in model.metadata_props if one.key == "precision")
    assert "int8 activations, conv1 conv7.0 in float32" in note
    output = tmp_path / "b.onnx"
    given = ["--checkpoint", small[0], "--output", output, "--device", "CPU", "--int8"]
    more = ["--calibration-data", small[1], "--float-layers", "conv"]
    line = error_of(export.main, [*given, *more], capsys)
    assert "--float-layers conv: no convolution" in line and "conv1.0, conv1.2" in line
    assert not output.exists()


def test_seven_bits_and_a_root_logger_that_is_left_alone(small, tmp_path, capfd):
    root = logging.getLogger()
    before = [*root.handlers], [*root.filters]
    model = onnx.load(str(quantised(small, tmp_path / "a.onnx", "--reduce-range")))
    assert ([*root.handlers], [*root.filters]) == before
    assert "pre-process" not in capfd.readouterr().err
    (weight,) = (one for one in model.graph.initializer if one.name == "conv3.0.weight_quantized")
    assert np.abs(onnx.numpy_helper.to_array(weight).astype(int)).max() <= 64
    (note,) = (one.value for one in model.metadata_props if one.key == "precision")
    assert "weights of 7 bits" in note


def test_a_record_of_other_classes(small, record, tmp_path, capsys):
    given = ["--checkpoint", small[0], "--output", tmp_path / "a.onnx", "--device", "CPU"]
    more = ["--int8", "--calibration-data", small[1], "--check-data", record]
    line = error_of(export.main, [*given, *more], capsys)
    assert "has 3 classes, --check-data" in line and " 21; they do not belong together" in line
    assert os.listdir(tmp_path) == []


def test_squeezed_training(small, tmp_path, capsys):
    """Class ids alone are scored at the size that the training saw, too."""
    other = trained(tmp_path, "fcn8s", arguments={"resize_to": [32, 64]})
    quantised(small, tmp_path / "a.onnx", checkpoint_=other)
    logits = scores_printed(capsys.readouterr().out)
    quantised(small, tmp_path / "b.onnx", "--argmax", "--normalize", checkpoint_=other)
    ids = scores_printed(capsys.readouterr().out)
    assert logits[0][0] < 1  # of images squeezed
    for one, other in zip(logits, ids):
        assert np.allclose(one[:2], other[:2], atol=0.15)


@pytest.mark.parametrize(
    ("machine", "kind"), [("x86_64", "uint8"), ("AMD64", "uint8"), ("aarch64", "int8")]
)
def test_activations_of_this_machine(monkeypatch, machine, kind):
    monkeypatch.setattr(quantise.platform, "machine", lambda: machine)
    assert quantise.activations_here() == kind
