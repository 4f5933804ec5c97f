"""Download of the tutorial's published files: records, VGG-16 weights, trained FCN-8s."""

import contextlib
import logging
import lzma
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from .errors import InputError, listing
from .files import PathLike, unfinished_folder
from .formats import paths
from .formats.checkpoint_file import check_structure
from .system.transfer import SPARE_BYTES, Transfer, counted_by

__all__ = ["BASE_URL", "DATA_FILE", "TRAINED_FILE", "VGG16_FILE", "fetch_checkpoint", "fetch_data"]

BASE_URL = "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/"
"""Address of the folder that holds the files."""

DATA_FILE = Path("dataset/dataset_fcn8s/mindname.mindrecord")
VGG16_FILE = Path("fcn8s_vgg16_pretrain.ckpt")
TRAINED_FILE = Path("FCN8s.ckpt")
"""Where the tutorial has them, relative to the working directory."""

_ARCHIVE = "dataset_fcn8s.tar"
_TRIES = 3

_BLOCK = 512  # of a tar file
_MOST_MEMBERS = 100_000
_LARGEST_CONTENT = 2**36
_LARGEST_CHECKPOINT = 2**33
_LARGEST_PADDING = 2**20  # GNU tar fills up to 10 kB

# Of the published checkpoints: convolutions of each stage, what follows them, and the other layers.
_BACKBONE = {"conv1": 2, "conv2": 2, "conv3": 3, "conv4": 3, "conv5": 3}
_NORMALIZATION = ("moving_mean", "moving_variance", "gamma", "beta")
_HEADS = ("score_fr", "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8")

_TAR_FAULTS = (
    tarfile.TarError,
    EOFError,
    OSError,  # gzip's and bzip2's
    zlib.error,
    lzma.LZMAError,
    ValueError,  # a number of the header that is none
    OverflowError,
    RecursionError,  # long names of long names
    MemoryError,
)

logger = logging.getLogger(__name__)


def _download(url: str, path: Path, wait: float, check: Callable[[Path], None], most: int) -> None:
    """Fetches a file; the `download` package resumes what an earlier attempt left.

    Args:
        url: its address.
        path: where it is put.
        wait: as for `fetch_data`.
        check: raises InputError if the content is not whole: servers may state another length than
            that of the file, or none.
        most: largest number of bytes that it may have.
    """
    from download import download

    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url} is not an address that begins with http:// or https://")
    part = path.with_name(path.name + ".part")  # of the `download` package
    for attempt in range(1, _TRIES + 1):
        transfer = Transfer(part, most)
        try:
            with counted_by(transfer):
                download(url, str(path), kind="file", replace=True, progressbar=True, verbose=False)
            break
        except (RuntimeError, OSError, ValueError, LookupError) as error:
            reason = (str(error).splitlines() or [repr(error)])[-1]
        if transfer.fault is not None:
            part.unlink(missing_ok=True)
            raise InputError(f"{url} {transfer.fault}")
        logger.warning("%s: attempt %d of %d failed: %s", url, attempt, _TRIES, reason)
        if attempt < _TRIES:
            time.sleep(wait * attempt)
        if attempt == _TRIES - 1:
            part.unlink(missing_ok=True)  # it may be of another file
    else:
        raise InputError(
            f"{url} could not be downloaded ({reason}). Fetch it by hand, with a browser or "
            f"'curl -LO {url}' on a machine with a network connection, and put it at "
            f"{path.absolute()}"
        )
    try:
        check(path)
    except InputError:
        path.unlink()
        raise


# --- archives ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """A tar file; errors while it is read become one that names it."""
    try:
        with tarfile.open(archive) as tar:
            yield tar
    except InputError:
        raise
    except _TAR_FAULTS as error:
        raise InputError(
            f"{archive.name} is not a readable tar file ({error}); fetch it again"
        ) from error


def _members(tar: tarfile.TarFile, archive: Path) -> list[tarfile.TarInfo]:
    """Files of a whole tar file, none of which would leave the folder it is unpacked in."""
    found = []
    total, end = 0, 0
    for number, member in enumerate(tar, start=1):
        name = PurePosixPath(member.name)
        inside = not name.is_absolute() and ".." not in name.parts
        if not inside or not (member.isfile() or member.isdir()) or member.issparse():
            raise InputError(
                f"{archive.name} holds {member.name[:100]!r}, which would land outside its folder "
                "or is a link; nothing was unpacked"
            )
        total += max(member.size, 0)
        if total > _LARGEST_CONTENT or number > _MOST_MEMBERS:
            raise InputError(
                f"{archive.name} holds more than {_LARGEST_CONTENT / 1e9:,.0f} GB or "
                f"{_MOST_MEMBERS:,} files; nothing was unpacked: is the address right?"
            )
        if member.isfile():
            found.append(member)
        end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
    _check_end(tar, end)
    return found


def _check_end(tar: tarfile.TarFile, end: int) -> None:
    """Reads to the end of a tar file, whose checksum gzip compares there.

    Python takes a tar file that is cut between or inside of headers for a whole one.
    """
    assert tar.fileobj is not None
    tar.fileobj.seek(end)
    rest = tar.fileobj.read(_LARGEST_PADDING + 1)
    if len(rest) < _BLOCK or len(rest) > _LARGEST_PADDING or any(rest[:_BLOCK]):
        raise tarfile.ReadError("it is cut short, or goes on after its end")


