"""Builds MindRecord files from images and masks: everything is checked, or nothing is written."""

import contextlib
import errno
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import __version__, files, voc
from ..errors import InputError
from ..threads import available_cpus, map_ahead
from . import checksums
from .checksums import index_checksum
from .encode import Encoder
from .metadata import Metadata, index_file, metadata_file, read_metadata, record_files
from .read import quiet_stderr, rows

__all__ = ["build_records"]

_MAX_FAULTS_SHOWN = 20
# Rows are handed to MindRecord when there are so many of them, or so many bytes.
_ROWS_PER_WRITE = 32
_BYTES_PER_WRITE = 2**25
# MindSpore wants 8 MB left and does not always notice when a write fails.
_SPARE_BYTES = 2**24
_MAX_SHARDS = 1000
_NO_FILE_NAME = frozenset("\\/:*?\"<>|`&;'")


def _existing_output(path: Path, num_shards: int) -> list[Path]:
    """What an earlier build left under this name, and what this one would write over."""
    names = set(record_files(path, num_shards))
    with contextlib.suppress(InputError):  # damaged metadata: it will be written anew
        metadata = read_metadata(path)
        if metadata is not None:
            names.update(path.with_name(name) for name in metadata.files)
    records = sorted(names)  # first: they are what an error names
    candidates = [*records, *map(index_file, records), metadata_file(path)]
    return [candidate for candidate in candidates if os.path.lexists(candidate)]


def _remove_abandoned(building: Path) -> None:
    """Removes a folder unless a build at work holds it; without locks it stays."""
    with contextlib.suppress(BlockingIOError):
        descriptor = files.lock_folder(building)
        if descriptor is not None:
            shutil.rmtree(building, ignore_errors=True)
            os.close(descriptor)


@contextlib.contextmanager
def _building_folder(output: Path):
    """A folder beside the output, removed when done.

    It is locked: a folder that nobody locks was left by a build that was killed, and goes.
    """
    prefix, suffix = f".{output.name}.", ".building"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
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
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def build_records(
    pairs,
    output,
    *,
    classes=voc.CLASSES,
    palette=None,
    ignore_label: int = voc.IGNORE_LABEL,
    label_map: dict[int, int] | None = None,
    colours: dict[tuple[int, int, int], int] | None = None,
    mask_values: str = "auto",
    num_shards: int = 1,
    overwrite: bool = False,
    source: str = "",
    list_name: str = "",
    progress=None,
) -> Metadata:
    """Checks images and masks and writes them as MindRecord.

    The files are built in a folder beside the target, read back, and moved into place when all is
    well; after an error nothing is left and an older record is untouched.

    Args:
        pairs: sequence of `sources.Pair`.
        output: path of the record file.
        classes: class names.
        palette: RGB of every class, VOC's without.
        ignore_label: value of masks that does not count; 255 in the record.
        label_map: label of some values of the masks, instead of the value itself.
        colours: label of every RGB colour, for masks that hold colours.
        mask_values: one of `encode.MASK_VALUES`.
        num_shards: number of files to spread the rows over.
        overwrite: replace an existing record.
        source: where the images came from, for the metadata.
        list_name: which list they are, for the metadata.
        progress: called with an iterable and its length; returns the iterable to go through
            (`tqdm` fits).

    Returns:
        The metadata that was written beside the record.

    Raises:
        InputError: a file is missing, undecodable, of the wrong size or with foreign labels (all
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
    if _NO_FILE_NAME & set(output.name):
        raise InputError(
            f"{output}: MindRecord allows none of {' '.join(sorted(_NO_FILE_NAME))} in a file "
            "name; choose another --output"
        )
    converter = Encoder(
        classes,
        ignore_label=ignore_label,
        label_map=label_map,
        colours=colours,
        mask_values=mask_values,
    )
    try:
        existing = _existing_output(output, num_shards)
        if existing and not overwrite:
            raise InputError(f"{existing[0]} exists; choose another name or pass --overwrite")
        with _building_folder(output) as building:
            tally = _write_rows(pairs, building / output.name, converter, num_shards, progress)
            built = record_files(building / output.name, num_shards)
            metadata = Metadata(
                classes=tuple(classes),
                palette=_as_tuples(voc.palette()[: len(classes)] if palette is None else palette),
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
            # The metadata last: should this be cut off, sizes tell that the files do not belong
            # together.
            built = [*built, *map(index_file, built), metadata_file(building / output.name)]
            for path in built:
                files.give_ordinary_permissions(path)
                os.replace(path, output.parent / path.name)
            for path in set(existing) - {output.parent / path.name for path in built}:
                path.unlink()  # an older record had more shards
    except OSError as error:
        raise InputError(
            f"{output} cannot be written: {error.strerror}; free some space or choose another "
            "--output"
        ) from error
    return metadata


def _as_tuples(palette) -> tuple:
    return tuple(tuple(int(value) for value in colour) for colour in palette)


@dataclass
class _Tally:
    """Counts over the samples of a record, arrays of int64 (C,); see `Metadata`."""

    pixels: np.ndarray
    images: np.ndarray
    present: np.ndarray

    def add(self, counts: np.ndarray) -> None:
        counts = counts[: len(self.pixels)]
        self.pixels += counts
        self.images += counts > 0
        self.present += np.where(counts > 0, counts.sum(), 0)


class _Writer:
    """MindRecord's writer, with rows handed over in portions and errors as OSError."""

    def __init__(self, path: Path, num_shards: int):
        from mindspore.mindrecord import FileWriter

        self._folder = path.parent
        self._rows, self._bytes = [], 0
        self._writer = FileWriter(str(path), shard_num=num_shards)
        self._writer.add_schema(
            {
                "file_name": {"type": "string"},
                "data": {"type": "bytes"},
                "label": {"type": "bytes"},
            },
            "semantic segmentation: image file and label PNG",
        )

    def add(self, sample) -> None:
        self._rows.append({"file_name": sample.name, "data": sample.image, "label": sample.label})
        self._bytes += len(sample.image) + len(sample.label)
        if len(self._rows) == _ROWS_PER_WRITE or self._bytes > _BYTES_PER_WRITE:
            self._flush()

    def _flush(self) -> None:
        if shutil.disk_usage(self._folder).free < self._bytes + _SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._call(self._writer.write_raw_data, self._rows)
        self._rows, self._bytes = [], 0

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._call(self._writer.commit)

    @staticmethod
    def _call(function, *arguments) -> None:
        from mindspore.mindrecord.common.exceptions import MindRecordException

        try:
            with quiet_stderr():
                function(*arguments)
        except (RuntimeError, MindRecordException) as error:
            found = re.search(r"\[ERROR\] (.+)", str(error))
            reason = found[1] if found else str(error).splitlines()[0]
            raise OSError(None, f"MindSpore says: {reason}") from error


