import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms import transforms, voc
from fcn8s_ms.deployment import deployed
from fcn8s_ms.model import FCN8s

from ..helpers import TINY, fill


@pytest.fixture
def network():
    network = FCN8s(3, **TINY)
    fill(network)
    return network


def state(network):
    """Public switches of a network, and its layers' modes."""
    public = {name: one for name, one in vars(network).items() if not name.startswith("_")}
    return {name: one for name, one in public.items() if isinstance(one, bool)}, [
        cell.training for _, cell in network.cells_and_names()
    ]


@pytest.mark.parametrize("training", [False, True])
def test_the_callers_network_stays_as_it_was(network, tmp_path, training, monkeypatch):
    network.set_train(training)
    before = state(network)
    deployed.Deployed(network, argmax=True)
    assert state(network) == before
    deployed.write(network, tmp_path / "a.mindir", "MINDIR")
    assert state(network) == before

    def fail(*arguments, **options):
        raise RuntimeError("no space\nleft")

    monkeypatch.setattr(ms, "export", fail)
    with pytest.raises(OSError, match="no space$"):
        deployed.write(network, tmp_path / "b.mindir", "MINDIR")
    assert state(network) == before


def test_pixels_to_class_ids(network):
    network.set_train(False)
    pixels = np.random.RandomState(0).randint(0, 256, (2, 32, 64, 3)).astype(np.uint8)
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    batch = Tensor(np.stack([transforms.normalize(one, table) for one in pixels]))
    logits = network(batch).asnumpy()
    assert np.array_equal(deployed.Deployed(network)(batch).asnumpy(), logits)
    ids = deployed.Deployed(network, argmax=True, normalize=True)(Tensor(pixels)).asnumpy()
    assert ids.dtype == np.int32 and ids.shape == (2, 32, 64)
    assert (ids != logits.argmax(axis=1)).mean() <= 1e-4
