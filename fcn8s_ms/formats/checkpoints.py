"""Checkpoint files of either format without their numbers: parameters, metadata, checksum.

The metadata of a `.ckpt` are in the JSON next to it. Those of a `.safetensors` file are inside,
each field as JSON, and so is its checksum; where it has none, the JSON next to it counts, as for a
`.ckpt`.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, listing
from . import checkpoint_file, checkpoint_json, safetensors_file
from .checkpoint_file import Stored

__all__ = [
    "FORMATS",
    "chosen",
    "place",
    "read_metadata",
    "stated",
    "structure",
    "texts",
    "verified",
]

logger = logging.getLogger(__name__)

FORMATS = ("ckpt", "safetensors")
"""Formats of checkpoints: the endings of their names, without the dot."""

_SHOWN = 3  # names in an error
_LIBRARY = {"format": "ms", "library": "fcn8s-ms"}
"""Entries of what the package wrote; MindSpore writes the first too, so that the second tells."""


def chosen(path: files.PathLike) -> Path:
    """The checkpoint that a path stands for: of a run's folder its best, without one its last.

    A warning names the one that is taken.

    Args:
        path: a file, which may not exist, or a folder.

    Raises:
        InputError: it is a folder without a checkpoint, or with several that could be meant.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = _checkpoints_in(path)
    for ending in ("-best", "-last", ""):
        meant = [one for one in found if one.stem.endswith(ending)]
        if len(meant) == 1:
            logger.warning("%s is a folder; its checkpoint %s is taken", path, meant[0].name)
            return meant[0]
        if meant:
            names = listing((one.name for one in meant), _SHOWN)
            raise InputError(
                f"{path.absolute()} is a folder of several checkpoints: {names}; name one"
            )
    runs = sorted(one.name for one in path.iterdir() if one.is_dir() and _checkpoints_in(one))
    remedy = f"give one of its folders {listing(runs, _SHOWN)}" if runs else "name a file"
    raise InputError(f"{path.absolute()} is a folder without a checkpoint; {remedy}")


def _checkpoints_in(folder: Path) -> list[Path]:
    try:
        return sorted(
            one
            for one in folder.iterdir()
            if one.suffix[1:] in FORMATS and one.is_file() and not one.name.startswith(".")
        )
    except OSError as error:
        raise InputError(
            f"{folder.absolute()} cannot be read ({error.strerror}); name a file"
        ) from error


def structure(path: files.PathLike) -> dict[str, Stored]:
    """Parameters of a checkpoint file by name, in its order.

    Raises:
        ValueError: it is damaged or of another kind.
        OSError: it cannot be read.
    """
    if not safetensors_file.is_one(path):
        return checkpoint_file.check_structure(path)
    contents = safetensors_file.structure(path)
    return {
        name: Stored(one.shape, one.kind, one.length, contents.start + one.begin)
        for name, one in contents.tensors.items()
    }


def texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Entries of a `.safetensors` file for some metadata, without a checksum."""
    return {
        **_LIBRARY,
        **{name: files.json_text(value, indent=None) for name, value in metadata.items()},
    }


def _inside(path: Path) -> tuple[safetensors_file.Contents, dict[str, Any]]:
    """Header of a `.safetensors` file, and the fields of its metadata if the package wrote them.

    Raises:
        InputError: the file is damaged, or its metadata are something else.
    """
    try:
        contents = safetensors_file.structure(path)
    except (ValueError, OSError) as error:
        raise InputError(
            f"checkpoint {path} cannot be read: it is damaged, cut short or not a safetensors "
            f"file ({error}); fetch or save it again"
        ) from error
    entries = contents.metadata
    # Either entry will do, so that damage to one does not make it a file of others.
    if entries.get("library") != _LIBRARY["library"] and safetensors_file.DIGEST not in entries:
        return contents, {}
    fields: dict[str, Any] = {}
    for name in entries.keys() - _LIBRARY.keys() - {safetensors_file.DIGEST, "sha256"}:
        try:
            fields[name] = files.parse_json(entries[name])
        except ValueError as error:
            raise InputError(
                f"{path}: {name[:40]} is not valid JSON ({str(error)[:100]}): save the checkpoint "
                "again"
            ) from None
    if safetensors_file.DIGEST in entries:
        fields["sha256"] = entries[safetensors_file.DIGEST]
    checkpoint_json.check(fields, path, "save the checkpoint again")
    return contents, fields


def stated(path: Path) -> dict[str, Any]:
    """Metadata of a checkpoint, whether or not they are those of its numbers; empty without any.

    Raises:
        InputError: they cannot be read, or are something else.
    """
    fields = _inside(path)[1] if safetensors_file.is_one(path) else {}
    if "sha256" in fields:
        return fields
    return {**fields, **checkpoint_json.beside(path)}


def place(path: Path) -> str | None:
    """Words for where the metadata of a checkpoint are; None where there are none.

    Raises:
        InputError: as for `stated`.
    """
    fields = _inside(path)[1] if safetensors_file.is_one(path) else {}
    json_file = checkpoint_json.metadata_file(path)
    if json_file.is_file() and "sha256" not in fields:
        return json_file.name
    return "its metadata" if fields else None


def verified(path: Path) -> dict[str, Any]:
    """Metadata that belong to the content of a checkpoint: its checksum is the file's.

    Without a checksum there is nothing to compare, and no `sha256` in the result.

    Raises:
        InputError: the checksum differs, or as for `stated`.
    """
    if not safetensors_file.is_one(path):
        return checkpoint_json.verified(path)
    contents, fields = _inside(path)
    if "sha256" not in fields:
        return {**fields, **checkpoint_json.verified(path)}
    found = safetensors_file.digests(path, contents)
    digest = safetensors_file.checksum(contents.tensors, found, contents.metadata)
    if fields["sha256"] != digest:
        raise InputError(
            f"checkpoint {path} is damaged: its checksum is not the one in its metadata; take "
            f"another checkpoint (a program that changes the file has to remove the entry "
            f"{safetensors_file.DIGEST})"
        )
    return fields


def read_metadata(path: files.PathLike) -> dict[str, Any]:
    """Reads the metadata of a checkpoint; empty without any, as for published files.

    Raises:
        InputError: they cannot be read, or are something else.
    """
    path = Path(path).absolute()
    if safetensors_file.is_one(path):
        return stated(path) if path.is_file() else {}
    return checkpoint_json.read_metadata(path)
