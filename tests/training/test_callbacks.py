import json
from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms.errors import InputError
from fcn8s_ms.training import callbacks


class Run:
    """Stands for `Model.train`: a run context whose step and epoch are set by hand."""

    def __init__(self, batch_num=2):
        self.context = SimpleNamespace(cur_step_num=0, cur_epoch_num=0, batch_num=batch_num)
        self.stop = False

    def original_args(self):
        return self.context

    def request_stop(self):
        self.stop = True

    def get_stop_requested(self):
        return self.stop

    def steps(self, callback, losses):
        callback.on_train_begin(self)
        for loss in losses:
            if self.stop:
                break
            if self.context.cur_step_num % self.context.batch_num == 0:
                self.context.cur_epoch_num += 1
            callback.on_train_step_begin(self)
            self.context.cur_step_num += 1
            self.context.net_outputs = loss
            callback.on_train_step_end(self)
            if self.context.cur_step_num % self.context.batch_num == 0:
                callback.on_train_epoch_end(self)
        callback.on_train_end(self)


def scalar(value):
    return Tensor(np.float32(value))


def test_log_has_a_line_a_step(tmp_path):
    log = callbacks.TrainingLog(tmp_path / "log.jsonl", [0.1, 0.2, 0.3], batch_size=4)
    scaled = (scalar(1.25), Tensor(False), scalar(65536))  # what loss scaling puts out
    Run().steps(log, [scalar(2.5), scaled, scalar(1)])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [2.5, 1.25, 1]
    assert [line["lr"] for line in lines] == [0.1, 0.2, 0.3]
    assert [(line["step"], line["epoch"]) for line in lines] == [(1, 1), (2, 1), (3, 2)]
    assert all(line["images_per_second"] > 0 for line in lines)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_training_stops_when_the_loss_is_not_finite(tmp_path, loss):
    log = callbacks.TrainingLog(
        tmp_path / "log.jsonl", [0.1, 0.2], batch_size=4, circumstances=lambda step: " Seen."
    )
    with pytest.raises(
        InputError, match=f"loss is {loss} at step 2 with learning rate 0.2. Seen. Low"
    ):
        Run().steps(log, [scalar(1), scalar(loss)])
    log.close()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


class Scores:
    """Stands for an evaluation: gives the scores in turn and keeps what is heard of them."""

    def __init__(self, *scores):
        self.scores = iter(scores)
        self.heard = []

    def evaluate(self):
        score = next(self.scores)
        return None if score is None else {"mean IoU": score}

    def on_result(self, result, is_best):
        self.heard.append((result["step"], is_best))

    def validation(self, every_epochs, epoch_steps, total_steps, **more):
        validation = callbacks.Validation(
            self.evaluate, every_epochs, epoch_steps, total_steps, **more
        )
        validation.subscribe(self.on_result)
        return validation


def test_validation_every_other_epoch_and_at_the_end():
    scores = Scores(0.5, float("nan"), 0.25)
    validation = scores.validation(every_epochs=2, epoch_steps=1, total_steps=5)
    Run(batch_num=1).steps(validation, [scalar(1)] * 5)
    assert scores.heard == [(2, True), (4, False), (5, False)]
    assert validation.best == {"epoch": 2, "step": 2, "mean IoU": 0.5}
    assert [result["step"] for result in validation.results] == [2, 4, 5]


def test_any_score_beats_none():
    scores = Scores(float("nan"), 0.1)
    Run(batch_num=1).steps(scores.validation(1, 1, 2), [scalar(1)] * 2)
    assert scores.heard == [(1, True), (2, True)]


def test_patience_counts_validations_since_the_best():
    scores = Scores(0.3, 0.5, 0.5, 0.4, 0.9)
    validation = scores.validation(1, 1, 9, patience=2)
    run = Run(batch_num=1)
    run.steps(validation, [scalar(1)] * 9)
    assert run.context.cur_step_num == 4 and validation.out_of_patience
    assert validation.best["step"] == 2


def test_validation_goes_on_from_earlier_results():
    earlier = [{"epoch": 1, "step": 2, "mean IoU": 0.5}, {"epoch": 2, "step": 4, "mean IoU": 0.4}]
    scores = Scores(0.45, 0.6)
    validation = scores.validation(1, 2, 8, results=earlier, patience=3)
    validation.catch_up(4)  # has been done
    assert not scores.heard
    validation.catch_up(6)  # the end of an epoch
    validation.catch_up(7)  # in the middle of one
    validation.catch_up(8)
    assert scores.heard == [(6, False), (8, True)]
    assert validation.results[-2]["epoch"] == 3 and validation.best["step"] == 8


