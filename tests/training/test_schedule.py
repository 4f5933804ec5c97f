import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.training.options import OptimizerOptions
from fcn8s_ms.training.schedule import Length, constant_lr, cosine_lr, polynomial_lr


def test_cosine_by_hand():
    # Half a cosine over 5 values: 1, (1 + cos 45°)/2, 1/2, (1 + cos 135°)/2, 0 of the range 1…3.
    expected = [3, 1 + 2 * 0.8535533906, 2, 1 + 2 * 0.1464466094, 1]
    assert cosine_lr(3, 1, 5) == pytest.approx(expected)


def test_warm_up_rises_in_equal_steps_to_the_top():
    rates = cosine_lr(0.4, 0, 7, warmup_steps=4)
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert rates[-1] == 0
    assert len(rates) == 7


def test_single_step():
    assert cosine_lr(0.05, 0.0005, 1) == [0.05]


@pytest.mark.parametrize("arguments", [(0.1, 0, 0), (0.1, 0.2, 5), (0.1, -0.1, 5)])
def test_bad_ranges(arguments):
    with pytest.raises(ValueError):
        cosine_lr(*arguments)


def test_more_warm_up_than_steps():
    with pytest.raises(ValueError, match="choose 0…5"):
        cosine_lr(0.1, 0, 5, warmup_steps=6)


def test_polynomial_by_hand():
    # 0.9th powers of 1, 3/4, 1/2, 1/4, 0 of the range 1…3.
    expected = [3, 1 + 2 * 0.7718895, 1 + 2 * 0.5358867, 1 + 2 * 0.2871746, 1]
    assert polynomial_lr(3, 1, 5) == pytest.approx(expected, rel=1e-6)


def test_polynomial_of_power_one_is_a_line_after_the_warm_up():
    rates = polynomial_lr(0.4, 0, 7, power=1, warmup_steps=2)
    assert rates == pytest.approx([0.2, 0.4, 0.4, 0.3, 0.2, 0.1, 0])


def test_constant():
    assert constant_lr(0.3, 3) == [0.3, 0.3, 0.3]
    assert constant_lr(0.3, 4, warmup_steps=2) == pytest.approx([0.15, 0.3, 0.3, 0.3])
    with pytest.raises(ValueError, match="at least one step"):
        constant_lr(0.3, 0)


def test_more_steps_than_learning_rates_fit_into_memory():
    with pytest.raises(InputError, match="--epochs 400001 makes 10,000,025 steps; up to 10,000,0"):
        Length.of(OptimizerOptions(epochs=400_001), 25)
    assert Length.of(OptimizerOptions(epochs=400_000), 25).total_steps == 10_000_000
