"""The path of a user: records, training, evaluation, prediction, with a tiny network."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import (
    checkpoint,
    device,
    eval,
    export,
    fetch,
    info,
    model,
    predict,
    records,
    train,
    visualize,
    voc,
)
from fcn8s_ms.inference import Segmenter
from fcn8s_ms.model import FCN8s
from fcn8s_ms.records import sources
from fcn8s_ms.training.arguments import parse

from .helpers import (
    SIZES,
    TINY,
    Server,
    archive,
    arguments,
    draw_pair,
    error_of,
    lines,
    losses,
    use_tiny_networks,
    write_plain_record,
)

pytestmark = pytest.mark.usefixtures("tiny_network")


GRAPH = ("--mode", "graph")


@pytest.fixture(scope="module")
def run(record, tmp_path_factory):
    """A finished run of two epochs of two steps, with validation."""
    output = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        train.main(arguments(record, output, "--val-data", str(record), "--epochs", "2", *GRAPH))
    return output


def test_widths_make_the_network_and_are_known_from_its_files(record, tmp_path, capsys):
    """Other ones than the tests' small networks have."""
    output = tmp_path / "run"
    sizes = ["--widths", "4", "8", "4", "8", "12", "--fc-width", "24"]
    train.main(arguments(record, output, "--steps", "1", *sizes))
    train.main(["--resume", str(output), "--steps", "2"])
    network = checkpoint.load_network(output / "FCN8s-last.ckpt")
    stages = (network.conv1, network.conv2, network.conv3, network.conv4, network.conv5)
    assert [stage[0].out_channels for stage in stages] == [4, 8, 4, 8, 12]
    assert network.conv6[0].out_channels == network.conv7[0].out_channels == 24

    weights, exported = output / "FCN8s-1_2.ckpt", tmp_path / "net.onnx"
    cv2.imwrite(str(tmp_path / "street.png"), draw_pair("street", 50, 75)[0])
    export.main(["--checkpoint", str(weights), "--output", str(exported), "--device", "CPU"])
    masks = []
    for path in (weights, exported):
        given = ["--checkpoint", str(path), "--device", "CPU"]
        eval.main([*given, "--data", str(record), "--output", f"{path}.scores.json"])
        predict.main([*given, str(tmp_path / "street.png"), "--output", f"{path}.out"])
        masks.append(np.asarray(Image.open(f"{path}.out/street_mask.png")))
    assert np.array_equal(*masks)
    capsys.readouterr()
    info.main([str(weights)])
    assert "--widths 4 8 4 8 12 --fc-width 24" in capsys.readouterr().out


def test_run_leaves_exactly_this(run):
    assert sorted(path.name for path in run.iterdir()) == [
        "FCN8s-1_2.ckpt",
        "FCN8s-1_2.ckpt.json",
        "FCN8s-2_4.ckpt",
        "FCN8s-2_4.ckpt.json",
        "FCN8s-best.ckpt",
        "FCN8s-best.ckpt.json",
        "FCN8s-last.ckpt",
        "FCN8s-last.ckpt.json",
        "arguments.json",
        "class_bars.png",
        "class_iou.png",
        "curves.png",
        "log.jsonl",
        "metrics.json",
        "predictions.png",
        "validations.jsonl",
    ]


