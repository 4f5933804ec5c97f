"""Download of the tutorial's published files: records, VGG-16 weights, trained FCN-8s."""

import logging
import shutil
import tarfile
import tempfile
import time
from pathlib import Path, PurePosixPath

from .errors import InputError
from .files import PathLike

__all__ = ["BASE_URL", "DATA_FILE", "TRAINED_FILE", "VGG16_FILE", "fetch_checkpoint", "fetch_data"]

BASE_URL = "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/"
"""Address of the folder that holds the files."""

DATA_FILE = Path("dataset/dataset_fcn8s/mindname.mindrecord")
VGG16_FILE = Path("fcn8s_vgg16_pretrain.ckpt")
TRAINED_FILE = Path("FCN8s.ckpt")
"""Where the tutorial has them, relative to the working directory."""

_ARCHIVE = "dataset_fcn8s.tar"
_TRIES = 3

logger = logging.getLogger(__name__)


def _download(url: str, path: Path, wait: float) -> None:
    """Fetches a file; the `download` package resumes what an earlier attempt left."""
    from download import download

    for attempt in range(1, _TRIES + 1):
        try:
            download(url, str(path), kind="file", replace=True, progressbar=True, verbose=False)
            return
        except (RuntimeError, OSError) as error:
            reason = str(error).splitlines()[-1]
            logger.warning("%s: attempt %d of %d failed: %s", url, attempt, _TRIES, reason)
            if attempt < _TRIES:
                time.sleep(wait * attempt)
    raise InputError(
        f"{url} could not be downloaded ({reason}). Fetch it by hand, with a browser or "
        f"'curl -LO {url}' on a machine with a network connection, and put it at {path.absolute()}"
    )


def _extract(archive: Path, folder: Path) -> None:
    """Unpacks a tar file unless it has members outside the folder, links or devices."""
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                name = PurePosixPath(member.name)
                inside = not name.is_absolute() and ".." not in name.parts
                if not inside or not (member.isfile() or member.isdir()):
                    raise InputError(
                        f"{archive.name} holds {member.name!r}, which would land outside "
                        f"{folder.absolute()} or is a link; nothing was unpacked"
                    )
            for member in members:
                target = folder / member.name
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None  # which it is for folders only
                with source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{archive.name} is not a readable tar file ({error}); fetch it again"
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
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / _ARCHIVE
    _download(base_url.rstrip("/") + "/" + _ARCHIVE, archive, wait)
    try:
        with tempfile.TemporaryDirectory(prefix=".unpack.", dir=folder) as unpacked:
            _extract(archive, Path(unpacked))
            found = next(Path(unpacked).rglob(record.name), None)
            if found is None or not found.with_name(found.name + ".db").is_file():
                raise InputError(
                    f"{archive.name} holds no {record.name} with its .db; is the address right?"
                )
            record.parent.mkdir(exist_ok=True)
            for path in (found.with_name(found.name + ".db"), found):
                path.replace(record.parent / path.name)
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
        InputError: the download failed three times.
    """
    path = Path(root) / file
    if path.is_file() and path.stat().st_size:
        logger.info("%s is there already", path)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    _download(base_url.rstrip("/") + "/" + file.name, path, wait)
    return path
