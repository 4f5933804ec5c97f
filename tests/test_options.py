import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchmark import command_line

from fcn8s_ms import build, export, info, predict
from fcn8s_ms import eval as eval_program
from fcn8s_ms.options import _ELSEWHERE, add_options, option, take_options, tidy
from fcn8s_ms.training import arguments as train_arguments

from .helpers import load_tool


@dataclass(frozen=True, kw_only=True)
class Group:
    source: Path = option(help="file to read")
    batch_size: int = option(4, help="images per batch (default: %(default)s)")
    limit: float | None = option(None, help="largest value")
    names: tuple[str, ...] = option((), type=lambda text: tuple(text.split(",")), help="names")
    flip: bool = option(False, help="mirror")
    legend: bool = option(True, help="name the classes")
    other: str = "added in another way"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a/../b.png", "b.png"),
        ("here/../../b.png", "{up}/b.png"),
        ("../b.png", "{up}/b.png"),
        ("a/b.png", "a/b.png"),
        ("link/../b.png", "link/../b.png"),  # of the folder that the link leads to
    ],
)
def test_paths_go_up_and_down_no_further_than_needed(tmp_path, monkeypatch, given, expected):
    (tmp_path / "x" / "here").mkdir(parents=True)
    (tmp_path / "y" / "z").mkdir(parents=True)
    (tmp_path / "x" / "link").symlink_to(tmp_path / "y" / "z")
    monkeypatch.chdir(tmp_path / "x")
    expected = expected.format(up=tmp_path)
    assert str(tidy(Path(given))) == expected
    arguments = build.get_parser().parse_args(["--classes", given])
    assert str(arguments.classes) == expected


def parsed(*argv):
    parser = argparse.ArgumentParser()
    add_options(parser, Group)
    return vars(parser.parse_args(argv))


def test_defaults_are_those_of_the_fields():
    assert take_options(Group, parsed("--source", "a.txt")) == Group(source=Path("a.txt"))


def test_values_get_the_type_of_the_field():
    given = ("--batch-size", "2", "--limit", "0.5", "--names", "a,b", "--flip", "--no-legend")
    group = take_options(Group, parsed("--source", "a.txt", *given))
    assert (group.batch_size, group.limit, group.names) == (2, 0.5, ("a", "b"))
    assert (group.flip, group.legend) == (True, False)


def test_an_option_without_default_is_required(capsys):
    with pytest.raises(SystemExit):
        parsed()
    assert "required: --source" in capsys.readouterr().err


def test_help_comes_from_the_fields():
    parser = argparse.ArgumentParser()
    add_options(parser, Group)
    text = " ".join(parser.format_help().split())
    assert "--batch-size BATCH_SIZE images per batch (default: 4)" in text
    assert "--legend, --no-legend" in text and "--other" not in text


def test_a_group_takes_its_own_values_and_leaves_the_rest():
    arguments = {**parsed("--source", "a.txt"), "device": "CPU"}
    take_options(Group, arguments)
    assert arguments == {"device": "CPU"}


@pytest.mark.parametrize(
    ("program", "given", "meant"),
    [
        (train_arguments, ["--lr", "0.01"], "--lr; did you mean --base-lr?"),
        (train_arguments, ["--lr=0.01"], "--lr; did you mean --base-lr?"),
        (train_arguments, ["-b", "2"], "-b; did you mean --batch-size?"),
        (train_arguments, ["--weights", "a.pth"], "--weights; did you mean --pretrained?"),
        (eval_program, ["--weights", "a.ckpt"], "--weights; did you mean --checkpoint?"),
        (train_arguments, ["--batch_size", "2"], "--batch_size; did you mean --batch-size?"),
        (train_arguments, ["--epoch-s", "2"], "--epoch-s; did you mean --epochs?"),
        (predict, ["a.jpg", "--chekpoint", "a"], "--chekpoint; did you mean --checkpoint?"),
        (export, ["--fp61"], "--fp61; did you mean --fp16?"),
        (build, ["--mask-dir", "a"], "--mask-dir; did you mean --labels?"),
        (info, ["--zzz"], "--zzz"),
    ],
)
def test_an_unknown_flag_is_answered_with_the_one_that_may_be_meant(program, given, meant, capsys):
    with pytest.raises(SystemExit) as caught:
        program.get_parser().parse_args(given)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"error: there is no flag {meant} (--help lists all flags)")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--augment vflip rotate --epochs 2", "rotate; did you mean --augment vflip,rotate? ("),
        (
            "--augment vflip, rotate, blur",
            "rotate, blur; did you mean --augment vflip,rotate,blur? (",
        ),
        ("--epochs 2 3", "3 ("),
    ],
)
def test_names_that_are_to_be_joined_by_commas(given, said, capsys):
    with pytest.raises(SystemExit):
        train_arguments.parse(given.split())
    assert f"error: unrecognized arguments: {said}" in capsys.readouterr().err


def test_flags_may_still_be_shortened_and_other_mistakes_take_one_line(capsys):
    parser = train_arguments.get_parser()
    assert parser.parse_args(["--batch", "2"]).batch_size == 2
    for given, message in [
        (["--arch", "fcn9s"], "argument --arch: invalid choice"),
        (["--min", "2"], "ambiguous option: --min"),
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
    ]:
        with pytest.raises(SystemExit):
            parser.parse_args(given)
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


@pytest.mark.parametrize(
    "program",
    [build, train_arguments, eval_program, predict, export, info]
    + [
        "compare",
        "compare_engines",
        "compare_torch",
        "convert_weights",
        "kill_training",
        "long_run",
        "benchmark",
    ],
)
def test_help_of_a_program_reads_alone_and_fits_a_terminal(program, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    widest = 80 if not isinstance(program, str) else 100  # descriptions with tables
    if program == "benchmark":
        program = command_line
    elif isinstance(program, str):
        program = load_tool(program)
    parser = program.get_parser()
    text = parser.format_help()
    assert [line for line in text.splitlines() if len(line) > widest] == []
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        name = action.option_strings or action.dest
        assert action.help and action.help[0].isupper() and action.help[-1] in ".…", name
        shown = f"{action.metavar} {action.help}" if action.metavar else text
        assert all(str(choice) in shown for choice in action.choices or ()), name
    commands = parser.epilog.replace("\\\n", " ").splitlines()
    commands = [line for line in commands if line.startswith(f"    {parser.prog}")]
    assert len(commands) >= 2
    for command in commands:
        given = shlex.split(command.removeprefix(f"    {parser.prog}"))
        _, unknown = parser.parse_known_args(given)
        assert not unknown or "flags of" in parser.usage  # it passes them on


def test_names_of_other_programs_stand_for_flags_that_there_are():
    programs = (train_arguments, eval_program, predict, export, build, info)
    flags = {one for program in programs for one in program.get_parser()._option_string_actions}
    for name, meant in _ELSEWHERE.items():
        assert set(meant) <= flags, name
