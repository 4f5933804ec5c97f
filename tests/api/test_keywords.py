"""Keyword arguments as command lines, and what help() shows of them."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import fcn8s_ms
from fcn8s_ms import build, eval, export, predict
from fcn8s_ms.api.keywords import command_line
from fcn8s_ms.errors import InputError
from fcn8s_ms.options import errors_raised
from fcn8s_ms.training import arguments as train

PROGRAMS = {
    "build_records": build,
    "train_network": train,
    "evaluate_network": eval,
    "predict_images": predict,
    "export_network": export,
}


def line(program, **values):
    return command_line("function", program.get_parser(), values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"crop_size": 224}, ["--crop-size=224"]),
        ({"base_lr": 1e-4, "data": Path("a") / "b"}, ["--base-lr=0.0001", "--data=a/b"]),
        ({"seed": np.int64(3), "ema": np.float64(0.5)}, ["--seed=3", "--ema=0.5"]),
        ({"widths": (4, 4, 8, 8, 8)}, ["--widths", "4", "4", "8", "8", "8"]),
        ({"freeze": "backbone"}, ["--freeze", "backbone"]),
        ({"freeze": [], "val_data": None}, []),
        ({"freeze_bn": True, "tensorboard": False}, ["--freeze-bn", "--no-tensorboard"]),
        ({"bias_decay": False, "allow_tf32": True}, ["--no-bias-decay", "--allow-tf32"]),
        ({"augment": ["blur", "vflip"]}, ["--augment=blur,vflip"]),
        ({"download": True}, ["--download"]),
        ({"download": False}, []),
        ({"download": "http://mirror"}, ["--download=http://mirror"]),
        ({"output": "-odd-"}, ["--output=-odd-"]),
    ],
)
def test_keywords_become_flags(values, expected):
    assert line(train, **values) == expected


def test_flags_that_cannot_be_negated_are_left_out():
    assert line(build, overwrite=False, ignore_outline=True) == ["--ignore-outline"]


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert line(train, data="~/a.mindrecord") == ["--data=/home/me/a.mindrecord"]
    assert line(build, images="~/i", labels=Path("~/m")) == [
        "--images=/home/me/i",
        "--labels=/home/me/m",
    ]


def test_pictures_come_last_and_are_never_flags():
    found = line(predict, images=["a.jpg", "-b.jpg"], checkpoint="c.ckpt", scales=(0.5, 1))
    assert found == ["--checkpoint=c.ckpt", "--scales=0.5,1", "--", "a.jpg", "-b.jpg"]
    config = predict.parse(found)
    assert config.images == ["a.jpg", "-b.jpg"] and config.view.scales == (0.5, 1.0)
    assert line(predict, images=Path("a.jpg"), checkpoint="c")[-1] == "a.jpg"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("epoch", "; did you mean epochs?"),
        ("val_dta", "; did you mean val_data?"),
        ("lr", "; did you mean base_lr?"),  # of other programs
        ("no_bias_decay", "; did you mean bias_decay=False?"),
        ("help", ""),
        ("zzzzzz", ""),
    ],
)
def test_an_unknown_keyword_is_answered_with_the_one_that_may_be_meant(name, hint):
    message = f"train_network() got an unexpected keyword argument '{name}'{hint}"
    with pytest.raises(TypeError) as caught:
        fcn8s_ms.train_network(**{name: 1})
    assert str(caught.value) == message


@pytest.mark.parametrize("given", [{}, {"checkpoint": None}])
def test_a_keyword_that_is_needed(given):
    with pytest.raises(TypeError, match=r"^export_network\(\) is missing .* 'checkpoint'$"):
        fcn8s_ms.export_network(output="a.onnx", **given)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "many"}, "argument --epochs: invalid int value: 'many'"),
        ({"epochs": True}, "epochs is True, of type bool; give a number, a text or a path"),
        ({"data": {}}, "data is {}, of type dict; give a number, a text or a path"),
        ({"data": ["a", "b"]}, r"data is \['a', 'b'\]; it takes one value"),
        ({"sample": "yes"}, "sample is 'yes'; it must be True or False"),
        ({"arch": "fcn9s"}, "argument --arch: invalid choice: 'fcn9s'"),
        ({"widths": [4, 4]}, "argument --widths: expected 5 arguments"),
        ({"epochs": 2, "steps": 1}, "argument --steps: not allowed with argument --epochs"),
        ({"crop_size": 500}, "--crop-size 500 is not a multiple of 32; take 512"),
    ],
)
def test_bad_values_are_errors_of_the_project(values, message, capsys):
    with pytest.raises(InputError, match=f"^{message}"):
        fcn8s_ms.train_network(**values)
    assert capsys.readouterr() == ("", "")


def test_programs_still_exit(capsys):
    with pytest.raises(InputError), errors_raised():
        train.parse(["--epochs", "x"])
    with pytest.raises(SystemExit):
        train.parse(["--epochs", "x"])
    assert "argument --epochs" in capsys.readouterr().err


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_shows_every_flag(name):
    function = getattr(fcn8s_ms, name)
    parser = PROGRAMS[name].get_parser()
    parameters = inspect.signature(function).parameters
    dests = {one.dest: one for one in parser._actions if one.dest != "help"}
    assert list(parameters) == list(dests)
    described = function.__doc__.split("Keyword arguments")[1].split("Returns:")[0]
    for dest, action in dests.items():
        assert f"\n    {dest}: " in described
        assert (parameters[dest].default is inspect.Parameter.empty) == action.required
    assert "KEYWORDS" not in function.__doc__ and "%(" not in described
    command = r"msrun.*?per step|train --[a-z-]+"  # flags of a command line stay flags
    assert "--" not in re.sub(command, "", described, flags=re.S)
    assert max(map(len, described.splitlines())) <= 100
