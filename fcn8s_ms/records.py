"""MindRecord files: from images and masks, through checks, to records; and what a record holds.

A record file has the columns of the published one: `file_name` (string), `data` (bytes of the image
file as it is) and `label` (bytes of a single-channel PNG whose pixels are class ids, 255 = ignore).
Beside `NAME` lie MindRecord's index `NAME.db` and `NAME.json` with the class names, the pixels of
every class, and where the data came from. The published file has no JSON and works without.
"""

import contextlib
import io
import json
import os
import shutil
import struct
import tempfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from . import __version__, files, transforms, voc
from .device import available_cpus
from .errors import InputError

__all__ = [
    "COLUMNS",
    "Metadata",
    "Pair",
    "build_records",
    "find_voc_folder",
    "open_record",
    "read_samples",
    "read_metadata",
    "read_mask",
    "voc_pairs",
]

COLUMNS = ("data", "label", "file_name")

_MAX_FAULTS_SHOWN = 20
_ROWS_PER_WRITE = 32

_ORIENTATION = 0x0112  # Exif
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY, _PNG_PALETTE = 0, 3
_FLOAT32_EXACT = 2**24  # OpenCV's histograms are float32


@dataclass(frozen=True)
class Pair:
    """An image file and the mask file that belongs to it."""

    name: str
    image: Path
    mask: Path


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


# --- sources ---------------------------------------------------------------------------------


def find_voc_folder(root) -> Path:
    """The folder that holds JPEGImages, SegmentationClass and ImageSets.

    Args:
        root: that folder (VOC2012), VOCdevkit above it, or the folder above that.

    Raises:
        InputError: none of them is a VOC folder.
    """
    root = Path(root)
    for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir():
            return folder
    raise InputError(
        f"{root.absolute()} is no VOC folder: give the folder that holds VOCdevkit, or VOC2012 "
        "itself with JPEGImages, SegmentationClass and ImageSets/Segmentation in it"
    )


def voc_pairs(root, split: str) -> list[Pair]:
    """Images and masks of one list of a VOC folder.

    Args:
        root: as for `find_voc_folder`.
        split: name of a list in ImageSets/Segmentation: 'train', 'val', 'trainval'.

    Returns:
        One `Pair` a line of the list, in its order. The files are not opened.

    Raises:
        InputError: the folder or the list is missing, the list is empty or repeats an id.
    """
    folder = find_voc_folder(root)
    list_file = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not list_file.is_file():
        found = ", ".join(sorted(path.stem for path in list_file.parent.glob("*.txt")))
        raise InputError(f"{list_file.absolute()} is missing; lists there: {found or 'none'}")
    names = [line.strip() for line in list_file.read_text(encoding="utf-8-sig").splitlines()]
    names = [name for name in names if name]
    if not names:
        raise InputError(f"{list_file.absolute()} is empty; it needs one image id a line")
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise InputError(
            f"{list_file.absolute()} names {_listing(repeated)} more than once; remove the repeats"
        )
    return [
        Pair(
            name,
            folder / "JPEGImages" / f"{name}.jpg",
            folder / "SegmentationClass" / f"{name}.png",
        )
        for name in names
    ]


# --- one sample --------------------------------------------------------------------------------


def _listing(items, limit: int = _MAX_FAULTS_SHOWN) -> str:
    items = [str(item) for item in items]
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path.absolute()} is missing") from None
    except OSError as error:
        raise InputError(f"{path.absolute()} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _decoding(encoded: bytes, path: Path):
    """Turns what Pillow raises for a damaged file into an error that names it."""
    try:
        yield
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error) as error:
        raise InputError(
            f"{path.absolute()} cannot be decoded ({len(encoded)} bytes): fetch the file again"
        ) from error


