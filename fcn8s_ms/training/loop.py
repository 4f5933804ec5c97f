"""Loop around the steps of a training: callbacks, validation, and an end at any time."""

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore.train import Callback

from .. import evaluation
from ..distributed.agreement import Agreement
from ..distributed.ranks import Ranks
from ..evaluation import Prediction
from ..inference import Predictor
from .callbacks import CheckpointSaver, Periodically, StartAt, StopAt, Validation
from .data import TrainingData
from .interruption import Interrupted, StopRequest
from .recorder import Recorder
from .schedule import Length
from .summary import Outlook

__all__ = ["Loop", "evaluation_of"]

_SECONDS_BETWEEN_CURVES = 60


def evaluation_of(
    predictor: Predictor,
    data: TrainingData,
    ranks: Ranks,
    request: StopRequest,
    for_use: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> Callable[[], dict[str, Any] | None]:
    """Returns the function that evaluates: each rank its shard, all with the same result.

    Args:
        predictor: predictor of the network.
        data: data of the run, with validation.
        ranks: the processes that train together.
        request: request to stop; makes the function return None.
        for_use: has the network hold the weights to validate.
    """

    def until_asked_to_stop(
        predicted: Iterable[Prediction], total: int | None
    ) -> Iterator[Prediction]:
        for prediction in predicted:
            if request.signum is not None:
                return
            yield prediction

    def combine(counted: np.ndarray) -> np.ndarray:
        request.spread(ranks)
        request.raise_if_asked()
        total: np.ndarray = np.sum(ranks.gather(counted), axis=0)
        return total

    def evaluate() -> dict[str, Any] | None:
        assert data.val is not None, "there is nothing to evaluate"
        data.check_val_in_place()
        try:
            with for_use():
                found = evaluation.evaluate_dataset(
                    predictor, data.val, data.classes, until_asked_to_stop, combine, True
                )
        except Interrupted:
            return None
        data.check_val_in_place()
        return found

    return evaluate


class Loop:
    """Surroundings of `Model.train`.

    Args:
        data: data of the run.
        length: length of the run.
        start: number of steps done before.
        ranks: the processes that train together.
        request: request to stop.
        validation: validation of the run; without validation data it is not used.
        recorder: writer of the run's files on the first rank; None on the others.
        save_every: steps between checkpoints; None for an epoch.
        statistics: moving statistics that the ranks average.
        average: moving average of the weights; None for none.

    Attributes:
        callbacks: callbacks for `Model.train`, in their order.
    """

    def __init__(
        self,
        data: TrainingData,
        length: Length,
        start: int,
        *,
        ranks: Ranks,
        request: StopRequest,
        validation: Validation,
        recorder: Recorder | None,
        save_every: int | None,
        statistics: Sequence[ms.Parameter],
        average: Callback | None = None,
    ):
        self._data = data
        self._length = length
        self._start = start
        self._ranks = ranks
        self._request = request
        self._validation = validation
        self._recorder = recorder
        stop = StopAt(length.total_steps, request)
        self.callbacks: list[Callback] = [StartAt(start), Agreement(ranks, statistics, request)]
        if average is not None:
            self.callbacks.append(average)
        if recorder is None:
            self.callbacks.append(stop)
        else:
            saver = CheckpointSaver(
                recorder.save, save_every or length.epoch_steps, self._is_interrupted
            )
            outlook = Outlook(length.total_steps, recorder.log.memory)
            self.callbacks += [recorder.log, outlook, stop, saver]
        if data.val is not None:
            self.callbacks.append(validation)
        if recorder is not None:
            self.callbacks.append(Periodically(recorder.draw_curves, _SECONDS_BETWEEN_CURVES))

    def _is_interrupted(self, step: int) -> bool:
        return self._request.signum is not None and step < self._length.total_steps

    @contextlib.contextmanager
    def running(self) -> Iterator[bool]:
        """Lets signals stop the training, and makes up for a validation that one has interrupted.

        Yields:
            Whether there are steps to do.

        Raises:
            InputError: a sample cannot be used, or the record cannot be read to its end.
        """
        try:
            with self._request as request:
                self._ranks.on_orphaned(lambda: request.ask(signal.SIGTERM))
                if self._data.val is not None:
                    self._validation.catch_up(self._start)
                request.spread(self._ranks)
                yield (
                    self._start < self._length.total_steps
                    and not self._validation.out_of_patience
                    and request.signum is None
                )
                request.spread(self._ranks)
        except RuntimeError as error:
            raise self._data.train.explain(error) from error
        finally:
            if self._recorder is not None:
                self._recorder.close()
