"""ONNX files of one size: what they compute, what is left to compute of sizes, what the engine does
with images of others."""

import re

import cv2
import numpy as np
import pytest

from fcn8s_ms import checkpoint, export, predict, transforms, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import Segmenter

from ..helpers import draw_pair, error_of, fill, tiny_network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

OF_SIZES = {"Shape", "Neg", "Mod", "Concat"}


@pytest.fixture(scope="module", params=["fcn8s", "fcn_resnet50", "fcn8s_paper"])
def trained(request, tmp_path_factory):
    network = tiny_network(request.param, 5)
    fill(network)
    path = tmp_path_factory.mktemp("fixed") / f"{request.param}.ckpt"
    checkpoint.save(network, path, {})
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    network = tiny_network("fcn8s", 5)
    fill(network)
    path = tmp_path_factory.mktemp("small") / "network.ckpt"
    checkpoint.save(network, path, {})
    return path


def exported(trained, output, *more):
    export.main(["--checkpoint", str(trained), "--output", str(output), "--device", "CPU", *more])
    return output


def segmenter(path, **options):
    return Segmenter.from_checkpoint(path, device="CPU", **options)


@pytest.mark.parametrize("flags", [(), ("--normalize", "--argmax")])
def test_a_fixed_size_computes_the_same_without_computing_sizes(trained, tmp_path, flags):
    size = (70, 90) if flags else (64, 96)  # pixels are padded inside
    fixed = ["--height", str(size[0]), "--width", str(size[1]), "--batch", "2"]
    one = exported(trained, tmp_path / "fixed.onnx", *flags, *fixed)
    any_size = segmenter(exported(trained, tmp_path / "any.onnx", *flags))
    graph = onnx.load(str(one)).graph
    assert not {node.op_type for node in graph.node} & OF_SIZES
    read = {name for node in graph.node for name in node.input}
    assert {one.name for one in graph.initializer} <= read
    for value in (*graph.input, *graph.output):
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        assert dims[0] == 2 and {*size} <= {*dims} and 0 not in dims
    pictures = [draw_pair(name, *size)[0] for name in "abc"]
    keyed = list(enumerate(pictures))
    found = dict(segmenter(one).predictor.many(keyed, batch_size=3))  # a batch and a half
    for key, picture in keyed:
        assert np.array_equal(found[key], any_size(picture))


def test_smaller_images_are_padded(small, tmp_path):
    """As other programs pad them: with the mean colour, which is 0 after normalising."""
    path = exported(small, tmp_path / "a.onnx", "--height", "96", "--width", "128")
    pixels = exported(small, tmp_path / "b.onnx", "--height", "96", "--width", "128", "--normalize")
    picture = draw_pair("a", 50, 60)[0]
    engine = segmenter(path).predictor.engine
    assert engine.size == (1, 96, 128)
    any_size = segmenter(exported(small, tmp_path / "any.onnx")).predictor
    batch = np.zeros((1, 3, 96, 128), np.float32)
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    given = transforms.normalize(picture, table)[np.newaxis]
    batch[..., :50, :60] = given
    expected = any_size.engine.logits(batch)[0, :, :50, :60]
    found = engine.logits(given)
    assert found.shape == (1, 5, 50, 60)
    assert np.allclose(found[0], expected, atol=1e-5 * np.abs(expected).max())
    ids = segmenter(pixels)(picture)
    # A pixel holds the mean colour rounded to whole numbers only.
    assert ids.shape == (50, 60) and (ids != expected.argmax(axis=0)).mean() < 0.02


def test_larger_images_are_told_what_fits(small, tmp_path, capsys):
    path = exported(small, tmp_path / "a.onnx", "--height", "64", "--width", "96")
    picture = tmp_path / "street.png"
    cv2.imwrite(str(picture), draw_pair("a", 100, 120)[0])
    given = ["--checkpoint", str(path), str(picture), "--output", str(tmp_path / "out")]
    line = error_of(predict.main, given, capsys)
    assert "exported for 64x96 (height x width) and an image needs 128x128: " in line
    flags = re.search(r"pass (--resize 64x96), or windows: (--sliding 64 32);", line)
    for words in flags.groups():
        predict.main([*given, *words.split()])
    ids_only = exported(
        small, tmp_path / "b.onnx", "--height", "64", "--width", "96", "--argmax", "--normalize"
    )
    with pytest.raises(InputError, match="needs 100x120: scale images down first; or export"):
        segmenter(ids_only)(picture)


def test_float16_of_a_fixed_size(small, tmp_path):
    path = exported(small, tmp_path / "a.onnx", "--fp16", "--height", "64", "--width", "64")
    assert segmenter(path).predictor.engine.size == (1, 64, 64)


def test_mindir_of_a_fixed_size(small, tmp_path):
    """Which MindSpore runs, and compares, before it gets its name."""
    path = tmp_path / "a.mindir"
    fixed = ["--height", "64", "--width", "96", "--batch", "2"]
    exported(small, path, "--format", "MINDIR", *fixed)
    assert path.is_file()
