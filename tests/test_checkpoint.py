import os
import stat

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from fcn8s_ms import checkpoint
from fcn8s_ms.errors import InputError
from fcn8s_ms.model import FCN8s

from .conftest import TINY


def values(network):
    return {name: value.asnumpy() for name, value in network.parameters_dict().items()}


@pytest.fixture
def saved(tmp_path):
    network = FCN8s(5, **TINY)
    path = tmp_path / "FCN8s.ckpt"
    checkpoint.save(network, path, {"classes": list("abcde"), "step": 7})
    return network, path


def test_round_trip_finds_widths_and_classes_by_itself(saved):
    network, path = saved
    loaded = checkpoint.load_network(path)
    assert loaded.n_class == 5
    assert not loaded.training
    expected, found = values(network), values(loaded)
    assert list(found) == list(expected)
    for name, value in found.items():
        assert np.array_equal(value, expected[name])
    assert checkpoint.read_metadata(path) == {"classes": list("abcde"), "step": 7}


def test_only_checkpoint_and_json_are_left_with_ordinary_permissions(saved):
    _, path = saved
    assert sorted(os.listdir(path.parent)) == ["FCN8s.ckpt", "FCN8s.ckpt.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_failed_save_keeps_the_older_file(saved, monkeypatch):
    network, path = saved
    before = path.read_bytes()

    def full(network, name):
        with open(name, "wb") as file:
            file.write(b"half")
        raise RuntimeError("Failed to save the checkpoint file: no space left")

    monkeypatch.setattr(ms, "save_checkpoint", full)
    with pytest.raises(InputError, match="FCN8s.ckpt cannot be written: .*free some space"):
        checkpoint.save(network, path, {})
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["FCN8s.ckpt", "FCN8s.ckpt.json"]


def test_other_class_count_drops_what_does_not_fit(saved):
    _, path = saved
    network = FCN8s(3, **TINY)
    before = values(network)
    report = checkpoint.load_into(network, checkpoint.read(path))
    assert set(report.dropped) == {
        "score_fr.weight",
        "score_pool3.weight",
        "score_pool4.weight",
        "upscore2.weight",
        "upscore_pool4.weight",
        "upscore8.weight",
    }
    assert len(report.loaded) == 75 and not report.missing and not report.unused
    after = values(network)
    for name in report.dropped:
        assert np.array_equal(after[name], before[name])
    assert "75 parameters loaded; 6 dropped (score_fr.weight" in str(report)


def test_moments_are_never_weights(tmp_path):
    """An optimizer's state has names that end like the weights'."""
    network = nn.Dense(2, 3, has_bias=False)
    (parameter,) = network.get_parameters()
    before = parameter.asnumpy().copy()
    moments = {f"moments.{parameter.name}": Parameter(Tensor(np.full((3, 2), 9.0, np.float32)))}
    report = checkpoint.load_into(network, moments)
    assert not report.loaded and report.missing == (parameter.name,)
    assert report.unused == (f"moments.{parameter.name}",)
    assert np.array_equal(parameter.asnumpy(), before)


def test_loading_copies(saved):
    _, path = saved
    parameters = checkpoint.read(path)
    one, other = FCN8s(5, **TINY), FCN8s(5, **TINY)
    checkpoint.load_into(one, parameters)
    checkpoint.load_into(other, parameters)
    one.score_fr.weight.set_data(Tensor(np.zeros(one.score_fr.weight.shape, np.float32)))
    assert other.score_fr.weight.asnumpy().any()


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_damaged_file(saved, damage):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(
        {"cut": content[: len(content) // 2], "garbage": b"\7" * 99, "empty": b""}[damage]
    )
    with pytest.raises(InputError, match="FCN8s.ckpt"):
        checkpoint.load_network(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="none.ckpt is missing"):
        checkpoint.load_network(tmp_path / "none.ckpt")


def test_another_networks_checkpoint(tmp_path):
    path = tmp_path / "other.ckpt"
    checkpoint.save(nn.Dense(2, 3), path, {})
    with pytest.raises(InputError, match="is no FCN-8s: parameter 'score_fr.weight' is missing"):
        checkpoint.load_network(path)


def test_metadata_that_is_no_json(saved):
    _, path = saved
    path.with_name(path.name + ".json").write_text("{")
    with pytest.raises(InputError, match="FCN8s.ckpt.json is no JSON"):
        checkpoint.read_metadata(path)
