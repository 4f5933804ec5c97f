"""Keyword arguments as the command line of a program, so that both are read in one way.

The name of a keyword is that of the flag with underscores: `crop_size` for `--crop-size`.
"""

import argparse
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError, flag
from ..options import Parser

__all__ = ["command_line", "documented"]

_INDENT: dict[str, Any] = {"initial_indent": " " * 4, "subsequent_indent": " " * 8}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def command_line(function: str, parser: Parser, values: Mapping[str, Any]) -> list[str]:
    """Arguments of a program that mean the same as keyword arguments of a function.

    None leaves a flag out, and so does an empty list. Truth values are for flags that take none. A
    list or tuple is for a flag that takes several values, or one text with commas. Of paths, a
    leading `~` is the home folder, as a shell has it.

    Args:
        function: name of the function, for errors.
        parser: parser of the program.
        values: keyword arguments.

    Raises:
        TypeError: a keyword is none of the program's flags, or one that it needs is missing.
        InputError: a value is of a type that the flag cannot have.
    """
    actions = _actions(parser)
    for name in values:
        if name not in actions:
            raise _unknown(function, parser, name)
    given = {name: value for name, value in values.items() if not _is_left_out(value)}
    for name, action in actions.items():
        if action.required and name not in given:
            raise TypeError(f"{function}() is missing the keyword argument {name!r}")
    flags: list[str] = []
    positional: list[str] = []
    for name, value in given.items():
        if actions[name].option_strings:
            flags += _flag_with_value(actions[name], value)
        else:
            positional += _several(actions[name], value)
    # What begins with a dash is then no flag.
    return [*flags, "--", *positional] if positional else flags


def _is_left_out(value: Any) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and not value)


def _actions(parser: Parser) -> dict[str, argparse.Action]:
    """What a parser takes, by name, apart from --help."""
    return {action.dest: action for action in parser._actions if action.dest != "help"}


def _unknown(function: str, parser: Parser, name: str) -> TypeError:
    """The error of a keyword that is none of the program's flags."""
    found = parser._option_string_actions.get(flag(name))
    if found is not None and name.startswith("no_"):
        meant = [f"{found.dest}=False"]
    else:
        names = map(_name_of, parser.meant_by(name))
        meant = [one for one in names if one in _actions(parser)]
    asked = f"; did you mean {' or '.join(meant)}?" if meant else ""
    return TypeError(f"{function}() got an unexpected keyword argument {name!r}{asked}")


def _name_of(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _flag_with_value(action: argparse.Action, value: Any) -> list[str]:
    """A flag as a command line has it."""
    name = flag(action.dest)
    if action.nargs == 0:  # stands alone
        if not isinstance(value, bool):
            raise InputError(f"{action.dest} is {value!r}; it must be True or False")
        if value:
            return [name]
        negated = flag(f"no_{action.dest}")
        return [negated] if negated in action.option_strings else []
    if action.nargs == "?" and isinstance(value, bool):
        return [name] if value else []
    if action.nargs in (None, "?"):
        if isinstance(value, (list, tuple)):
            return [f"{name}={_joined(action, value)}"]
        return [f"{name}={_text(action, value)}"]
    return [name, *_several(action, value)]


def _joined(action: argparse.Action, values: Sequence[Any]) -> str:
    """Values of a flag that takes them in one text, joined by commas: its metavar has one, too."""
    if "," not in str(action.metavar):
        raise InputError(f"{action.dest} is {values!r}; it takes one value")
    return ",".join(_text(action, one) for one in values)


def _several(action: argparse.Action, value: Any) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [_text(action, one) for one in values]


def _text(action: argparse.Action, value: Any) -> str:
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str):
            return os.path.expanduser(text) if action.type is Path else text
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(value)
    raise InputError(
        f"{action.dest} is {value!r}, of type {type(value).__name__}; give a number, a text or a "
        "path"
    )


# --- help ----------------------------------------------------------------------------------------


def documented(
    get_parser: Callable[[], argparse.ArgumentParser],
) -> Callable[[_Function], _Function]:
    """Decorates a function of keyword arguments: help() and completion show those of a program.

    Args:
        get_parser: makes the program's parser.
    """

    def decorate(function: _Function) -> _Function:
        parser = get_parser()
        assert isinstance(parser, Parser)
        parameters = [_parameter(action) for action in _actions(parser).values()]
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        text = inspect.getdoc(function) or ""
        function.__doc__ = text.replace("KEYWORDS", "\n".join(_descriptions(parser)))
        return function

    return decorate


def _parameter(action: argparse.Action) -> inspect.Parameter:
    default = inspect.Parameter.empty if action.required else action.default
    if isinstance(default, Path):
        default = str(default)
    return inspect.Parameter(action.dest, inspect.Parameter.KEYWORD_ONLY, default=default)


def _descriptions(parser: Parser) -> list[str]:
    """Name and description of each keyword, by the groups of `--help`."""
    lines: list[str] = []
    for group in parser._action_groups:
        actions = [one for one in group._group_actions if one.dest != "help"]
        lines += ["", f"{group.title}:"] if actions else []
        for action in actions:
            given = {**vars(action), "prog": parser.prog}
            text = _with_keywords((action.help or "") % given, parser)
            if action.choices is not None:
                text += f"; one of {', '.join(map(str, action.choices))}"
            lines += textwrap.wrap(f"{action.dest}: {text}", 90, **_INDENT)
    return lines


def _with_keywords(text: str, parser: Parser) -> str:
    """A description with keywords for flags, unless it has a command with those of others."""
    flags = re.findall(r"--[a-z][a-z0-9_-]*", text)
    if any(one not in parser._option_string_actions for one in flags):
        return text
    return re.sub(r"--[a-z][a-z0-9-]*", lambda found: _name_of(found[0]), text)