def _check_archive(archive: Path) -> None:
    with _opened(archive) as tar:
        _members(tar, archive)


def _unpack(archive: Path, names: Sequence[str], folder: Path) -> None:
    """Unpacks files that lie in one folder of a tar file; nothing else of it is written.

    Raises:
        InputError: the archive lacks them, is damaged, or is larger than the disk.
    """
    with _opened(archive) as tar:
        by_folder: dict[PurePosixPath, dict[str, tarfile.TarInfo]] = {}
        for member in _members(tar, archive):
            path = PurePosixPath(member.name)
            by_folder.setdefault(path.parent, {})[path.name] = member
        chosen = next((found for found in by_folder.values() if set(names) <= set(found)), None)
        if chosen is None:
            raise InputError(
                f"{archive.name} holds no {names[0]} with its .db; is the address right?"
            )
        _check_room(folder, sum(chosen[name].size for name in names), archive)
        for name in names:
            source = tar.extractfile(chosen[name])
            assert source is not None  # which it is for folders only
            with source, open(folder / name, "wb") as file:
                while content := source.read(2**20):
                    _check_room(folder, len(content), archive)
                    file.write(content)


def _check_room(folder: Path, size: int, archive: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + SPARE_BYTES:
        raise InputError(
            f"{archive.name} needs {size / 1e9:,.1f} GB, but {folder.parent.absolute()} has "
            f"{free / 1e9:,.1f} GB free; nothing is left of it: free some space"
        )


# --- files -------------------------------------------------------------------------------------


def _make_folder(path: Path) -> None:
    paths.make_folder(path, "the folder of downloads")


def _missing(names: Collection[str], is_trained: bool) -> list[str]:
    """Parameters that a published checkpoint lacks: it may have been cut between two of them.

    Args:
        names: those it has.
        is_trained: whether it is of the whole network, and not of VGG-16 alone, of whose published
            file no more is taken for granted than that all convolutions have what the first has.
    """
    stages = {**_BACKBONE, "conv6": 1, "conv7": 1} if is_trained else _BACKBONE
    parts = [(0, "weight"), *((1, name) for name in _NORMALIZATION)]
    if not is_trained:
        parts = [(place, part) for place, part in parts if f"conv1.{place}.{part}" in names]
    expected = [
        f"{stage}.{3 * number + place}.{part}"
        for stage, convolutions in stages.items()
        for number in range(convolutions)
        for place, part in parts
    ]
    expected += [f"{head}.weight" for head in _HEADS if is_trained]
    return [name for name in expected if name not in names]


def _check_checkpoint(path: Path, is_trained: bool) -> None:
    """Raises InputError if a checkpoint is damaged or lacks parameters."""
    try:
        missing = _missing(check_structure(path), is_trained)
        if missing:
            raise ValueError(f"it lacks {listing(missing, 3)}")
    except ValueError as error:
        raise InputError(
            f"{path.name} is not a whole checkpoint ({error}); fetch it again, from another "
            "address if the server states a wrong length"
        ) from error


def fetch_data(root: PathLike = ".", base_url: str = BASE_URL, *, wait: float = 2.0) -> Path:
    """Fetches the VOC+SBD records unless they are there already.

    Args:
        root: folder in which `DATA_FILE` is put.
        base_url: address of the folder that holds the files; a mirror or a local server.
        wait: seconds before the second attempt; twice as many before the third.

    Returns:
        Path of the record file.

    Raises:
        InputError: the download failed three times, or the archive is damaged or not trustworthy.
    """
    record = Path(root) / DATA_FILE
    if record.is_file() and record.with_name(record.name + ".db").is_file():
        logger.info("%s is there already", record)
        return record
    # The archive holds the folder dataset_fcn8s or only its files; both go to that of DATA_FILE.
    folder = record.parent.parent
    _make_folder(record.parent)
    archive = folder / _ARCHIVE
    _download(
        base_url.rstrip("/") + "/" + _ARCHIVE, archive, wait, _check_archive, _LARGEST_CONTENT
    )
    try:
        with unfinished_folder(archive) as unpacked:
            names = record.name, record.name + ".db"
            _unpack(archive, names, unpacked)
            for name in reversed(names):
                (unpacked / name).replace(record.parent / name)
    except OSError as error:
        raise InputError(f"{record} cannot be written: {error.strerror}") from error
    finally:
        archive.unlink()
    return record


def fetch_checkpoint(
    file: Path, root: PathLike = ".", base_url: str = BASE_URL, *, wait: float = 2.0
) -> Path:
    """Fetches a published checkpoint unless it is there already.

    Args:
        file: `VGG16_FILE` or `TRAINED_FILE`.
        root: folder in which it is put.
        base_url: as for `fetch_data`.
        wait: as for `fetch_data`.

    Returns:
        Path of the checkpoint.

    Raises:
        InputError: the download failed three times, or what came is not the whole checkpoint.
    """
    path = Path(root) / file
    if path.is_file() and path.stat().st_size:
        logger.info("%s is there already", path)
        return path
    _make_folder(path.parent)

    def check(downloaded: Path) -> None:
        _check_checkpoint(downloaded, is_trained=file.name == TRAINED_FILE.name)

    _download(base_url.rstrip("/") + "/" + file.name, path, wait, check, most=_LARGEST_CHECKPOINT)
    return path
