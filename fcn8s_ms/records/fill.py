"""The rows of a record: encoded, counted, written and read back."""

import errno
import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from .. import voc
from ..errors import Faults, InputError
from ..system.threads import Progress, available_cpus, map_ahead
from .checksums import verify_seal
from .encode import Encoder, Row
from .metadata import record_files
from .read import quiet_stderr, rows
from .sources import Pair

__all__ = ["Tally", "write_rows"]

logger = logging.getLogger(__name__)

# Rows are handed to MindRecord when this many, or this many bytes, have gathered.
_ROWS_PER_WRITE = 32
_BYTES_PER_WRITE = 2**25
# MindSpore wants 8 MB left and does not always notice when a write fails.
_SPARE_BYTES = 2**24


@dataclass
class Tally:
    """Counts over the rows of a record, int64 (C,).

    Attributes:
        pixels: as `Metadata.pixel_counts`.
        images: as `Metadata.image_counts`.
        present: as `Metadata.present_pixels`.
    """

    pixels: np.ndarray
    images: np.ndarray
    present: np.ndarray

    @classmethod
    def of(cls, num_classes: int) -> "Tally":
        """Counts of no rows."""
        return cls(*(np.zeros(num_classes, np.int64) for _ in range(3)))

    def add(self, counts: np.ndarray) -> None:
        """Adds a row's pixels of each label value, int64 (256,)."""
        counts = counts[: len(self.pixels)]
        self.pixels += counts
        self.images += counts > 0
        self.present += np.where(counts > 0, counts.sum(), 0)


class _Writer:
    """MindRecord's writer; gets rows in portions, and raises OSError for its errors."""

    def __init__(self, path: Path, num_shards: int):
        from mindspore.mindrecord import FileWriter

        self._folder = path.parent
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._writer = FileWriter(str(path), shard_num=num_shards)
        self._writer.add_schema(
            {
                "file_name": {"type": "string"},
                "data": {"type": "bytes"},
                "label": {"type": "bytes"},
            },
            "semantic segmentation: image file and label PNG",
        )

    def add(self, row: Row) -> None:
        self._rows.append({"file_name": row.name, "data": row.image, "label": row.label})
        self._bytes += len(row.image) + len(row.label)
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
    def _call(function: Callable[..., object], *arguments: object) -> None:
        from mindspore.mindrecord.common.exceptions import MindRecordException

        try:
            with quiet_stderr():
                function(*arguments)
        except (RuntimeError, MindRecordException) as error:
            found = re.search(r"\[ERROR\] (.+)", str(error))
            reason = found[1] if found else str(error).splitlines()[0]
            raise OSError(None, f"MindSpore says: {reason}") from error


def write_rows(
    parts: Sequence[tuple[Sequence[Pair], Path]],
    encoder: Encoder,
    num_shards: int,
    progress: Progress | None,
) -> list[Tally]:
    """Writes records into building folders and reads them back.

    Args:
        parts: pairs of each record, and its path.
        encoder: encodes a pair as a row.
        num_shards: number of files of each record.
        progress: shows the progress of the work.

    Raises:
        InputError: pairs cannot be used; those of all parts are named.
        OSError: the disk does not take the rows.
    """
    faults = Faults()
    num_pairs = sum(len(pairs) for pairs, _ in parts)
    values = np.zeros(256, np.int64)
    doubtful = True  # whether all masks hold ids of their own, which may mean something else

    def encode(pair: Pair) -> tuple[Pair, Row | InputError]:
        try:
            pair.name.encode("utf-8")
            return pair, encoder(pair)
        except UnicodeEncodeError:
            text = f"{str(pair.image)!r} has a name that is not UTF-8; rename it"
            return pair, InputError(text)
        except InputError as error:
            return pair, error

    tallies = [Tally.of(encoder.num_classes) for _ in parts]
    writers = [_Writer(path, num_shards) for _, path in parts]
    every = chain.from_iterable(pairs for pairs, _ in parts)
    part_of = chain.from_iterable(repeat(part, len(pairs)) for part, (pairs, _) in enumerate(parts))
    # Decoding releases the interpreter lock, so threads use all CPUs.
    with ThreadPoolExecutor(available_cpus()) as pool:
        results = map_ahead(pool, encode, every, 16 * available_cpus())
        shown = progress(results, num_pairs) if progress else results
        for (pair, result), part in zip(shown, part_of):
            if isinstance(result, InputError):
                faults.add(str(result), pair.mask.absolute(), pair.image.absolute())
            elif not faults:
                tallies[part].add(result.counts)
                values += result.counts
                doubtful = doubtful and result.from_values
                writers[part].add(result)
    if faults:
        lines = faults.lines()
        raise InputError(
            f"{len(faults)} of {num_pairs} images cannot be used, nothing was written:"
            + ("\n  " if len(lines) > 1 else " ")
            + "\n  ".join(lines)
        )
    if doubtful and set(np.flatnonzero(values)) == {0, voc.IGNORE_LABEL}:
        raise InputError(
            f"{parts[0][0][0].mask} and all other masks hold nothing but 0 and 255, and 255 is "
            "ignored: pass --label-map '{\"255\": 1}' for two classes, or --label-map "
            '\'{"255": "ignore"}\' if that is intended'
        )
    if doubtful and not values[0] and values[: voc.IGNORE_LABEL].any():
        logger.warning(
            "No pixel of any mask has id 0, the first class. If your ids start at 1, every class"
            " has the name of the next one now: build again with --label-offset -1 --overwrite"
        )
    for writer, (pairs, path) in zip(writers, parts):
        writer.close()
        _read_back(record_files(path, num_shards)[0], len(pairs))
    return tallies


def _read_back(path: Path, num_rows: int) -> None:
    """Raises OSError if a record differs from what was written.

    MindRecord drops rows that it considers invalid, and does not notice every failed write.
    """
    written = 0
    try:
        with quiet_stderr():
            for row in rows(path):
                verify_seal(row["label"].tobytes(), row["data"], str(row["file_name"]))
                written += 1
    except (RuntimeError, ValueError) as error:
        raise OSError(
            None, "what was written does not read back, the disk is full or faulty"
        ) from error
    if written != num_rows:
        raise OSError(None, f"only {written} of {num_rows} images were written")
