import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from mindspore.amp import build_train_network

from fcn8s_ms import device, train
from fcn8s_ms.loss import AuxiliaryLoss, CrossEntropyLoss
from fcn8s_ms.training.accumulation import AccumulatedStep
from fcn8s_ms.training.train_scores import TrainScores, WatchedLoss, ends_interval

from ..helpers import arguments, lines, losses, state

pytestmark = pytest.mark.usefixtures("tiny_network")

LABEL = np.array([[[0, 1, 255], [2, 1, 0]], [[2, 2, 2], [255, 0, 1]]], np.int32)
SCORES = np.random.RandomState(0).standard_normal((2, 3, 2, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("epoch_steps", "ends"),
    [
        (1, [1, 2, 3]),
        (100, [100, 200]),
        (101, [51, 101, 152, 202]),  # 50.5 steps, rounded up
        (250, [84, 167, 250, 334, 417, 500]),  # 83⅓ steps
    ],
)
def test_intervals_are_equal_parts_of_an_epoch(epoch_steps, ends):
    found = [step for step in range(1, ends[-1] + 1) if ends_interval(step, epoch_steps)]
    assert found == ends


class Sums(nn.Cell):
    """Logits that are the input and an offset of each class that is trained."""

    def __init__(self, auxiliary=False):
        super().__init__()
        self.offset = ms.Parameter(Tensor(np.zeros((1, 3, 1, 1), np.float32)), name="offset")
        self.auxiliary = auxiliary

    def construct(self, x):
        logits = x + ops.broadcast_to(self.offset, x.shape)
        return (logits, -logits) if self.auxiliary else logits


@pytest.fixture(params=["graph", "pynative"])
def mode(request):
    device.configure("CPU", mode=request.param)
    yield request.param
    device.configure("CPU")


@pytest.mark.parametrize("auxiliary", [False, True])
def test_watched_step_is_the_same_step(mode, auxiliary):
    """Loss and weights keep their bits; the predictions are those before the step."""
    found = []
    for is_watched in (False, True):
        network, loss = Sums(auxiliary), CrossEntropyLoss()
        loss = AuxiliaryLoss(loss, 0.5) if auxiliary else loss
        loss = WatchedLoss(loss, LABEL.shape) if is_watched else loss
        optimizer = nn.Momentum(network.trainable_params(), 0.5, 0.9)
        step = build_train_network(network, optimizer, loss, level="O0")
        values = []
        for _ in range(2):
            before = network.offset.asnumpy().copy()
            values.append(step(Tensor(SCORES), Tensor(LABEL)).asnumpy().tobytes())
            if is_watched:
                assert np.array_equal(loss.class_ids.asnumpy(), (SCORES + before).argmax(1))
        found.append((values, network.offset.asnumpy().tobytes()))
    assert found[0] == found[1]


def kept(ids):
    watched = WatchedLoss(CrossEntropyLoss(), ids.shape)
    watched.class_ids.set_data(Tensor(ids.astype(np.int32)))
    return watched


def test_scores_of_an_interval_by_hand():
    ids = np.array([[[0, 1, 1], [1, 1, 0]], [[2, 2, 0], [0, 0, 0]]])
    scores = TrainScores(kept(ids), 3, epoch_steps=3)
    assert scores.after_step(1, LABEL) == {}
    # Of 10 labelled pixels 7 are right. Class 0: 3 of 3 labelled and 5 predicted. Class 1: 2 of 3,
    # 3 predicted. Class 2: 2 of 4, 2 predicted.
    assert scores.counts.tolist() == [[3, 2, 2], [3, 3, 4], [5, 3, 2]]
    resumed = TrainScores(kept(ids), 3, epoch_steps=3, counts=scores.counts.tolist())
    assert resumed.after_step(2, np.full_like(LABEL, 255)) == {}
    found = resumed.after_step(3, LABEL)
    assert found == pytest.approx({"pixel accuracy": 0.7, "mean IoU": (3 / 5 + 2 / 4 + 2 / 4) / 3})
    assert not resumed.counts.any()


def test_batches_of_an_accumulated_step_all_count():
    device.configure("CPU", mode="pynative")
    network = Sums()
    watched = WatchedLoss(CrossEntropyLoss(), (1, 2, 3))
    scores = TrainScores(watched, 3, epoch_steps=1)
    optimizer = nn.Momentum(network.trainable_params(), 0.5, 0.9)
    step = AccumulatedStep.build(network, watched, optimizer, 2, after_batch=scores.keep_batch)
    step(Tensor(SCORES), Tensor(LABEL))
    right = (SCORES.argmax(1) == LABEL).sum() / 10
    assert scores.after_step(1, LABEL)["pixel accuracy"] == pytest.approx(right)
    device.configure("CPU")


def test_scores_are_in_the_log_and_change_no_step(record, tmp_path):
    for name, more in (("with", []), ("without", ["--no-train-scores"])):
        train.main(arguments(record, tmp_path / name, "--epochs", "2", *more))
    assert losses(tmp_path / "with") == losses(tmp_path / "without")
    last = [state(tmp_path / name) for name in ("with", "without")]
    assert list(last[0]) == list(last[1])
    assert all(np.array_equal(last[0][name], last[1][name]) for name in last[0])
    found = lines(tmp_path / "with" / "log.jsonl")
    assert ["mean IoU" in line for line in found] == [False, True, False, True]
    assert all(0 <= line["pixel accuracy"] <= 1 for line in found[1::2])
    assert not any("mean IoU" in line for line in lines(tmp_path / "without" / "log.jsonl"))


def test_new_length_is_marked_where_it_begins(record, tmp_path):
    run = tmp_path / "run"
    train.main(arguments(record, run, "--steps", "1"))
    train.main(["--resume", str(run), "--steps", "2"])
    train.main(["--resume", str(run)])
    marked = [line["step"] for line in lines(run / "log.jsonl") if "new_schedule" in line]
    assert marked == [2]
