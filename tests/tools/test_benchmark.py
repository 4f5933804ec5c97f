"""The benchmark runs and compares like with like; no test looks at a time."""

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from benchmark import command_line, machine, race, scale, workloads
from benchmark.contestants import files, infer, loss, pipeline, startup, train

from fcn8s_ms import model, transforms, voc
from fcn8s_ms.inference import Predictor
from fcn8s_ms.training import losses

from ..helpers import TINY, TOOLS, Spread, augment

TOOL = TOOLS / "benchmark"


def test_race_writes_a_table_and_json(tmp_path):
    output = tmp_path / "new" / "figures.json"
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
    assert result["ours"]["per_second"] == pytest.approx(1 / result["ours"]["median"])
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


def small(*given):
    """Options of a narrow network and few, small pictures."""
    return command_line.get_parser().parse_args(
        ["--fc-width", "8", "--crop", "32", "--pictures", "3", *given]
    )


def test_predict_and_eval_do_all_pictures(monkeypatch):
    monkeypatch.setattr(files, "_SIZE", (32, 40))
    monkeypatch.setattr(files, "_DIFFERENT", 2)
    monkeypatch.setattr(files, "_predictor", lambda options: Predictor(Spread()))
    for contestant in (files.predict, files.predict_in_turn):
        round_ = contestant(small())
        assert round_() == 3
        output = Path(round_.folder.name) / "predictions"
        expected = {f"{n}_{kind}.png" for n in range(3) for kind in ("mask", "overlay")}
        assert {path.name for path in output.iterdir()} == expected
    assert files.evaluate(small())() == 3


def test_labels_have_the_classes_of_the_network(monkeypatch):
    class Few(Spread):
        n_class = 3

        def logits(self, batch):
            return super().logits(batch)[:, :3]

    monkeypatch.setattr(files, "_SIZE", (32, 40))
    monkeypatch.setattr(files, "_predictor", lambda options: Predictor(Few()))
    assert files.evaluate(small())() == 3


def test_bare_network_computes_as_many_pictures(monkeypatch):
    class Counting(Spread):
        shapes = []

        def class_ids(self, batch):
            self.shapes.append(batch.shape)
            return super().class_ids(batch)

    monkeypatch.setattr(files, "_predictor", lambda options: Predictor(Counting()))
    assert files.network(small())() == 3
    assert Counting.shapes == [(1, 3, 384, 480)] * 3


def test_network_of_predict_and_eval_has_the_options_of_the_command_line(monkeypatch):
    class Built(Exception):
        pass

    def build(**arguments):
        raise Built(arguments)

    monkeypatch.setattr(files, "folded_network", build)
    with pytest.raises(Built) as caught:
        files.predict(small())
    expected = {"arch": "fcn8s", "fc_width": 8, "upsample_init": "bilinear"}
    assert caught.value.args == (expected,)


@pytest.mark.parametrize("write", [workloads.write_onnx, workloads.write_int8])
def test_exported_networks_compute_class_ids(tmp_path, write):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnx", reason="needs the extra onnx")
    path = tmp_path / "network.onnx"
    write(path, 32, {"arch": "fcn8s", **TINY})
    assert [one.name for one in tmp_path.iterdir()] == ["network.onnx"]
    from fcn8s_ms.inference.onnx_engine import OnnxEngine

    engine = OnnxEngine(path, "CPU")
    assert not engine.has_logits
    assert engine.class_ids(workloads.drawn_images(1, 32)[0]).shape == (1, 32, 32)


def test_a_child_writes_the_file_and_the_contestant_computes_it(monkeypatch):
    calls = []

    def in_child(write, path, crop, arguments):
        calls.append((write, crop, arguments))
        write(path, crop, {**arguments, **TINY})

    monkeypatch.setattr(infer, "in_child", in_child)
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    assert infer.onnx(small())() == 1
    assert calls == [(workloads.write_onnx, 32, {"arch": "fcn8s", "fc_width": 8})]


@pytest.mark.parametrize("way", infer.PYTORCH)
def test_pytorch_trains_and_infers_in_every_way(monkeypatch, way):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    assert infer.PYTORCH[way](small())() == 1
    assert train.PYTORCH[way](small())() == workloads.BATCH
    assert len(compiled) == 2 * way.endswith("compile")


def test_pytorch_computes_a_loss():
    pytest.importorskip("torch", reason="needs PyTorch")
    assert loss.pytorch(small())() == workloads.BATCH


