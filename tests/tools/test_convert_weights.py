"""Weights of other frameworks: the converted backbone has the source's features of an image.

Sources are drawn at random, narrow, as plain arrays; each is written in the layout of a framework,
and its features are computed by that framework's own layers (PyTorch, MindSpore) or in numpy.
"""

import functools
import json
import sys
from dataclasses import dataclass

import cv2
import h5py
import mindspore as ms
import numpy as np
import pytest
import safetensors.numpy
from mindspore import nn

from fcn8s_ms import checkpoint, model, train, transforms, voc
from fcn8s_ms.network import conversion

from ..formats import test_caffe_file
from ..helpers import TINY, draw_pair, error_of, load_tool

WIDTHS, FC_WIDTH = TINY["widths"], TINY["fc_width"]
CLASSES = 10
POOLS = ("pool1", "pool2", "pool3", "pool4", "pool5")

# The frameworks' own preprocessing, by their documentation.
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KERAS_MEAN = (103.939, 116.779, 123.68)


@pytest.fixture(autouse=True)
def _operator_by_operator():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture(scope="module")
def tool():
    return load_tool("convert_weights")


def picture(height=96, width=128):
    """A drawn picture: uint8 (H, W, 3), BGR."""
    return cv2.GaussianBlur(draw_pair("a", height, width)[0], (0, 0), 1.5)


def torch_input(image):
    """RGB, 0…1, by mean and standard deviation: float32 (1, 3, H, W)."""
    scaled = (image[:, :, ::-1] / 255.0 - TORCH_MEAN) / TORCH_STD
    return scaled.transpose(2, 0, 1)[np.newaxis].astype(np.float32)


# --- sources --------------------------------------------------------------------------------------


@dataclass
class Layer:
    """weight (out, in, k, k); bias (out,) or None; norm: gamma, beta, mean, variance, or None."""

    weight: np.ndarray
    bias: np.ndarray | None
    norm: tuple | None


@dataclass
class Vgg:
    stages: list
    fc: list  # fc6, fc7 and the classifier, as (out, in), inputs flattened by channel, row, column


def random_vgg(depths, batch_norm=False, bias=True, first_scale=1.0):
    """`first_scale` multiplies conv1_1, for sources whose input is not of about 1."""
    rng = np.random.RandomState(3)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    stages, channels = [], 3
    for depth, width in zip(depths, WIDTHS):
        stages.append([])
        for _ in range(depth):
            weight = normal(width, channels, 3, 3) * np.float32(np.sqrt(2 / (9 * channels)))
            norm = None
            if batch_norm:
                variance = 0.5 + np.abs(normal(width))
                norm = (1 + 0.2 * normal(width), 0.3 * normal(width), 0.3 * normal(width), variance)
            offset = 0.5 * normal(width) if bias else None
            stages[-1].append(Layer(weight, offset, norm))
            channels = width
    stages[0][0].weight *= np.float32(first_scale)
    fc, inputs = [], 49 * channels
    for outputs in (FC_WIDTH, FC_WIDTH, CLASSES):
        weight = normal(outputs, inputs) * np.float32(np.sqrt(2 / inputs))
        fc.append(Layer(weight, 0.3 * normal(outputs), None))
        inputs = outputs
    return Vgg(stages, fc)


def numpy_features(vgg, x, padding=0.0):
    """pool1 to pool5 and conv7 of an input (1, 3, H, W), in float64.

    fc6 and fc7 are applied to every 7x7 window of pool5 with zeros around. `padding` is the value
    around the input.
    """
    x = np.asarray(x[0], np.float64)
    features = []
    for stage in vgg.stages:
        for layer in stage:
            x = x - padding if np.any(padding) else x
            x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            x = x + padding if np.any(padding) else x
            padding = 0.0
            windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
            x = np.einsum("chwkl,dckl->dhw", windows, layer.weight, optimize=True)
            if layer.bias is not None:
                x += layer.bias[:, np.newaxis, np.newaxis]
            if layer.norm is not None:
                gamma, beta, mean, variance = (one[:, np.newaxis, np.newaxis] for one in layer.norm)
                x = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
            x = np.maximum(x, 0)
        channels, height, width = x.shape
        x = x.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))
        features.append(x[np.newaxis])
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, ((0, 0), (3, 3), (3, 3))), (7, 7), axis=(1, 2)
    )
    rows = windows.transpose(1, 2, 0, 3, 4).reshape(*x.shape[1:], -1)
    for layer in vgg.fc[:2]:
        rows = np.maximum(rows @ layer.weight.T.astype(np.float64) + layer.bias, 0)
    return [*features, rows.transpose(2, 0, 1)[np.newaxis]]


def sequential_numbers(vgg):
    """Position of every convolution in torchvision's `features`."""
    position = 0
    for stage in vgg.stages:
        for layer in stage:
            yield position, layer
            position += 3 if layer.norm else 2
        position += 1


