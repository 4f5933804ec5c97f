"""Facts of a checkpoint, without loading its numbers."""

import math
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, listing
from ..formats import checkpoint_json, checkpoints, safetensors_file
from ..formats.checkpoint_file import Stored
from ..network import architectures, layers
from ..network.architectures import Dimensions
from ..transforms import next_multiple
from .facts import MISMATCH, VERIFIED, Facts, names, table

__all__ = ["checkpoint_facts"]

_TRAINING = ("epoch", "step", "loss", "metric", "seconds", "images")


def checkpoint_facts(path: Path, size: tuple[int, int], show_layers: bool = False) -> Facts:
    """Facts of a checkpoint.

    Args:
        path: the file.
        size: height and width of the image that operations are counted for.
        show_layers: whether the text has a table of the layers.

    Raises:
        InputError: the file is not a checkpoint, or it or its JSON is damaged.
    """
    files.check_regular(path)
    facts = Facts(path, "checkpoint", path.stat().st_size)
    try:
        stored = checkpoints.structure(path)
    except (ValueError, OSError) as error:
        kind = "safetensors file" if safetensors_file.is_one(path) else "checkpoint of MindSpore"
        raise InputError(
            f"{path} is not a {kind}, or is damaged ({error}); fetch or save it again"
        ) from error
    metadata = _checksum(facts)
    _add_network(facts, stored, size, show_layers)
    classes = metadata.get("classes")
    facts.values["classes"] = classes
    facts.values["palette"] = metadata.get("palette")
    if classes:
        facts.lines.insert(1, ("classes", names(classes)))
    _add_training(facts, metadata)
    return facts


def _checksum(facts: Facts) -> dict[str, Any]:
    """Adds the state of the checksum; returns the metadata, the file's if it agrees."""
    json_file = checkpoint_json.metadata_file(facts.path)
    facts.values["json"] = json_file.name if json_file.is_file() else None
    found, place = checkpoints.stated(facts.path), checkpoints.place(facts.path)
    try:
        metadata = checkpoints.verified(facts.path)
    except InputError:
        facts.checksum = MISMATCH
        facts.note = f"the file is not the one that {place} describes, or is damaged"
        return found
    if "sha256" in metadata:
        facts.checksum, facts.note = VERIFIED, f"SHA-256 in {place}"
        facts.values["sha256"] = metadata["sha256"]
    else:
        facts.note = f"there is no {json_file.name}" if place is None else f"{place} has none"
    return metadata


def _add_network(
    facts: Facts, stored: dict[str, Stored], size: tuple[int, int], show_layers: bool
) -> None:
    """Adds architecture, parameters and operations."""
    try:
        network = architectures.recognise({name: one.shape for name, one in stored.items()})
    except ValueError as error:
        facts.values["architecture"] = None
        facts.lines.append(("network", f"not an FCN of this package: {error}"))
        _add_parameters(facts, "parameters", stored)
        return
    expected = layers.parameters(network)
    own = {name: one for name, one in stored.items() if name in expected}
    missing = [name for name in expected if name not in own or own[name].shape != expected[name]]
    facts.values |= {
        "architecture": network.arch,
        **network.facts,
        "num_classes": network.num_classes,
        "missing": missing,
    }
    title = network.architecture.title
    described = f"{title}, {network.description}, {network.num_classes} classes"
    if "scales" in expected and "scales" not in missing and stored["scales"].kind == "Float32":
        scales = _floats(facts.path, stored["scales"])
        facts.values["scales"] = scales
        at_once = scales == _numbers(architectures.AT_ONCE_SCALES)
        described += ", trained at once" if at_once else ""
    facts.lines.append(("network", described))
    _add_parameters(facts, "parameters", own)
    if len(own) < len(stored):
        others = {name: one for name, one in stored.items() if name not in expected}
        _add_parameters(facts, "besides", others)
    if missing:
        facts.lines.append(("missing", listing(missing)))
    _add_operations(facts, network, size, show_layers)


def _floats(path: Path, stored: Stored) -> list[float]:
    """Numbers of a small parameter of type Float32."""
    with open(path, "rb") as file:
        file.seek(stored.position)
        return list(struct.unpack(f"<{stored.length // 4}f", file.read(stored.length)))


def _numbers(values: Iterable[float]) -> list[float]:
    """The same in float32."""
    return [struct.unpack("<f", struct.pack("<f", one))[0] for one in values]


def _add_parameters(facts: Facts, heading: str, stored: dict[str, Stored]) -> None:
    kinds = Counter(one.kind for one in stored.values())
    count = sum(math.prod(one.shape) for one in stored.values() if one.kind != "str")
    length = sum(one.length for one in stored.values())
    facts.values[heading if heading == "parameters" else "other_parameters"] = {
        "tensors": len(stored),
        "count": count,
        "bytes": length,
        "types": dict(kinds),
    }
    text = f"{count:,} in {len(stored)} tensors, {', '.join(kinds)}, {length / 1e6:,.1f} MB"
    if heading != "parameters":
        text += " (such as the state of an optimizer)"
    facts.lines.append((heading, text))


def _add_operations(
    facts: Facts, network: Dimensions, size: tuple[int, int], show_layers: bool
) -> None:
    height, width = (next_multiple(side, network.architecture.multiple) for side in size)
    found = layers.layers(network, height, width)
    # Inference does without an auxiliary head.
    used = [one for one in found if network.architecture.part_of(f"{one.name}.weight") != "aux"]
    operations = 2 * sum(one.macs for one in used)
    facts.values["operations"] = {
        "height": height,
        "width": width,
        "gflops": operations / 1e9,
        "counted": "convolutions and transposed convolutions; multiply and add are 2",
    }
    padded = f", padded from {size[1]}×{size[0]}" if (height, width) != size else ""
    facts.lines.append(
        (
            "operations",
            f"{operations / 1e9:,.1f} GFLOPs for an image of {width}×{height}{padded} (width×height"
            "; convolutions and transposed convolutions, a multiplication with its addition is 2)",
        )
    )
    facts.values["layers"] = [
        {
            "name": one.name,
            "kernel": one.kernel,
            "enlarges": one.enlarges,
            "output": [one.channels, one.height, one.width],
            "parameters": one.parameters,
            "gflops": 2 * one.macs / 1e9,
        }
        for one in found
    ]
    if show_layers:
        rows = [
            (
                one.name,
                f"{one.kernel}×{one.kernel}"
                + (f", up by {one.enlarges}" if one.enlarges > 1 else ""),
                f"{one.channels}×{one.height}×{one.width}",
                f"{one.parameters:,}",
                f"{2 * one.macs / 1e9:,.2f}",
            )
            for one in found
        ]
        head = ("layer", "kernel", "output (C×H×W)", "parameters", "GFLOPs")
        facts.tables.append(table(head, rows))


def _add_training(facts: Facts, metadata: dict[str, Any]) -> None:
    training = {name: metadata[name] for name in _TRAINING if metadata.get(name) is not None}
    arguments = metadata.get("arguments") or {}
    facts.values |= {"training": training, "arguments": arguments}
    metric = training.pop("metric", None) or {}
    if training:
        facts.lines.append(("training", _listed(training)))
    scores = {name: value for name, value in metric.items() if isinstance(value, float)}
    if scores:
        facts.lines.append(("scores", _listed(scores)))
    if metric:
        training["metric"] = metric
    given = {name: value for name, value in arguments.items() if value not in (None, False, [])}
    if given:
        facts.lines.append(("arguments", _listed(given)))


def _listed(values: dict[str, Any]) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.6g}"
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())
