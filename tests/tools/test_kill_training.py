"""A short version of what `python tools/kill_training.py` does at length."""

import pytest

from fcn8s_ms.errors import InputError

from ..helpers import load_tool


@pytest.mark.parametrize(
    ("at_saves", "checkpoint_format"),
    [
        (False, "ckpt"),
        pytest.param(True, "ckpt", marks=pytest.mark.slow),
        pytest.param(True, "safetensors", marks=pytest.mark.slow),
    ],
)
def test_killed_training_ends_as_one_that_was_not(tmp_path, at_saves, checkpoint_format):
    tool = load_tool("kill_training")
    history = tool.run_test(
        kills=2,
        steps=78,
        save_every=2,
        seed=3,
        folder=tmp_path,
        at_saves=at_saves,
        checkpoint_format=checkpoint_format,
    )
    assert history
    if at_saves:  # the first save was the first aim
        assert history[0]["steps"] == 2


def test_what_a_kill_leaves_unfinished_is_no_checkpoint(tmp_path):
    """A kill may meet the moment between the creation of a file and its first byte."""
    tool = load_tool("kill_training")
    (tmp_path / ".FCN8s-1_2.unfinished-d16a-12149-03c6.ckpt").touch()
    assert tool._check_readable(tmp_path) == 0
    (tmp_path / "FCN8s-1_2.ckpt").touch()
    with pytest.raises(InputError, match="FCN8s-1_2.ckpt cannot be read"):
        tool._check_readable(tmp_path)


def test_networks_of_the_test():
    tool = load_tool("kill_training")
    built = {"train": "train", "val": "val"}
    assert "--widths" in tool._arguments(built, False, 9, 3)
    assert "--widths" not in tool._arguments(built, True, 9, 1)


def test_differences_are_found(tmp_path):
    """The comparison is not blind: one weight, one line."""
    import numpy as np
    from mindspore import Parameter, Tensor, nn

    from fcn8s_ms import checkpoint

    tool = load_tool("kill_training")
    runs = [tmp_path / "one", tmp_path / "other"]
    network = nn.Cell()
    network.w = Parameter(Tensor(np.arange(3, dtype=np.float32)), name="w")
    for run in runs:
        checkpoint.save(network, run / "FCN8s-last.ckpt", {"step": 1})
        for name, line in (("log", {"step": 1, "memory_gb": id(run)}), ("validations", {"a": 1})):
            (run / f"{name}.jsonl").write_text(tool.json.dumps(line) + "\n")
    assert tool._difference(*runs) is None
    (runs[0] / "validations.jsonl").write_text('{"a": 2}\n')
    assert tool._difference(*runs) == "validations.jsonl"
    network.w.set_data(Tensor(np.array([0, 1, 2.0000002], np.float32)))
    checkpoint.save(network, runs[1] / "FCN8s-last.ckpt", {"step": 1})
    assert tool._difference(*runs) == "FCN8s-last.ckpt: w"