def torch_arrays(vgg, fc=("classifier.0", "classifier.3", "classifier.6")):
    """torchvision's names; timm's with its own names of the fully connected layers."""
    arrays = {}
    for position, layer in sequential_numbers(vgg):
        arrays[f"features.{position}.weight"] = layer.weight
        arrays[f"features.{position}.bias"] = layer.bias
        if layer.norm:
            names = ("weight", "bias", "running_mean", "running_var")
            for name, value in zip(names, layer.norm):
                arrays[f"features.{position + 1}.{name}"] = value
            arrays[f"features.{position + 1}.num_batches_tracked"] = np.array(7)
    for name, layer in zip(fc, vgg.fc):
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = layer.weight, layer.bias
    return arrays


def keras_arrays(vgg, layout="keras", top=True):
    """HDF5 paths of Keras's published files (Keras 1), of `save_weights` since, and of Keras 3."""

    def path(name, number, kind):
        if layout == "keras 1":
            return f"{name}/{name}_{'Wb'[kind]}_1:0"
        if layout == "keras":
            return f"{name}/{name}/{('kernel', 'bias')[kind]}:0"
        if layout == "keras 3 names":
            return f"layers/{name}/vars/{kind}"
        if layout == "keras 3 blocks":
            block, place = name.split("_conv")
            place = "" if place == "1" else f"_{int(place) - 1}"
            return f"{block}/layers/conv2d{place}/vars/{kind}"
        if layout == "model":
            return f"model_weights/{name}/{name}/{('kernel', 'bias')[kind]}"
        group = ("dense" if name in ("fc1", "fc2", "predictions") else "conv2d") + f"_{number}"
        return f"layers/{group.removesuffix('_0')}/vars/{kind}"

    arrays, number = {}, 0
    for k, stage in enumerate(vgg.stages, 1):
        for j, layer in enumerate(stage, 1):
            name = f"block{k}_conv{j}"
            arrays[path(name, number, 0)] = layer.weight.transpose(2, 3, 1, 0)
            arrays[path(name, number, 1)] = layer.bias
            number += 1
    if top:  # not in the layout of blocks
        for number, (name, layer) in enumerate(zip(("fc1", "fc2", "predictions"), vgg.fc)):
            weight = layer.weight
            if name == "fc1":  # Keras flattens rows, columns, channels
                weight = weight.reshape(FC_WIDTH, -1, 7, 7).transpose(0, 2, 3, 1)
                weight = weight.reshape(FC_WIDTH, -1)
            arrays[path(name, number, 0)] = weight.T
            arrays[path(name, number, 1)] = layer.bias
    return arrays


