import dataclasses
import json

import pytest

from fcn8s_ms.errors import InputError, flag
from fcn8s_ms.training import arguments
from fcn8s_ms.training.arguments import Config
from fcn8s_ms.training.data_options import DataOptions
from fcn8s_ms.training.network_options import NetworkOptions
from fcn8s_ms.training.options import (
    DeviceOptions,
    OptimizerOptions,
    RunOptions,
)

GROUPS = (DataOptions, NetworkOptions, OptimizerOptions, DeviceOptions, RunOptions)


def actions():
    """The flags of the parser by name, without --help and --arguments."""
    found = {one.dest: one for one in arguments.get_parser()._actions}
    return {name: one for name, one in found.items() if name not in ("help", "arguments")}


def test_every_field_is_a_flag_with_its_help_and_default():
    found = actions()
    fields = [field for group in GROUPS for field in dataclasses.fields(group)]
    assert [field.name for field in fields] == list(found)  # in order, and no name twice
    defaults = {name: action.default for name, action in found.items()}
    assert Config.from_flat(defaults) == Config()
    for field in fields:
        action = found[field.name]
        assert action.option_strings[0] == flag(field.name)
        assert action.help == field.metadata["parsing"]["help"]


def test_values_have_the_types_of_their_fields():
    given = ["--clip-norm", "2", "--widths", "1", "2", "3", "4", "5", "--save-every", "7"]
    config = arguments.parse([*given, "--val-data", "v", "--freeze", "backbone"])
    assert type(config.optimizer.clip_norm) is float and type(config.run.save_every) is int
    assert config.network.widths == [1, 2, 3, 4, 5] and config.network.freeze == ["backbone"]
    assert config.data.val_data.name == "v"


@pytest.mark.parametrize(
    ("group", "given", "message"),
    [
        (NetworkOptions, {"widths": [1, 2, 3]}, "--widths is 1 2 3; give five"),
        (OptimizerOptions, {"base_lr": float("nan")}, "--base-lr is nan; it must be positive"),
        (OptimizerOptions, {"seed": -1}, "--seed is -1; it must not be negative"),
        (DeviceOptions, {"loss_scale": 0.5}, "--loss-scale is 0.5; it must be at least 1"),
        (DeviceOptions, {"sync_bn": True}, "--sync-bn is for several devices"),
        (
            DataOptions,
            {"crop_size": 1_000_000},
            "--crop-size is 1000000; it must be at most 10,000",
        ),
        (DataOptions, {"augment": "blur,zoom"}, "--augment blur,zoom: 'zoom' is not known; choose"),
        (
            DataOptions,
            {"resize_to": [64, 64], "crop_size": 64},
            "--resize-to takes the place of --c",
        ),
        (
            DataOptions,
            {"resize_to": [64, 64], "max_scale": 2},
            "--resize-to takes the place of --m",
        ),
        (DataOptions, {"resize_to": [64, 64], "resize_short": [9, 9]}, "leave out --resize-short"),
        (DataOptions, {"resize_to": [64, 64], "cat_max_ratio": 0.5}, "leave out --cat-max-ratio"),
        (DataOptions, {"resize_short": [9, 9], "min_scale": 0.5}, "--resize-short takes the place"),
        (DataOptions, {"resize_short": [9, 8]}, "--resize-short is 9 8; give the smallest"),
        (DataOptions, {"resize_to": [2**70, 1]}, "--resize-to is 1180591620717411303424; it must"),
        (DataOptions, {"cat_max_ratio": 1.5}, "--cat-max-ratio is 1.5; choose a share"),
        (DataOptions, {"max_scale": 1e6}, "--max-scale is 1000000.0; it must be at most 8"),
        (DataOptions, {"min_scale": float("-inf")}, "--min-scale is -inf; it must be finite"),
        (
            NetworkOptions,
            {"widths": [4, 4, 4, 4, 10**9]},
            "--widths is 1000000000; .* at most 4,096",
        ),
        (
            NetworkOptions,
            {"fc_width": 10**9},
            "--fc-width is 1000000000; it must be at most 16,384",
        ),
        (
            OptimizerOptions,
            {"steps": 10**9},
            "--steps is 1000000000; it must be at most 10,000,000",
        ),
        (OptimizerOptions, {"seed": 2**70}, f"--seed is {2**70}; it must be at most 4,294,967,295"),
        (OptimizerOptions, {"base_lr": float("inf")}, "--base-lr is inf; it must be finite"),
        (RunOptions, {"save_every": 2**70}, f"--save-every is {2**70}; it must be at most 9,223,"),
        (
            NetworkOptions,
            {"freeze": ["head", "aux"]},
            "fcn8s has no such part; choose from backbone,",
        ),
        (NetworkOptions, {"dropout": 1.0}, "--dropout is 1.0; it must be below 1"),
        (
            OptimizerOptions,
            {"loss": "ce+mse"},
            "--loss ce.mse: 'mse' is not a loss; choose from ce,",
        ),
        (OptimizerOptions, {"ema": 1.0}, "--ema is 1.0; it must be below 1"),
        (OptimizerOptions, {"loss": "ce+0*dice"}, "'0.dice' is not a loss"),
        (OptimizerOptions, {"loss": "dice+2*dice"}, "has dice twice"),
        (
            OptimizerOptions,
            {"label_smoothing": 1.0},
            "--label-smoothing is 1.0; it must be below 1",
        ),
        (
            OptimizerOptions,
            {"loss": "dice", "label_smoothing": 0.1},
            "is for ce and ohem, not for --loss dice",
        ),
        (
            OptimizerOptions,
            {"loss": "dice", "loss_reduction": "sum"},
            "--loss-reduction sum is for --loss ce without --label-smoothing",
        ),
        (OptimizerOptions, {"lr_factor": ["head"]}, "--lr-factor head: write PART=F, such as"),
        (OptimizerOptions, {"lr_factor": ["head=ten"]}, "--lr-factor head=ten: write PART=F"),
        (OptimizerOptions, {"lr_factor": ["head=2", "head=3"]}, "--lr-factor has head twice"),
        (OptimizerOptions, {"lr_factor": ["head=0"]}, "keep it unchanged: --freeze head"),
        (OptimizerOptions, {"lr_factor": ["head=nan"]}, "head=nan: F must be positive and finite$"),
        (RunOptions, {"keep": 0}, "--keep is 0; it must be positive"),
    ],
)
def test_a_group_checks_itself(group, given, message):
    with pytest.raises(InputError, match=message):
        group(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "--batch-size 1000000000",
            "--batch-size and --crop-size make 1,000,000,000 crops of 512x",
        ),
        (
            "--batch-size 2 --crop-size 9984",
            "make 2 crops of 9,984x9,984 pixels; up to 100,000,000",
        ),
        ("--accumulate 100000", "--accumulate and --crop-size make 400,000 crops of 512x512 pix"),
    ],
)
def test_crops_that_no_memory_holds(given, message):
    with pytest.raises(InputError, match=message):
        arguments.parse(given.split())


