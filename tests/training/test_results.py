import pytest

from fcn8s_ms.training.results import name_of_loss


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "cross-entropy"),
        ({"loss": "ce", "class_weights": "none", "arch": "fcn8s"}, "cross-entropy"),
        ({"loss": "ce", "class_weights": "auto"}, "cross-entropy, weighted"),
        ({"loss": "ce+0.5*dice", "label_smoothing": 0.1}, "ce+0.5*dice, smoothed"),
        ({"loss_reduction": "sum", "arch": "fcn8s_paper"}, "cross-entropy, summed"),
        ({"arch": "fcn_resnet50", "aux_weight": None}, "cross-entropy, auxiliary"),
        ({"arch": "fcn_resnet50", "aux_weight": 0}, "cross-entropy"),
    ],
)
def test_only_plain_cross_entropy_is_called_that(arguments, name):
    assert name_of_loss(arguments) == name