def write_hdf5(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs["backend"] = "tensorflow"


def caffe_content(vgg, top=True):
    """A file of the original network, as its authors published it: BGR, in the format of 2014."""
    layers = {
        f"conv{k}_{j}": [layer.weight, layer.bias]
        for k, stage in enumerate(vgg.stages, 1)
        for j, layer in enumerate(stage, 1)
    }
    if top:
        layers |= {f"fc{k}": [one.weight, one.bias] for k, one in enumerate(vgg.fc, 6)}
    return test_caffe_file.network(layers, old=True)


class ZooVgg(nn.Cell):
    """The model zoo's network: `layers`, or `features` in MindCV, and `classifier`."""

    def __init__(self, vgg, name, has_bias):
        super().__init__()
        layers = []
        for stage in vgg.stages:
            for layer in stage:
                layers.append(zoo_convolution(layer, has_bias))
                if layer.norm:
                    layers.append(nn.BatchNorm2d(num_features=len(layer.weight)))
                layers.append(nn.ReLU())
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        setattr(self, name, nn.SequentialCell(layers))
        dense = [nn.Dense(layer.weight.shape[1], len(layer.weight)) for layer in vgg.fc]
        self.classifier = nn.SequentialCell(
            [dense[0], nn.ReLU(), nn.Dropout(p=0.5), dense[1], nn.ReLU(), nn.Dropout(p=0.5)]
            + dense[2:]
        )
        self.name, self.hidden = name, (dense[0], dense[1])

    def features_of(self, x):
        pools = []
        for layer in getattr(self, self.name):
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(x)
        return pools


class CtpnVgg(nn.Cell):
    """The model zoo's network as CTPN trains it."""

    def __init__(self, vgg):
        super().__init__()
        extractor = nn.Cell()
        for k, stage in enumerate(vgg.stages, 1):
            for j, layer in enumerate(stage, 1):
                norm = nn.BatchNorm2d(num_features=len(layer.weight))
                cell = nn.SequentialCell([zoo_convolution(layer, False), norm])
                setattr(extractor, f"conv{k}_{j}", cell)
        self.vgg16_feature_extractor = extractor
        classifier = nn.Cell()
        for number, layer in enumerate(vgg.fc[:2], 1):
            setattr(classifier, f"fc{number}", nn.Dense(layer.weight.shape[1], len(layer.weight)))
        self.classifier = classifier
        self.fc3 = nn.Dense(FC_WIDTH, CLASSES)
        self.depths = [len(stage) for stage in vgg.stages]
        self.hidden = (self.classifier.fc1, self.classifier.fc2)

    def features_of(self, x):
        pools = []
        for k, depth in enumerate(self.depths, 1):
            for j in range(1, depth + 1):
                x = ms.ops.relu(getattr(self.vgg16_feature_extractor, f"conv{k}_{j}")(x))
            x = ms.ops.max_pool2d(x, kernel_size=2, stride=2)
            pools.append(x)
        return pools


def zoo_convolution(layer, has_bias):
    out_channels, in_channels = layer.weight.shape[:2]
    return nn.Conv2d(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=3,
        pad_mode="pad",
        padding=1,
        has_bias=has_bias,
    )


def zoo_source(vgg, layout):
    """A network of MindSpore's layers with the weights of a source, in evaluation mode."""
    if layout == "ctpn":
        network = CtpnVgg(vgg)
    else:
        network = ZooVgg(vgg, layout, vgg.stages[0][0].bias is not None)
    values = [layer for stage in vgg.stages for layer in stage] + vgg.fc
    cells = [
        cell for _, cell in network.cells_and_names() if isinstance(cell, (nn.Conv2d, nn.Dense))
    ]
    norms = [cell for _, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    assert len(cells) == len(values)
    for cell, layer in zip(cells, values):
        cell.weight.set_data(ms.Tensor(layer.weight))
        if layer.bias is not None:
            cell.bias.set_data(ms.Tensor(layer.bias))
    for cell, layer in zip(norms, values):
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        for name, value in zip(names, layer.norm):
            getattr(cell, name).set_data(ms.Tensor(value))
    return network.set_train(False)


def zoo_features(network, x):
    pools = network.features_of(ms.Tensor(x))
    n, _, height, width = pools[-1].shape
    patches = ms.ops.unfold(pools[-1], 7, padding=3)  # (N, C*49, L)
    rows = ms.ops.transpose(patches, (0, 2, 1))
    for dense in network.hidden:
        rows = ms.ops.relu(dense(rows))
    conv7 = ms.ops.transpose(rows, (0, 2, 1)).reshape(n, -1, height, width)
    return [feature.asnumpy() for feature in (*pools, conv7)]


# --- features -------------------------------------------------------------------------------------


@functools.lru_cache
def network_for(backbone):
    """One network for all tests, for its first run takes long: its weights are replaced."""
    return model.FCN8s(4, depths=model.BACKBONES[backbone], **TINY).set_train(False)


def convert(tool, source, *flags, fc=True):
    """An FCN-8s with the converted backbone, and its checkpoint."""
    output = source.with_name("converted.ckpt")
    tool.main([str(source), str(output), *flags])
    network = network_for(checkpoint.read_metadata(output)["backbone"])
    report = checkpoint.load_into(network, checkpoint.read(output))
    heads = {name for name in network.parameters_dict() if "score" in name}
    if not fc:
        heads |= {name for name in network.parameters_dict() if name[:5] in ("conv6", "conv7")}
    assert set(report.missing) == heads and not report.dropped and not report.unused
    return network, output


def converted_features(network, image):
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    x = ms.Tensor(transforms.normalize(image, table)[np.newaxis])
    features = []
    for number in range(1, 6):
        x = getattr(network, f"pool{number}")(getattr(network, f"conv{number}")(x))
        features.append(x)
    features.append(network.conv7(network.conv6(x)))
    return [feature.asnumpy() for feature in features]


def assert_equal(found, expected, where=None, tolerance=1e-4):
    for number, (one, other) in enumerate(zip(found, expected)):
        assert one.shape == other.shape
        inside = np.ones(one.shape[2:], bool) if where is None else where[number]
        difference = np.abs(one - other)[:, :, inside].max()
        assert np.abs(other).max() > 0.1 and (other > 0).mean() > 0.05  # not all dead
        assert difference <= tolerance * np.abs(other).max(), (*POOLS, "conv7")[number]


BACKBONES = pytest.mark.parametrize("backbone", ["vgg16", "vgg19"])
BATCH_NORM = pytest.mark.parametrize("batch_norm", [True, False], ids=["bn", "plain"])


@BACKBONES
@BATCH_NORM
def test_safetensors(tool, tmp_path, backbone, batch_norm, capsys):
    vgg = random_vgg(model.BACKBONES[backbone], batch_norm)
    source = tmp_path / "vgg.safetensors"
    safetensors.numpy.save_file(torch_arrays(vgg), source)
    network, _ = convert(tool, source)
    image = picture()
    expected = numpy_features(vgg, torch_input(image))
    # Less than BatchNorm's epsilon would make of sources that have none.
    assert_equal(converted_features(network, image), expected, tolerance=1e-5)
    printed = capsys.readouterr().out
    assert f"torchvision, {backbone}:" in printed
    assert "left out: classifier.6.bias, classifier.6.weight\n" in printed
    assert ("--freeze-bn" in printed) != batch_norm
    assert ("--backbone vgg19" in printed) == (backbone == "vgg19")


@BACKBONES
@BATCH_NORM
@pytest.mark.parametrize("kind", ["pth", "pth in a training's checkpoint", "safetensors"])
def test_torch_modules(tool, tmp_path, backbone, batch_norm, kind):
    torch = pytest.importorskip("torch")
    vgg = random_vgg(model.BACKBONES[backbone], batch_norm)
    source = tmp_path / f"vgg.{kind.split()[0]}"
    layers = []
    for stage in vgg.stages:
        for layer in stage:
            layers.append(torch.nn.Conv2d(*layer.weight.shape[1::-1], 3, padding=1))
            layers += [torch.nn.BatchNorm2d(len(layer.weight))] if batch_norm else []
            layers.append(torch.nn.ReLU(inplace=True))
        layers.append(torch.nn.MaxPool2d(2, 2))
    dense = [torch.nn.Linear(*layer.weight.shape[::-1]) for layer in vgg.fc]
    between = [torch.nn.ReLU(True), torch.nn.Dropout()]
    network = torch.nn.Module()
    network.features = torch.nn.Sequential(*layers)
    network.classifier = torch.nn.Sequential(dense[0], *between, dense[1], *between, dense[2])
    state = {name: torch.from_numpy(value) for name, value in torch_arrays(vgg).items()}
    network.load_state_dict(state, strict=True)
    network.eval()
    if kind == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(network.state_dict(), source)
    elif kind == "pth":
        torch.save(network.state_dict(), source)
    else:
        state = {f"module.{name}": value for name, value in network.state_dict().items()}
        torch.save({"epoch": 3, "model": state}, source)
    image = picture()
    with torch.no_grad():
        x = torch.from_numpy(torch_input(image))
        expected = []
        for layer in network.features:
            x = layer(x)
            if isinstance(layer, torch.nn.MaxPool2d):
                expected.append(x)
        rows = torch.nn.functional.unfold(x, 7, padding=3).transpose(1, 2)
        rows = network.classifier[:6](rows)
        expected.append(rows.transpose(1, 2).reshape(1, -1, *x.shape[2:]))
    converted, _ = convert(tool, source)
    assert_equal(converted_features(converted, image), [one.numpy() for one in expected])


def test_timm(tool, tmp_path, capsys):
    vgg = random_vgg(model.BACKBONES["vgg16"], batch_norm=True)
    arrays = torch_arrays(vgg, ("pre_logits.fc1", "pre_logits.fc2", "head.fc"))
    shape = (FC_WIDTH, WIDTHS[-1], 7, 7)
    arrays["pre_logits.fc1.weight"] = arrays["pre_logits.fc1.weight"].reshape(shape)
    arrays["pre_logits.fc2.weight"] = arrays["pre_logits.fc2.weight"][:, :, np.newaxis, np.newaxis]
    source = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(arrays, source)
    network, _ = convert(tool, source)
    image = picture()
    assert_equal(converted_features(network, image), numpy_features(vgg, torch_input(image)))
    assert "timm, vgg16:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("layout", "batch_norm", "bias", "backbone"),
    [
        ("layers", True, False, "vgg16"),
        ("layers", True, True, "vgg16"),
        ("layers", False, True, "vgg19"),
        ("ctpn", True, False, "vgg16"),
        ("features", True, False, "vgg19"),
        ("features", False, False, "vgg16"),
    ],
)
def test_mindspore_networks(tool, tmp_path, layout, batch_norm, bias, backbone, capsys):
    vgg = random_vgg(model.BACKBONES[backbone], batch_norm, bias)
    network = zoo_source(vgg, layout)
    source = tmp_path / "vgg.ckpt"
    ms.save_checkpoint(network, str(source))
    names = list(ms.load_checkpoint(str(source)))
    first = {"ctpn": "vgg16_feature_extractor.conv1_1.0"}.get(layout, f"{layout}.0")
    assert names[0] == f"{first}.weight"
    converted, _ = convert(tool, source)
    image = picture()
    expected = zoo_features(network, torch_input(image))
    assert_equal(converted_features(converted, image), expected)
    assert_equal(expected, numpy_features(vgg, torch_input(image)))
    printed = capsys.readouterr().out
    assert ("MindCV" if layout == "features" else "MindSpore model zoo") in printed


def keras_input(image):
    """BGR less the mean: float64 (1, 3, H, W)."""
    return (image - np.array(KERAS_MEAN)).transpose(2, 0, 1)[np.newaxis]


def inside(depths, height, width):
    """Where features see nothing but the picture: a mask for each of pool1 to pool5.

    Of the smallest picture that has such features in pool5 a side is 288 pixels (VGG-16)."""
    seen, masks = np.ones((height, width), np.uint8), []
    for depth in depths:
        seen = cv2.erode(seen, np.ones((3, 3)), iterations=depth, borderValue=0)
        seen = seen.reshape(seen.shape[0] // 2, 2, seen.shape[1] // 2, 2).min(axis=(1, 3))
        masks.append(seen.astype(bool))
    return masks


@pytest.mark.parametrize(
    ("layout", "suffix", "top", "backbone"),
    [
        ("keras 1", "h5", True, "vgg16"),
        ("keras 1", "h5", False, "vgg19"),
        ("keras", "h5", True, "vgg19"),
        ("model", "hdf5", False, "vgg16"),
        ("keras 3", "weights.h5", True, "vgg16"),
        ("keras 3", "weights.h5", False, "vgg19"),
        ("keras 3 names", "weights.h5", True, "vgg16"),
        ("keras 3 blocks", "weights.h5", False, "vgg19"),
    ],
)
def test_keras(tool, tmp_path, layout, suffix, top, backbone, capsys):
    depths = model.BACKBONES[backbone]
    vgg = random_vgg(depths, first_scale=1 / 60)
    source = tmp_path / f"vgg.{suffix}"
    write_hdf5(source, keras_arrays(vgg, layout, top))
    network, output = convert(tool, source, fc=top)
    count = 6 if top else 5
    assert ("conv6.0.weight" in checkpoint.read(output)) == top
    size = (288, 288) if layout == "keras 1" and top else (128, 160)
    image = picture(*size)
    found = converted_features(network, image)[:count]
    expected = numpy_features(vgg, keras_input(image))[:count]
    where = [mask for mask in inside(depths, *size) if mask.any()]
    assert len(where) >= (5 if size == (288, 288) else 3) and not where[0].all()
    assert_equal(found[: len(where)], expected[: len(where)], where)
    # The border sees our mean colour in place of Keras's, and that is all that differs.
    assert_equal(found, expected, tolerance=1e-2)
    offset = (np.array(voc.IMAGE_MEAN) - KERAS_MEAN)[:, np.newaxis, np.newaxis]
    assert_equal(found, numpy_features(vgg, keras_input(image), offset)[:count])
    with pytest.raises(AssertionError):
        assert_equal(found, expected)
    printed = capsys.readouterr().out
    assert f"{backbone}:" in printed and "input of the source: caffe" in printed
    assert ("conv6 and conv7 are not there" in printed) != top


@pytest.mark.parametrize("top", [True, False])
def test_caffe(tool, tmp_path, top, capsys):
    """The same parameters as from Keras's file of the same network."""
    vgg = random_vgg(model.BACKBONES["vgg16"], first_scale=1 / 60)
    source, output = tmp_path / "vgg.caffemodel", tmp_path / "vgg.ckpt"
    source.write_bytes(caffe_content(vgg, top))
    tool.main([str(source), str(output)])
    printed = capsys.readouterr().out
    assert "Caffe, vgg16:" in printed and "input of the source: caffe" in printed
    assert ("left out: fc8.weight, fc8.bias" in printed) == top
    expected = conversion.convert(keras_arrays(vgg, top=top)).parameters
    assert_parameters(output, expected)


def assert_parameters(output, expected):
    found = {name: one.asnumpy() for name, one in checkpoint.read(output).items()}
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def write_onnx(path, arrays, raw=True):
    onnx = pytest.importorskip("onnx")
    tensors = [
        onnx.numpy_helper.from_array(array, name)
        if raw
        else onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, array.shape, array.ravel())
        for name, array in arrays.items()
    ]
    tensors.append(onnx.numpy_helper.from_array(np.array([1, -1]), "shape"))
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)), path)
    return tensors


