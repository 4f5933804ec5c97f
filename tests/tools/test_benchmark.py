"""The benchmark runs and compares like with like; no test looks at a time."""

import json
import subprocess
import sys
import types

import numpy as np
import pytest
from benchmark import command_line, race, scale, workloads
from benchmark.contestants import infer, pipeline, train

from fcn8s_ms import model, transforms, voc

from ..helpers import TOOLS, augment

TOOL = TOOLS / "benchmark"


def test_race_writes_a_table_and_json(tmp_path):
    output = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, TOOL, "records", "--against", "plain", "--rounds", "2"]
        + ["--warm-rounds", "0", "--json", output],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(output.read_text())
    assert figures["machine"]["mindspore"] and figures["machine"]["cpus"] >= 1
    result = figures["parts"]["records"]
    assert set(result) == {"ours", "plain"}
    for row in result.values():
        assert row["least"] <= row["median"] <= row["largest"]
        assert row["peak_bytes"] > 1e7
    assert "ours" in done.stdout and "200 images" in done.stdout


def test_baseline_is_raced_like_any_other(tmp_path):
    """This checkout against itself."""
    output = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, TOOL, "metrics", "startup", "--baseline", TOOLS.parent, "--rounds", "2"]
        + ["--warm-rounds", "0", "--json", output],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(output.read_text())
    assert figures["settings"]["baseline"] == str(TOOLS.parent)
    for part in ("metrics", "startup"):
        result = figures["parts"][part]
        assert list(result) == ["ours", "baseline"]
        assert "paired_ratio" not in result["ours"] and result["baseline"]["paired_ratio"] > 0
    *_, head, ours, baseline = done.stdout.splitlines()
    assert head.split()[-3:] == ["time", "memory", "pairs"]
    assert len(baseline.split()) == len(ours.split()) + 3
    assert baseline.split()[-1] == f"{result['baseline']['paired_ratio']:.3f}"


# Answers as a benchmark of a single file does, and notes how it was started.
SINGLE_FILE = """
import json, os, sys
from pathlib import Path
with open("started.json", "w") as file:
    json.dump([os.environ["PYTHONPATH"], *sys.argv], file)
for line in sys.stdin:
    answer = {"seconds": 0.5, "done": 1, "peak_bytes": 10**9, "asked": line.strip()}
    print(json.dumps(answer), flush=True)
"""


def test_baseline_of_a_single_file_runs_in_its_own_checkout(tmp_path, monkeypatch, capsys):
    for folder in ("fcn8s_ms", "tools/benchmark/__pycache__"):
        (tmp_path / "old" / folder).mkdir(parents=True)
    (tmp_path / "old" / "fcn8s_ms" / "__init__.py").write_text("")
    (tmp_path / "old" / "tools" / "benchmark.py").write_text(SINGLE_FILE)
    monkeypatch.chdir(tmp_path)
    given = ["metrics", "--baseline", "old", "--rounds", "1", "--crop", "32", "--fc-width", "8"]
    command_line.main(given)
    root = str(tmp_path / "old")
    started = json.loads((tmp_path / "old" / "started.json").read_text())
    assert started[:2] == [root, f"{root}/tools/benchmark.py"]
    assert started[2:] == ["--contestant", "metrics_ours", "--crop", "32", "--workers", "1"]
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[:2] == ["baseline", "0.5000"] and "1.00" in row


@pytest.mark.parametrize("contestant", [train.ours, train.plain, infer.ours, infer.plain])
def test_networks_have_the_width_of_the_command_line(monkeypatch, contestant):
    class Built(Exception):
        pass

    def build(n_class, fc_width=4096):
        raise Built(fc_width)

    monkeypatch.setitem(model.NETWORKS, "fcn8s", build)
    for given, expected in ((["--fc-width", "8"], 8), ([], 4096)):
        with pytest.raises(Built, match=f"^{expected}$"):
            contestant(command_line.get_parser().parse_args(given))


@pytest.mark.parametrize("contestant", [train.ours, train.plain])
def test_resnet_trains_with_its_auxiliary_head(monkeypatch, contestant):
    def build(n_class, auxiliary=False):
        assert auxiliary
        return model.FCNResNet50(n_class, width=4, auxiliary=True)

    monkeypatch.setitem(model.NETWORKS, "fcn_resnet50", build)
    given = ["train", "--arch", "fcn_resnet50", "--crop", "33"]
    assert contestant(command_line.get_parser().parse_args(given))() == workloads.BATCH


