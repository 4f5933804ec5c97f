"""Whole networks and ResNets of other frameworks: converted, they have the source's numbers."""

import json

import numpy as np
import pytest
import safetensors.numpy

from fcn8s_ms import checkpoint
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import Segmenter
from fcn8s_ms.network import architectures, conversion
from fcn8s_ms.network.converted import NORM_NAMES

from ..formats.test_caffe_file import network as caffe_network
from ..helpers import draw_pair, fill, load_tool, tiny_network

MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))  # torchvision's


@pytest.fixture(scope="module")
def tool():
    return load_tool("convert_weights")


def resnet_arrays(arch="fcn_resnet50", n_class=5, auxiliary=True):
    """torchvision's names and arrays of a narrow network, and the network that has them."""
    network = tiny_network(arch, n_class, auxiliary=auxiliary)
    fill(network)
    arrays = {}
    for name, parameter in network.parameters_dict().items():
        layer, _, kind = name.rpartition(".")
        arrays[f"{layer}.{NORM_NAMES.get(kind, kind)}"] = parameter.asnumpy()
        if kind == "gamma":
            arrays[f"{layer}.num_batches_tracked"] = np.array(3)
    arrays["backbone.conv1.weight"] = arrays["backbone.conv1.weight"][:, ::-1].copy()
    return arrays, network


def backbone_of(arrays, mindcv=False):
    found = {
        name.removeprefix("backbone."): value
        for name, value in arrays.items()
        if name.startswith("backbone.")
    }
    if mindcv:
        theirs = {theirs: ours for ours, theirs in NORM_NAMES.items()}
        norm = {name.rpartition(".")[0] for name in found if name.endswith("running_mean")}
        found = {
            (
                f"{layer}.{theirs[kind]}" if (layer := name.rpartition(".")[0]) in norm else name
            ).replace("downsample", "down_sample"): value
            for name, value in found.items()
            if (kind := name.rpartition(".")[2]) != "num_batches_tracked"
        }
    head = "classifier" if mindcv else "fc"
    return found | {f"{head}.weight": np.zeros((9, 64), np.float32)}


def assert_same(parameters, network, start=""):
    own = {name: one for name, one in network.parameters_dict().items() if name.startswith(start)}
    assert set(parameters) == set(own)
    for name, parameter in own.items():
        assert np.array_equal(parameters[name], parameter.asnumpy()), name


@pytest.mark.parametrize("auxiliary", [True, False])
@pytest.mark.parametrize("arch", ["fcn_resnet50", "fcn_resnet101"])
def test_fcn_resnet(tool, tmp_path, arch, auxiliary, capsys):
    arrays, network = resnet_arrays(arch, 7, auxiliary)
    source, output = tmp_path / "fcn.safetensors", tmp_path / "fcn.ckpt"
    wrapped = {f"module.{name}": value for name, value in arrays.items()}
    safetensors.numpy.save_file(wrapped, source)
    tool.main([str(source), str(output)])
    printed = capsys.readouterr().out
    heads = "with auxiliary head" if auxiliary else "without auxiliary head"
    assert f"torchvision's {arch}, for --arch {arch}: 7 classes, {heads}" in printed
    assert "left out" not in printed and f"predict --checkpoint {output}" in printed
    read = {name: one.asnumpy() for name, one in checkpoint.read(output).items()}
    assert_same(read, network)
    facts = json.loads(output.with_name("fcn.ckpt.json").read_text())
    assert facts["source"] == "fcn.safetensors" and facts["num_classes"] == 7
    assert checkpoint.load_network(output).n_class == 7


@pytest.mark.parametrize("mindcv", [True, False])
def test_resnet_as_backbone(mindcv):
    arrays, network = resnet_arrays()
    found = conversion.convert(backbone_of(arrays, mindcv))
    assert_same(found.parameters, network, "backbone.")
    assert found.arch == "fcn_resnet50" and not found.segments
    left = "classifier.weight" if mindcv else "fc.weight"
    assert found.report.endswith(f"left out: {left}")
    assert found.layout == ("MindCV's resnet50" if mindcv else "resnet50 of torchvision or timm")


def change(arrays, name, value):
    arrays = dict(arrays)
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    return arrays


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("backbone.layer2.1.bn2.running_var", None, "layer2.1.bn2.running_var is missing"),
        (
            "classifier.4.bias",
            np.zeros(4),
            "classifier.4.bias has shape (4,), the network's is (5,)",
        ),
        ("aux_classifier.4.bias", np.full(5, np.nan), "has numbers that are not finite"),
        ("backbone.layer1.0.se.fc1.weight", np.zeros(3), "layer1.0.se.fc1.weight too, and so is a"),
        ("backbone.layer3.6.conv1.weight", np.zeros(3), "it has 3, 4, 7, 3 blocks in its stages"),
        ("backbone.bn1.gamma", np.zeros(4), "it has this package's parameter names already"),
    ],
)
def test_resnets_that_do_not_fit(name, value, message):
    arrays = change(resnet_arrays()[0], name, value)
    with pytest.raises(InputError) as caught:
        conversion.convert(arrays)
    assert message in str(caught.value)


