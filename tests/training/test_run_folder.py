import json
import multiprocessing

import numpy as np
import pytest

from fcn8s_ms import checkpoint
from fcn8s_ms.errors import InputError
from fcn8s_ms.model import FCN8s
from fcn8s_ms.training.resume import Progress
from fcn8s_ms.training.run_folder import RunFolder
from fcn8s_ms.training.schedule import Length

from ..helpers import TINY


@pytest.fixture
def folder(tmp_path):
    """A run of four steps with a checkpoint after each, and logs that are a step ahead."""
    folder = RunFolder.create(tmp_path / "run")
    folder.write_arguments({"epochs": 2})
    network = FCN8s(5, **TINY)
    for step in (1, 2, 3, 4):
        checkpoint.save(network, folder.weights((step + 1) // 2, step), {"step": step})
    checkpoint.save(network, folder.last, {"step": 4})
    lines = [{"step": step, "loss": None if step == 2 else 0.5} for step in (1, 2, 3, 4, 5)]
    folder.log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 6, "lo')
    results = [{"step": 2, "mean IoU": None, "per class": {"a": {"IoU": None}}}]
    folder.validations.write_text("".join(json.dumps(line) + "\n" for line in results))
    folder.release()
    return folder


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def damage(path):
    path.write_bytes(path.read_bytes()[:-1])


def test_progress_of_a_run(folder):
    progress = Progress.read(folder)
    assert progress.step == 4 and len(progress.parameters) == 81
    assert [point["step"] for point in progress.history.points()] == [1, 2, 3, 4]
    assert np.isnan(progress.history.points()[1]["loss"])
    (result,) = progress.validations
    assert np.isnan(result["mean IoU"]) and np.isnan(result["per class"]["a"]["IoU"])
    # What comes again is removed, a line that was cut short too.
    assert steps(folder.log) == [1, 2, 3, 4]


def test_damaged_checkpoint(folder):
    """Weights alone would not resume the run exactly; the message says what can be done."""
    log = folder.log.read_text()
    damage(folder.last)
    with pytest.raises(InputError) as caught:
        Progress.read(folder)
    message = str(caught.value)
    assert f"{folder.last} is damaged" in message and "cannot be resumed exactly" in message
    assert "remove FCN8s-last.ckpt and repeat this command" in message
    assert message.endswith(f"from its weights: --pretrained {folder.weights(2, 4)} --output NEW")
    assert folder.log.read_text() == log  # nothing is lost over it
    for path in folder.all_weights():
        path.unlink()
    with pytest.raises(InputError, match="remove FCN8s-last.ckpt and repeat this command$"):
        Progress.read(folder)


def test_complete_checkpoint_without_json(folder):
    checkpoint.metadata_file(folder.last).unlink()
    with pytest.raises(InputError, match="has no JSON that states its step. Without it"):
        Progress.read(folder)


def test_weights_alone_begin_at_the_start(folder, caplog):
    folder.last.unlink()
    progress = Progress.read(folder)
    assert (progress.step, progress.parameters, progress.history.last) == (0, None, None)
    assert f"{folder.last} is missing: starting at the beginning of the run" in caplog.text
    assert f"--pretrained {folder.weights(2, 4)} --output NEW" in caplog.text
    assert len(folder.all_weights()) == 4  # kept until their steps come again


def test_run_killed_before_its_first_checkpoint(folder, caplog):
    for path in [folder.last, *folder.all_weights()]:
        path.unlink()
    progress = Progress.read(folder)
    assert (progress.step, progress.parameters, progress.history.last) == (0, None, None)
    assert "has no checkpoint yet: starting at its beginning" in caplog.text


def test_prune_keeps_the_newest(folder):
    folder.prune(2)
    assert [path.name for path in folder.all_weights()] == ["FCN8s-2_3.ckpt", "FCN8s-2_4.ckpt"]
    assert sorted(path.name for path in folder.path.glob("*.json")) == [
        "FCN8s-2_3.ckpt.json",
        "FCN8s-2_4.ckpt.json",
        "FCN8s-last.ckpt.json",
        "arguments.json",
    ]


def test_newest_goes_by_number_not_by_name(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    assert folder.newest() is None
    for step in (9, 10, 100):
        folder.weights(1, step).write_text("")
    folder.best.write_text("")
    assert folder.newest() == folder.weights(1, 100)
    folder.prune(1)
    assert folder.all_weights() == [folder.weights(1, 100)]
    folder.last.write_text("")
    assert folder.newest() == folder.last


def test_leftovers_of_a_killed_process_go(folder):
    for name in (".FCN8s-last.unfinished.ckpt", ".FCN8s-last.unfinished.tmp"):
        (folder.path / name).write_text("half")
    RunFolder.open(folder.path).release()
    assert not list(folder.path.glob(".*"))


def test_folder_of_a_process_killed_at_its_beginning_can_be_taken(tmp_path):
    (tmp_path / ".arguments.unfinished.json").write_text("{")
    RunFolder.create(tmp_path).release()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="is not empty; choose another name"):
        RunFolder.create(tmp_path)


def lost_run(path):
    """What a run leaves that dies before its first checkpoint."""
    folder = RunFolder.create(path)
    folder.write_arguments({"base_lr": 50})
    folder.log.write_text('{"step": 1, "loss": 9}\n')
    folder.tensorboard.mkdir()
    (folder.tensorboard / "events").write_text("")
    folder.release()
    return folder


def test_folder_of_a_run_without_a_checkpoint_is_taken_again(tmp_path, caplog):
    lost_run(tmp_path / "run")
    RunFolder.check(tmp_path / "run")
    assert len(list((tmp_path / "run").iterdir())) == 3  # a check changes nothing
    RunFolder.create(tmp_path / "run").release()
    assert list((tmp_path / "run").iterdir()) == []
    assert "holds a run that ended before its first checkpoint" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", "ended before its first checkpoint, but there are other files too"),
        ("FCN32s-best.ckpt", "resume that run with --resume"),
        ("FCN8s-1_2.safetensors", "resume that run with --resume"),
    ],
)
def test_nothing_else_is_removed_for_a_new_run(tmp_path, name, message):
    folder = lost_run(tmp_path / "run")
    (folder.path / name).write_text("mine")
    for attempt in (RunFolder.check, RunFolder.create):
        with pytest.raises(InputError, match=message):
            attempt(folder.path)
    assert (folder.path / name).read_text() == "mine" and folder.log.is_file()