@pytest.mark.parametrize("raw", [True, False])
def test_onnx(tool, tmp_path, raw):
    vgg = random_vgg(model.BACKBONES["vgg19"])
    source, output = tmp_path / "vgg.onnx", tmp_path / "vgg.ckpt"
    write_onnx(source, torch_arrays(vgg), raw)
    tool.main([str(source), str(output)])
    assert_parameters(output, conversion.convert(torch_arrays(vgg)).parameters)


def test_onnx_that_is_not_read(tool, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    source, output = tmp_path / "vgg.onnx", tmp_path / "vgg.ckpt"
    arrays = {"features.0.weight": np.zeros((4, 3, 3, 3), np.float32)}
    (tensor, *_) = write_onnx(source, arrays)
    content = source.read_bytes()
    numbers = tensor.raw_data
    tensor.raw_data = numbers[:-4]
    wrong = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    elsewhere = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    for damaged_content, message in (
        (content[: len(content) // 2], "cut short"),
        (wrong.SerializeToString(), "of shape (4, 3, 3, 3) has 428 bytes of numbers"),
        (elsewhere.SerializeToString(), "its weights lie in other files"),
    ):
        source.write_bytes(damaged_content)
        error = error_of(tool.main, [source, output], capsys)
        assert message in error and str(source) in error
        assert not output.exists()


def test_preprocessing_of_the_original_network(tool, tmp_path, capsys):
    """torchvision's IMAGENET1K_FEATURES: torchvision's names, RGB less a mean, and no classifier
    worth the name."""
    vgg = random_vgg(model.BACKBONES["vgg16"], first_scale=1 / 60)
    arrays = torch_arrays(vgg)
    arrays["classifier.0.weight"] = np.full_like(arrays["classifier.0.weight"], np.nan)
    source = tmp_path / "vgg16_features.safetensors"
    safetensors.numpy.save_file(arrays, source)
    assert "not finite" in error_of(tool.main, [source, tmp_path / "out.ckpt"], capsys)
    network, _ = convert(tool, source, "--preprocessing", "caffe-rgb", "--without-fc", fc=False)
    image = picture(128, 160)
    mean = np.array((0.48235, 0.45882, 0.40784)) * 255
    x = (image[:, :, ::-1] - mean).transpose(2, 0, 1)[np.newaxis]
    found = converted_features(network, image)[:4]
    where = inside(model.BACKBONES["vgg16"], 128, 160)
    assert_equal(found, numpy_features(vgg, x)[:4], where)


def test_moving_statistics_are_the_sources(tool, tmp_path):
    vgg = random_vgg(model.BACKBONES["vgg16"], batch_norm=True)
    source = tmp_path / "vgg.safetensors"
    safetensors.numpy.save_file(torch_arrays(vgg), source)
    _, output = convert(tool, source)
    parameters = checkpoint.read(output)
    layer = vgg.stages[2][1]
    found = [parameters[f"conv3.4.{name}"].asnumpy() for name in ("gamma", "beta")]
    assert np.array_equal(found[0], layer.norm[0]) and np.array_equal(found[1], layer.norm[1])
    mean = parameters["conv3.4.moving_mean"].asnumpy()
    assert np.allclose(mean, layer.norm[2] - layer.bias, atol=1e-6)
    variance = parameters["conv3.4.moving_variance"].asnumpy()
    assert np.array_equal(variance, layer.norm[3])
    # torchvision's input is this package's but for the order, so not a bit changes.
    first = parameters["conv1.0.weight"].asnumpy()
    assert np.array_equal(first, vgg.stages[0][0].weight[:, ::-1])


def test_training_starts_from_it(tool, tmp_path, record, tiny_network, capsys):
    vgg = random_vgg(model.BACKBONES["vgg19"], batch_norm=True)
    source, output = tmp_path / "vgg.safetensors", tmp_path / "vgg19.ckpt"
    safetensors.numpy.save_file(torch_arrays(vgg), source)
    tool.main([str(source), str(output)])
    ms.set_context(mode=ms.GRAPH_MODE)
    train.main(
        ["--data", str(record), "--crop-size", "32", "--batch-size", "2", "--workers", "1"]
        + ["--steps", "1", "--output", str(tmp_path / "run"), "--device", "CPU"]
        + ["--pretrained", str(output), "--backbone", "vgg19"]
    )
    assert "90 parameters loaded; 6 missing (score_fr.weight" in capsys.readouterr().out


def keras_by_block(vgg):
    """As a network of Keras 3 stores it whose blocks are layers of their own; without fc."""
    arrays = {}
    for number, stage in enumerate(vgg.stages, 1):
        for place, layer in enumerate(stage):
            name = f"block{number}/layers/conv2d" + (f"_{place}" if place else "")
            arrays[f"{name}/vars/0"] = layer.weight.transpose(2, 3, 1, 0)
            arrays[f"{name}/vars/1"] = layer.bias
    return arrays


def test_calibration_from_a_record(tool, tmp_path, record, capsys):
    """A Keras 3 file with a layer per block, and statistics of the record's crops."""
    vgg = random_vgg(model.BACKBONES["vgg16"])
    source = tmp_path / "hed.weights.h5"
    with h5py.File(source, "w") as file:
        for name, array in keras_by_block(vgg).items():
            file[name] = array
        file["fuse/vars/0"] = np.zeros((1, 1, 5, 1), np.float32)
    calibration = ["--calibrate", str(record), "--calibrate-crops", "6"]
    calibration += ["--calibrate-crop-size", "64"]
    network, output = convert(tool, source, *calibration, fc=False)
    printed = capsys.readouterr().out
    assert "vgg16: 13 convolutions" in printed
    assert "statistics of 6 crops" in printed
    assert "left out: fuse/vars/0" in printed and "--freeze-bn" not in printed
    assert f"--data {record} --pretrained {output}" in printed
    found = converted_features(network, picture())[:5]
    offset = (np.array(voc.IMAGE_MEAN) - KERAS_MEAN)[:, np.newaxis, np.newaxis]
    expected = numpy_features(vgg, keras_input(picture()), offset)[:5]
    for one, other in zip(found, expected):
        other = other * (one.std() / other.std())
        assert np.abs(one - other).max() <= 1e-3 * np.abs(other).max()
        assert 0.3 < one.std() < 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--calibrate", "none.mindrecord"], "none.mindrecord is missing; build it with"),
        (["--calibrate", __file__], ".db is missing: MindRecord needs it"),
        (["--calibrate-crops", "1"], "--calibrate-crops is 1; take at least 2"),
        (["--calibrate-crop-size", "50"], "--calibrate-crop-size is 50; take a multiple of 32"),
        ([], "the source has BatchNorm and its statistics; leave out --calibrate"),
    ],
)
def test_calibration_that_cannot_be(tool, tmp_path, arrays, record, flags, message, capsys):
    source = tmp_path / "vgg.safetensors"
    safetensors.numpy.save_file(arrays, source)
    given = [source, tmp_path / "out.ckpt", "--calibrate", record, *flags]
    assert message in error_of(tool.main, given, capsys)
    assert not (tmp_path / "out.ckpt").exists()


def test_start_of_the_papers_networks(tool, tmp_path, capsys):
    """torchvision's plain VGG-16; features of a picture's inside, in front of every pool."""
    vgg = random_vgg(model.BACKBONES["vgg16"])
    source, output = tmp_path / "vgg16.safetensors", tmp_path / "vgg16.ckpt"
    safetensors.numpy.save_file(torch_arrays(vgg), source)
    tool.main([str(source), str(output), "--paper"])
    assert "--pretrained" in (printed := capsys.readouterr().out) and "fcn32s_paper" in printed
    network = model.FCN32sPaper(4, **TINY).set_train(False)
    report = checkpoint.load_into(network, checkpoint.read(output))
    assert set(report.missing) == {"score_fr.weight", "score_fr.bias", "upscore.weight"}
    assert not report.dropped and not report.unused
    image = picture(128, 160)
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    x = ms.Tensor(transforms.normalize(image, table)[np.newaxis])
    pool3 = network.features(x)[0].asnumpy()
    expected = numpy_features(vgg, torch_input(image))[2]
    # The padding moves the picture by 99 pixels, one of the 100 being the convolution's own. That
    # is 12 cells of pool3 and 3 pixels.
    moved = numpy_features(vgg, torch_input(np.roll(image, (3, 3), (0, 1))))[2]
    inside = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    found = pool3[:, :, 12 : 12 + moved.shape[2], 12 : 12 + moved.shape[3]]
    difference = np.abs(found[inside] - moved[inside]).max()
    assert difference <= 1e-3 * np.abs(moved).max()
    assert np.abs(found[inside] - expected[inside]).max() > 1e-2 * np.abs(expected).max()


def test_paper_is_for_vgg_16_without_batch_norm(tool, tmp_path, record, capsys):
    for backbone, batch_norm in (("vgg16", True), ("vgg19", False)):
        source = tmp_path / f"{backbone}.safetensors"
        vgg = random_vgg(model.BACKBONES[backbone], batch_norm=batch_norm)
        safetensors.numpy.save_file(torch_arrays(vgg), source)
        given = [source, tmp_path / "out.ckpt", "--paper"]
        assert f"it is a {backbone} with" in error_of(tool.main, given, capsys)
    given += ["--calibrate", record]
    assert "--calibrate is for BatchNorm" in error_of(tool.main, given, capsys)
    assert not (tmp_path / "out.ckpt").exists()


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def arrays():
    return torch_arrays(random_vgg(model.BACKBONES["vgg16"], batch_norm=True))


def test_what_is_written(tool, tmp_path, arrays):
    source, output = tmp_path / "vgg.safetensors", tmp_path / "new" / "vgg16.ckpt"
    safetensors.numpy.save_file(arrays, source)
    tool.main([str(source), str(output), "--without-fc"])
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "vgg16.ckpt",
        "vgg16.ckpt.json",
    ]
    metadata = json.loads((tmp_path / "new" / "vgg16.ckpt.json").read_text())
    assert metadata["source"] == source.name and metadata["layout"] == "torchvision"
    assert metadata["backbone"] == "vgg16" and metadata["batch_norm"]
    assert metadata["preprocessing"] == "torchvision"
    assert len(metadata["sha256"]) == len(metadata["source_sha256"]) == 64
    parameters = checkpoint.read(output)
    assert list(parameters) == metadata["converted"]
    own = model.FCN8s(2, **TINY).parameters_dict()
    assert list(parameters) == [name for name in own if name[:5] < "conv6"]
    left = {name.rsplit(".", 1)[0] for name in metadata["left"]}
    assert {"classifier.0", "classifier.3", "classifier.6"} < left


