"""What lies next to a record file: MindRecord's index, and the JSON with the dataset's classes."""

from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..errors import InputError

__all__ = ["Metadata", "index_file", "metadata_file", "read_metadata", "record_files"]


@dataclass(frozen=True)
class Metadata:
    """What a record file's JSON says about its dataset.

    Attributes:
        classes: class names; the position is the class id.
        palette: RGB of every class.
        ignore_label: label of pixels that do not count.
        pixel_counts: labelled pixels of every class.
        num_samples: images in the record.
        source: folder the images came from.
        list_name: list of images that was converted, for instance "train".
        files: names of the record files (several if sharded).
        version: of this package when the record was built.
        image_counts: images that hold the class, for every class.
        present_pixels: labelled pixels of all classes in those images, for every class.
        file_sizes: bytes of the record files.
        index_checksums: `index_checksum` of the record files.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_label: int
    pixel_counts: tuple[int, ...]
    num_samples: int
    source: str
    list_name: str
    files: tuple[str, ...]
    version: str
    image_counts: tuple[int, ...] = ()
    present_pixels: tuple[int, ...] = ()
    file_sizes: tuple[int, ...] = ()
    index_checksums: tuple[int, ...] = ()


def record_files(path, num_shards: int) -> list[Path]:
    """The record files that MindRecord writes for a name: itself, or NAME0…NAME3 for 4 shards."""
    path = Path(path)
    if num_shards == 1:
        return [path]
    digits = len(str(num_shards - 1))
    return [path.with_name(f"{path.name}{shard:0{digits}d}") for shard in range(num_shards)]


def index_file(path: Path) -> Path:
    """MindRecord's index of a record file."""
    return path.with_name(path.name + ".db")


def metadata_file(path: Path) -> Path:
    """The JSON of a record."""
    return path.with_name(path.name + ".json")


def read_metadata(path) -> Metadata | None:
    """Metadata beside a record file; None where there is none, as for the published file.

    Raises:
        InputError: the JSON is no metadata.
    """
    path = Path(path).absolute()
    # A shard's lie under the name that the shards have in common.
    for name in (path.name, path.name.rstrip("0123456789")):
        file = metadata_file(path.with_name(name)) if name else None
        if file is not None and file.is_file():
            metadata = _parse_metadata(file)
            if path.name in (name, *metadata.files):
                return metadata
    return None


def _parse_metadata(file: Path) -> Metadata:
    try:
        content = files.read_json(file)
        found = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        found["palette"] = tuple(tuple(colour) for colour in found["palette"])
        return Metadata(**found)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not this package's metadata ({error}); build the record again or move the "
            "file away"
        ) from error