def test_finished_run_says_how_to_train_longer(folder):
    progress = Progress.read(folder)
    assert progress.finished(Length(6, 2), folder) is None
    said = progress.finished(Length(4, 2), folder)
    assert f"{folder.path} has done all of its 4 steps" in said
    assert f"--resume {folder.path} --epochs 4, whose learning rates follow" in said
    assert f"--pretrained {folder.last} --output NEW" in said


def _try_to_open(path, answers):
    try:
        RunFolder.open(path)
    except InputError as error:
        answers.put(str(error))
    else:
        answers.put("opened")


def test_one_training_at_a_time(folder):
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def other_process():
        process = context.Process(target=_try_to_open, args=(folder.path, answers))
        process.start()
        process.join()
        return answers.get()

    holder = RunFolder.open(folder.path)
    assert "is in use by another training" in other_process()
    holder.release()
    assert other_process() == "opened"


def test_new_run_in_a_folder_in_use(tmp_path):
    """Even while it is still empty."""
    holder = RunFolder.create(tmp_path / "run")
    with pytest.raises(InputError, match="is in use by another training"):
        RunFolder.create(tmp_path / "run")
    holder.write_arguments({})
    with pytest.raises(InputError, match="is in use by another training"):
        RunFolder.create(tmp_path / "run")
    holder.last.write_bytes(b"")
    holder.release()
    with pytest.raises(InputError, match="is not empty; resume that run with --resume"):
        RunFolder.create(tmp_path / "run")
    RunFolder.open(tmp_path / "run").release()  # the refusal has not kept the lock


def test_folder_that_is_no_longer_in_its_place(folder):
    opened, path = RunFolder.open(folder.path), folder.path
    opened.check_in_place()
    moved = path.with_name("moved")
    path.rename(moved)
    resume = f"The last checkpoint is {moved / 'FCN8s-last.ckpt'}; resume with --resume {moved}"
    for again in (False, True):
        if again:
            path.mkdir()  # somebody else's
        with pytest.raises(InputError, match=f"was renamed to {moved} during.*{resume}"):
            opened.check_in_place()
    for leftover in moved.iterdir():
        leftover.unlink()
    moved.rmdir()
    with pytest.raises(InputError, match="was deleted or moved away .* start again"):
        opened.check_in_place()
    opened.release()


def test_folders_that_are_none(tmp_path):
    with pytest.raises(
        InputError, match="is not the folder of a run: it has no readable arguments.js"
    ):
        RunFolder.open(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--output .*file is no folder; choose another name"):
        RunFolder.create(tmp_path / "file")
    with pytest.raises(InputError, match="--output .* cannot be created.*choose another"):
        RunFolder.create(tmp_path / "file" / "run")
