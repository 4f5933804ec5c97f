"""Checkpoints: saved completely or not at all, loaded by name and shape with a report.

The ending of a file's name chooses its format: `.ckpt` is MindSpore's, with the metadata in a JSON
next to the file; `.safetensors` holds them itself.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn

from . import files, model
from .errors import InputError, reason_of
from .formats import checkpoint_file, checkpoints, safetensors_file, sealing
from .formats.checkpoint_json import metadata_file
from .formats.checkpoints import read_metadata, verified
from .network import architectures

__all__ = [
    "LoadReport",
    "SavedWeights",
    "copy_weights",
    "load_into",
    "load_network",
    "metadata_file",
    "non_finite",
    "read",
    "read_metadata",
    "restore",
    "save",
    "seal",
    "weights_in",
]


@dataclass(frozen=True)
class LoadReport:
    """Outcome of loading weights into a network; every field is a tuple of parameter names.

    Attributes:
        loaded: name and shape agree.
        dropped: in the file under a name of the network, but of another shape.
        missing: in the network only; they keep their initial values.
        unused: in the file only, such as an optimizer's moments.
    """

    loaded: tuple[str, ...]
    dropped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.loaded)} parameters loaded"
        for verb in ("dropped", "missing", "unused"):
            names = getattr(self, verb)
            if names:
                # An optimizer leaves something for every parameter.
                limit = 6 if verb == "unused" else len(names)
                shown = ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
                text += f"; {len(names)} {verb} ({shown})"
        return text


def _previous(path: Path) -> dict[str, Any]:
    """Entry for the JSON that keeps an older file's metadata until a newer one has replaced it."""
    if not path.exists():
        return {}
    try:
        return {"previous": read_metadata(path)}
    except InputError:  # damaged: nothing to keep
        return {}


@dataclass(frozen=True)
class SavedWeights:
    """Weights of a network at the beginning of a checkpoint that also holds other parameters.

    Attributes:
        path: the checkpoint.
        length: number of bytes that the weights take.
        sha256: SHA-256 of these bytes, in hexadecimal digits; in a `.safetensors` file those of
            every parameter, by name.
    """

    path: Path
    length: int
    sha256: str | dict[str, str]


class _Arrays:
    """Names and arrays of parameters, made anew whenever they are asked for."""

    def __init__(self, parameters: Iterable[Parameter]):
        self._parameters = list(parameters)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        for parameter in self._parameters:
            # NumPy lacks bfloat16.
            is_known = parameter.dtype != ms.bfloat16
            tensor = parameter if is_known else parameter.astype(ms.float32)
            yield parameter.name, tensor.asnumpy()


def _digests(path: Path, length: int) -> tuple[str, str]:
    """Returns the SHA-256 of the first `length` bytes of a file, and that of all of it."""
    digest, done = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while done < length and (block := file.read(min(length - done, 1 << 20))):
            digest.update(block)
            done += len(block)
        beginning = digest.hexdigest()
        while block := file.read(1 << 20):
            digest.update(block)
    return beginning, digest.hexdigest()


def weights_in(path: files.PathLike, network: nn.Cell) -> SavedWeights:
    """Finds the weights of a network in a checkpoint that `save` wrote with more parameters.

    Raises:
        InputError: the checkpoint is damaged or of another network.
    """
    path = Path(path).absolute()
    names = network.parameters_dict()
    try:
        if safetensors_file.is_one(path):
            contents = safetensors_file.structure(path)
            length = contents.length_of_beginning(names)
            digests = safetensors_file.digests(path, contents)
            return SavedWeights(path, length, {name: digests[name] for name in names})
        length = checkpoint_file.length_of_beginning(path, names)
        return SavedWeights(path, length, _digests(path, length)[0])
    except (ValueError, OSError) as error:
        raise InputError(
            f"checkpoint {path} does not begin with the weights of the network ({error}); use "
            "another checkpoint"
        ) from error


