import json

import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.records import demo
from fcn8s_ms.training import arguments


def test_defaults_are_the_tutorials():
    config = arguments.parse([])
    assert (config.optimizer.batch_size, config.data.crop_size, config.optimizer.epochs) == (
        4,
        512,
        1,
    )
    assert (config.optimizer.base_lr, config.optimizer.min_lr) == (0.05, 0.0005)
    assert (config.optimizer.momentum, config.optimizer.weight_decay) == (0.9, 1e-4)
    assert (config.optimizer.optimizer, config.optimizer.schedule) == ("momentum", "cosine")
    assert (
        config.device.amp is None
        and config.device.conv_algo is None
        and config.device.allow_tf32 is None
    )
    assert (
        config.device.loss_scale,
        config.device.loss_scale_factor,
        config.device.loss_scale_window,
    ) == (
        65536,
        2,
        2000,
    )


def test_learning_rates_follow_the_optimizer_and_one_another():
    config = arguments.parse(["--optimizer", "adamw"])
    assert (config.optimizer.base_lr, config.optimizer.min_lr) == (0.001, 0.00001)
    config = arguments.parse(["--base-lr", "0.2"])
    assert config.optimizer.min_lr == pytest.approx(0.002)
    assert arguments.parse(["--base-lr", "0.2", "--min-lr", "0"]).optimizer.min_lr == 0


def test_preset_beats_defaults_and_flags_beat_the_preset():
    config = arguments.parse(["--sample", "--epochs", "7", "--keep", "5"])
    assert (config.optimizer.epochs, config.run.keep) == (
        7,
        5,
    )  # 5 is the default too, but was given
    assert config.optimizer.base_lr == demo.PRESET["base_lr"]


def test_flags_replace_what_contradicts_them_in_the_preset():
    config = arguments.parse(["--sample", "--resize-to", "64", "96"])
    assert config.data.sample_size == (64, 96) and config.data.crop_size is None
    config = arguments.parse(["--sample", "--resize-short", "64", "96"])
    assert config.data.sample_size == (128, 128) and config.data.min_scale is None


@pytest.mark.parametrize(
    "given",
    [
        ["--steps", "7", "--accumulate", "3", "--optimizer", "adamw", "--clip-norm", "0.5"],
        ["--freeze", "backbone", "--freeze-bn", "--no-allow-tf32", "--tensorboard"],
        ["--allow-tf32", "--amp", "O2", "--loss-scale", "4", "--conv-algo", "least-memory"],
        ["--widths", "4", "4", "8", "8", "8", "--fc-width", "16"],
        ["--val-data", "v.mindrecord", "--patience", "3", "--schedule", "constant"],
        ["--resize-to", "64", "96"],
        ["--resize-short", "64", "96", "--cat-max-ratio", "0.75"],
        ["--resize-to", "65", "97", "--arch", "fcn_resnet50"],  # takes any size
    ],
)
def test_command_repeats_the_arguments(given):
    config = arguments.parse(given)
    assert arguments.parse(arguments.command(config)) == config


def test_command_of_a_preset_has_the_architectures_own_options():
    for arch, has in (("fcn8s", True), ("fcn_resnet50", False)):
        config = arguments.parse(["--sample", "--arch", arch])
        found = arguments.command(config, demo.PRESET)
        assert ("--upsample-init" in found) == has and "--base-lr" in found


