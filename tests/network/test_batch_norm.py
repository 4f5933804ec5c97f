import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from fcn8s_ms.model import FCN8s
from fcn8s_ms.network.batch_norm import fold_batch_norm

from ..helpers import TINY


def test_folded_network_gives_the_same_logits():
    ms.set_seed(1)
    rng = np.random.RandomState(1)
    network = FCN8s(4, **TINY).set_train(False)
    for parameter in network.get_parameters():
        if parameter.name.endswith(("gamma", "beta", "moving_mean", "moving_variance")):
            values = rng.uniform(0.5, 1.5, parameter.shape)
            parameter.set_data(Tensor(values.astype(np.float32)))
    x = Tensor(rng.standard_normal((2, 3, 64, 32)).astype(np.float32))
    expected = network(x).asnumpy()
    assert fold_batch_norm(network) is network
    assert not [cell for _, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    assert not network.training
    found = network(x).asnumpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_bias_of_the_convolution_is_kept():
    network = nn.Cell()
    norm = nn.BatchNorm2d(num_features=2, moving_mean_init="ones")
    conv = nn.Conv2d(3, 2, kernel_size=1, has_bias=True, weight_init="zeros", bias_init="ones")
    network.stage = nn.SequentialCell([conv, norm])
    network.head = nn.ReLU()
    fold_batch_norm(network)
    assert len(network.stage) == 1
    found = network.stage(Tensor(np.zeros((1, 3, 2, 2), np.float32))).asnumpy()
    assert np.abs(found).max() == 0  # the bias of 1 less the mean of 1