def save(
    network: nn.Cell,
    path: files.PathLike,
    metadata: dict[str, Any],
    state: Iterable[Parameter] = (),
) -> SavedWeights:
    """Saves a network's weights with their metadata, those of a `.ckpt` in a JSON next to it.

    Killed at any moment, the path holds either the older checkpoint or the new one, whole. Of a
    `.ckpt`, the JSON comes first, with the older one inside until the checkpoint has followed.

    Args:
        network: Cell.
        path: file to write, `*.ckpt` or `*.safetensors`.
        metadata: what `read_metadata` returns, without `sha256`: class names, palette, step, …
        state: more parameters for the file, such as an optimizer's moments.

    Returns:
        The weights within the file, for `copy_weights`.

    Raises:
        InputError: the file cannot be written, for instance because the disk is full; an older one
            of that name stays.
    """
    path = Path(path).absolute()
    parameters = [*network.get_parameters(), *state]
    found: list[SavedWeights] = []
    if safetensors_file.is_one(path):
        names = network.parameters_dict()
        with _writing(path) as unfinished:
            texts = checkpoints.texts(metadata)
            digests = safetensors_file.write(unfinished, _Arrays(parameters), texts)
            files.replace(unfinished, path)
        length = sum(parameter.nbytes for parameter in names.values())
        return SavedWeights(path, length, {name: digests[name] for name in names})

    def write(unfinished: Path) -> str:
        try:
            ms.save_checkpoint(
                [{"name": parameter.name, "data": parameter} for parameter in parameters],
                str(unfinished),
            )
        except RuntimeError as error:
            raise OSError(None, str(error).splitlines()[0]) from error
        files.give_ordinary_permissions(unfinished)
        length = checkpoint_file.length_of_beginning(unfinished, network.parameters_dict())
        beginning, whole = _digests(unfinished, length)
        found.append(SavedWeights(path, length, beginning))
        return whole

    _write_pair(path, metadata, write)
    return found[0]


def copy_weights(weights: SavedWeights, path: files.PathLike, metadata: dict[str, Any]) -> None:
    """Writes the weights within a checkpoint as one of their own, as `save` would without `state`.

    Args:
        weights: as `save` or `weights_in` returns them; their checkpoint must be unchanged.
        path: file to write, of the same format.
        metadata: as for `save`.

    Raises:
        InputError: as for `save`.
    """
    path, sha256 = Path(path).absolute(), weights.sha256
    if not isinstance(sha256, str):
        with _writing(path) as unfinished:
            texts = checkpoints.texts(metadata)
            safetensors_file.copy(weights.path, unfinished, sha256, texts)
            files.replace(unfinished, path)
        return

    def write(unfinished: Path) -> str:
        checkpoint_file.copy_beginning(weights.path, unfinished, weights.length)
        return sha256

    _write_pair(path, metadata, write)


def _write_pair(path: Path, metadata: dict[str, Any], write: Callable[[Path], str]) -> None:
    """Writes a checkpoint and its JSON, as `save` describes.

    Args:
        path: the checkpoint.
        metadata: content of the JSON, without `sha256`.
        write: writes the checkpoint to the path it is given; returns the SHA-256.
    """
    with _writing(path) as unfinished:
        metadata = {**metadata, "sha256": write(unfinished)}
        files.write_json(metadata_file(path), {**metadata, **_previous(path)})
        files.replace(unfinished, path)
        files.write_json(metadata_file(path), metadata)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Yields a path to write a checkpoint to; at the end, nothing is left under that path.

    Args:
        path: the checkpoint; its folder is made.

    Raises:
        InputError: something could not be written in the `with` block.
    """
    unfinished = files.unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # 0400 is how MindSpore leaves its files, and how a killed save leaves this one.
        unfinished.unlink(missing_ok=True)
        yield unfinished
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"checkpoint {path} cannot be written: {reason}; the older ones are unchanged. "
            "Free some space and continue with --resume, or choose another --output"
        ) from error
    finally:
        for leftover in (unfinished, unfinished.with_suffix(".tmp")):
            leftover.unlink(missing_ok=True)


def non_finite(parameters: Iterable[Parameter]) -> list[str]:
    """Names of the parameters that hold a NaN or an infinity."""
    return [one.name for one in parameters if not np.isfinite(one.asnumpy()).all()]


def _make_room(size: int) -> None:
    """Frees memory that the system fills with files it has read.

    MindSpore 2.10 reads a checkpoint, and then refuses it if the free memory left is less than its
    size; what the system would give up, cached files, does not count as free for it.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not counted here, nor by MindSpore
        return
    needed = int(2.5 * size)
    if free < needed:
        with contextlib.suppress(MemoryError):
            np.ones(needed, np.uint8)  # taken and given back