def test_deep_stem():
    arrays = backbone_of(resnet_arrays()[0])
    arrays["conv1.0.weight"] = arrays.pop("conv1.weight")
    with pytest.raises(InputError, match="stem has several convolutions"):
        conversion.convert(arrays)


# --- the authors' networks ------------------------------------------------------------------------

UPSCORES = {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16, "upscore16": 32, "upscore": 64}
LAYERS = {
    "fcn32s_paper": ("upscore",),
    "fcn16s_paper": ("score_pool4", "upscore2", "upscore16"),
    "fcn8s_paper": ("score_pool4", "score_pool3", "upscore2", "upscore_pool4", "upscore8"),
}


def paper_arrays(arch, n_class=4, widths=(4, 4, 6, 8, 8), fc_width=12):
    rng = np.random.RandomState(1)
    arrays = {}

    def add(name, leaving, entering, side):
        scale = np.sqrt(2 / (entering * side * side))
        weight = scale * rng.standard_normal((leaving, entering, side, side))
        arrays[f"{name}.weight"] = weight.astype(np.float32)
        arrays[f"{name}.bias"] = rng.standard_normal(leaving).astype(np.float32)

    channels = 3
    for stage, (depth, width) in enumerate(zip((2, 2, 3, 3, 3), widths), 1):
        for place in range(1, depth + 1):
            add(f"conv{stage}_{place}", width, channels, 3)
            channels = width
    add("fc6", fc_width, channels, 7)
    add("fc7", fc_width, fc_width, 1)
    add("score_fr", n_class, fc_width, 1)
    for name in LAYERS[arch]:
        if name in UPSCORES:
            side = UPSCORES[name]
            weight = rng.standard_normal((n_class, n_class, side, side)).astype(np.float32)
            arrays[f"{name}.weight"] = weight
        else:
            add(name, n_class, widths[3 if name == "score_pool4" else 2], 1)
    return arrays


def as_caffe(arrays, **scales):
    layers = {}
    for name, array in arrays.items():
        layers.setdefault(name.rpartition(".")[0], []).append(array)
    layers |= {name: [np.full(6, factor)] for name, factor in scales.items()}
    return caffe_network(layers)


@pytest.mark.parametrize("arch", LAYERS)
@pytest.mark.parametrize("kind", ["safetensors", "caffemodel"])
def test_the_authors_networks(tool, tmp_path, arch, kind, capsys):
    arrays = paper_arrays(arch)
    source, output = tmp_path / f"fcn.{kind}", tmp_path / "fcn.ckpt"
    if kind == "caffemodel":
        source.write_bytes(as_caffe(arrays))
    else:
        safetensors.numpy.save_file(arrays, source)
    tool.main([str(source), str(output)])
    assert f"the authors' FCN, for --arch {arch}: 4 classes" in capsys.readouterr().out
    read = {name: one.asnumpy() for name, one in checkpoint.read(output).items()}
    scales = read.pop("scales", None)
    assert (scales is None) == (arch == "fcn32s_paper")
    if scales is not None:
        assert scales.tolist() == [1, 1]
    assert set(read) == set(arrays)
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)


def test_networks_trained_at_once():
    arrays = paper_arrays("fcn8s_paper")
    factors = [np.float32(0.01), np.float32(0.0001)]
    found = conversion.convert(arrays, at_once=True)
    assert found.parameters["scales"].tolist() == factors
    assert "--scales" in conversion.convert(arrays).report
    told = {"scale_pool4.weight": np.full(8, 0.01), "scale_pool3.weight": np.full(6, 0.0001)}
    found = conversion.convert(arrays | told)
    assert found.parameters["scales"].tolist() == factors
    assert "--scales" not in found.report and "left out" not in found.report
    with pytest.raises(InputError, match="FCN-32s, which has no skips to scale"):
        conversion.convert(paper_arrays("fcn32s_paper"), at_once=True)
    with pytest.raises(InputError, match="--without-fc is for VGG only"):
        conversion.convert(arrays, with_fc=False)


