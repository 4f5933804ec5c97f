"""Interrupted runs of the real program end as the run that was not interrupted."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from fcn8s_ms import checkpoint, device, evaluation, records, train
from fcn8s_ms.records import sources
from fcn8s_ms.training.run_folder import RunFolder

from ..helpers import arguments, assert_same, error_of, lines, losses, state, use_tiny_networks

pytestmark = pytest.mark.usefixtures("tiny_network")

# Three epochs of two steps, saved at odd moments.
LENGTH = ["--epochs", "3", "--save-every", "2"]


@pytest.fixture
def stop_at(monkeypatch):
    """Sends this process a signal in a step, once."""

    def prepare(step, number=signal.SIGTERM):
        left = [step]

        def memory(target):
            left[0] -= 1
            if left[0] == 0:
                time.sleep(0.5)  # until the handler is the program's again
                os.kill(os.getpid(), number)
            return {}

        monkeypatch.setattr(device, "memory", memory)

    return prepare


def interrupted(given, status=143):
    with pytest.raises(SystemExit) as caught:
        train.main(given)
    assert caught.value.code == status


@pytest.fixture(scope="module")
def reference(record, tmp_path_factory):
    output = tmp_path_factory.mktemp("reference") / "run"
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        train.main(arguments(record, output, "--val-data", str(record), *LENGTH))
    return output


def test_stopped_and_stopped_again_is_as_never_stopped(
    record, reference, tmp_path, stop_at, capsys
):
    run = tmp_path / "run"
    stop_at(3)  # in the middle of an epoch, between two checkpoints
    interrupted(arguments(record, run, "--val-data", str(record), *LENGTH))
    error = capsys.readouterr().err
    assert f"stopped by SIGTERM after step 3 of 6; resume with: {train.PROGRAM} --resume" in error
    assert checkpoint.read_metadata(run / "FCN8s-last.ckpt")["step"] == 3
    stop_at(1, signal.SIGINT)  # the last of an epoch: its validation is for the next process
    interrupted(["--resume", str(run)], 130)
    assert [row["step"] for row in lines(run / "validations.jsonl")] == [2]
    stop_at(2)  # the last of all: only what comes after it is left
    interrupted(["--resume", str(run)])
    train.main(["--resume", str(run)])
    assert_same(run, reference)


@pytest.mark.slow
def test_checkpoints_in_safetensors(record, reference, tmp_path, stop_at, capsys):
    """Whole, stopped in the middle and stopped before a checkpoint of weights: always the bits of
    the run with .ckpt."""
    given = ["--val-data", str(record), *LENGTH, "--checkpoint-format", "safetensors"]
    whole, run = tmp_path / "whole", tmp_path / "run"
    train.main(arguments(record, whole, *given))
    assert not list(whole.glob("*.ckpt*")) and not list(whole.glob("*.safetensors.json"))
    stop_at(3)
    interrupted(arguments(record, run, *given))
    assert checkpoint.read_metadata(run / "FCN8s-last.safetensors")["step"] == 3
    train.main(["--resume", str(run)])
    (run / "FCN8s-3_6.safetensors").unlink()  # as if killed between the two halves of a save
    train.main(["--resume", str(run)])
    assert_same(run, whole)
    names = {path.stem for path in reference.glob("*.ckpt")}
    assert names == {path.stem for path in whole.glob("*.safetensors")}
    for name in names:
        found, expected = state(whole, f"{name}.safetensors"), state(reference, f"{name}.ckpt")
        assert list(found) == list(expected)
        assert all(np.array_equal(found[one], expected[one]) for one in expected)
    error = error_of(train.main, ["--resume", run, "--checkpoint-format", "ckpt"], capsys)
    assert "--checkpoint-format ckpt is not the run's (safetensors) and cannot change" in error


def test_stopped_in_a_validation(record, reference, tmp_path, monkeypatch):
    evaluate = evaluation.evaluate_dataset

    def interrupted_evaluate(*arguments):
        monkeypatch.setattr(evaluation, "evaluate_dataset", evaluate)
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments)

    monkeypatch.setattr(evaluation, "evaluate_dataset", interrupted_evaluate)
    run = tmp_path / "run"
    interrupted(arguments(record, run, "--val-data", str(record), *LENGTH))
    assert checkpoint.read_metadata(run / "FCN8s-last.ckpt")["step"] == 2
    assert not (run / "validations.jsonl").exists()
    train.main(["--resume", str(run)])
    assert_same(run, reference)


def test_resume_of_a_finished_run_changes_nothing(reference, capsys):
    before = {
        path.name: (path.stat().st_mtime_ns, path.read_bytes())
        for path in reference.iterdir()
        if path.suffix == ".ckpt" or path.name.endswith(".ckpt.json")
    }
    logs = [(reference / name).read_text() for name in ("log.jsonl", "validations.jsonl")]
    train.main(["--resume", str(reference)])
    assert "6 steps, 2 per epoch; resuming after step 6" in capsys.readouterr().out
    for name, (written, content) in before.items():
        path = reference / name
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (written, content)
    assert [(reference / name).read_text() for name in ("log.jsonl", "validations.jsonl")] == logs


def test_every_state_of_an_optimizer_is_restored(record, tmp_path, stop_at):
    """Bias corrections and second moments; the sums of an accumulated gradient are no state."""
    given = ["--optimizer", "adamw", "--clip-norm", "0.5", "--accumulate", "2", "--steps", "4"]
    given += ["--batch-size", "1", "--freeze", "backbone", "--schedule", "polynomial"]
    given += ["--lr-factor", "head=10", "fc=0.5", "--no-bias-decay", "--dropout", "0.3"]
    train.main(arguments(record, tmp_path / "whole", *given))
    stop_at(3)
    interrupted(arguments(record, tmp_path / "run", *given))
    train.main(["--resume", str(tmp_path / "run")])
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    found, expected = state(tmp_path / "run"), state(tmp_path / "whole")
    assert list(found) == list(expected)
    assert not any(name.startswith("learning_rate") for name in found)  # it follows the arguments
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert {"beta1_power", "moment2.conv6.0.weight"} < set(found)
    assert "moment2.conv1.0.weight" not in found  # frozen
    assert not [name for name in found if name.startswith("accumulated")]
    rates = [row["lr"] for row in lines(tmp_path / "run" / "log.jsonl")]
    assert rates[0] == 0.001 and rates[-1] == pytest.approx(0.00001)


@pytest.mark.slow
def test_dropout_and_auxiliary_head_go_on_where_they_stopped(record, tmp_path, stop_at):
    given = ["--arch", "fcn_resnet50", "--steps", "3", "--batch-size", "2"]
    train.main(arguments(record, tmp_path / "whole", *given))
    stop_at(2)
    interrupted(arguments(record, tmp_path / "run", *given))
    train.main(["--resume", str(tmp_path / "run")])
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    name = "FCNResNet50-last.ckpt"
    found, expected = state(tmp_path / "run", name), state(tmp_path / "whole", name)
    assert list(found) == list(expected) and "aux_classifier.4.bias" in found
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_moving_average_goes_on_where_it_stopped(record, reference, tmp_path, stop_at):
    """Steps are those without an average; what is validated and saved is another network."""
    given = ["--val-data", str(record), *LENGTH, "--ema", "0.5"]
    train.main(arguments(record, tmp_path / "whole", *given))
    stop_at(3)
    interrupted(arguments(record, tmp_path / "run", *given))
    train.main(["--resume", str(tmp_path / "run")])
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert losses(tmp_path / "whole") == losses(reference)
    plain, found = state(reference, "FCN8s-last.ckpt"), state(tmp_path / "whole", "FCN8s-last.ckpt")
    name = "conv6.0.weight"
    assert np.array_equal(found[f"trained.{name}"], plain[name])
    assert not np.array_equal(found[name], plain[name])
    last = state(tmp_path / "whole", "FCN8s-3_6.ckpt")
    assert np.array_equal(last[name], found[name]) and f"trained.{name}" not in last
    scores = [lines(run / "validations.jsonl") for run in (reference, tmp_path / "whole")]
    assert scores[0] != scores[1]


@pytest.mark.slow
def test_network_of_the_papers_authors_goes_on_where_it_stopped(record, tmp_path, stop_at):
    given = ["--arch", "fcn8s_paper", "--at-once", "--steps", "3", "--batch-size", "1"]
    given += ["--accumulate", "2", "--loss-reduction", "sum", "--base-lr", "1e-7"]
    given += ["--momentum", "0.99", "--schedule", "constant", "--lr-factor", "bias=2"]
    train.main(arguments(record, tmp_path / "whole", *given))
    stop_at(2)
    interrupted(arguments(record, tmp_path / "run", *given))
    train.main(["--resume", str(tmp_path / "run")])
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    name = "FCN8sPaper-last.ckpt"
    found, expected = state(tmp_path / "run", name), state(tmp_path / "whole", name)
    assert list(found) == list(expected) and "moments.upscore8.weight" not in found
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert found["score_fr.bias"].any() and found["scales"].tolist() == pytest.approx([0.01, 1e-4])


def test_run_can_become_longer(record, tmp_path):
    """With a constant learning rate the longer run is the run that was long from the start."""
    constant = ["--schedule", "constant", "--base-lr", "0.01"]
    train.main(arguments(record, tmp_path / "long", *constant, "--epochs", "2"))
    train.main(arguments(record, tmp_path / "run", *constant, "--steps", "3", "--save-every", "2"))
    train.main(["--resume", str(tmp_path / "run"), "--epochs", "2"])
    assert losses(tmp_path / "run") == losses(tmp_path / "long")
    for name in ("FCN8s-last.ckpt", "FCN8s-2_4.ckpt"):
        found, expected = state(tmp_path / "run", name), state(tmp_path / "long", name)
        assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_damaged_last_checkpoint(record, reference, tmp_path, stop_at, capsys, caplog):
    run = tmp_path / "run"
    given = arguments(record, run, "--val-data", str(record), *LENGTH)
    stop_at(3)
    interrupted(given)
    last = run / "FCN8s-last.ckpt"
    last.write_bytes(last.read_bytes()[:-7])
    capsys.readouterr()
    error = error_of(train.main, ["--resume", str(run)], capsys)
    assert "FCN8s-last.ckpt is damaged: its checksum" in error
    assert f"--pretrained {run / 'FCN8s-1_2.ckpt'} --output NEW" in error
    last.unlink()  # as the message says
    train.main(["--resume", str(run)])
    assert "FCN8s-last.ckpt is missing: starting at the beginning of the run" in caplog.text
    assert_same(run, reference)


class Killed(BaseException):
    """Stands for the end of the process."""


# A save names six files: JSON, checkpoint and JSON again, of the complete state and of the weights.
@pytest.mark.parametrize(
    ("save", "moment"),
    [
        pytest.param(save, moment, marks=() if (save, moment) == (2, 2) else pytest.mark.slow)
        for save in (1, 2)
        for moment in range(1, 7)
    ],
)
def test_killed_in_a_save(record, reference, tmp_path, monkeypatch, save, moment):
    run = tmp_path / "run"
    replace, writes = os.replace, []

    def counted_replace(source, target):
        if ".ckpt" in str(target) and "best" not in str(target):
            writes.append(target)
            if len(writes) == 6 * (save - 1) + moment:
                raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", counted_replace)
    given = arguments(record, run, "--val-data", str(record), *LENGTH)
    with pytest.raises(Killed):
        train.main(given)
    monkeypatch.setattr(os, "replace", replace)
    train.main(["--resume", str(run)])
    assert_same(run, reference)


def test_full_disk_stops_the_run_and_loses_nothing(
    record, reference, tmp_path, capsys, monkeypatch
):
    """A disk of some megabytes that something else fills between two checkpoints."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        run, filler = disk / "run", disk / "filler"
        calls = iter(range(9))

        def memory(target):
            if next(calls) == 2:  # in the third step
                with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
                    while True:
                        file.write(b"x" * 4096)
            return {}

        monkeypatch.setattr(device, "memory", memory)
        given = arguments(record, run, "--val-data", str(record), *LENGTH)
        error = error_of(train.main, given, capsys).splitlines()[-1]
        assert str(run) in error and "No space left on device" in error
        assert checkpoint.read_metadata(run / "FCN8s-last.ckpt")["step"] == 2
        for path in run.glob("*.ckpt"):
            checkpoint.read(path)
        filler.unlink()
        train.main(["--resume", str(run)])
        assert_same(run, reference)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("step", "fate"),  # before the first save, and after it
    [
        pytest.param(1, "renamed", marks=pytest.mark.slow),
        pytest.param(1, "deleted", marks=pytest.mark.slow),
        pytest.param(3, "renamed", marks=pytest.mark.slow),
        (3, "deleted"),
    ],
)
def test_folder_that_goes_during_the_training(
    record, reference, tmp_path, monkeypatch, capsys, fate, step
):
    run, moved, calls = tmp_path / "run", tmp_path / "moved", iter(range(1, 9))

    def memory(target):
        if next(calls) == step:
            run.rename(moved) if fate == "renamed" else shutil.rmtree(run)
        return {}

    monkeypatch.setattr(device, "memory", memory)
    given = arguments(record, run, "--val-data", str(record), *LENGTH)
    error = error_of(train.main, given, capsys).splitlines()[-1]
    assert str(run) in error and not run.exists()
    if fate == "deleted":
        assert "was deleted or moved away during the training" in error
        return
    assert f"was renamed to {moved}" in error
    assert (f"resume with --resume {moved}" in error) == (step == 3)
    train.main(["--resume", str(moved)])
    assert_same(moved, reference)