def test_command_names_nothing_but_what_differs():
    assert arguments.command(arguments.parse([])) == []
    config = arguments.parse(["--epochs", "3", "--freeze-bn"])
    assert arguments.command(config, keep=["crop_size"]) == [
        *("--crop-size", "512", "--freeze-bn", "--epochs", "3"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--steps", "0"], "--steps is 0; it must be positive"),
        (["--crop-size", "100"], "--crop-size 100 is not a multiple of 32; take 128"),
        (
            ["--resize-to", "64", "90"],
            "--resize-to 64 90 is not a multiple of 32; take 64 96",
        ),
        (
            ["--resize-to", "9984", "9984"],
            "--batch-size and --resize-to make 4 crops of 9,984x9,984 pixels",
        ),
        (["--preview", "crops"], "--preview crops does not end in .png"),
        (["--preview", "a.png", "--distributed"], "--preview is drawn by one process; leave out"),
        (["--accumulate", "0"], "--accumulate is 0"),
        (["--clip-norm", "0"], "--clip-norm is 0.0"),
        (["--power", "0"], "--power is 0.0"),
        (["--patience", "0"], "--patience is 0"),
        (["--patience", "2"], "--patience counts validations; pass --val-data FILE too"),
        (["--loss-scale", "0.5"], "--loss-scale is 0.5; it must be at least 1"),
        (["--loss-scale-window", "0"], "--loss-scale-window is 0"),
        (["--max-overflows", "0"], "--max-overflows is 0"),
        (["--fc-width", "0"], "--fc-width is 0; it must be positive"),
        (
            ["--widths", "4", "4", "0", "8", "8"],
            "--widths is 4 4 0 8 8; give five positive numbers, the channels of conv1 to conv5",
        ),
        (["--save-every", "0"], "--save-every is 0"),
    ],
)
def test_out_of_range(given, message):
    with pytest.raises(InputError, match=message):
        arguments.parse(given)


def test_steps_stand_instead_of_epochs(capsys):
    with pytest.raises(SystemExit):
        arguments.parse(["--steps", "3", "--epochs", "2"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.fixture
def stored(tmp_path):
    """The folder of a run that was given --epochs 3 --base-lr 0.2."""
    names = {"epochs": 3, "base_lr": 0.2, "min_lr": 0.002, "data": "/data/a.mindrecord"}
    (tmp_path / "arguments.json").write_text(json.dumps(names))
    return tmp_path


def test_resumed_run_has_its_own_arguments(stored):
    config = arguments.parse(["--resume", str(stored), "--workers", "2"])
    assert (config.optimizer.epochs, config.optimizer.base_lr, config.data.workers) == (3, 0.2, 2)
    assert str(config.data.data) == "/data/a.mindrecord"
    assert config.run.output == config.run.resume == stored


def test_default_that_is_given_counts(stored):
    with pytest.raises(InputError, match="--base-lr 0.05 is not the run's .0.2."):
        arguments.parse(["--resume", str(stored), "--base-lr", "0.05"])


def test_sizes_of_a_resumed_run_are_its_own(stored):
    (stored / "arguments.json").write_text(json.dumps({"widths": [4, 4, 8, 8, 8], "fc_width": 16}))
    config = arguments.parse(["--resume", str(stored)])
    assert (config.network.widths, config.network.fc_width) == ([4, 4, 8, 8, 8], 16)
    with pytest.raises(InputError, match="--fc-width 32 is not the run's .16."):
        arguments.parse(["--resume", str(stored), "--fc-width", "32"])


def test_a_preview_is_not_an_argument_of_the_run(stored):
    config = arguments.parse(["--preview", "a.png"])
    assert "preview" not in config.stored(1) and "resume" not in config.stored(1)
    (stored / "arguments.json").write_text(json.dumps({"preview": "a.png"}))
    assert arguments.parse(["--resume", str(stored)]).run.preview is None
    config = arguments.parse(["--resume", str(stored), "--preview", "b.png"])
    assert config.run.preview.name == "b.png"


def test_a_run_without_crops_resumes(stored):
    config = arguments.parse(["--resize-to", "64", "96", "--output", "run"])
    (stored / "arguments.json").write_text(json.dumps(config.stored(1, stored)))
    assert arguments.parse(["--resume", str(stored)]).data.sample_size == (64, 96)
    with pytest.raises(InputError, match="--crop-size 64 is not the run's .None."):
        arguments.parse(["--resume", str(stored), "--crop-size", "64"])


def test_longer_run(stored):
    assert arguments.parse(["--resume", str(stored), "--epochs", "5"]).optimizer.epochs == 5
    assert arguments.parse(["--resume", str(stored), "--steps", "50"]).optimizer.steps == 50
    (stored / "arguments.json").write_text(json.dumps({"steps": 50}))
    config = arguments.parse(["--resume", str(stored), "--epochs", "5"])
    assert (config.optimizer.epochs, config.optimizer.steps) == (5, None)


def test_sample_is_not_drawn_again(stored):
    assert not arguments.parse(["--resume", str(stored), "--sample"]).data.sample
