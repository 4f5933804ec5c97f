"""One checkpoint in several engines."""

import numpy as np
import pytest

from fcn8s_ms import checkpoint
from fcn8s_ms.inference.mindspore_engine import MindSporeEngine

from ..helpers import fill, load_tool, tiny_network, write_plain_record


@pytest.fixture(scope="module")
def tool():
    return load_tool("compare_engines")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint and a record."""
    folder = tmp_path_factory.mktemp("engines")
    network = tiny_network("fcn8s", 21)
    fill(network)
    checkpoint.save(network, folder / "a.ckpt", {})
    return folder / "a.ckpt", write_plain_record(folder / "a.mindrecord")


def test_engines_agree(tool, files):
    path, record = files
    given = ["--checkpoint", str(path), "--data", str(record), "--images", "2"]
    given += ["--calibration-data", str(record)]
    standings, sizes = tool.compare(tool.get_parser().parse_args(given))
    names = ["MindSpore", "ONNX Runtime", "ONNX Runtime, 8-bit integers"]
    assert list(standings) == list(sizes) == names
    own, onnx, int8 = standings.values()
    assert own.other_ids == 0 and onnx.other_ids < 1e-3 * onnx.pixels
    assert own.mean_iou == pytest.approx(onnx.mean_iou, abs=1e-3)
    assert 0 < int8.other_ids < 0.2 * int8.pixels
    assert sizes[names[2]] < sizes[names[1]]
    assert all(one.milliseconds > 0 for one in standings.values())


def test_the_table_and_the_sizes_are_printed(tool, files, capsys):
    path, record = files
    tool.main(["--checkpoint", str(path), "--data", str(record), "--images", "1"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in shown[-3:-1]] == ["MindSpore", "ONNX Runtime"]
    assert shown[-1].startswith("MB: MindSpore 0.6, ONNX Runtime 0.6")


@pytest.mark.parametrize("arch", ["fcn16s", "fcn8s", "fcn_resnet50"])
def test_torch_computes_the_same(tool, arch):
    pytest.importorskip("torch")
    network = tiny_network(arch, 5)
    fill(network)
    arrays = {name: one.asnumpy() for name, one in network.parameters_dict().items()}
    engine = tool.TorchEngine(arrays, 32)
    batch = np.random.RandomState(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    expected = MindSporeEngine(network.set_train(False)).logits(batch)
    assert np.abs(engine.logits(batch) - expected).max() < 1e-3 * np.abs(expected).max()
    np.testing.assert_array_equal(engine.class_ids(batch), engine.logits(batch).argmax(1))
    assert engine.n_class == 5


def test_a_record_of_other_classes_is_refused_before_any_work(tool, record, tmp_path, capsys):
    checkpoint.save(tiny_network("fcn8s", 3), tmp_path / "b.ckpt", {})
    with pytest.raises(SystemExit):
        tool.main(["--checkpoint", str(tmp_path / "b.ckpt"), "--data", str(record)])
    said = capsys.readouterr().err
    assert "has 3 classes, --data" in said and "they do not belong together" in said


def test_what_cannot_be_compared(tool, files, tmp_path, capsys):
    path, record = files
    for given, message in [
        (["--images", "0"], "--images is 0"),
        (["--calibration-data", str(tmp_path / "no.mindrecord")], "no.mindrecord"),
        (["--data", str(tmp_path / "none.mindrecord")], "none.mindrecord"),
        (["--checkpoint", str(tmp_path / "none.ckpt")], "none.ckpt"),
    ]:
        with pytest.raises(SystemExit) as caught:
            tool.main(["--checkpoint", str(path), "--data", str(record), *given])
        assert caught.value.code != 0
        assert message in capsys.readouterr().err