@pytest.mark.parametrize(
    "step",
    [pytest.param(1, marks=pytest.mark.slow), 5],  # before the first validation, and after
)
def test_record_that_is_replaced_during_the_training(
    record, reference, voc_folder, tmp_path, monkeypatch, capsys, step
):
    """By a build. Training goes on with the old one; validations would not."""
    run, data = tmp_path / "run", tmp_path / "data" / "all.mindrecord"

    def build(list_name):
        pairs = sources.voc_pairs(voc_folder, list_name)
        records.build_records(pairs, data, overwrite=True)

    def replace_at(number):
        calls = iter(range(1, 99))
        monkeypatch.setattr(
            device, "memory", lambda target: build("val") or {} if next(calls) == number else {}
        )

    build("trainval")
    replace_at(step)
    train.main(arguments(data, run, *LENGTH))
    assert losses(run) == losses(reference)
    build("trainval")
    replace_at(step)
    given = arguments(record, tmp_path / "validated", "--val-data", str(data), *LENGTH)
    error = error_of(train.main, given, capsys).splitlines()[-1]
    assert f"{data} was replaced or deleted during the training, which stops" in error
    assert (tmp_path / "validated" / "validations.jsonl").is_file() == (step == 5)
    build("trainval")
    train.main(["--resume", str(tmp_path / "validated")])
    assert_same(tmp_path / "validated", reference)