def test_upsampling_in_groups():
    arrays = paper_arrays("fcn32s_paper")
    weight = arrays["upscore.weight"][:, :1]
    found = conversion.convert(arrays | {"upscore.weight": weight}).parameters["upscore.weight"]
    assert found.shape == (4, 4, 64, 64)
    for one in range(4):
        for other in range(4):
            assert np.array_equal(found[one, other], weight[one, 0] * (one == other))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("upscore8.weight", None, "none is there"),
        ("score_pool3.bias", None, "score_pool3.bias is missing"),
        (
            "fc6.weight",
            np.zeros((12, 8, 5, 5)),
            "fc6.weight has shape (12, 8, 5, 5), the network's",
        ),
        ("upscore2.weight", np.zeros((4, 4, 3, 3)), "the network's is (4, 4, 4, 4)"),
        ("conv3_4.weight", np.zeros(3), "it has conv3_4.weight too"),
        ("scales", np.ones(2), "this package's parameter names already"),
    ],
)
def test_paper_networks_that_do_not_fit(name, value, message):
    with pytest.raises(InputError) as caught:
        conversion.convert(change(paper_arrays("fcn8s_paper"), name, value))
    assert message in str(caught.value)


# --- with PyTorch ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "n_class", "wrapper"),
    [("fcn_resnet50", 21, "model"), ("fcn_resnet101", 7, "DataParallel")],
)
def test_probabilities_of_torchvisions_networks(tool, tmp_path, arch, n_class, wrapper):
    torch = pytest.importorskip("torch")
    torch.manual_seed(4)
    network = load_tool("torch_fcn_resnet").FCNResNet(arch, n_class, 4, auxiliary=True).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(("running_mean", "running_var")):
                value.add_(0.2 * torch.rand(value.shape))

    def expected_of(image):
        x = ((image[:, :, ::-1] / 255 - MEAN) / STD).transpose(2, 0, 1)[np.newaxis]
        with torch.no_grad():
            return network(torch.from_numpy(x.astype(np.float32)))

    with torch.no_grad():
        scale = 10 / float(expected_of(draw_pair("a", 96, 128)[0]).abs().max())
        network.classifier[4].weight.mul_(scale)
        network.classifier[4].bias.mul_(scale)
    source, output = tmp_path / "fcn.pth", tmp_path / "fcn.ckpt"
    state = torch.nn.DataParallel(network).state_dict()
    if wrapper == "model":
        state = {"model": network.state_dict(), "optimizer": {"state": {}}, "epoch": 3}
    torch.save(state, source)
    tool.main([str(source), str(output)])
    segmenter = Segmenter.from_checkpoint(output)
    for height, width in ((96, 128), (101, 75)):
        image = draw_pair("a", height, width)[0]
        expected = torch.softmax(expected_of(image), 1).numpy()[0]
        found = segmenter.predictor.probabilities(image)
        assert np.abs(found - expected).max() <= 1e-3
        assert (found.argmax(0) != expected.argmax(0)).mean() <= 1e-3


@pytest.mark.parametrize(
    ("arch", "at_once"),
    [
        ("fcn32s_paper", False),
        ("fcn16s_paper", False),
        ("fcn8s_paper", False),
        ("fcn8s_paper", True),
    ],
)
def test_probabilities_of_the_authors_networks(tool, tmp_path, arch, at_once):
    torch = pytest.importorskip("torch")
    if arch not in architectures.ARCHITECTURES:
        pytest.skip(f"{arch} is not built")
    arrays = paper_arrays(arch)
    network = load_tool("torch_fcn_paper").FCNPaper(arch, 4, (4, 4, 6, 8, 8), 12).eval()
    # As pytorch-fcn's files: without the factors, which its code multiplies with.
    network.load_state_dict(
        {name: torch.from_numpy(array) for name, array in arrays.items()}, strict=False
    )
    if at_once:
        network.scales.copy_(torch.tensor([0.01, 0.0001]))

    def expected_of(image):  # what the network in PyTorch takes: normalised BGR
        x = ((image / 255 - MEAN[::-1]) / STD[::-1]).transpose(2, 0, 1)[np.newaxis]
        with torch.no_grad():
            return network(torch.from_numpy(x.astype(np.float32)))

    last = arrays[f"{LAYERS[arch][-1]}.weight"]
    last *= 10 / float(expected_of(draw_pair("a", 96, 128)[0]).abs().max())
    source, output = tmp_path / "fcn.pth", tmp_path / "fcn.ckpt"
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    network.load_state_dict(state, strict=False)
    torch.save(state, source)
    tool.main([str(source), str(output), *(["--scales"] if at_once else [])])
    segmenter = Segmenter.from_checkpoint(output)
    for height, width in ((96, 128), (101, 75)):
        image = draw_pair("a", height, width)[0]
        expected = torch.softmax(expected_of(image), 1).numpy()[0]
        found = segmenter.predictor.probabilities(image)
        assert np.abs(found - expected).max() <= 1e-3
        assert (found.argmax(0) != expected.argmax(0)).mean() <= 1e-3
