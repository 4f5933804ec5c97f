from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from fcn8s_ms import model
from fcn8s_ms.distributed import agreement
from fcn8s_ms.distributed.ranks import Ranks
from fcn8s_ms.network import batch_norm, freeze
from fcn8s_ms.network.architectures import ARCHITECTURES
from fcn8s_ms.training import interruption

from ..helpers import TINY


class FakeRanks(Ranks):
    """The first of three ranks; the others say what they are given."""

    def __init__(self, *others):
        super().__init__(0, 1 + len(others))
        self.others = others

    def gather(self, array):
        return [array, *map(np.array, self.others)]


def agree(callback, outputs):
    context = SimpleNamespace(net_outputs=outputs)
    callback.on_train_step_end(SimpleNamespace(original_args=lambda: context))
    return context.net_outputs


def test_loss_is_the_mean_over_the_ranks():
    request = interruption.StopRequest()
    callback = agreement.Agreement(FakeRanks([2.5, 0], [6.0, 0]), [], request)
    assert float(agree(callback, Tensor(0.5, ms.float32))) == 3.0
    assert request.signum is None
    loss, overflow, scale = agree(callback, (Tensor(0.5, ms.float32), "overflow", "scale"))
    assert (float(loss), overflow, scale) == (3.0, "overflow", "scale")


def test_a_signal_to_one_is_one_to_all():
    request = interruption.StopRequest()
    agree(agreement.Agreement(FakeRanks([1, 0], [1, 15]), [], request), Tensor(1.0, ms.float32))
    assert request.signum == 15
    agree(agreement.Agreement(FakeRanks([1, 2], [1, 0]), [], request), Tensor(1.0, ms.float32))
    assert request.signum == 15  # the first one counts
    before_a_step = interruption.StopRequest()
    before_a_step.spread(FakeRanks([0], [2]))
    assert before_a_step.signum == 2


def test_one_process_is_left_alone():
    request = interruption.StopRequest()
    outputs = Tensor(1.0, ms.float32)
    assert agree(agreement.Agreement(Ranks(), [], request), outputs) is outputs


def test_statistics_become_their_mean(monkeypatch):
    """Of this rank and one whose numbers are all greater by 6, in one message."""
    messages = []

    def all_reduce(flat):
        messages.append(flat.shape)
        return 2 * flat + 6

    monkeypatch.setattr(agreement.ops, "AllReduce", lambda: all_reduce)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        values = [np.arange(4, dtype=np.float32), np.array([5, 7], np.float32)]
        parameters = [ms.Parameter(Tensor(v), name=f"p{i}") for i, v in enumerate(values)]
        ranks = FakeRanks([0.0, 0])
        agreement.Agreement(ranks, parameters, interruption.StopRequest()).average_statistics()
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    assert messages == [(6,)]
    for parameter, value in zip(parameters, values):
        assert np.array_equal(parameter.asnumpy(), value + 3)


def test_statistics_that_training_changes():
    network = model.FCN8s(21, **TINY)
    names = [parameter.name for parameter in batch_norm.moving_statistics(network)]
    assert len(names) == 30 and names[:2] == ["conv1.1.moving_mean", "conv1.1.moving_variance"]
    freeze.freeze_part(network, ARCHITECTURES["fcn8s"].parts["backbone"])
    names = [parameter.name for parameter in batch_norm.moving_statistics(network)]
    assert [name.split(".")[0] for name in names] == ["conv6", "conv6", "conv7", "conv7"]


def test_batch_norm_is_synchronized_but_where_it_is_frozen(monkeypatch):
    """SyncBatchNorm is for Ascend: what it is asked for."""
    made = []

    class SyncBatchNorm(nn.Cell):
        def __init__(self, **arguments):
            super().__init__()
            made.append(arguments)

    monkeypatch.setattr(nn, "SyncBatchNorm", SyncBatchNorm)
    network = model.FCN8s(21, **TINY)
    freeze.freeze_part(network, ARCHITECTURES["fcn8s"].parts["backbone"])
    parameters = list(network.get_parameters())
    names = [parameter.name for parameter in parameters]
    assert batch_norm.synchronize_batch_norm(network) == 2
    assert (
        made
        == [{"num_features": 16, "eps": pytest.approx(1e-5), "momentum": pytest.approx(0.9)}] * 2
    )
    assert isinstance(network.conv6[1], SyncBatchNorm)
    assert isinstance(network.conv1[1], nn.BatchNorm2d)
    found = {parameter.name: parameter for parameter in network.get_parameters()}
    assert sorted(found) == sorted(names)
    assert all(found[parameter.name] is parameter for parameter in parameters)
    assert batch_norm.moving_statistics(network) == []