def test_paired_ratio():
    """Worked out by hand: in the second round the machine is half as fast, for both."""
    assert race.paired_ratio([1.0, 2.0, 1.1], [2.0, 4.0, 1.0]) == 0.5


def test_scale_measures_one_process_and_two(tmp_path):
    output = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, TOOL, "scale", "--narrow", "--crop", "64", "--rounds", "2"]
        + ["--warm-rounds", "1", "--json", output],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(output.read_text())["parts"]["scale"].values()
    assert one["parameters"] == two["parameters"]
    assert [len(seconds) for seconds in one["seconds"].values()] == [2]
    assert set(two["seconds"]) == {"apart", "together", "all-reduce alone"}
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in two["seconds"].values())
    table = done.stdout.splitlines()[-3:]
    assert "images/s" in table[0] and table[1].split()[0] == "1" and table[2].split()[0] == "2"


def test_scale_shares():
    """Worked out by hand: 2 s a step apart, of 4 s together; one process takes 2.5 s."""
    found = {
        1: {"parameters": 10**6, "seconds": {"apart": [2.5, 9, 1]}},
        2: {
            "parameters": 10**6,
            "seconds": {"apart": [2, 2, 2], "together": [4, 3, 5], "all-reduce alone": [1, 1, 1]},
        },
    }
    table = scale.table(found, types.SimpleNamespace(crop=128)).splitlines()
    assert "4 MB of gradients" in table[0]
    assert table[2].split() == ["1", "2.500", "(1.000", "…", "9.000)", "1.60", "100.0%"]
    expected = ["2", "4.000", "(3.000", "…", "5.000)", "2.00", "62.5%", "50.0%", "1.000"]
    assert table[3].split() == expected


def test_plain_order_and_ours_make_the_same_crops():
    image, label = workloads.drawn_pairs(1)[0]
    decoded = transforms.decode_image(image), transforms.decode_label(label)
    for seed in range(4):
        plain = pipeline.plain_steps(image, label, np.random.RandomState(seed), 512)
        ours = augment(*decoded, np.random.RandomState(seed), 512)
        for one, other in zip(plain, ours):
            assert np.array_equal(one, other)


def test_plain_network_has_plain_layers_only():
    from mindspore import nn

    layers = [cell for _, cell in workloads.plain_network("fcn8s").cells_and_names()]
    convolutions = [type(cell) for cell in layers if isinstance(cell, nn.Conv2d)]
    assert len(convolutions) == 13 + 2 + 3
    assert set(convolutions) == {nn.Conv2d}
    assert not [cell for cell in layers if type(cell).__module__.startswith("fcn8s_ms.network")]


def test_plain_metrics_are_ours():
    from fcn8s_ms import confusion

    logits, label = workloads.drawn_logits()
    logits, label = logits[:1, :, :64, :64], label[:1, :64, :64]
    counts = np.bincount((21 * label + logits.argmax(axis=1)).ravel(), minlength=21 * 21)
    ours = confusion.confusion_matrix(label, logits.argmax(axis=1), voc.NUM_CLASSES)
    assert (counts.reshape(21, 21) == ours).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nothing"], "part 'nothing' is unknown; choose from train, infer"),
        (["metrics", "--against", "torch", "--torch-python", "/bin/false"], "has no torch"),
        (["metrics", "--torch-python", "/no/python"], "/no/python cannot be run; give the path"),
        (["metrics", "--baseline", "/bin"], "--baseline /bin is not a checkout of this project"),
        (["train", "--fc-width", "0"], "--fc-width is 0; it must be positive"),
        (["infer", "--arch", "fcn_resnet50", "--fc-width", "8"], "--fc-width is not for --arch"),
        (["scale", "--baseline", str(TOOLS.parent)], "--baseline is not for scale"),
    ],
)
def test_bad_arguments(capsys, given, message):
    with pytest.raises(SystemExit) as caught:
        command_line.main(given)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_contestant_that_fails_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        command_line.main(["train", "--against", "plain", "--crop", "33", "--rounds", "1"])
    assert caught.value.code == 2
    assert "the contestant ours stopped" in capsys.readouterr().err
