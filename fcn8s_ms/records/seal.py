"""Checksums for a record that was built elsewhere, in a JSON next to it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from .. import __version__, voc
from ..errors import InputError, command
from ..files import PathLike
from ..formats import sealing
from ..system.threads import Progress
from .checksums import index_checksum
from .classes import Classes
from .metadata import Metadata, metadata_file, read_metadata
from .read import first_file, open_record
from .structure import shard_names
from .survey import Survey, survey_record

__all__ = ["seal_record"]

_ORIGIN = "a record built elsewhere"


def seal_record(
    path: PathLike,
    *,
    classes: Classes | None = None,
    expected: Sequence[str] = (),
    progress: Progress | None = None,
) -> bool:
    """Gives a record its checksums, after reading and decoding every sample.

    The JSON next to it gets the SHA-256 of every file and what a build writes there. Fields that it
    has already are kept.

    Args:
        path: as for `open_record`.
        classes: names and colours of the classes, of a record without a JSON; VOC's by default.
        expected: SHA-256 that the files must have, in the order of the shards; none for any.
        progress: as for `build_records`.

    Returns:
        False if the record had its checksums before, which agree; nothing is written then.

    Raises:
        InputError: a file or a sample is damaged or another one than expected, the labels are not
            those of the classes, or the JSON cannot be written; nothing is written then.
    """
    sealing.known(first_file(path))
    file, _ = open_record(path)
    metadata = read_metadata(path)
    if metadata is not None and classes is not None:
        raise InputError(
            f"{file} has its classes in {_json_of(file, metadata.files).name}; leave out --classes"
        )
    names = shard_names(file) if metadata is None else metadata.files
    if expected and len(expected) != len(names):
        raise InputError(
            f"{file} is a record of {len(names)} files; give --sha256 one value for each, in the "
            f"order {', '.join(names)}"
        )
    digests = [
        sealing.check_digest(file.with_name(name), expected[place] if expected else None)
        for place, name in enumerate(names)
    ]
    if metadata is not None and metadata.sha256:  # compared when it was opened
        return False
    survey = survey_record(path, progress)
    built_here = metadata is not None and metadata.index_checksums
    if built_here and survey.num_sealed == survey.num_samples:
        return False
    found = metadata or _described(file, names, survey, classes)
    _check_labels(file, survey, len(found.classes))
    shards = [file.with_name(name) for name in names]
    found = dataclasses.replace(
        found,
        file_sizes=tuple(shard.stat().st_size for shard in shards),
        index_checksums=tuple(map(index_checksum, shards)),
        sha256=tuple(digests),
    )
    sealing.write(_json_of(file, names), dataclasses.asdict(found), "record")
    return True


def _json_of(file: Path, names: Sequence[str]) -> Path:
    """JSON of a record: of several shards, it has the name that they have in common."""
    name = names[0] if len(names) == 1 else names[0].rstrip("0123456789")
    return metadata_file(file.with_name(name))


def _described(
    file: Path, names: Sequence[str], survey: Survey, classes: Classes | None
) -> Metadata:
    """Metadata of a record that has none, from its content."""
    if classes is None and survey.num_classes > voc.NUM_CLASSES:
        raise InputError(
            f"{file} has label {survey.num_classes - 1}, and VOC's classes are 0…"
            f"{voc.NUM_CLASSES - 1}; name its own with "
            f"{command('build', '--seal', file, '--classes', 'FILE')}"
        )
    classes = classes or Classes(voc.CLASSES, {})
    count = len(classes.names)
    return Metadata(
        classes=classes.names,
        palette=tuple((int(r), int(g), int(b)) for r, g, b in classes.palette()),
        ignore_label=voc.IGNORE_LABEL,
        pixel_counts=tuple(survey.pixel_counts[:count].tolist()),
        num_samples=survey.num_samples,
        source=_ORIGIN,
        list_name="all",
        files=tuple(names),
        version=__version__,
        image_counts=tuple(survey.image_counts[:count].tolist()),
        present_pixels=tuple(survey.present_pixels[:count].tolist()),
    )


def _check_labels(file: Path, survey: Survey, count: int) -> None:
    """Raises InputError for labels that are not of these classes."""
    foreign = survey.pixel_counts[count : voc.IGNORE_LABEL].nonzero()[0]
    if foreign.size:
        raise InputError(
            f"{file} has label {count + int(foreign[0])}, and its {count} classes are 0…{count - 1}"
            ", and 255 is ignored; give the file of its own classes with build --seal --classes"
        )