def test_whole_cosine_is_applied_a_value_a_step(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    # Half a cosine over four steps: cos of 0, 60, 120, 180 degrees.
    expected = [0.05, 0.0005 + 0.0495 * 0.75, 0.0005 + 0.0495 * 0.25, 0.0005]
    assert [line["lr"] for line in lines] == pytest.approx(expected)
    assert [line["epoch"] for line in lines] == [1, 1, 2, 2]


def test_optimizer_is_given_the_whole_list(record, tmp_path, monkeypatch):
    from mindspore import nn

    given = {}

    class Recorded(nn.Momentum):
        def __init__(self, **kwargs):
            given.update(kwargs)
            super().__init__(**kwargs)

    monkeypatch.setattr(nn, "Momentum", Recorded)
    train.main(arguments(record, tmp_path / "run", "--epochs", "2"))
    assert len(given["learning_rate"]) == 4 and given["learning_rate"][-1] == 0.0005
    assert given["momentum"] == 0.9 and given["weight_decay"] == 1e-4


def test_ascend_gets_loss_scaling(record, tmp_path, monkeypatch):
    """What is asked of `Model` there; nothing of it runs on a CPU."""
    import mindspore.train

    class Asked(Exception):
        pass

    def model(network, **kwargs):
        raise Asked(kwargs)

    monkeypatch.setattr(device, "configure", lambda *args, **kwargs: "Ascend")
    monkeypatch.setattr(mindspore.train, "Model", model)
    with pytest.raises(Asked) as caught:
        train.main(arguments(record, tmp_path / "run"))
    (kwargs,) = caught.value.args
    assert kwargs["amp_level"] == "O2"
    assert kwargs["loss_scale_manager"].get_loss_scale() == 2**16


def test_gpu_is_asked_for_what_the_flags_say(record, tmp_path, monkeypatch):
    import mindspore.train

    asked = {}

    class Asked(Exception):
        pass

    def configure(*args, **kwargs):
        asked.update(kwargs)
        return "GPU"

    def model(network, **kwargs):
        raise Asked(kwargs)

    monkeypatch.setattr(device, "configure", configure)
    monkeypatch.setattr(mindspore.train, "Model", model)
    flags = ["--amp", "O2", "--loss-scale", "1024", "--conv-algo", "least-memory"]
    with pytest.raises(Asked) as caught:
        train.main(arguments(record, tmp_path / "run", *flags, "--no-allow-tf32"))
    (kwargs,) = caught.value.args
    assert kwargs["loss_scale_manager"].get_loss_scale() == 1024
    assert (asked["conv_algo"], asked["allow_tf32"]) == ("least-memory", False)


def test_accumulated_gradient_is_that_of_the_batches(record, tmp_path):
    """Two batches of two against one of four, with BatchNorms that do not look at the batch."""
    same = ["--freeze-bn", "--steps", "3", "--min-scale", "1", "--max-scale", "1"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train.main(arguments(record, whole, *same, "--batch-size", "4"))
    train.main(arguments(record, parts, *same, "--batch-size", "2", "--accumulate", "2"))
    # Not equal: a batch's loss is the mean over its own labelled pixels.
    assert losses(parts) == pytest.approx(losses(whole), rel=5e-3)
    lines = [json.loads(line) for line in (parts / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 3


def test_log_and_checkpoint_tell_what_happened(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert set(lines[0]) == {"step", "epoch", "loss", "lr", "images_per_second", "memory_gb"}
    metadata = checkpoint.read_metadata(run / "FCN8s-2_4.ckpt")
    assert (metadata["epoch"], metadata["step"], metadata["images"]) == (2, 4, 5)
    assert metadata["loss"] == lines[-1]["loss"]
    validations = [json.loads(row) for row in (run / "validations.jsonl").read_text().splitlines()]
    # That of the step itself comes after it has been saved.
    assert metadata["metric"]["step"] == 2
    assert metadata["metric"]["mean IoU"] == validations[0]["mean IoU"]
    assert metadata["arguments"]["batch_size"] == 2
    assert metadata["sha256"] == hashlib.sha256((run / "FCN8s-2_4.ckpt").read_bytes()).hexdigest()
    # Only the last has the optimizer's state.
    assert not [name for name in checkpoint.read(run / "FCN8s-2_4.ckpt") if "moments" in name]
    assert "moments.conv1.0.weight" in checkpoint.read(run / "FCN8s-last.ckpt")


def test_moments_are_not_taken_for_weights(run, record, tmp_path, capsys):
    last = run / "FCN8s-last.ckpt"
    given = ["--pretrained", str(last), "--steps", "1", "--base-lr", "1e-12", "--min-lr", "0"]
    train.main(arguments(record, tmp_path / "run", *given))
    printed = capsys.readouterr().out
    assert "81 parameters loaded; " in printed and " unused (" in printed
    before, after = checkpoint.read(last), checkpoint.read(tmp_path / "run" / "FCN8s-1_1.ckpt")
    for name in ("conv1.0.weight", "upscore8.weight"):
        assert np.allclose(after[name].asnumpy(), before[name].asnumpy())


def test_early_stop(record, tmp_path, monkeypatch, capsys):
    from fcn8s_ms import evaluation

    scores = iter([0.2, 0.5, 0.4, 0.3, 0.9])
    evaluate = evaluation.evaluate_dataset
    monkeypatch.setattr(
        evaluation, "evaluate_dataset", lambda *args: {**evaluate(*args), "mean IoU": next(scores)}
    )
    given = ["--val-data", str(record), "--epochs", "5", "--patience", "2", "--save-every", "100"]
    train.main(arguments(record, tmp_path / "run", *given))
    assert len(losses(tmp_path / "run")) == 8
    assert checkpoint.read_metadata(tmp_path / "run" / "FCN8s-best.ckpt")["epoch"] == 2
    assert checkpoint.read_metadata(tmp_path / "run" / "FCN8s-last.ckpt")["step"] == 8
    message = (
        "Stopped by --patience after step 8 of 10: 2 validations without a better mean IoU. To go "
        f"on:\n  python -m fcn8s_ms.train --resume {tmp_path / 'run'} --patience 4\n"
    )
    assert message in capsys.readouterr().out
    train.main(["--resume", str(tmp_path / "run")])
    assert message in capsys.readouterr().out
    train.main(["--resume", str(tmp_path / "run"), "--patience", "4"])
    assert len(losses(tmp_path / "run")) == 10
    assert "Stopped by --patience" not in capsys.readouterr().out


def test_frozen_parameters_are_listed(record, tmp_path, capsys):
    train.main(arguments(record, tmp_path / "run", "--steps", "1", "--freeze", "backbone"))
    printed = capsys.readouterr().out
    assert "39 parameters frozen: conv1." in printed
    assert "12 parameters trained: conv6.0.weight" in printed


def test_metrics_name_data_and_protocol(run, record):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["train"]["steps"] == 4
    assert metrics["validation"]["data"] == record.name
    assert metrics["validation"]["images"] == 5
    assert "whole, at its own size" in metrics["validation"]["protocol"]
    cat = metrics["validation"]["per class"]["cat"]
    assert (cat["accuracy"], cat["pixels"]) == (None, 0)  # NaN is no JSON
    results = lines(run / "validations.jsonl", "per class")
    assert [result["step"] for result in results] == [2, 4]
    # All are in validations.jsonl; this file does not grow with them.
    assert metrics["validations"] == 2 and "history" not in metrics
    best = max(results, key=lambda result: result["mean IoU"])
    assert metrics["best"] == best
    assert checkpoint.read_metadata(run / "FCN8s-best.ckpt")["step"] == best["step"]


def test_squeezed_images_are_validated_and_scored_alike(record, tmp_path, capsys, caplog):
    run = tmp_path / "run"
    given = arguments(record, run, "--val-data", str(record), "--steps", "2", "--resize-to", 32, 96)
    at = given.index("--crop-size")
    train.main([str(one) for one in given[:at] + given[at + 2 :]])
    printed = capsys.readouterr().out
    assert "--resize 32x96\n" in printed and "IMAGE --resize 32x96 --output" in printed
    expected = json.loads((run / "metrics.json").read_text())["validation"]
    assert "whole, squeezed to 32x96 pixels" in expected["protocol"]
    best = run / "FCN8s-best.ckpt"
    assert checkpoint.read_metadata(best)["arguments"]["resize_to"] == [32, 96]
    Segmenter.from_checkpoint(best)
    assert "show it such images with --resize 32x96" in caplog.text
    caplog.clear()
    given = ["--checkpoint", best, "--data", record, "--device", "CPU", "--mode", "pynative"]
    scores = tmp_path / "scores.json"
    eval.main([str(one) for one in [*given, "--resize", "32x96", "--output", scores]])
    found = json.loads(scores.read_text())
    assert found["protocol"] == expected["protocol"] and not caplog.text
    assert found["mean IoU"] == expected["mean IoU"]


def test_arguments_of_a_run_are_those_of_another(run):
    stored = json.loads((run / "arguments.json").read_text())
    config = parse(["--arguments", str(run / "arguments.json")])
    assert {**config.stored(1, run), "output": "."} == stored
    assert config.run.output is None and stored["output"] == "."


@pytest.mark.parametrize("batch_size", ["1", "3"])
def test_eval_repeats_the_validation(run, record, tmp_path, capsys, batch_size):
    output = tmp_path / "new" / "scores.json"
    eval.main(
        ["--checkpoint", str(run / "FCN8s-2_4.ckpt"), "--data", str(record), "--device", "CPU"]
        + ["--output", str(output), "--batch-size", batch_size, "--trimap", "0", "--fast"]
    )
    found, expected = json.loads(output.read_text()), json.loads((run / "metrics.json").read_text())
    assert found["per class"] == expected["validation"]["per class"]
    assert found["mean IoU"] == expected["validation"]["mean IoU"]
    printed = capsys.readouterr().out
    assert f"mean IoU                 {found['mean IoU']:.4f}" in printed
    assert "5 images" in printed and "Protocol: every image once" in printed


def test_predict_writes_mask_and_overlay_at_the_images_own_size(run, tmp_path, capsys):
    image, _ = draw_pair("street", 50, 75)
    cv2.imwrite(str(tmp_path / "street.png"), image)
    predict.main(
        ["--checkpoint", str(run / "FCN8s-2_4.ckpt"), str(tmp_path / "street.png")]
        + ["--output", str(tmp_path / "out"), "--device", "CPU", "--no-legend"]
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "street_mask.png",
        "street_overlay.png",
    ]
    mask = Image.open(tmp_path / "out" / "street_mask.png")
    assert mask.mode == "P" and mask.size == (75, 50)
    segmenter = Segmenter.from_checkpoint(run / "FCN8s-2_4.ckpt")
    assert np.array_equal(np.asarray(mask), segmenter(image))
    assert Image.open(tmp_path / "out" / "street_overlay.png").size == (75, 50)
    assert "street_mask.png: " in capsys.readouterr().out


def test_same_seed_same_losses_whatever_the_workers(record, tmp_path):
    found = []
    for number, more in enumerate(([], [], ["--workers", "2"], ["--seed", "2"])):
        train.main(arguments(record, tmp_path / f"{number}", "--epochs", "2", *more))
        found.append(losses(tmp_path / f"{number}"))
    assert len(found[0]) == 4
    assert found[1] == found[2] == found[0] != found[3]


def test_fewer_images_than_a_batch(record, tmp_path, caplog):
    train.main(arguments(record, tmp_path / "run", "--batch-size", "9"))
    assert "all.mindrecord has 5 images: batches of 5 instead of 9" in caplog.text
    assert len(losses(tmp_path / "run")) == 1


def test_pynative_mode_trains_alike(record, run, tmp_path):
    train.main(arguments(record, tmp_path / "run", "--epochs", "2", "--mode", "pynative"))
    assert losses(tmp_path / "run") == pytest.approx(losses(run), rel=1e-3)


def test_training_learns(record, tmp_path):
    train.main(
        arguments(record, tmp_path / "run", "--epochs", "15", "--upsample-init", "bilinear", *GRAPH)
        + ["--save-every", "30", "--min-scale", "1", "--max-scale", "1"]
    )
    found = losses(tmp_path / "run")
    assert len(found) == 30
    # Of log(21) = 3.04 for guessing; the three classes of the pictures are soon told from the rest.
    assert np.mean(found[-5:]) < 0.6 * np.mean(found[:5])


def test_pretrained_weights_are_used_and_reported(run, tmp_path, capsys):
    record = write_plain_record(tmp_path / "plain.mindrecord")  # names no classes
    before = checkpoint.read(run / "FCN8s-2_4.ckpt")
    train.main(
        arguments(record, tmp_path / "run", "--pretrained", str(run / "FCN8s-2_4.ckpt"))
        + ["--base-lr", "1e-12", "--min-lr", "0", "--num-classes", "30"]
    )
    assert "75 parameters loaded; 6 dropped (score_fr.weight" in capsys.readouterr().out
    after = checkpoint.read(tmp_path / "run" / "FCN8s-1_2.ckpt")
    assert np.allclose(after["conv6.0.weight"].asnumpy(), before["conv6.0.weight"].asnumpy())
    assert after["score_fr.weight"].shape[0] == 30


@pytest.mark.usefixtures("tiny_network")
def test_a_network_goes_on_from_one_with_a_skip_less(record, tmp_path, capsys):
    """The paper's staged training: 32s, then 16s from it, then 8s."""
    new = {
        "fcn32s": (),
        "fcn16s": ("upscore2.weight", "score_pool4.weight", "upscore16.weight"),
        "fcn8s": ("upscore_pool4.weight", "score_pool3.weight", "upscore8.weight"),
    }
    previous = []
    for arch, names in new.items():
        output = tmp_path / arch
        stage = ["--arch", arch, "--upsample-init", "bilinear", "--skip-init", "zeros"]
        still = ["--base-lr", "1e-12", "--min-lr", "0", "--freeze", "upsampling"]
        train.main(arguments(record, output, "--val-data", str(record), *stage, *still, *previous))
        printed = capsys.readouterr().out
        if names:
            assert f"3 missing ({', '.join(names)}); 1 unused (upscore" in printed
        best = output / f"FCN{arch[3:]}-best.ckpt"
        assert best.is_file() and (output / f"FCN{arch[3:]}-1_2.ckpt").is_file()
        previous = ["--pretrained", str(best)]
        network = checkpoint.load_network(best)
        assert type(network) is getattr(model, f"FCN{arch[3:]}")
        if names:
            assert np.abs(network.score_pool4.weight.asnumpy()).max() < 1e-9
    with pytest.raises(SystemExit):
        train.main(["--resume", str(tmp_path / "fcn16s"), "--arch", "fcn8s"])
    assert f"--pretrained {tmp_path / 'fcn16s' / 'FCN16s-best.ckpt'}" in capsys.readouterr().err


def test_download_then_train(record, tmp_path, monkeypatch, capsys):
    # Records cannot be renamed, so these are built under the published name.
    built = tmp_path / "mindname.mindrecord"
    pairs = sources.voc_pairs(record.parent / "voc", "trainval")
    records.build_records(pairs, built)
    checkpoint.save(FCN8s(21, **TINY), tmp_path / "weights.ckpt", {})
    server = Server()
    server.files["dataset_fcn8s.tar"] = archive(
        {f"dataset_fcn8s/{path.name}": path.read_bytes() for path in tmp_path.glob("mindname*")}
    )
    server.files["fcn8s_vgg16_pretrain.ckpt"] = (tmp_path / "weights.ckpt").read_bytes()
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    small = ["--crop-size", "64", "--batch-size", "2", "--workers", "1", "--device", "CPU"]
    train.main(["--download", server.url, *small])
    server.server.shutdown()
    server.server.server_close()
    assert (home / fetch.DATA_FILE).is_file()
    assert "81 parameters loaded" in capsys.readouterr().out
    (folder,) = (home / "runs").iterdir()
    assert json.loads((folder / "metrics.json").read_text())["train"]["images"] == 5


def broken_copy(record, tmp_path):
    for suffix in ("", ".db"):
        shutil.copy(f"{record}{suffix}", tmp_path / f"{record.name}{suffix}")
    content = record.read_bytes()
    (tmp_path / record.name).write_bytes(content[: len(content) // 2])
    return tmp_path / record.name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--crop-size", "-64"], "--crop-size is -64; it must be positive"),
        (["--crop-size", "100"], "--crop-size 100 is not a multiple of 32; take 128"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--base-lr", "nan"], "--base-lr is nan"),
        (["--min-lr", "1"], "--min-lr 1.0 is above --base-lr 0.05"),
        (["--momentum", "1"], "--momentum is 1.0; it must be below 1"),
        (["--seed", "-1"], "--seed is -1; it must not be negative"),
        (["--num-classes", "1"], "--num-classes is 1; choose 2…255"),
        (["--num-classes", "9"], "--num-classes is 9, but "),
        (["--device", "TPU"], "device 'TPU' is unknown; choose one of auto, CPU, GPU, Ascend"),
        (["--mode", "eager"], "mode 'eager' is unknown; choose one of graph, pynative"),
        (["--min-scale", "3"], "scales 3.0…2.0 are not a range"),
        (["--pretrained", "none.ckpt"], "none.ckpt is missing"),
        (["--val-data", "none.mindrecord"], "none.mindrecord is missing"),
        (["--data", "none.mindrecord"], "none.mindrecord is missing; build it with"),
    ],
)
def test_bad_arguments(record, tmp_path, capsys, given, message):
    error = error_of(train.main, arguments(record, tmp_path / "run", *given), capsys)
    assert message in error


def test_unavailable_device(record, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(device, "available_devices", lambda: ["CPU"])
    given = arguments(record, tmp_path / "run", "--device", "Ascend")
    error = error_of(train.main, given, capsys)
    assert "device Ascend is not available here; available: CPU" in error


def test_missing_data_names_three_remedies(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = error_of(train.main, ["--device", "CPU"], capsys)
    for remedy in ("mindname.mindrecord is missing", "--download", "fcn8s_ms.build", "--sample"):
        assert remedy in error
    assert not list(tmp_path.iterdir())


def test_broken_record(record, tmp_path, capsys):
    given = arguments(broken_copy(record, tmp_path), tmp_path / "run")
    error = error_of(train.main, given, capsys)
    assert f"{tmp_path}/all.mindrecord" in error and "build" in error


def test_output_that_is_not_empty(record, run, capsys):
    error = error_of(train.main, arguments(record, run), capsys)
    assert f"--output {run} is not empty; resume that run with --resume {run}" in error


def test_eval_of_data_with_other_classes(run, record, tmp_path, capsys):
    other = tmp_path / "other.mindrecord"
    pairs = sources.voc_pairs(record.parent / "voc", "val")
    records.build_records(pairs, other, classes=[f"c{i}" for i in range(30)])
    given = ["--checkpoint", run / "FCN8s-2_4.ckpt", "--data", other, "--device", "CPU"]
    assert "they do not belong together" in error_of(eval.main, given, capsys)


@pytest.mark.parametrize("main", [eval.main, predict.main])
def test_missing_checkpoint(main, capsys):
    given = ["--checkpoint", "none.ckpt", "--device", "CPU"] + ["x.jpg"] * (main is predict.main)
    assert "none.ckpt is missing" in error_of(main, given, capsys)


@pytest.mark.parametrize("program", ["train", "eval", "predict"])
def test_help_loads_no_mindspore(program, tmp_path):
    script = tmp_path / "help.py"
    script.write_text(
        "import atexit, sys\n"
        "atexit.register(lambda: print('mindspore' in sys.modules))\n"
        f"from fcn8s_ms.{program} import main\n"
        "main(['--help'])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0
    assert f"python -m fcn8s_ms.{program}" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_exit_status_of_the_real_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fcn8s_ms.train", "--crop-size", "-1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "python -m fcn8s_ms.train: error: --crop-size is -1; it must be positive"
    ]


def test_pictures_are_of_the_samples(run):
    """The grid's first row is the first image of the record, in true colours."""
    picture = np.asarray(Image.open(run / "predictions.png").convert("RGB")).astype(int)
    assert picture.shape[0] > 2 * len(SIZES)
    image, _ = draw_pair(*SIZES[0])
    colour = visualize.overlay(image, np.zeros(image.shape[:2], np.uint8), voc.palette())
    distance = np.abs(picture[:, : picture.shape[1] // 3, np.newaxis] - colour[5, 5]).sum(axis=-1)
    assert distance.min() < 40


# --- other classes than VOC's ------------------------------------------------------------------


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A record of three classes, of which two occur."""
    root = tmp_path_factory.mktemp("street")
    pairs = []
    for name in ("a", "b"):
        image, label = draw_pair("a", 64, 64)
        pair = sources.Pair(name, root / f"{name}.jpg", root / f"{name}.png")
        Image.fromarray(image).save(pair.image)
        Image.fromarray(np.where(label == 255, 255, label > 0).astype(np.uint8)).save(pair.mask)
        pairs.append(pair)
    records.build_records(pairs, root / "street", classes=("road", "house", "sky"))
    return root / "street"


class Asked(Exception):
    pass


def weights_in_the_loss(monkeypatch, then_stop=True):
    """What the loss is given, as a list to look at later."""
    from fcn8s_ms import loss

    given = []

    class Recorded(loss.CrossEntropyLoss):
        def __init__(self, ignore_label=255, class_weights=None, ranks=1, **more):
            given.append(class_weights)
            if then_stop:
                raise Asked
            super().__init__(ignore_label, class_weights, ranks, **more)

    monkeypatch.setattr(loss, "CrossEntropyLoss", Recorded)
    return given


def test_classes_come_from_the_data(street, tmp_path, monkeypatch, capsys):
    given = weights_in_the_loss(monkeypatch, then_stop=False)
    drawn = []
    monkeypatch.setattr(visualize, "prediction_grid", lambda path, rows, *more: drawn.extend(rows))
    output = tmp_path / "run"
    more = ("--class-weights", "auto", "--num-pictures", "1")
    train.main(arguments(street, output, "--val-data", str(street), *more))
    out = capsys.readouterr().out
    assert "2 images, 3 classes" in out and "house" in out
    metadata = checkpoint.read_metadata(output / "FCN8s-1_1.ckpt")
    assert metadata["classes"] == ["road", "house", "sky"]
    # In every image both classes: the weights are median / share, of shares that sum to 1.
    label = draw_pair("a", 64, 64)[1]
    house = (label[label != 255] > 0).mean()
    assert given[0] == pytest.approx([0.5 / (1 - house), 0.5 / house, 1])
    assert f"road {given[0][0]:.3g}, house {given[0][1]:.3g}, sky 1" in out
    assert [row[0] for row in drawn] == ["a"]


def test_weights_of_a_file(street, tmp_path, monkeypatch):
    given = weights_in_the_loss(monkeypatch)
    (tmp_path / "w.json").write_text('{"sky": 3, "road": 1, "house": 2}')
    with pytest.raises(Asked):
        train.main(arguments(street, tmp_path / "run", "--class-weights", str(tmp_path / "w.json")))
    assert given[0].tolist() == [1, 2, 3]


def test_no_weights_without_being_asked(street, tmp_path, monkeypatch):
    given = weights_in_the_loss(monkeypatch)
    with pytest.raises(Asked):
        train.main(arguments(street, tmp_path / "run"))
    assert given == [None]


def test_weights_that_cannot_be_had(street, record, tmp_path, capsys):
    for suffix in ("", ".db"):
        (tmp_path / f"street{suffix}").write_bytes(Path(f"{street}{suffix}").read_bytes())
    output = tmp_path / "run"
    cases = [
        (tmp_path / "street", "auto", "needs counts of 21 classes in"),
        (street, tmp_path / "none.json", "none.json is missing"),
    ]
    for data, weights, message in cases:
        with pytest.raises(SystemExit):
            train.main(arguments(data, output, "--class-weights", str(weights)))
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main(arguments(street, output, "--val-data", str(record)))
    assert "have different classes; build both with the same --classes" in capsys.readouterr().err
    assert not output.exists()
