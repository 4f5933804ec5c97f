import json
from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor

from fcn8s_ms import callbacks
from fcn8s_ms.errors import InputError


class Run:
    """Stands for `Model.train`: a run context whose step and epoch are set by hand."""

    def __init__(self, batch_num=2):
        self.context = SimpleNamespace(cur_step_num=0, cur_epoch_num=0, batch_num=batch_num)

    def original_args(self):
        return self.context

    def steps(self, callback, losses):
        callback.on_train_begin(self)
        for loss in losses:
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
    log = callbacks.TrainingLog(tmp_path / "log.jsonl", [0.1, 0.2], batch_size=4)
    with pytest.raises(InputError, match=f"loss is {loss} at step 2 with learning rate 0.2; lower"):
        Run().steps(log, [scalar(1), scalar(loss)])
    log.close()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_validation_every_other_epoch_and_at_the_end():
    scores = iter([0.5, float("nan"), 0.25])
    heard = []
    validation = callbacks.Validation(
        lambda: {"mean IoU": next(scores)},
        every_epochs=2,
        epochs=5,
        on_result=lambda result, is_best: heard.append((result["epoch"], is_best)),
    )
    Run(batch_num=1).steps(validation, [scalar(1)] * 5)
    assert heard == [(2, True), (4, False), (5, False)]
    assert validation.best == {"epoch": 2, "step": 2, "mean IoU": 0.5}
    assert [result["step"] for result in validation.results] == [2, 4, 5]


def test_checkpoints_are_saved_on_time_and_the_newest_kept(tmp_path):
    order = []

    def save(epoch, step):
        order.append((epoch, step, sorted(path.name for path in tmp_path.iterdir())))
        path = tmp_path / f"{step}.ckpt"
        path.write_text("")
        path.with_name(path.name + ".json").write_text("")
        return path

    saver = callbacks.CheckpointSaver(save, every_steps=2, keep=2)
    Run(batch_num=3).steps(saver, [scalar(1)] * 7)
    assert [entry[:2] for entry in order] == [(1, 2), (2, 4), (2, 6), (3, 7)]
    # The oldest goes only when the new one is there.
    assert [name for name in order[2][2] if name.endswith("ckpt")] == ["2.ckpt", "4.ckpt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "6.ckpt",
        "6.ckpt.json",
        "7.ckpt",
        "7.ckpt.json",
    ]


def test_last_step_is_not_saved_twice(tmp_path):
    saved = []
    saver = callbacks.CheckpointSaver(
        lambda epoch, step: saved.append(step) or tmp_path / str(step), every_steps=2
    )
    Run().steps(saver, [scalar(1)] * 4)
    assert saved == [2, 4]
