"""Images that two records have in common."""

import zlib
from collections.abc import Hashable, Iterator
from pathlib import Path

from ..files import PathLike
from .read import first_file, unchecked_samples
from .structure import shard_names

__all__ = ["shared_images"]

_HASHED_BYTES = 500_000_000


def _size(file: Path) -> int:
    return sum(file.with_name(name).stat().st_size for name in shard_names(file))


def _names(file: Path) -> Iterator[Hashable]:
    import mindspore.dataset as ds

    dataset = ds.MindDataset(str(file), columns_list=["file_name"], shuffle=False)
    for row in dataset.create_dict_iterator(num_epochs=1, output_numpy=True):
        yield str(row["file_name"])


def _contents(file: Path) -> Iterator[Hashable]:
    for _, image, _ in unchecked_samples(file):
        yield len(image), zlib.crc32(image)


def shared_images(one: PathLike, other: PathLike, limit: int = _HASHED_BYTES) -> tuple[int, bool]:
    """Counts the images of a record that are in another one, too.

    Args:
        one: a record that `open_record` found good.
        other: another one, whose images are counted.
        limit: bytes of both up to which the files of the images are compared; names beyond.

    Returns:
        The number, and whether the files were compared, not the names alone.

    Raises:
        InputError: a record cannot be read to its end.
    """
    first, second = first_file(one), first_file(other)
    by_content = _size(first) + _size(second) <= limit
    keys = _contents if by_content else _names
    known = set(keys(first))
    return sum(key in known for key in keys(second)), by_content