def test_terms_of_a_loss():
    assert OptimizerOptions().loss_terms() == [(1.0, "ce")]
    options = OptimizerOptions(loss="ce + 0.5*dice", label_smoothing=0.1)
    assert options.loss_terms() == [(1.0, "ce"), (0.5, "dice")]


def test_learning_rates_without_a_value_follow_the_optimizer():
    assert OptimizerOptions().base_lr == 0.05
    options = OptimizerOptions(optimizer="adamw")
    assert (options.base_lr, options.min_lr) == (0.001, 0.00001)


def test_parts_of_the_learning_rate_are_those_of_the_architecture():
    given = ["--lr-factor", "backbone=0.1", "bias=2", "head=1e1"]
    config = arguments.parse(given)
    assert config.optimizer.lr_factors() == {"backbone": 0.1, "bias": 2.0, "head": 10.0}
    assert arguments.command(config) == given
    with pytest.raises(InputError, match="fcn8s has no .*backbone, fc, head, upsampling, bias$"):
        arguments.parse(["--lr-factor", "aux=10"])


def test_arguments_are_kept_flat(tmp_path):
    config = arguments.parse(["--data", "a.mindrecord", "--steps", "3", "--freeze-bn"])
    stored = config.stored(ranks=2)
    assert {"data", "arch", "steps", "device", "keep"} < set(stored)
    assert "resume" not in stored and stored["ranks"] == 2
    assert stored["data"] == "a.mindrecord" and stored["val_data"] is None
    assert Config.from_flat({**stored, "of another version": 1}).network.freeze_bn


def test_run_of_an_older_version_is_resumed(tmp_path):
    """Its widths are null for VGG's, and it knows an argument that is gone."""
    config = arguments.parse(["--epochs", "3"])
    old = {name: value for name, value in config.stored(1).items() if name != "tensorboard"}
    old["widths"], old["gone"] = None, "x"
    content = {name: str(value) if name == "data" else value for name, value in old.items()}
    (tmp_path / "arguments.json").write_text(json.dumps(content))
    resumed = arguments.parse(["--resume", str(tmp_path)])
    assert resumed.network == config.network
    assert resumed.optimizer == config.optimizer and not resumed.run.tensorboard