def read(path: files.PathLike) -> dict[str, Parameter]:
    """Reads the parameters of a checkpoint file, by name.

    The file is compared with its checksum; a warning names a file without one.

    Raises:
        InputError: the file is missing or damaged, or holds numbers that are not finite.
    """
    path = Path(path).absolute()
    if not path.is_file():
        state = "a folder, not a file" if path.is_dir() else "missing"
        raise InputError(f"checkpoint {path} is {state}")
    is_verified = "sha256" in verified(path)
    try:
        parameters = _load(path)
    except (ValueError, RuntimeError, TypeError, OSError) as error:
        if is_verified:
            raise InputError(
                f"checkpoint {path} is whole, but MindSpore cannot load it: {reason_of(error)}"
            ) from error
        raise InputError(
            f"checkpoint {path} cannot be read: it is damaged, cut short or not a "
            f"checkpoint ({reason_of(error)}); fetch or save it again"
        ) from error
    bad = non_finite(parameters.values())
    if bad:
        raise InputError(
            f"checkpoint {path}: {len(bad)} parameters are not finite, {bad[0]} first; use a "
            "checkpoint from before, or fetch the file again"
        )
    if not is_verified:
        sealing.name_unsealed("checkpoint", path)
    return parameters


def _load(path: Path) -> dict[str, Parameter]:
    """Loads a checkpoint after a check of its structure.

    Raises:
        ValueError: it is damaged or of another kind; other errors are MindSpore's.
    """
    if safetensors_file.is_one(path):
        return {
            name: Parameter(ms.Tensor(array), name=name)
            for name, array in safetensors_file.read(path)
        }
    checkpoint_file.check_structure(path)
    _make_room(path.stat().st_size)
    return ms.load_checkpoint(str(path))


def seal(path: files.PathLike, expected: str | None = None) -> bool:
    """Gives a checkpoint of others its checksum: in the JSON next to it, whose fields are kept.

    Args:
        path: the checkpoint.
        expected: SHA-256 that the file must have; None for any.

    Returns:
        False if it had its checksum before, which agrees; nothing is written then.

    Raises:
        InputError: the file is missing, damaged, not finite or another one than expected, or the
            JSON cannot be written; nothing is written then.
    """
    path = Path(path).absolute()
    digest = sealing.check_digest(path, expected)
    metadata = verified(path)
    if "sha256" in metadata:
        return False
    sealing.known(path)
    read(path)
    sealing.write(metadata_file(path), {**metadata, "sha256": digest}, "checkpoint")
    return True


def load_into(network: nn.Cell, parameters: Mapping[str, Parameter]) -> LoadReport:
    """Copies the parameters that agree in name and shape into a network.

    Args:
        network: Cell.
        parameters: name to Parameter, as `read` returns them.

    Returns:
        Names of what was loaded and what was not.
    """
    own = network.parameters_dict()
    loaded, dropped = [], []
    for name, parameter in own.items():
        if name in parameters:
            if parameters[name].shape == parameter.shape:
                parameter.set_data(ms.Tensor(parameters[name].asnumpy(), parameter.dtype))
                loaded.append(name)
            else:
                dropped.append(name)
    return LoadReport(
        loaded=tuple(loaded),
        dropped=tuple(dropped),
        missing=tuple(name for name in own if name not in parameters),
        unused=tuple(name for name in parameters if name not in own),
    )


def restore(parameters: Iterable[Parameter], stored: Mapping[str, Parameter]) -> None:
    """Sets parameters to the values of a checkpoint; all of them, strictly by name.

    Args:
        parameters: of a network or an optimizer.
        stored: name to Parameter, as `read` returns them.

    Raises:
        InputError: a parameter is missing or of another shape; nothing is changed then.
    """
    parameters = list(parameters)
    for parameter in parameters:
        found = stored.get(parameter.name)
        if found is None or found.shape != parameter.shape:
            what = "is missing" if found is None else f"has shape {found.shape}"
            raise InputError(
                f"the checkpoint is not of this run: {parameter.name} {what}, but should have "
                f"shape {parameter.shape}"
            )
    for parameter in parameters:
        parameter.set_data(ms.Tensor(stored[parameter.name].asnumpy(), parameter.dtype))


def load_network(path: files.PathLike) -> nn.Cell:
    """Builds the network that a checkpoint belongs to: its architecture, depths, widths, classes.

    Args:
        path: checkpoint of a network in `fcn8s_ms.model.NETWORKS`.

    Returns:
        The network with the checkpoint's weights, of plain layers, in evaluation mode.

    Raises:
        InputError: the file is missing, damaged, or of another network.
    """
    parameters = read(path)
    path = Path(path).absolute()
    try:
        found = architectures.recognise({name: one.shape for name, one in parameters.items()})
    except ValueError as error:
        raise InputError(f"checkpoint {path} is not of an FCN: {error}") from None
    network = model.NETWORKS[found.arch](found.num_classes, **found.arguments)
    report = load_into(network, parameters)
    if report.missing or report.dropped:
        raise InputError(f"checkpoint {path} is incomplete: {report}")
    return network.set_train(False)
