"""Results of a run, as its curves show them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..network.architectures import ARCHITECTURES
from ..visualize.curves import CROSS_ENTROPY, Course
from .history import History

__all__ = ["course_of", "name_of_loss"]


def name_of_loss(arguments: Mapping[str, Any]) -> str:
    """Name of what a run minimises: 'cross-entropy' where it is nothing else.

    Args:
        arguments: arguments of the run, as in `arguments.json`.
    """
    loss = arguments.get("loss") or "ce"
    name = CROSS_ENTROPY if loss == "ce" else loss
    found = ARCHITECTURES.get(arguments.get("arch") or "fcn8s")
    additions = {
        "summed": arguments.get("loss_reduction") == "sum",
        "weighted": arguments.get("class_weights") not in (None, "none"),
        "smoothed": bool(arguments.get("label_smoothing")),
        "auxiliary": found is not None and found.has_auxiliary and arguments.get("aux_weight") != 0,
    }
    return ", ".join([name, *(addition for addition, is_so in additions.items() if is_so)])


def course_of(
    history: History,
    validations: Sequence[Mapping[str, Any]],
    arguments: Mapping[str, Any],
    epoch_steps: int | None,
) -> Course:
    """Course of a run for its curves.

    Args:
        history: steps of the run.
        validations: results of its validations.
        arguments: arguments of the run.
        epoch_steps: steps per epoch; None where it is not known.
    """
    return Course(
        history.points(),
        validations,
        history.means(),
        history.span,
        history.scores,
        epoch_steps,
        history.new_schedules,
        name_of_loss(arguments),
    )
