"""Long lists in a JSON file, item by item: the file takes memory, but not all of its values."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError

__all__ = ["read_lists"]

_SPACE = re.compile(r"[ \t\n\r]*")


class _Text:
    """A JSON text and a position in it."""

    def __init__(self, text: str):
        self._text = text
        self._position = 0
        self._decoder = files.json_decoder

    def value(self) -> Any:
        """Value at this position."""
        self._skip()
        found, self._position = self._decoder.raw_decode(self._text, self._position)
        return found

    def follows(self, character: str) -> bool:
        """Steps over a character if it is the next one."""
        self._skip()
        found = self._text.startswith(character, self._position)
        self._position += found
        return found

    def need(self, character: str) -> None:
        """Steps over a character, which must be the next one."""
        if not self.follows(character):
            raise json.JSONDecodeError(f"Expecting {character!r}", self._text, self._position)

    def need_end(self) -> None:
        self._skip()
        if self._position < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self._position)

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._position)
        self._position = found.end() if found else self._position


def read_lists(path: files.PathLike, names: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Items of some lists of the object that a JSON file holds.

    Args:
        path: the file.
        names: fields of the object whose items are wanted.

    Yields:
        Name of the field, and an item of its list, in the order of the file; of a wanted field that
        is not a list its name and its value.

    Raises:
        InputError: the file is missing or not UTF-8, or not valid JSON, or not an object.
    """
    path = Path(path).absolute()
    text = _Text(files.read_text(path))
    try:
        if not text.follows("{"):
            raise ValueError("it is not an object with named fields")
        is_first = True
        while not text.follows("}"):
            if not is_first:
                text.need(",")
            is_first = False
            name = text.value()
            if not isinstance(name, str):
                raise ValueError("the name of a field is not a text")
            text.need(":")
            if name in names and text.follows("["):
                if text.follows("]"):
                    continue
                yield name, text.value()
                while not text.follows("]"):
                    text.need(",")
                    yield name, text.value()
            else:
                value = text.value()
                if name in names:
                    yield name, value
        text.need_end()
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{path} is not valid JSON ({reason}); correct it") from error
