"""Finds the pictures that a command line names, and the names for the results of each."""

import glob
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..errors import InputError, listing
from ..options import tidy
from ..transforms import IMAGE_SUFFIXES

__all__ = ["VIDEO_SUFFIXES", "Picture", "find_pictures"]

VIDEO_SUFFIXES = frozenset(
    (".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".webm")
    + (".wmv",)
)
"""Endings of the files that are treated as videos, in lower case."""


@dataclass(frozen=True)
class Picture:
    """An image or video file to predict.

    Attributes:
        path: the file, which may not exist.
        name: name of its results below the output folder, without an ending; sub-folders are
            separated by /.
    """

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """True if the file's ending is that of a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_pictures(
    arguments: Iterable[files.PathLike],
    lines: Iterable[str] = (),
    output: files.PathLike | None = None,
) -> list[Picture]:
    """Finds the pictures that arguments of a command line name.

    Args:
        arguments: each a file; a folder, which stands for all its images, those of its sub-folders
            included; a pattern with *, ? or [], where ** stands for any folders; or - for `lines`.
        lines: paths of further files and folders, one per line.
        output: folder for the results, skipped where it lies in one of the folders.

    Returns:
        Every file once, in the order of the arguments and of the names in each. Results of a
        folder's files keep their sub-folders, those of a pattern's files the folders from the first
        wildcard on. Files that would share a name keep their ending, or their folders.

    Raises:
        InputError: a folder or pattern has no image, two files still share a name, the output
            folder is one of the folders, or a line holds a NUL character.
    """
    skipped = None if output is None else os.path.realpath(output)
    found: list[tuple[Path, Path]] = []  # path, and the part of it that the name comes from
    for argument in map(str, arguments):
        if argument == "-":
            for line in lines:
                line = line.strip("\r\n")
                if "\0" in line:
                    raise InputError(
                        "standard input holds a NUL character; give one path per line, as "
                        "find -print does, not find -print0"
                    )
                if line:
                    found += _of_path(Path(line), skipped)
        elif os.path.exists(argument) or not glob.has_magic(argument):
            found += _of_path(tidy(Path(argument)), skipped)
        else:
            found += _of_pattern(argument)
    once: dict[str, tuple[Path, Path]] = {}
    for path, relative in found:
        once.setdefault(os.path.realpath(path), (path, relative))
    return _named(list(once.values()))


def _of_path(path: Path, skipped: str | None) -> list[tuple[Path, Path]]:
    if not path.is_dir():
        return [(path, Path(path.name))]
    if os.path.realpath(path) == skipped:
        raise InputError(
            f"--output {path.absolute()} is the folder with the pictures: the next run would take "
            "its masks for pictures; choose another"
        )
    found = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".") and os.path.realpath(os.path.join(folder, name)) != skipped
        )
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                file = Path(folder, name)
                found.append((file, file.relative_to(path)))
    if not found:
        raise InputError(f"{path.absolute()} contains no images; check the path")
    return found


def _of_pattern(pattern: str) -> list[tuple[Path, Path]]:
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    paths = [path for path in paths if path.suffix.lower() in known and path.is_file()]
    if not paths:
        raise InputError(f"no image or video matches {pattern!r}; check the pattern")
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    start = Path(*parts[:fixed])
    if ".." in parts[fixed:]:  # results stay below the output folder
        return [(path, Path(path.name)) for path in paths]
    return [(path, path.relative_to(start)) for path in paths]


def _named(found: list[tuple[Path, Path]]) -> list[Picture]:
    relatives = [relative for _, relative in found]
    names = [relative.with_suffix("").as_posix() for relative in relatives]
    for place in _shared(names):
        names[place] = relatives[place].as_posix()
    still = _shared(names)
    if still:
        real = [Path(os.path.realpath(found[place][0])) for place in still]
        common = os.path.commonpath([path.parent for path in real])
        below = [path.relative_to(common) for path in real]
        new = [path.with_suffix("").as_posix() for path in below]
        for again in _shared(new):
            new[again] = below[again].as_posix()
        for place, name in zip(still, new):
            names[place] = name
    clashing = _shared(names)
    if clashing:
        paths = listing([found[place][0] for place in clashing])
        raise InputError(
            f"{paths} would share a name; predict them into different --output folders"
        )
    return [Picture(path, name) for (path, _), name in zip(found, names)]


def _shared(names: list[str]) -> list[int]:
    """Positions of names that occur more than once where the file system ignores case."""
    times = Counter(name.casefold() for name in names)
    return [place for place, name in enumerate(names) if times[name.casefold()] > 1]
