"""Checkpoints: saved completely or not at all, loaded by name and shape with a report."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms

from . import files
from .errors import InputError
from .model import FCN8s

__all__ = ["LoadReport", "load_into", "load_network", "read", "read_metadata", "save"]


@dataclass(frozen=True)
class LoadReport:
    """What came of loading weights into a network; every field is a tuple of parameter names.

    Attributes:
        loaded: name and shape agreed.
        dropped: in the file under a name of the network, but of another shape.
        missing: in the network only; they keep their initial values.
        unused: in the file only, such as an optimizer's moments.
    """

    loaded: tuple[str, ...]
    dropped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self):
        text = f"{len(self.loaded)} parameters loaded"
        for verb in ("dropped", "missing", "unused"):
            names = getattr(self, verb)
            if names:
                shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
                text += f"; {len(names)} {verb} ({shown})"
        return text


def _metadata_file(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def save(network, path, metadata: dict) -> None:
    """Saves a network's weights, and a JSON with what else belongs to them beside.

    The file appears under its name when it is complete on disk; until then an older file of that
    name stays.

    Args:
        network: Cell.
        path: file to write, `*.ckpt`.
        metadata: what `read_metadata` gives back: class names, palette, step, …

    Raises:
        InputError: the file cannot be written, for instance because the disk is full.
    """
    path = Path(path).absolute()
    unfinished = path.with_name(f".{path.stem}.unfinished.ckpt")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            ms.save_checkpoint(network, str(unfinished))
        except RuntimeError as error:
            raise OSError(None, str(error).splitlines()[0]) from error
        files.give_ordinary_permissions(unfinished)
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        files.write_json(_metadata_file(path), metadata)
    except OSError as error:
        raise InputError(
            f"checkpoint {path} cannot be written: {error.strerror}; free some space or choose "
            "another --output"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def read(path) -> dict:
    """Parameters of a checkpoint file by name.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise InputError(f"checkpoint {path} is missing")
    try:
        return ms.load_checkpoint(str(path))
    except (ValueError, RuntimeError, TypeError, OSError) as error:
        raise InputError(
            f"checkpoint {path} cannot be read: it is damaged, cut short or no MindSpore "
            "checkpoint; fetch or save it again"
        ) from error


def read_metadata(path) -> dict:
    """The JSON beside a checkpoint; empty where there is none, as for published files.

    Raises:
        InputError: the JSON cannot be read.
    """
    file = _metadata_file(Path(path).absolute())
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is no JSON ({error}); move it away or save again") from error


def load_into(network, parameters: dict) -> LoadReport:
    """Copies the parameters that agree in name and shape into a network.

    Args:
        network: Cell.
        parameters: name to Parameter, as `read` gives them.

    Returns:
        What was loaded and what was not.
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


def load_network(path) -> FCN8s:
    """Builds the FCN-8s that a checkpoint belongs to, of whatever widths and class count.

    Args:
        path: checkpoint of an `FCN8s`.

    Returns:
        The network with the checkpoint's weights, in evaluation mode.

    Raises:
        InputError: the file is missing, damaged, or no FCN-8s.
    """
    parameters = read(path)
    try:
        n_class = parameters["score_fr.weight"].shape[0]
        widths = tuple(parameters[f"conv{stage}.0.weight"].shape[0] for stage in range(1, 6))
        fc_width = parameters["conv6.0.weight"].shape[0]
    except KeyError as error:
        raise InputError(
            f"checkpoint {Path(path).absolute()} is no FCN-8s: parameter {error} is missing"
        ) from error
    network = FCN8s(n_class, widths=widths, fc_width=fc_width)
    report = load_into(network, parameters)
    if report.missing or report.dropped:
        raise InputError(f"checkpoint {Path(path).absolute()} is no complete FCN-8s: {report}")
    return network.set_train(False)
