import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcn8s_ms import train
from fcn8s_ms.training.arguments import Config
from fcn8s_ms.training.data_options import DataOptions
from fcn8s_ms.training.schedule import Length
from fcn8s_ms.training.summary import (
    Outlook,
    hint_of_padding,
    image_sizes,
    sizes_line,
    start_lines,
)

from ..helpers import arguments


def test_sizes_of_a_records_images(record):
    sizes = image_sizes(record)
    assert sizes == [(70, 90), (90, 70), (65, 96), (40, 150), (64, 64)]
    assert sizes_line(sizes, 5) == "Images: widths 64…150, heights 40…90"
    assert sizes_line([(360, 480)] * 2, 9) == "Images: 480x360 (width x height) (of the first 2)"


@pytest.mark.parametrize(
    ("size", "options", "multiple", "fitting"),
    [
        ((360, 480), {}, 32, 352),
        # A tenth of each side, at every scale.
        ((100, 100), {"crop_size": 1024, "min_scale": 1, "max_scale": 1}, 1, 96),
        ((300, 400), {"resize_short": [256, 512], "crop_size": 512}, 32, 256),
        ((1000, 1000), {}, 32, None),
        ((512, 512), {"min_scale": 1}, 32, None),
        ((20, 20), {"crop_size": 64}, 32, None),  # nothing smaller fits
        ((360, 480), {"resize_to": [512, 512]}, 32, None),
    ],
)
def test_hint_of_crops_that_are_larger_than_images(size, options, multiple, fitting):
    hint = hint_of_padding([size], DataOptions(**options), multiple)
    assert (hint is None) == (fitting is None)
    if fitting is not None:
        assert f"--crop-size {fitting} fits them" in hint


def test_share_of_padding_in_words():
    options = DataOptions(crop_size=64, min_scale=1, max_scale=1)
    hint = hint_of_padding([(32, 64), (32, 32)], options, 32)
    # Half of one and three quarters of the other.
    assert hint.startswith("Hint: 62% of the 64x64 crops is padding")
    assert hint_of_padding([], options, 32) is None


def parameter(size):
    return SimpleNamespace(size=size, nbytes=4 * size)


def test_what_is_told_at_the_start(tmp_path):
    network = SimpleNamespace(get_parameters=lambda: [parameter(900_000), parameter(100_000)])
    state = SimpleNamespace(network=network, optimizer=[parameter(500_000)])
    config = Config.from_flat({"epochs": 2, "keep": 5, "val_data": Path("val.mindrecord")})
    lines = start_lines(config, ["sky", "road"], state, Length(14, 7), tmp_path, 4)
    assert lines[:3] == [
        "Classes: sky, road",
        "Network: FCN-8s, 1 million parameters",
        "Training: 14 steps (2 epochs of 7), each of 4 crops of 512x512; momentum, learning rate "
        "0.05 to 0.0005, cosine",
    ]
    # Two saves and the best of 4 MB each, and 6 MB to resume from.
    assert lines[3].startswith("Disk: 18 MB for 3 checkpoints of 4 MB and one to resume from, 6 MB")


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10_000_000))
    network = SimpleNamespace(get_parameters=lambda: [parameter(1_000_000)])
    state = SimpleNamespace(network=network, optimizer=[])
    lines = start_lines(Config(), ["a"], state, Length(7, 7), tmp_path, 4)
    assert lines[3].endswith(
        "10 MB are free. That may not be enough: free some space, or pass a smaller --keep"
    )


def steps(outlook, count, seconds=0.0):
    context = SimpleNamespace(cur_step_num=0)
    run = SimpleNamespace(original_args=lambda: context)
    for _ in range(count):
        context.cur_step_num += 1
        outlook.on_train_step_begin(run)
        time.sleep(seconds)
        outlook.on_train_step_end(run)
    outlook.on_train_end(run)


def test_how_long_it_will_take(monkeypatch):
    # The first step compiles: it does not count.
    moments = iter([0, 900, 900, 912, 912, 924, 924, 936])
    monkeypatch.setattr(
        "fcn8s_ms.training.summary.time", SimpleNamespace(perf_counter=lambda: next(moments))
    )
    said = []
    steps(Outlook(24, lambda: {"memory_gb": 3.21}, said.append), 6)
    assert said == [
        "About 4 minutes to go, without validations: 20 steps of 12 s. In use: 3.2 GB of memory"
    ]


def test_of_slow_steps_one_is_enough(monkeypatch):
    moments = iter([0, 900, 900, 1000])
    monkeypatch.setattr(
        "fcn8s_ms.training.summary.time", SimpleNamespace(perf_counter=lambda: next(moments))
    )
    said = []
    steps(Outlook(74, say=said.append), 3)
    assert said == ["About 2.0 hours to go, without validations: 72 steps of 100 s"]


def test_a_long_step_is_told_while_it_runs():
    said = []
    outlook = Outlook(100, say=said.append, long_step=0.02)
    steps(outlook, 1, seconds=0.2)
    assert len(said) == 1 and "Step 1, the first, in which the network is compiled, has" in said[0]
    assert "Ctrl-C ends the training after the step" in said[0]
    quick = []
    steps(Outlook(3, say=quick.append), 3)
    assert not quick


def test_training_tells_of_itself(record, tmp_path, capsys, caplog, tiny_network):
    given = ["--steps", "5", "--val-data", str(record), "--val-every", "9"]
    train.main(arguments(record, tmp_path / "run", *given))
    said = capsys.readouterr().out
    for line in (
        "Images: widths 64…150",
        "Classes: background, ",
        "Network: FCN-8s, ",
        "Training: 5 steps (2.5 epochs of 2)",
        " to go, without validations: 1 steps of ",
        "Disk: ",
    ):
        assert line in said
    assert "5 images of" in caplog.text and "(the same files)" in caplog.text
