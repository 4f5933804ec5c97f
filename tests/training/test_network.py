import numpy as np
import pytest
from mindspore import nn

from fcn8s_ms import checkpoint, model
from fcn8s_ms.errors import InputError
from fcn8s_ms.network.cpu import CpuStage
from fcn8s_ms.training.network import build_network, lr_factors
from fcn8s_ms.training.network_options import NetworkOptions

from ..helpers import TINY

KINDS = ("weight", "bias")


def weights(network):
    return {name: value.asnumpy() for name, value in network.parameters_dict().items()}


def test_seed_and_options_make_the_network():
    options = NetworkOptions(arch="fcn16s", upsample_init="bilinear", **TINY)
    one, lines = build_network(options, 3, seed=1)
    assert type(one) is model.FCN16s and lines == []
    assert one.conv6[0].out_channels == TINY["fc_width"]
    found, again = weights(one), weights(build_network(options, 3, seed=1)[0])
    assert all(np.array_equal(found[name], again[name]) for name in found)
    other = weights(build_network(options, 3, seed=2)[0])
    assert not np.array_equal(found["conv1.0.weight"], other["conv1.0.weight"])


def test_vggs_widths_without_others(monkeypatch):
    given = {}

    def build(n_class, **sizes):
        given.update(sizes)
        return model.FCN8s(n_class, **TINY)

    monkeypatch.setitem(model.NETWORKS, "fcn8s", build)
    network, _ = build_network(NetworkOptions(), 3, seed=1)
    assert isinstance(network.conv1, CpuStage)
    assert given["widths"] == (64, 128, 256, 512, 512) and given["fc_width"] == 4096
    assert given["depths"] == (2, 2, 3, 3, 3)


def test_networks_on_a_resnet():
    options = NetworkOptions(arch="fcn_resnet50", resnet_width=4)
    network, _ = build_network(options, 3, seed=1)
    assert network.has_auxiliary and options.loss_weight_of_auxiliary == 0.5
    options = NetworkOptions(arch="fcn_resnet50", resnet_width=4, aux_weight=0)
    assert not build_network(options, 3, seed=1)[0].has_auxiliary
    assert NetworkOptions(**TINY).loss_weight_of_auxiliary == 0
    with pytest.raises(InputError, match="--aux-weight is not for --arch fcn8s; leave it out"):
        NetworkOptions(aux_weight=0.4)
    with pytest.raises(InputError, match="--widths is not for --arch fcn_resnet50"):
        NetworkOptions(arch="fcn_resnet50", widths=[4, 4, 8, 8, 8])


def test_networks_of_the_papers_authors(tmp_path):
    path = tmp_path / "weights.ckpt"
    checkpoint.save(model.FCN16sPaper(3, at_once=True, **TINY), path, {})
    given = {"arch": "fcn8s_paper", "pretrained": path, "freeze": ["fc"], **TINY}
    network, lines = build_network(NetworkOptions(**given, at_once=True), 3, seed=1)
    assert "4 missing (upscore_pool4.weight, score_pool3.weight" in lines[0]
    assert lines[1].startswith("4 parameters frozen: fc6.weight, fc6.bias, fc7")
    assert "upscore8.weight" not in lines[2]
    with pytest.raises(InputError, match="scores pool4 and pool3 times 0.01 and 0.0001, unlike"):
        build_network(NetworkOptions(**given), 3, seed=1)
    with pytest.raises(InputError, match="--at-once is not for --arch fcn32s_paper; leave it out"):
        NetworkOptions(arch="fcn32s_paper", at_once=True)
    options = NetworkOptions(arch="fcn32s_paper", train_upsampling=True, dropout=0.25, **TINY)
    network, _ = build_network(options, 3, seed=1)
    assert network.upscore.weight.requires_grad and network.drop6.p == 0.25


def test_loaded_and_frozen_parts_are_reported(tmp_path):
    path = tmp_path / "weights.ckpt"
    checkpoint.save(model.FCN8s(3, **TINY), path, {})
    options = NetworkOptions(pretrained=path, freeze=["upsampling"], **TINY)
    network, lines = build_network(options, 3, seed=1)
    assert lines[0] == f"{path}: 81 parameters loaded"
    assert lines[1].startswith("3 parameters frozen: ") and "upscore8.weight" in lines[1]
    assert not network.upscore8.weight.requires_grad
    _, lines = build_network(options, 3, seed=1, load_pretrained=False)
    assert len(lines) == 2


def test_pretrained_weights_of_a_runs_folder(tmp_path, caplog):
    path = tmp_path / "run" / "FCN8s-best.ckpt"
    checkpoint.save(model.FCN8s(3, **TINY), path, {})
    _, lines = build_network(NetworkOptions(pretrained=path.parent, **TINY), 3, seed=1)
    assert lines == [f"{path}: 81 parameters loaded"]
    assert "its checkpoint FCN8s-best.ckpt is taken" in caplog.text


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "dense.ckpt"
    checkpoint.save(nn.Dense(2, 2), path, {})
    with pytest.raises(InputError, match="dense.ckpt has no parameter of this network"):
        build_network(NetworkOptions(pretrained=path, **TINY), 3, seed=1)


def test_factors_of_parts_and_biases_multiply():
    network = nn.SequentialCell()
    for name in ("conv1.0", "score_fr", "other"):
        network.insert_child_to_cell(name.replace(".", "_"), nn.Dense(1, 1))
    names = [f"{name}.{kind}" for name in ("conv1.0", "score_fr", "other") for kind in KINDS]
    for parameter, name in zip(network.get_parameters(), names):
        parameter.name = name
    factors = lr_factors(network, "fcn8s", {"backbone": 0.5, "head": 10.0, "bias": 2.0})
    assert factors == dict(zip(names, [0.5, 1.0, 10.0, 20.0, 1.0, 2.0]))
    assert lr_factors(network, "fcn8s", {}) == {}


def test_what_is_frozen_has_no_learning_rate():
    network, _ = build_network(NetworkOptions(freeze=["fc", "backbone"], **TINY), 3, seed=1)
    factors = lr_factors(network, "fcn8s", {"head": 10.0})
    assert {name.split(".")[0]: factor for name, factor in factors.items()} == {
        **dict.fromkeys(("score_fr", "score_pool4", "score_pool3"), 10.0),
        **dict.fromkeys(("upscore2", "upscore_pool4", "upscore8"), 1.0),
    }
    for part in ("backbone", "bias"):  # frozen; and this network has no biases
        with pytest.raises(InputError, match=f"--lr-factor {part}: no parameter of that kind is"):
            lr_factors(network, "fcn8s", {"head": 10.0, part: 2.0})


def test_everything_frozen():
    options = NetworkOptions(freeze=["backbone", "fc", "head", "upsampling"], **TINY)
    with pytest.raises(InputError, match="--freeze leaves nothing to train"):
        build_network(options, 3, seed=1)
