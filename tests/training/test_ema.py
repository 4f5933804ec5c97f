from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from fcn8s_ms.training.ema import MovingAverage


class Two(nn.Cell):
    def __init__(self):
        super().__init__()
        self.w = Parameter(Tensor([1.0, 2.0], ms.float32), name="w")
        self.fixed = Parameter(Tensor([0.1], ms.float32), name="fixed", requires_grad=False)


def test_average_by_hand():
    network = Two()
    average = MovingAverage(network, 0.2)
    assert [one.name for one in average.stored] == ["trained.w", "trained.fixed"]
    context = SimpleNamespace()
    run = SimpleNamespace(original_args=lambda: context)
    expected = np.array([1.0, 2.0])
    for step, overflow in ((1, False), (2, True), (3, False), (4, False)):
        network.w.set_data(Tensor([10.0 * step, 0.0], ms.float32))
        context.cur_step_num = step
        context.net_outputs = (Tensor(0.0), Tensor(overflow), Tensor(1.0))
        average.on_train_step_end(run)
        if not overflow:  # 2/11 is below the decay, 4/13 above
            kept = min(0.2, (1 + step) / (10 + step))
            expected = kept * expected + (1 - kept) * np.array([10.0 * step, 0.0])
    assert average.stored[0].asnumpy() == pytest.approx(expected, rel=1e-6)
    assert average.stored[1].asnumpy() == np.float32(0.1)
    with pytest.raises(KeyError), average.in_use():
        assert network.w.asnumpy() == pytest.approx(expected, rel=1e-6)
        assert average.stored[0].asnumpy().tolist() == [40, 0]
        raise KeyError
    assert network.w.asnumpy().tolist() == [40, 0]