def damaged(arrays, change):
    """Arrays after a change: names to None (missing), to a shape, or to a number in them."""
    for name, what in change.items():
        if what is None:
            del arrays[name]
        elif isinstance(what, tuple):
            arrays[name] = np.zeros(what, np.float32)
        else:
            arrays[name] = arrays[name].copy()
            arrays[name].flat[0] = what
    return arrays


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.1.running_mean": None}, "features.1.running_mean is missing"),
        ({"features.0.bias": None}, "features.0.bias is missing"),
        ({"features.10.weight": None}, "before features.14 a convolution of VGG is missing"),
        ({"features.40.weight": None}, "it has 2, 2, 3, 3, 2 convolutions before its pools"),
        ({"features.3.weight": (4, 5, 3, 3)}, "features.3.weight has shape (4, 5, 3, 3), VGG's is"),
        ({"features.3.weight": (4, 4, 5, 5)}, "VGG's is (4, 4, 3, 3)"),
        ({"features.3.weight": (6, 4, 3, 3)}, "VGG's is (4, 4, 3, 3)"),
        ({"features.4.weight": (5,)}, "features.4.weight has shape (5,) and features.3.weight 4"),
        ({"features.4.running_var": np.nan}, "features.4.running_var has numbers that are not fin"),
        ({"classifier.0.weight": (16, 8)}, "need the 392 inputs of a network for 224x224 pixels"),
        ({"classifier.3.weight": None}, "of fc6 and fc7 only classifier.0 is there"),
        ({"classifier.3.weight": (9, 16), "classifier.3.bias": (9,)}, "has 9 outputs and classif"),
        ({"classifier.3.bias": None}, "classifier.3.bias is missing"),
    ],
)
def test_sources_that_do_not_fit(tool, tmp_path, arrays, change, message, capsys):
    source, output = tmp_path / "vgg.safetensors", tmp_path / "vgg16.ckpt"
    output.write_bytes(b"older")
    safetensors.numpy.save_file(damaged(arrays, change), source)
    error = error_of(tool.main, [source, output], capsys)
    assert message in error and str(source) in error
    assert output.read_bytes() == b"older"
    assert {path.name for path in tmp_path.iterdir()} == {"vgg.safetensors", "vgg16.ckpt"}
    if all(name.startswith("classifier") for name in change):
        assert "--without-fc" in error or "missing" in error
        tool.main([str(source), str(output), "--without-fc"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block3_conv2/block3_conv2/kernel:0": None}, "the kernel of block3_conv2 is missing"),
        ({"block3_conv2/block3_conv2/bias:0": None}, "the bias of block3_conv2 is missing"),
        (
            {f"block3_conv2/block3_conv2/{kind}:0": None for kind in ("kernel", "bias")},
            "convolution 2 of block 3 is missing",
        ),
        (
            {"block1_conv1/block1_conv1/kernel:0": (4, 3, 3, 3)},
            "has shape (4, 3, 3, 3), VGG's is (3, 3, 3, N); take VGG-16 or VGG-19, in TensorFlow's",
        ),
    ],
)
def test_keras_files_that_do_not_fit(tool, tmp_path, change, message, capsys):
    source = tmp_path / "vgg.h5"
    vgg = random_vgg(model.BACKBONES["vgg16"])
    write_hdf5(source, damaged(keras_arrays(vgg), change))
    error = error_of(tool.main, [source, tmp_path / "out.ckpt"], capsys)
    assert message in error and str(source) in error


