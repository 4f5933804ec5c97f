"""One checkpoint in several engines."""

import json

import numpy as np
import pytest

from fcn8s_ms import checkpoint, model

from ..helpers import TINY, fill, load_tool, write_plain_record


@pytest.fixture(scope="module")
def tool():
    return load_tool("compare_engines")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint and a record."""
    folder = tmp_path_factory.mktemp("engines")
    network = model.FCN8s(21, **TINY)
    fill(network)
    checkpoint.save(network, folder / "a.ckpt", {})
    return folder / "a.ckpt", write_plain_record(folder / "a.mindrecord")


def test_engines_agree(tool, files, tmp_path, capsys):
    path, record = files
    output = tmp_path / "result.json"
    tool.main(
        ["--checkpoint", str(path), "--data", str(record), "--calibration-data", str(record)]
        + ["--images", "2", "--output", str(output)]
    )
    result = json.loads(output.read_text())
    assert list(result) == ["MindSpore", "ONNX Runtime", "ONNX Runtime, 8-bit integers"]
    own, onnx, int8 = result.values()
    assert own["other class ids"] == 0 and onnx["other class ids"] < 1e-3
    assert own["mean IoU"] == pytest.approx(onnx["mean IoU"], abs=1e-3)
    assert int8["megabytes"] < onnx["megabytes"]
    assert 0 < int8["other class ids"] < 0.2
    assert all(one["milliseconds"] > 0 for one in result.values())
    shown = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in shown[-3:]] == list(result)


@pytest.mark.parametrize("arch", ["fcn16s", "fcn8s", "fcn_resnet50"])
def test_torch_computes_the_same(tool, arch):
    pytest.importorskip("torch")
    network = model.NETWORKS[arch](5, **({"width": 4} if "resnet" in arch else TINY))
    fill(network)
    arrays = {name: one.asnumpy() for name, one in network.parameters_dict().items()}
    engine = tool.TorchEngine(arrays, 32)
    batch = np.random.RandomState(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    from fcn8s_ms.inference.mindspore_engine import MindSporeEngine

    expected = MindSporeEngine(network.set_train(False)).logits(batch)
    assert np.abs(engine.logits(batch) - expected).max() < 1e-3 * np.abs(expected).max()
    np.testing.assert_array_equal(engine.class_ids(batch), engine.logits(batch).argmax(1))
    assert engine.n_class == 5


def test_what_cannot_be_compared(tool, files, tmp_path, capsys):
    path, record = files
    for given, message in [
        (["--images", "0"], "--images is 0"),
        (["--calibration-data", str(tmp_path / "no.mindrecord")], "no.mindrecord"),
    ]:
        with pytest.raises(SystemExit) as caught:
            tool.main(["--checkpoint", str(path), "--data", str(record), *given])
        assert caught.value.code != 0
        assert message in capsys.readouterr().err