def _check_image(encoded: bytes, path: Path) -> tuple[int, int]:
    """Width and height of an image, upright as OpenCV decodes it for training.

    Decodes with Pillow, which unlike OpenCV refuses a file that is cut short. A JPEG is decoded at
    an eighth of its size and in gray: that goes through every byte of it at half the cost.
    """
    with _decoding(encoded, path):
        image = Image.open(io.BytesIO(encoded))
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        image.draft("L", (max(width // 8, 1), max(height // 8, 1)))
        image.load()
    return (height, width) if turned else (width, height)


def _png_chunks(encoded: bytes):
    """Type and whole bytes of a PNG's chunks; ValueError on a wrong checksum."""
    position = len(_PNG_SIGNATURE)
    while position < len(encoded):
        (length,) = struct.unpack_from(">I", encoded, position)
        end = position + length + 12
        (checksum,) = struct.unpack_from(">I", encoded, end - 4)
        if zlib.crc32(encoded[position + 4 : end - 4]) != checksum:
            raise ValueError("a chunk's checksum is wrong")
        kind = encoded[position + 4 : position + 8]
        yield kind, encoded[position:end]
        if kind == b"IEND":
            return
        position = end


def _gray_png(encoded: bytes) -> bytes | None:
    """A PNG of palette indices or gray values, 8 bits each, as a gray one of the same values.

    The compressed pixels stay as they are: the header alone says how to read them. None for a file
    of another kind.
    """
    if not encoded.startswith(_PNG_SIGNATURE):
        return None
    chunks = dict.fromkeys((b"IHDR", b"IDAT", b"IEND"), b"")
    for kind, chunk in _png_chunks(encoded):
        if kind in chunks:
            chunks[kind] += chunk
    header = bytearray(chunks[b"IHDR"][4:-4])  # type, width, height, depth, colour type, …
    if len(header) != 17 or not chunks[b"IDAT"]:
        raise ValueError("a chunk is missing")
    if header[12] != 8 or header[13] not in (_PNG_GRAY, _PNG_PALETTE):
        return None
    header[13] = _PNG_GRAY
    chunks[b"IHDR"] = struct.pack(">I17sI", 13, bytes(header), zlib.crc32(header))
    return _PNG_SIGNATURE + b"".join(chunks.values())


def _read_label(path: Path) -> tuple[np.ndarray, bytes]:
    """Class ids of a mask file, and the PNG of them that goes into the record."""
    encoded = _read_bytes(path)
    with _decoding(encoded, path):
        png = _gray_png(encoded)
        if png is not None:
            return transforms.decode_label(png, str(path)), png
        mask = Image.open(io.BytesIO(encoded))
        mask.load()
    if mask.mode not in ("P", "L"):
        raise InputError(
            f"{path.absolute()} is a {mask.mode} image; a mask is a palette or 8-bit gray image of "
            "class ids"
        )
    ids = np.asarray(mask)
    # Without a level OpenCV writes differences of neighbours, which take twice as long to decode.
    return ids, cv2.imencode(".png", ids, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def read_mask(path) -> np.ndarray:
    """Class ids of a mask file.

    Args:
        path: palette PNG (the ids are the palette indices) or 8-bit gray image (its values).

    Returns:
        uint8 array (H, W).

    Raises:
        InputError: missing, undecodable, or neither palette nor 8-bit gray.
    """
    return _read_label(Path(path))[0]


def _count_values(mask: np.ndarray) -> np.ndarray:
    """Pixels of every value: (256,). Unlike `np.bincount`, OpenCV lets other threads run."""
    if mask.size > _FLOAT32_EXACT:
        return np.bincount(mask.ravel(), minlength=256)
    return cv2.calcHist([mask], [0], None, [256], [0, 256])[:, 0].astype(np.int64)


def _check_ids(mask: np.ndarray, path: Path, num_classes: int, ignore_label: int) -> np.ndarray:
    """Pixels of every label value (256,); raises on ids that are no class."""
    counts = _count_values(mask)
    foreign = [
        int(label)
        for label in np.flatnonzero(counts)
        if label >= num_classes and label != ignore_label
    ]
    if foreign:
        raise InputError(
            f"{path.absolute()} holds label {_listing(foreign, 8)}; classes are "
            f"0…{num_classes - 1}, and {ignore_label} is ignored"
        )
    return counts


def _convert(pair: Pair, num_classes: int, ignore_label: int):
    """Row of one pair and its pixel counts; or the InputError that says what is wrong with it."""
    try:
        data = _read_bytes(pair.image)
        width, height = _check_image(data, pair.image)
        ids, label = _read_label(pair.mask)
        counts = _check_ids(ids, pair.mask, num_classes, ignore_label)
        if (height, width) != ids.shape:
            raise InputError(
                f"{pair.mask.absolute()} is {ids.shape[1]}x{ids.shape[0]}, its image "
                f"{pair.image.absolute()} {width}x{height}; both must have one size"
            )
    except InputError as error:
        return error, None
    return {"file_name": pair.name, "data": data, "label": label}, counts


# --- writing -----------------------------------------------------------------------------------


def record_files(path, num_shards: int) -> list[Path]:
    """The record files that MindRecord writes for a name: itself, or NAME0…NAME3 for 4 shards."""
    path = Path(path)
    if num_shards == 1:
        return [path]
    digits = len(str(num_shards - 1))
    return [path.with_name(f"{path.name}{shard:0{digits}d}") for shard in range(num_shards)]


def _index(path: Path) -> Path:
    return path.with_name(path.name + ".db")


def _metadata_file(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _existing_output(path: Path, num_shards: int) -> list[Path]:
    """What an earlier build left under this name, and what this one would write over."""
    names = set(record_files(path, num_shards))
    metadata = read_metadata(path)
    if metadata is not None:
        names.update(path.with_name(name) for name in metadata.files)
    records = sorted(names)  # first: they are what an error names
    candidates = [*records, *map(_index, records), _metadata_file(path)]
    return [candidate for candidate in candidates if candidate.exists()]


def build_records(
    pairs,
    output,
    *,
    classes=voc.CLASSES,
    palette=None,
    ignore_label: int = voc.IGNORE_LABEL,
    num_shards: int = 1,
    overwrite: bool = False,
    source: str = "",
    list_name: str = "",
    progress=None,
) -> Metadata:
    """Checks images and masks and writes them as MindRecord.

    The files are built in a folder beside the target and moved into place when all is well; after
    an error nothing is left and an older record is untouched.

    Args:
        pairs: sequence of `Pair`.
        output: path of the record file.
        classes: class names.
        palette: RGB of every class, VOC's without.
        ignore_label: label value that is no class.
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
    if num_shards < 1 or num_shards > max(len(pairs), 1):
        raise InputError(f"{num_shards} shards for {len(pairs)} images; choose 1…{len(pairs)}")
    if not pairs:
        raise InputError("no images to convert; the list is empty")
    existing = _existing_output(output, num_shards)
    if existing and not overwrite:
        raise InputError(f"{existing[0]} exists; choose another name or pass --overwrite")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise InputError(
            f"{output.parent} cannot be written to: {error.strerror}; choose another --output"
        ) from error
    try:
        counts = _write_rows(
            pairs, building / output.name, len(classes), ignore_label, num_shards, progress
        )
        if palette is None:
            palette = voc.palette()[: len(classes)]
        metadata = Metadata(
            classes=tuple(classes),
            palette=tuple(tuple(int(value) for value in colour) for colour in palette),
            ignore_label=ignore_label,
            pixel_counts=tuple(int(count) for count in counts[: len(classes)]),
            num_samples=len(pairs),
            source=str(source),
            list_name=list_name,
            files=tuple(file.name for file in record_files(output, num_shards)),
            version=__version__,
        )
        files.write_json(_metadata_file(building / output.name), asdict(metadata))
        built = sorted(building.iterdir())
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
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return metadata


def _write_rows(pairs, path, num_classes, ignore_label, num_shards, progress) -> np.ndarray:
    """Writes the record below the building folder; returns the pixels of every label value."""
    from mindspore.mindrecord import FileWriter

    writer = FileWriter(str(path), shard_num=num_shards)
    writer.add_schema(
        {"file_name": {"type": "string"}, "data": {"type": "bytes"}, "label": {"type": "bytes"}},
        "semantic segmentation: image file and label PNG",
    )
    total = np.zeros(256, np.int64)
    faults, rows = [], []
    # Decoding leaves the interpreter lock, so threads use all CPUs.
    with ThreadPoolExecutor(available_cpus()) as pool:
        results = _map_ahead(
            pool, lambda pair: _convert(pair, num_classes, ignore_label), pairs, 4 * _ROWS_PER_WRITE
        )
        for row, counts in progress(results, len(pairs)) if progress else results:
            if counts is None:
                faults.append(row)
                rows = []
            elif not faults:
                total += counts
                rows.append(row)
                if len(rows) == _ROWS_PER_WRITE:
                    writer.write_raw_data(rows)
                    rows = []
    if faults:
        summary = f"{len(faults)} of {len(pairs)} images cannot be used, nothing was written:\n  "
        shown = [str(fault) for fault in faults[:_MAX_FAULTS_SHOWN]]
        if len(faults) > len(shown):
            shown.append(f"… and {len(faults) - len(shown)} more")
        raise InputError(summary + "\n  ".join(shown))
    if rows:
        writer.write_raw_data(rows)
    writer.commit()

    written = _count_rows(record_files(path, num_shards)[0])
    if written != len(pairs):
        # MindRecord drops rows it holds invalid and only warns.
        raise RuntimeError(f"{path} holds {written} rows after writing {len(pairs)}")
    return total


def _map_ahead(pool, function, items, ahead: int):
    """`pool.map` that runs at most `ahead` items before the consumer, so memory stays bounded."""
    waiting = []
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    while waiting:
        yield waiting.pop(0).result()


# --- reading -----------------------------------------------------------------------------------


def _count_rows(path: Path) -> int:
    import mindspore.dataset as ds

    return ds.MindDataset(str(path)).get_dataset_size()


def _rows(path: Path, count: int):
    """The first rows of a record file, as dicts of arrays."""
    import mindspore.dataset as ds

    dataset = ds.MindDataset(str(path), columns_list=list(COLUMNS), shuffle=False).take(count)
    return dataset.create_dict_iterator(num_epochs=1, output_numpy=True)


def _first_file(path) -> Path:
    """The file to open for a record name: itself, or its first shard."""
    path = Path(path).absolute()
    if path.is_file():
        return path
    for zeros in ("0", "00", "000"):
        shard = path.with_name(path.name + zeros)
        if shard.is_file():
            return shard
    raise InputError(f"record {path} is missing; build it with tools/build_mindrecord.py")


def read_metadata(path) -> Metadata | None:
    """Metadata beside a record file; None where there is none, as for the published file.

    Raises:
        InputError: the JSON is no metadata.
    """
    path = Path(path).absolute()
    candidates = [_metadata_file(path), _metadata_file(path.with_name(path.name.rstrip("0")))]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        return None
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        fields["classes"] = tuple(fields["classes"])
        fields["palette"] = tuple(tuple(colour) for colour in fields["palette"])
        fields["pixel_counts"] = tuple(fields["pixel_counts"])
        fields["files"] = tuple(fields["files"])
        return Metadata(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not this package's metadata ({error}); build the record again or move the "
            "file away"
        ) from error


@contextlib.contextmanager
def _quiet_stderr():
    """Keeps MindSpore's own error lines off the terminal while a fault is turned into ours."""
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(2)
        try:
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def open_record(path) -> tuple[Path, int]:
    """Finds and checks a record file.

    Args:
        path: the record file, its first shard, or the name its shards have in common.

    Returns:
        Absolute path of the file to read from, and the number of rows.

    Raises:
        InputError: the file, its index or a column is missing, or it is no MindRecord.
    """
    file = _first_file(path)
    if not _index(file).is_file():
        raise InputError(
            f"{_index(file)} is missing: MindRecord needs it beside {file.name}; copy both, or "
            "build the record again"
        )
    try:
        with _quiet_stderr():
            rows = _count_rows(file)
            next(iter(_rows(file, 1)), None)  # the count alone looks at no column
    except RuntimeError as error:
        raise InputError(
            f"{file} cannot be read as a MindRecord with the columns {', '.join(COLUMNS)}: it is "
            "damaged, renamed or of another kind; build or download it again"
        ) from error
    if rows < 1:
        raise InputError(f"{file} has no rows; build it again")
    return file, rows


def read_samples(path, count: int):
    """The first rows of a record file.

    Args:
        path: as for `open_record`.
        count: how many, at most.

    Yields:
        (file name, bytes of the image file, bytes of the label PNG).
    """
    file, _ = open_record(path)
    for row in _rows(file, count):
        yield str(row["file_name"]), row["data"].tobytes(), row["label"].tobytes()
