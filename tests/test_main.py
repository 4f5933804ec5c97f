"""`fcn8s-ms`, and how each program starts."""

import subprocess
import sys
from pathlib import Path

import pytest

import fcn8s_ms
from fcn8s_ms import __main__ as command
from fcn8s_ms import errors

from .helpers import clean_environment, error_of

PACKAGE = Path(fcn8s_ms.__file__).parent


def run(*program):
    return subprocess.run(
        [sys.executable, *program],
        env=clean_environment(PYTHONPATH=str(PACKAGE.parent)),
        capture_output=True,
        text=True,
    )


def test_every_program_is_a_subcommand():
    programs = {
        file.stem for file in PACKAGE.glob("[a-z]*.py") if "def main(" in file.read_text("utf-8")
    }
    assert programs == set(command.SUBCOMMANDS)


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_help_lists_the_subcommands(argv, capsys):
    command.main(argv)
    shown = capsys.readouterr().out
    for name, text in command.SUBCOMMANDS.items():
        assert f"  {name} " in shown and text in shown


def test_version(capsys):
    command.main(["--version"])
    assert capsys.readouterr().out == f"fcn8s-ms {fcn8s_ms.__version__}\n"


@pytest.mark.parametrize("name", ["trane", "--sample", ""])
def test_unknown_subcommand(name, capsys):
    assert error_of(command.main, [name], capsys) == (
        f"python -m fcn8s_ms: error: {name!r} is not a subcommand; choose one of "
        "build, train, compare, eval, predict, demo, export, info\n"
    )


def test_arguments_and_status_are_the_subcommands(capsys):
    assert "--output is missing" in error_of(command.main, ["build", "--voc-root", "x"], capsys)


def test_as_a_module():
    done = run("-m", "fcn8s_ms", "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("usage: python -m fcn8s_ms SUBCOMMAND …\n")
    assert "python -m fcn8s_ms train --sample" in done.stdout


# Starts `fcn8s-ms` as its console script does.
STARTED = """
import atexit, sys
atexit.register(lambda: print(*sorted({name.partition(".")[0] for name in sys.modules})))
sys.argv = ["/somewhere/bin/fcn8s-ms", *sys.argv[1:]]
from fcn8s_ms.__main__ import main
main()
"""
SLOW = {
    "mindspore",
    "matplotlib",
    "scipy",
    "onnx",
    "onnxruntime",
    "tensorboardX",
    "torch",
    "gradio",
}


@pytest.mark.parametrize("name", command.SUBCOMMANDS)
def test_help_of_a_subcommand_is_quick(name):
    """It names the program as it was started, and loads nothing that takes long."""
    done = run("-c", STARTED, name, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"usage: fcn8s-ms {name} ")
    assert "python -m" not in done.stdout
    assert not SLOW & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("/usr/bin/fcn8s-ms", ("fcn8s-ms train", "fcn8s-ms")),
        (r"fcn8s-ms.exe", ("fcn8s-ms train", "fcn8s-ms")),
        ("/lib/fcn8s_ms/__main__.py", ("python -m fcn8s_ms train", "python -m fcn8s_ms")),
        ("/lib/fcn8s_ms/train.py", ("python -m fcn8s_ms.train", "python -m fcn8s_ms")),
        ("/lib/pytest/__main__.py", ("python -m fcn8s_ms.train", "python -m fcn8s_ms")),
        ("", ("python -m fcn8s_ms.train", "python -m fcn8s_ms")),
    ],
)
def test_programs_are_named_as_they_were_started(started, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [started])
    assert (errors.program("train"), errors.program()) == expected
