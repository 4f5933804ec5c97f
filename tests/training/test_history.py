import json
import math
import random
import tracemalloc

import pytest

from fcn8s_ms.training.history import History, read_logs

from ..helpers import mutations


def line(step, loss=0.5, **more):
    return {"step": step, "epoch": 1, "loss": loss, "lr": 0.1, "images_per_second": 3.0, **more}


def write(path, *lines, end="\n"):
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + end)


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "log.jsonl", tmp_path / "validations.jsonl"


def steps(path):
    return [json.loads(text)["step"] for text in path.read_text().splitlines()]


def test_short_history_keeps_every_step():
    history = History()
    for step in range(1, 1001):
        history.add(line(step, loss=step / 7, overflow=step in (5, 6, 1000)))
    assert [point["step"] for point in history.points()] == list(range(1, 1001))
    assert history.means() == [{"step": step, "loss": step / 7} for step in range(1, 1001)]
    assert (history.last_step, history.span) == (1000, 1)
    assert (history.overflows, history.overflows_in_a_row) == (3, 1)


def test_long_history_keeps_peaks_and_means():
    rng = random.Random(0)
    losses = [rng.random() for _ in range(5000)]
    losses[1234], losses[3210], losses[17] = 99.0, -99.0, math.nan
    history = History()
    for step, loss in enumerate(losses, 1):
        history.add(line(step, loss))
    points = history.points()
    assert len(points) <= 2000 and history.span == 8
    assert [point["step"] for point in points] == sorted({point["step"] for point in points})
    assert all(point["loss"] == losses[int(point["step"]) - 1] for point in points)
    assert {1235, 3211} <= {point["step"] for point in points}
    for number, mean in enumerate(history.means()):
        group = [one for one in losses[8 * number : 8 * number + 8] if not math.isnan(one)]
        assert mean["loss"] == pytest.approx(sum(group) / len(group))


def test_overflows_have_no_loss():
    history = History()
    for step in range(1, 3):
        history.add(line(step, math.inf, overflow=True))
    assert all(math.isnan(point["loss"]) for point in history.points())


def test_memory_does_not_grow():
    """From step 16,000 to 64,000: nothing."""
    history, used = History(), []
    tracemalloc.start()
    for step in range(1, 64_001):
        history.add(line(step))
        if step in (16_000, 64_000):
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert used[1] < 1.2 * used[0]


def test_lines_after_the_step_are_cut_off(logs):
    write(logs[0], *map(line, range(1, 9)), '{"step": 9, "lo', end="")
    inode = logs[0].stat().st_ino
    history, validations = read_logs(*logs, step=5)
    assert history.last_step == 5 and validations == []
    assert steps(logs[0]) == [1, 2, 3, 4, 5]
    assert logs[0].stat().st_ino == inode  # not written a second time


@pytest.mark.parametrize(
    "damage",
    ['{"step": 3, "lo', "\0\0", "[1]", '{"step": "3"}', '{"step": 3, "loss": "a"}', "{}"]
    + ["[" * 100_000, '{"step": -1}', '{"step": 3, "loss": NaN}', "\u00ff"],
)
def test_damaged_line_in_the_middle(logs, caplog, damage):
    """The other lines stay."""
    write(logs[0], line(1), line(2), damage, *map(line, (4, 5, 6, 7, 8)))
    write(logs[1], {"step": 4, "mean IoU": 0.5}, damage, {"step": 8, "mean IoU": None})
    history, validations = read_logs(*logs, step=8)
    assert history.last_step == 8 and len(history.points()) == 7
    assert steps(logs[0]) == [1, 2, 4, 5, 6, 7, 8]
    assert [one["step"] for one in validations] == steps(logs[1])
    assert len(validations) >= 2 and math.isnan(validations[-1]["mean IoU"])
    assert f"{logs[0]}: 1 damaged, left out: line 3" in caplog.text
    assert not list(logs[0].parent.glob(".*"))


def test_many_damaged_lines_are_one_warning(logs, caplog):
    write(logs[0], *["x"] * 500, line(1), "last")
    assert read_logs(*logs, step=1)[0].last_step == 1
    assert len(caplog.records) == 1 and "501 damaged" in caplog.text
    assert "9, 10 and 491 more" in caplog.text


def test_last_line_without_its_end(logs, caplog):
    write(logs[0], line(1), line(2), end="")
    assert read_logs(*logs, step=2)[0].last_step == 2
    assert logs[0].read_text().endswith("}\n") and steps(logs[0]) == [1, 2]
    assert not caplog.text


def test_random_damage_never_stops_a_resume(logs):
    write(logs[0], *map(line, range(1, 30)))
    for content in mutations(logs[0].read_bytes(), 5, 300):
        logs[0].write_bytes(content)
        read_logs(*logs, step=20)
        assert all(step <= 20 for step in steps(logs[0]))


def test_scores_of_the_training_are_kept_and_thinned():
    history = History()
    for step in range(1, 4001):
        scores = {"pixel accuracy": step / 4000, "mean IoU": math.nan if step == 2 else 0.25}
        history.add(line(step, **(scores if step != 3 else {}), new_schedule=step in (7, 9)))
    assert history.last_scores == {"step": 4000, "pixel accuracy": 1.0, "mean IoU": 0.25}
    assert history.new_schedules == [7, 9]
    # Of 3999 scores the first 2000 became 1000 points, then two make a point; one is waiting.
    assert len(history.scores) == 1999
    assert [point["step"] for point in history.scores[:3]] == [2, 5, 7]  # step 3 had none
    assert history.scores[0]["pixel accuracy"] == pytest.approx((1 + 2) / 2 / 4000)
    assert all(point["mean IoU"] == 0.25 for point in history.scores)