def _write_rows(pairs, path: Path, converter, num_shards: int, progress) -> _Tally:
    """Writes the record into the building folder and reads it back."""
    number = len(converter.ids)
    tally = _Tally(*(np.zeros(number, np.int64) for _ in range(3)))
    writer = _Writer(path, num_shards)
    faults, num_faults, values, doubtful = [], 0, np.zeros(256, np.int64), True

    def convert(pair):
        try:
            pair.name.encode("utf-8")
            return converter(pair)
        except UnicodeEncodeError:
            return InputError(f"{str(pair.image)!r} has a name that is no UTF-8; rename it")
        except InputError as error:
            return error

    # Decoding leaves the interpreter lock, so threads use all CPUs.
    with ThreadPoolExecutor(available_cpus()) as pool:
        results = map_ahead(pool, convert, pairs, 16 * available_cpus())
        for result in progress(results, len(pairs)) if progress else results:
            if isinstance(result, InputError):
                num_faults += 1
                faults += [str(result)] if num_faults <= _MAX_FAULTS_SHOWN else []
            elif not num_faults:
                tally.add(result.counts)
                values += result.counts
                doubtful = doubtful and result.from_values
                writer.add(result)
    if num_faults:
        if num_faults > len(faults):
            faults.append(f"… and {num_faults - len(faults)} more")
        raise InputError(
            f"{num_faults} of {len(pairs)} images cannot be used, nothing was written:"
            + ("\n  " if len(faults) > 1 else " ")
            + "\n  ".join(faults)
        )
    if doubtful and set(np.flatnonzero(values)) == {0, voc.IGNORE_LABEL}:
        raise InputError(
            f"{pairs[0].mask} and all other masks hold nothing but 0 and 255, and 255 is ignored: "
            'pass a --label-map of {"255": 1} for two classes, or of {"255": "ignore"} if it is so'
        )
    writer.close()
    _read_back(record_files(path, num_shards)[0], len(pairs))
    return tally


def _read_back(path: Path, num_rows: int) -> None:
    """Raises OSError if a record is not what was written.

    MindRecord drops rows that it holds invalid and does not notice all writes that fail.
    """
    written = 0
    try:
        with quiet_stderr():
            for row in rows(path):
                checksums.verify_seal(row["label"].tobytes(), row["data"], str(row["file_name"]))
                written += 1
    except (RuntimeError, ValueError) as error:
        raise OSError(
            None, "what was written does not read back, the disk is full or faulty"
        ) from error
    if written != num_rows:
        raise OSError(None, f"of {num_rows} images {written} were written")