def test_interrupted_validation_leaves_no_result():
    scores = Scores(None)
    validation = scores.validation(1, 2, 2)
    validation.catch_up(2)
    assert not validation.results and not scores.heard


def test_no_step_follows_an_interrupted_validation():
    """Later, nobody would know of it."""
    run = Run(batch_num=1)
    run.steps(Scores(0.5, None, 0.6).validation(1, 1, 9), [scalar(1)] * 9)
    assert run.context.cur_step_num == 2


def saver(saved, every_steps, **more):
    return callbacks.CheckpointSaver(
        lambda epoch, step, interrupted: saved.append((epoch, step, interrupted)),
        every_steps,
        **more,
    )


def test_checkpoints_are_saved_on_time_and_at_the_end():
    saved = []
    Run(batch_num=3).steps(saver(saved, 2), [scalar(1)] * 7)
    assert saved == [(1, 2, False), (2, 4, False), (2, 6, False), (3, 7, False)]


def test_last_step_is_not_saved_twice():
    saved = []
    Run().steps(saver(saved, 2), [scalar(1)] * 4)
    assert [step for _, step, _ in saved] == [2, 4]


def test_stopped_training_is_saved_before_what_follows_the_step():
    saved = []
    callback = saver(saved, 10, interrupted=lambda step: step < 5)
    run = Run()
    run.context.cur_step_num = run.context.cur_epoch_num = 1
    run.request_stop()
    callback.on_train_step_end(run)
    assert saved == [(1, 1, True)]


def test_count_goes_on_from_an_earlier_training(tmp_path):
    run = Run()
    callbacks.StartAt(7).on_train_begin(run)
    assert run.context.cur_step_num == 7


@pytest.mark.parametrize(("signum", "last"), [(None, 3), (15, 1)])
def test_training_stops_at_its_last_step_or_a_signal(signum, last):
    request = SimpleNamespace(signum=signum)
    run = Run()
    run.steps(callbacks.StopAt(3, request), [scalar(1)] * 9)
    assert run.context.cur_step_num == last


def scaled(loss, overflow, scale):
    return scalar(loss), Tensor(overflow), scalar(scale)


def test_overflows_are_counted_and_use_no_learning_rate(tmp_path):
    log = callbacks.TrainingLog(tmp_path / "log.jsonl", [0.1, 0.2, 0.3], 4, max_overflows=2)
    outputs = [
        scaled(1, False, 8),
        scaled(float("inf"), True, 8),
        scaled(1, False, 4),
        scaled(1, True, 4),
    ]
    Run().steps(log, outputs)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["overflow"] for line in lines] == [False, True, False, True]
    assert [line["loss"] for line in lines] == [1, None, 1, 1]
    assert [line["loss_scale"] for line in lines] == [8, 8, 4, 4]
    assert [line["lr"] for line in lines] == [0.1, 0.2, 0.2, 0.3]
    assert log.history.overflows == 2

    # One more, after an interruption, is the second in a row.
    again = callbacks.TrainingLog(
        tmp_path / "log.jsonl", [0.1, 0.2, 0.3], 4, max_overflows=2, history=log.history
    )
    run = Run()
    run.context.cur_step_num = 4
    with pytest.raises(InputError, match="overflowed in 2 steps in a row up to step 5.*scale of 2"):
        run.steps(again, [scaled(1, True, 2)])
    again.close()


def test_loss_that_is_not_finite_without_an_overflow_stops_scaled_training(tmp_path):
    log = callbacks.TrainingLog(tmp_path / "log.jsonl", [0.1], 4)
    with pytest.raises(InputError, match="loss is nan at step 1"):
        Run().steps(log, [scaled(float("nan"), False, 8)])
    log.close()


def test_curves_are_not_drawn_at_every_step(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    drawn = []
    callback = callbacks.Periodically(lambda: drawn.append(now[0]), seconds=60)
    for now[0] in (130.0, 160.0, 170.0, 219.0, 221.0):
        callback.on_train_step_end(None)
    assert drawn == [160.0, 221.0]