def test_memory_of_children_counts_where_they_are_the_work():
    assert startup.ours(None).in_child
    assert not hasattr(files.network, "in_child")


def test_compiling_needs_a_compiler(monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = {"torch": "2.13.0"}
    monkeypatch.setattr(machine, "describe", lambda options: found)
    with pytest.raises(SystemExit) as caught:
        command_line.main(["infer", "--against", "torch-bf16-compile"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "torch.compile needs a C++ compiler, and no-such-compiler is not installed" in error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu sse4_1 avx2 avx512f avx512_vnni avx512_bf16\n", "AVX2 AVX-512 VNNI BF16"),
        ("model name : x\nflags : fpu avx2 avx_vnni\nflags : fpu\n", "AVX2 VNNI"),
        ("flags : sse2 avx\n", ""),
        ("Features : fp asimd asimddp sve i8mm bf16\n", "NEON SVE DOT I8MM BF16"),
    ],
)
def test_instruction_sets(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert isinstance(machine.instruction_sets(), list)  # what NumPy knows
    machine._CPUINFO.write_text(text)
    assert " ".join(machine.instruction_sets()) == expected


def test_paired_ratio():
    """Worked out by hand: in the second round the machine is half as fast, for both."""
    assert race.paired_ratio([1.0, 2.0, 1.1], [2.0, 4.0, 1.0]) == 0.5


@pytest.mark.slow
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


def test_loss_and_augmentation_are_those_of_the_command_line(monkeypatch):
    made = []
    make = losses.make_loss
    monkeypatch.setattr(losses, "make_loss", lambda terms: made.append(terms) or make(terms))
    given = ["--loss", "ce+0.5*dice", "--crop", "8", "--augment", "blur,vflip"]
    options = command_line.get_parser().parse_args(given)
    assert loss.ours(options)() == loss.plain(options)() == workloads.BATCH
    assert made == [[(1.0, "ce"), (0.5, "dice")]]
    assert pipeline.augmentations(options) == ("blur", "vflip")
    assert pipeline.augmentations(command_line.get_parser().parse_args([])) == ()


class Started(Exception):
    """A contestant was started."""


@pytest.fixture
def commands(monkeypatch):
    """Command lines of the contestants, each of which ends in `Started`."""
    started = []

    def start(command, **arguments):
        started.append(command)
        raise Started

    monkeypatch.setattr(race.subprocess, "Popen", start)
    return started


def test_baseline_runs_with_its_interpreter(commands):
    given = ["--baseline", str(TOOLS.parent), "--baseline-python", "/bin/true"]
    options = command_line.get_parser().parse_args(given)
    for name in ("baseline", "ours"):
        with pytest.raises(Started):
            race.run("metrics", [name], options)
    assert [command[0] for command in commands] == ["/bin/true", sys.executable]


def test_flags_of_one_part_reach_its_contestants_alone(commands):
    options = command_line.get_parser().parse_args(["--loss", "dice", "--augment", "blur"])
    for part in ("loss", "pipeline", "metrics"):
        with pytest.raises(Started):
            race.run(part, ["ours"], options)
    found = [{"--loss", "dice", "--augment", "blur"} & set(command) for command in commands]
    assert found == [{"--loss", "dice"}, {"--augment", "blur"}, set()]


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
        (["metrics", "--baseline-python", "/bin/false"], "--baseline-python is for --baseline"),
        (["infer", "--against", "torch-bf16", "--torch-python", "/bin/false"], "has no torch"),
        (["infer", "--against", "tensorflow"], "invalid choice: 'tensorflow'"),
        (["predict", "--pictures", "0"], "--pictures is 0; it must be positive"),
        (["loss", "--crop", "0"], "--crop is 0; it must be positive"),
        (["loss", "--rounds", "0"], "--rounds is 0; it must be positive"),
        (["loss", "--warm-rounds", "-1"], "--warm-rounds is -1; 0 is the least"),
        (["metrics", "--json", "/dev/null/figures.json"], "--json /dev/null"),
        (
            ["metrics", "--baseline", str(TOOLS.parent), "--baseline-python", "/bin/true"],
            "--baseline-python /bin/true has no mindspore",
        ),
        (["loss", "--loss", "ce+hinge"], "'hinge' is not a loss; choose from ce"),
        (["pipeline", "--augment", "shear"], "'shear' is not known; choose from photometric"),
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