def test_other_networks(tool, tmp_path, arrays, capsys):
    source, output = tmp_path / "other.safetensors", tmp_path / "out.ckpt"
    for names, message in (
        (["stages.0.weight", "fc.weight"], "its names (fc.weight, stages.0.weight)"),
        (["conv1.0.weight"], "pass it to --pretrained unchanged"),
    ):
        safetensors.numpy.save_file({name: np.zeros(3, np.float32) for name in names}, source)
        assert message in error_of(tool.main, [source, output], capsys)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".h5", ".ckpt", ".caffemodel", ".onnx"])
def test_damaged_files(tool, tmp_path, suffix, capsys):
    if suffix == ".pth":
        pytest.importorskip("torch")
    source = tmp_path / f"vgg{suffix}"
    source.write_bytes(b"This is no file of weights at all." * 9)
    error = error_of(tool.main, [source, tmp_path / "out.ckpt"], capsys)
    assert str(source) in error and "damaged" in error
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_pickled_code_is_not_run(tool, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    source = tmp_path / "vgg.pth"
    torch.save(torch.nn.Linear(2, 3), source)
    error = error_of(tool.main, [source, tmp_path / "out.ckpt"], capsys)
    assert "holds more than weights, which is not loaded for safety" in error


class Touch:
    """Creates a file when it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("new_format", [True, False])
def test_commands_in_a_pickle_are_not_run(tool, tmp_path, new_format, capsys):
    torch = pytest.importorskip("torch")
    source, trace = tmp_path / "vgg.pth", tmp_path / "trace"
    content = {"conv1.weight": torch.zeros(3), "code": Touch(trace)}
    torch.save(content, source, _use_new_zipfile_serialization=new_format)
    error = error_of(tool.main, [source, tmp_path / "out.ckpt"], capsys)
    assert "holds more than weights, which is not loaded for safety" in error
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize(
    ("suffix", "package", "remedy"),
    [(".pth", "torch", "pip install torch"), (".h5", "h5py", "pip install -e '.[convert]'")],
)
def test_package_that_is_missing(tool, tmp_path, suffix, package, remedy, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    source = tmp_path / f"vgg{suffix}"
    source.write_bytes(b"whatever")
    error = error_of(tool.main, [source, tmp_path / "out.ckpt"], capsys)
    assert str(source) in error and remedy in error


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("vgg.pth", "out.ckpt", "vgg.pth is missing"),
        ("vgg.bin", "out.ckpt", "is of an unknown kind; convert one of .pth, .pt, .safetensors"),
        ("vgg.pth", "out.pth", "OUTPUT is out.pth; give it a name that ends in .ckpt"),
        ("vgg.ckpt", "vgg.ckpt", "vgg.ckpt is SOURCE too"),
    ],
)
def test_bad_arguments(tool, source, output, message, capsys):
    assert message in error_of(tool.main, [source, output], capsys)
