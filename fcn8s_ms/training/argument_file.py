"""Arguments of a training from a file: the `arguments.json` of another run, or TOML."""

import difflib
import importlib
import sys
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, flag
from ..formats import schema
from .stored import ARGUMENTS, NOT_STORED, located, value_types

__all__ = ["argument_file", "read_argument_file"]

_MOST_BYTES = 2**20

# What belongs to the run that wrote a file, not to the next one.
_OF_ITS_RUN = ("output", "ranks")


def argument_file(path: Path) -> Path:
    """The file that `--arguments` means: the folder of a run stands for its `arguments.json`."""
    own = path / "arguments.json"
    return own if own.is_file() else path


def read_argument_file(path: Path) -> dict[str, Any]:
    """Reads the options in a file that ends in .toml, or is JSON as a run writes it.

    Args:
        path: the file. Its paths are relative to its folder, or from the user's home (`~/…`).

    Returns:
        Values by name; `output` and `ranks` are left out.

    Raises:
        InputError: the file is missing or broken, a name is unknown, or a value has another type
            than its option.
    """
    values = _content(path)
    types, source = value_types(), path.absolute()
    for name in values:
        if name in (*NOT_STORED, "arguments"):
            raise InputError(f"{source}: {name} is for the command line: {flag(name)}; remove it")
        if name not in types and name not in _OF_ITS_RUN:
            close = difflib.get_close_matches(name.replace("-", "_"), types, 1, 0.75)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise InputError(f"{source}: the training has no argument {name!r}{meant}")
    schema.check(values, ARGUMENTS, source, "correct the file")
    kept = {name: value for name, value in values.items() if name not in _OF_ITS_RUN}
    for name, value in kept.items():
        if types[name] is float and value is not None:
            kept[name] = float(value)
    return located(kept, source.parent)


def _content(path: Path) -> dict[str, Any]:
    """Returns the table in a file, whatever its values are."""
    files.check_regular(path, "pass --arguments the arguments.json of a run, or a TOML file")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path.absolute()} has more than 1 MiB; it is not a file of arguments")
    if path.suffix.lower() != ".toml":
        found = files.read_json(path)
        if not isinstance(found, dict):
            raise InputError(f"{path.absolute()}: its content is not an object: correct the file")
        return found
    # Part of Python from 3.11 on; before, a package of the same interface.
    toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        return dict(toml.loads(files.read_text(path)))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{path.absolute()} is not valid TOML ({reason}); correct it") from error
