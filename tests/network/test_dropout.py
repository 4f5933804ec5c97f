import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from fcn8s_ms.network.dropout import Dropout


def numbers(seed=0, shape=(2, 64, 20, 20)):
    return np.random.RandomState(seed).uniform(0.5, 1.5, shape).astype(np.float32)


def test_share_and_mean():
    x = numbers()
    found = Dropout(0.3).set_train()(Tensor(x)).asnumpy()
    zeros = found == 0
    assert zeros.mean() == pytest.approx(0.3, abs=0.01)
    assert np.allclose(found[~zeros], x[~zeros] / 0.7, rtol=1e-6)
    # No image and no channel is favoured, and neighbours do not go together.
    assert np.abs(zeros.mean(axis=(1, 2, 3)) - 0.3).max() < 0.02
    assert np.abs(zeros.mean(axis=(0, 2, 3)) - 0.3).max() < 0.08
    for axis in (1, 2, 3):
        one = np.take(zeros, range(1, zeros.shape[axis]), axis).ravel()
        other = np.take(zeros, range(zeros.shape[axis] - 1), axis).ravel()
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


def test_masks_repeat_with_the_numbers_and_change_with_them():
    def mask(x, seed=0):
        return Dropout(0.5, seed).set_train()(Tensor(x)).asnumpy() == 0

    first = mask(numbers())
    assert np.array_equal(first, mask(numbers()))
    for other in (mask(numbers(1)), mask(numbers(), seed=1), mask(numbers() * np.float32(1e-6))):
        assert (first == other).mean() == pytest.approx(0.5, abs=0.02)


def test_evaluation_and_a_share_of_0_change_nothing():
    x = Tensor(numbers(shape=(1, 3, 4, 4)))
    assert np.array_equal(Dropout(0.5).set_train(False)(x).asnumpy(), x.asnumpy())
    assert np.array_equal(Dropout(0.0).set_train()(x).asnumpy(), x.asnumpy())


def test_gradient_passes_where_a_number_is_kept():
    class Sum(nn.Cell):
        def __init__(self):
            super().__init__()
            self.dropout = Dropout(0.5)

        def construct(self, x):
            return self.dropout(x).sum()

    x = Tensor(numbers(shape=(1, 8, 10, 10)))
    network = Sum().set_train()
    kept = network.dropout(x).asnumpy() != 0
    assert np.array_equal(ms.grad(network)(x).asnumpy(), kept * np.float32(2))


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_share_out_of_range(share):
    with pytest.raises(ValueError, match="a share below 1"):
        Dropout(share)