def test_run_in_use(record, reference, capsys):
    holder = RunFolder.open(reference)
    for given in (["--resume", str(reference)], arguments(record, reference)):
        assert "is in use by another training" in error_of(train.main, given, capsys)
    holder.release()


def test_loss_that_is_not_finite(record, tmp_path, capsys):
    run = tmp_path / "run"
    given = arguments(record, run, "--base-lr", "1e25", "--save-every", "1", "--epochs", "3")
    error = error_of(train.main, given, capsys).splitlines()[-1]
    (step,) = [row["step"] for row in lines(run / "log.jsonl")][-1:]
    assert f"at step {step + 1} with learning rate " in error
    assert "The images of its batch: '" in error
    assert f"The newest checkpoint from before is {run / 'FCN8s-last.ckpt'}" in error
    assert checkpoint.read_metadata(run / "FCN8s-last.ckpt")["step"] == step
    for value in state(run).values():
        assert np.isfinite(value).all()


def test_weights_that_are_not_finite_are_not_saved(record, tmp_path, capsys):
    run = tmp_path / "run"
    given = arguments(record, run, "--base-lr", "3e38", "--save-every", "1")
    given += ["--weight-decay", "1e30"]
    error = error_of(train.main, given, capsys).splitlines()[-1]
    assert "are no longer finite" in error and "at step 1 with learning rate 3e+38" in error
    assert "There is no checkpoint from before:" in error
    assert not list(run.glob("*.ckpt*"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--base-lr", "0.1"], "--base-lr 0.1 is not the run's (0.05) and cannot change within a"),
        (["--seed", "2"], "--seed 2 is not the run's (1)"),
        (["--freeze", "backbone"], "--freeze ['backbone'] is not the run's ([])"),
        (["--output", "other"], "writes to that folder; leave out --output"),
        (["--steps", "3"], "has done 6 steps, more than 3; pass a larger --epochs or --steps"),
        (["--patience", "1"], None),
    ],
)
def test_what_may_change(reference, capsys, given, message):
    given = ["--resume", str(reference), *given]
    before = (reference / "arguments.json").read_text()
    if message is None:
        train.main(given)
        assert json.loads((reference / "arguments.json").read_text())["patience"] == 1
    else:
        assert message in error_of(train.main, given, capsys)
        assert (reference / "arguments.json").read_text() == before


def test_the_same_flags_again_are_no_change(record, reference):
    given = arguments(record, reference, "--val-data", str(record), *LENGTH)
    train.main([*given, "--resume", str(reference)])


def test_data_of_another_size(record, reference, tmp_path, capsys):
    other = tmp_path / "other.mindrecord"
    records.build_records(sources.voc_pairs(record.parent / "voc", "train"), other)
    given = ["--resume", str(reference), "--data", str(other)]
    error = error_of(train.main, given, capsys)
    assert f"{other} has 3 images, the data of the run in {reference} had 5" in error
    RunFolder.open(reference).release()  # a program that goes on may train in it


def test_no_run_to_go_on_with(tmp_path, capsys):
    error = error_of(train.main, ["--resume", str(tmp_path)], capsys)
    assert f"--resume {tmp_path} is not the folder of a run" in error
