import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest

from fcn8s_ms.options import add_options, option, take_options


@dataclass(frozen=True, kw_only=True)
class Group:
    source: Path = option(help="file to read")
    batch_size: int = option(4, help="images per batch (default: %(default)s)")
    limit: float | None = option(None, help="largest value")
    names: tuple[str, ...] = option((), type=lambda text: tuple(text.split(",")), help="names")
    flip: bool = option(False, help="mirror")
    legend: bool = option(True, help="name the classes")
    other: str = "added in another way"


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
