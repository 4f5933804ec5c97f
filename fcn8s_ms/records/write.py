"""Building MindRecord files from images and masks: all are checked, or nothing is written."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .. import __version__, files, voc
from ..errors import InputError
from ..files import PathLike
from ..formats import paths
from ..images.reader import MAX_PIXELS
from ..threads import Progress
from .checksums import index_checksum
from .encode import Encoder
from .fill import write_rows
from .masks import MaskReader
from .metadata import (
    Metadata,
    index_file,
    is_index,
    is_metadata,
    is_record_file,
    metadata_file,
    read_metadata,
    record_files,
)
from .sources import Pair

__all__ = ["build_records"]

_MAX_SHARDS = 1000
_TRIES_TO_LOCK = 100
_SECONDS_TO_LOCK = 10.0
_NO_FILE_NAME = frozenset("\\/:*?\"<>|`&;'")


def _existing_output(path: Path, num_shards: int) -> list[Path]:
    """Files that an earlier build left under this name, or that this one would overwrite."""
    names = set(record_files(path, num_shards))
    if path.is_file():  # readers prefer it to shards
        names.add(path)
    with contextlib.suppress(InputError):  # damaged metadata: it will be written anew
        metadata = read_metadata(path)
        if metadata is not None:
            earlier = record_files(path, len(metadata.files))
            # Of a record that was renamed its JSON names other files, which are not this record's.
            if metadata.files == tuple(file.name for file in earlier):
                names.update(earlier)
    records = sorted(names)  # first: they are what an error names
    candidates = [*records, *map(index_file, records), metadata_file(path)]
    return [candidate for candidate in candidates if os.path.lexists(candidate)]


def _check_replaceable(existing: Iterable[Path], output: Path) -> None:
    """Raises InputError for a file in the way that is not of a record of this name."""
    for file in existing:
        if file == metadata_file(output):
            is_ours = is_metadata(file)
        else:
            is_ours = is_record_file(file) or (file.suffix == ".db" and is_index(file))
            # A shard has no JSON of its own.
            is_ours = is_ours and (file == output or not os.path.lexists(metadata_file(file)))
        if not is_ours:
            raise InputError(
                f"{file} is in the way and is not a file of the record {output.name}; nothing was "
                "replaced: move it away or choose another --output"
            )


def _remove_abandoned(building: Path) -> None:
    """Removes a folder unless a running build holds its lock; where there are no locks it stays."""
    with contextlib.suppress(BlockingIOError):
        descriptor = files.lock_folder(building)
        if descriptor is not None:
            shutil.rmtree(building, ignore_errors=True)
            os.close(descriptor)


@contextlib.contextmanager
def _building_folder(output: Path) -> Iterator[Path]:
    """A folder next to the output, removed at the end, as is the output's if nothing is built.

    It is locked: a folder without a lock was left by a build that was killed, and is removed.
    """
    prefix, suffix = f".{output.name}.", ".building"
    with files.kept_if_used(output.parent, "the folder of --output"):
        try:
            for folder in output.parent.iterdir():
                if folder.name.startswith(prefix) and folder.name.endswith(suffix):
                    _remove_abandoned(folder)
            building = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=output.parent))
            descriptor = files.lock_folder(building)
        except OSError as error:
            raise InputError(
                f"{output.parent} cannot be written to: {error.strerror}; choose another --output"
            ) from error
        try:
            with files.removed_at_end(building):
                yield building
        finally:
            if descriptor is not None:
                os.close(descriptor)


def build_records(
    pairs: Iterable[Pair],
    output: PathLike,
    *,
    classes: Sequence[str] = voc.CLASSES,
    palette: np.ndarray | Sequence[Sequence[int]] | None = None,
    ignore_label: int = voc.IGNORE_LABEL,
    label_map: Mapping[int, int] | None = None,
    only_mapped: bool = False,
    colours: dict[tuple[int, int, int], int] | None = None,
    mask_values: str = "auto",
    colour_tolerance: int = 0,
    mat_variable: str | None = None,
    max_pixels: int = MAX_PIXELS,
    num_shards: int = 1,
    overwrite: bool = False,
    source: PathLike = "",
    list_name: str = "",
    progress: Progress | None = None,
) -> Metadata:
    """Checks images and masks and writes them as a record.

    The files are built in a folder next to the target, read back, and moved into place at the end;
    after an error nothing is left behind and an older record is unchanged.

    Args:
        pairs: images and masks, in the order of the rows.
        output: path of the record file.
        classes: class names; the position is the class id.
        palette: RGB of each class; VOC's by default.
        ignore_label: value of masks that is ignored; in the record it is 255.
        label_map: labels for some values of masks, in place of the values themselves.
        only_mapped: whether values that are not in `label_map` are errors.
        colours: label of each RGB colour, for masks that hold colours.
        mask_values: one of `masks.MASK_VALUES`.
        colour_tolerance: by how many levels of red, green and blue a colour may be off.
        mat_variable: variable that MATLAB files hold masks in; SBD's by default.
        max_pixels: largest number of pixels of an image or mask; 0 for any.
        num_shards: number of files to spread the rows over.
        overwrite: whether to replace an existing record; nothing else is replaced.
        source: folder that the images came from, for the metadata.
        list_name: name of their list, for the metadata.
        progress: shows the progress of the work.

    Returns:
        The metadata that were written next to the record.

    Raises:
        InputError: a file is missing, cannot be decoded, has the wrong size or foreign labels (all
            such files are named, up to a readable number); there are fewer images than shards; the
            output exists or cannot be written.
    """
    output = Path(output).absolute()
    pairs = list(pairs)
    if not pairs:
        raise InputError("no images to convert; the list is empty")
    if not 1 <= num_shards <= min(len(pairs), _MAX_SHARDS):
        raise InputError(
            f"{num_shards} shards for {len(pairs)} images; choose 1…{min(len(pairs), _MAX_SHARDS)}"
        )
    paths.check_utf8(output)
    if _NO_FILE_NAME & set(output.name):
        raise InputError(
            f"{output}: MindRecord allows none of {' '.join(sorted(_NO_FILE_NAME))} in a file "
            "name; choose another --output"
        )
    masks = MaskReader(
        classes,
        ignore_label=ignore_label,
        label_map=label_map,
        only_mapped=only_mapped,
        colours=colours,
        mask_values=mask_values,
        colour_tolerance=colour_tolerance,
        mat_variable=mat_variable,
        max_pixels=max_pixels,
    )
    colours_of_classes = _as_tuples(voc.palette()[: len(classes)] if palette is None else palette)
    if len(colours_of_classes) != len(classes):
        raise InputError(
            f"palette has {len(colours_of_classes)} colours for {len(classes)} classes; give each "
            "class one"
        )
    try:
        existing = _existing_output(output, num_shards)
        if existing and not overwrite:
            raise InputError(f"{existing[0]} exists; choose another name or pass --overwrite")
        _check_replaceable(existing, output)
        with _building_folder(output) as building:
            tally = write_rows(pairs, building / output.name, Encoder(masks), num_shards, progress)
            built = record_files(building / output.name, num_shards)
            metadata = Metadata(
                classes=tuple(classes),
                palette=colours_of_classes,
                ignore_label=voc.IGNORE_LABEL,
                pixel_counts=tuple(tally.pixels.tolist()),
                num_samples=len(pairs),
                source=str(source),
                list_name=list_name,
                files=tuple(path.name for path in built),
                version=__version__,
                image_counts=tuple(tally.images.tolist()),
                present_pixels=tuple(tally.present.tolist()),
                file_sizes=tuple(path.stat().st_size for path in built),
                index_checksums=tuple(index_checksum(path) for path in built),
            )
            files.write_json(metadata_file(building / output.name), asdict(metadata))
            # The metadata last: if this is interrupted, they show that the files do not belong
            # together.
            built = [*built, *map(index_file, built), metadata_file(building / output.name)]
            with _alone_in(output.parent):
                _move_into_place(built, output, num_shards, overwrite)
    except OSError as error:
        raise InputError(
            f"{output} cannot be written: {error.strerror}; free some space or choose another "
            "--output"
        ) from error
    return metadata


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lets one build at a time move its files into a folder.

    Others wait some seconds at most: what else may hold the lock is none of their business.
    """
    descriptor = None
    for _ in range(_TRIES_TO_LOCK):
        with contextlib.suppress(BlockingIOError):
            descriptor = files.lock_folder(folder)
            break
        time.sleep(_SECONDS_TO_LOCK / _TRIES_TO_LOCK)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _move_into_place(built: list[Path], output: Path, num_shards: int, overwrite: bool) -> None:
    """Gives the files of a record their names.

    Of builds that may not overwrite, the first wins; of others the last, with all of its files.
    """
    existing = _existing_output(output, num_shards) if overwrite else []
    _check_replaceable(existing, output)
    if not overwrite:
        try:
            # All builds to this name need the JSON, however many shards they write.
            os.close(os.open(metadata_file(output), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise InputError(
                f"{metadata_file(output)} was written by another build meanwhile; this one is "
                "dropped: choose another name or pass --overwrite"
            ) from None
    try:
        # The metadata last: if this is interrupted, they show that files do not belong together.
        for path in built:
            files.give_ordinary_permissions(path)
            os.replace(path, output.parent / path.name)
    except OSError:
        if not overwrite and not metadata_file(output).stat().st_size:
            metadata_file(output).unlink()
        raise
    for path in set(existing) - {output.parent / path.name for path in built}:
        path.unlink()  # an older record had more shards


def _as_tuples(palette: np.ndarray | Sequence[Sequence[int]]) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
