"""Building MindRecord files from images and masks: all are checked, or nothing is written."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .. import __version__, files, voc
from ..errors import InputError
from ..files import PathLike
from ..formats import paths
from ..images.reader import MAX_PIXELS
from ..system.threads import Progress
from ..visualize import default_palette
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
from .sources import Pair, repeated_in

__all__ = ["Part", "build_parts", "build_records"]

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
    with paths.kept_if_used(output.parent, "the folder of --output"):
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
    label_offset: int = 0,
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
        palette: RGB of each class; by default that of the first mask if it is a palette image,
            otherwise `visualize.default_palette`.
        ignore_label: value of masks that is ignored; in the record it is 255.
        label_map: labels for some values of masks, in place of the values themselves.
        label_offset: number added to the ids of masks; what falls below 0 is ignored.
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
    masks = MaskReader(
        classes,
        ignore_label=ignore_label,
        label_map=label_map,
        label_offset=label_offset,
        only_mapped=only_mapped,
        colours=colours,
        mask_values=mask_values,
        colour_tolerance=colour_tolerance,
        mat_variable=mat_variable,
        max_pixels=max_pixels,
    )
    (metadata,) = build_parts(
        [Part(list(pairs), Path(output), list_name)],
        masks,
        classes=classes,
        palette=palette,
        num_shards=num_shards,
        overwrite=overwrite,
        source=source,
        progress=progress,
    )
    return metadata


@dataclass(frozen=True)
class Part:
    """A record that is built together with others.

    Attributes:
        pairs: images and masks, in the order of the rows.
        output: path of the record file.
        list_name: name of their list, for the metadata.
    """

    pairs: Sequence[Pair]
    output: Path
    list_name: str = ""


def build_parts(
    parts: Sequence[Part],
    masks: MaskReader,
    *,
    classes: Sequence[str],
    palette: np.ndarray | Sequence[Sequence[int]] | None = None,
    num_shards: int = 1,
    overwrite: bool = False,
    source: PathLike = "",
    progress: Progress | None = None,
) -> list[Metadata]:
    """Writes several records, all or none of them.

    Args:
        parts: the records.
        masks: reads the masks of all.
        classes: as for `build_records`, as are the other arguments.
        palette: likewise.
        num_shards: likewise, of each record.
        overwrite: likewise.
        source: likewise.
        progress: likewise.

    Returns:
        The metadata of each record.

    Raises:
        InputError: as for `build_records`, or two records have a file in common.
    """
    parts = [replace(part, output=Path(part.output).absolute()) for part in parts]
    for part in parts:
        _check_part(part, num_shards)
    names = [str(file) for part in parts for file in _all_files(part.output, num_shards)]
    if repeated := repeated_in(names):
        raise InputError(f"{repeated[0]} would be of two records; give each a name of its own")
    if palette is None:
        palette = _palette_of_masks(parts[0], masks)
    if palette is None:
        palette = default_palette(classes)[: len(classes)]
    colours_of_classes = _as_tuples(palette)
    if len(colours_of_classes) != len(classes):
        raise InputError(
            f"palette has {len(colours_of_classes)} colours for {len(classes)} classes; give each "
            "class one"
        )
    try:
        for part in parts:
            existing = _existing_output(part.output, num_shards)
            if existing and not overwrite:
                raise InputError(f"{existing[0]} exists; choose another name or pass --overwrite")
            _check_replaceable(existing, part.output)
        with contextlib.ExitStack() as stack:
            folders = [stack.enter_context(_building_folder(part.output)) for part in parts]
            building = [folder / part.output.name for folder, part in zip(folders, parts)]
            rows = [(part.pairs, path) for part, path in zip(parts, building)]
            tallies = write_rows(rows, Encoder(masks), num_shards, progress)
            found = []
            for part, path, tally in zip(parts, building, tallies):
                built = record_files(path, num_shards)
                metadata = Metadata(
                    classes=tuple(classes),
                    palette=colours_of_classes,
                    ignore_label=voc.IGNORE_LABEL,
                    pixel_counts=tuple(tally.pixels.tolist()),
                    num_samples=len(part.pairs),
                    source=str(source),
                    list_name=part.list_name,
                    files=tuple(file.name for file in built),
                    version=__version__,
                    image_counts=tuple(tally.images.tolist()),
                    present_pixels=tuple(tally.present.tolist()),
                    file_sizes=tuple(file.stat().st_size for file in built),
                    index_checksums=tuple(index_checksum(file) for file in built),
                )
                files.write_json(metadata_file(path), asdict(metadata))
                found.append(metadata)
            _move_all(parts, building, num_shards, overwrite)
    except OSError as error:
        outputs = " and ".join(str(part.output) for part in parts)
        raise InputError(
            f"{outputs} cannot be written: {error.strerror}; free some space or choose another "
            "--output"
        ) from error
    return found


def _check_part(part: Part, num_shards: int) -> None:
    """Raises InputError for a record without images, with too many shards, or of a bad name."""
    count = len(part.pairs)
    if not count:
        raise InputError("no images to convert; the list is empty")
    if not 1 <= num_shards <= min(count, _MAX_SHARDS):
        raise InputError(
            f"{num_shards} shards for {count} images; choose 1…{min(count, _MAX_SHARDS)}"
        )
    paths.check_utf8(part.output)
    if part.output.is_dir():
        raise InputError(
            f"{part.output} is a folder; name a file in it, such as "
            f"{part.output / 'train.mindrecord'}"
        )
    if _NO_FILE_NAME & set(part.output.name):
        raise InputError(
            f"{part.output}: MindRecord allows none of {' '.join(sorted(_NO_FILE_NAME))} in a file "
            "name; choose another --output"
        )


def _all_files(path: Path, num_shards: int) -> list[Path]:
    """Files of a record. The metadata last: if this is interrupted, they show what is missing."""
    built = record_files(path, num_shards)
    return [*built, *map(index_file, built), metadata_file(path)]


def _move_all(
    parts: Sequence[Part], building: Sequence[Path], num_shards: int, overwrite: bool
) -> None:
    """Gives the files of all records their names; takes those of new ones back if one fails."""
    moved: list[Path] = []
    for part, path in zip(parts, building):
        try:
            with _alone_in(part.output.parent):
                built = _all_files(path, num_shards)
                _move_into_place(built, part.output, num_shards, overwrite)
        except (InputError, OSError):
            for file in () if overwrite else moved:
                file.unlink(missing_ok=True)
            raise
        moved += _all_files(part.output, num_shards)


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


def _palette_of_masks(part: Part, masks: MaskReader) -> np.ndarray | None:
    """The colours that the first mask states; one speaks for all, which a tool wrote alike."""
    first = next(iter(part.pairs), None)
    return None if first is None or first.draw is not None else masks.palette_of(first.mask)


def _as_tuples(palette: np.ndarray | Sequence[Sequence[int]]) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
