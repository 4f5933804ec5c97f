"""The JSON next to a checkpoint: what it may hold, and whether it is that of the file."""

from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError
from . import schema

__all__ = ["beside", "check", "metadata_file", "read_metadata", "verified"]

_METADATA = schema.fields(
    {},
    {
        "sha256": schema.text(64),
        "epoch": schema.whole_number(0),
        "step": schema.whole_number(0),
        "loss": schema.optional(schema.number()),
        "metric": schema.optional(schema.mapping(schema.optional(schema.number()))),
        "seconds": schema.number(0),
        "with_weights": schema.truth(),
        "train_counts": schema.array(schema.array(schema.whole_number(0), 2, 255), 3, 3),
        "images": schema.whole_number(1),
        "classes": schema.array(schema.text(1000), 2, 255),
        "palette": schema.array(schema.COLOUR, 2, 255),
        "arguments": schema.mapping(schema.anything()),
    },
)


def metadata_file(path: Path) -> Path:
    """The JSON next to a checkpoint."""
    return path.with_name(path.name + ".json")


def beside(path: Path) -> dict[str, Any]:
    """Content of the JSON next to a checkpoint; empty if there is none.

    While a checkpoint is replaced, `previous` in it is the older one's (see `checkpoint.save`).

    Raises:
        InputError: the JSON cannot be read, or holds something else.
    """
    file = metadata_file(path)
    if not file.is_file():
        return {}
    metadata: dict[str, Any] = files.read_json(file)
    remedy = "move the file away, or save the checkpoint again"
    schema.check(metadata, schema.fields({}, {"previous": _METADATA}), file, remedy)
    check(metadata, file, remedy)
    return metadata


def check(metadata: dict[str, Any], source: object, remedy: str) -> None:
    """Checks what the metadata of a checkpoint say.

    Args:
        metadata: fields by name.
        source: what the message names: the file that holds them.
        remedy: what the message tells the user to do.

    Raises:
        InputError: a field is something else than it must be.
    """
    schema.check(metadata, _METADATA, source, remedy)
    schema.check(metadata, schema.as_many("palette", "classes"), source, remedy)


def verified(path: Path) -> dict[str, Any]:
    """Metadata that belongs to the content of a checkpoint: its checksum is the file's.

    Without a checksum in the JSON there is nothing to compare, and no `sha256` in the result.

    Raises:
        InputError: the checksum differs, or as for `beside`.
    """
    found = beside(path)
    previous = found.pop("previous", None)
    if previous is None and "sha256" not in found:
        return found
    digest = files.sha256(path)
    for metadata in (found, previous):
        if metadata is not None and metadata.get("sha256", digest) == digest:
            return metadata
    raise InputError(
        f"checkpoint {path} is damaged: its checksum is not the one in {metadata_file(path).name}; "
        "take another checkpoint (or, if you put another file in its place, remove the JSON)"
    )


def read_metadata(path: files.PathLike) -> dict[str, Any]:
    """Reads the JSON next to a checkpoint; empty if there is none, as for published files.

    Raises:
        InputError: the JSON cannot be read.
    """
    path = Path(path).absolute()
    metadata = beside(path)
    return verified(path) if "previous" in metadata and path.is_file() else metadata
