"""Facts of exported files: ONNX, which tells of itself, and MINDIR and AIR, which do not."""

from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError
from ..formats import onnx_digest, onnx_file, onnx_metadata
from .facts import MISMATCH, VERIFIED, Facts, names

__all__ = ["mindspore_facts", "onnx_facts"]


def onnx_facts(path: Path) -> Facts:
    """Facts of an ONNX file.

    Raises:
        InputError: it is damaged, or of another kind.
    """
    content = files.read_bytes(path)
    facts = Facts(path, "ONNX file", len(content))
    try:
        found, stored = onnx_digest.digest(content)
        contents = onnx_file.read(content)
    except ValueError as error:
        raise InputError(
            f"{path} is not an ONNX file, or is damaged ({error}); export it again"
        ) from error
    if stored is None:
        facts.note = "it was written by another program"
    elif stored == found:
        facts.checksum, facts.note = VERIFIED, "SHA-256 in its metadata"
        facts.values["sha256"] = stored
    else:
        facts.checksum = MISMATCH
        facts.note = "it is damaged, or another program has changed it"
    values = {
        heading: [{"name": one.name, "type": one.kind, "shape": one.shape} for one in group]
        for heading, group in (("inputs", contents.inputs), ("outputs", contents.outputs))
    }
    facts.values |= {
        **values,
        "producer": contents.producer,
        "opset": contents.opset,
        "nodes": contents.nodes,
        "parameters": contents.parameters,
    }
    for heading, group in (("input", contents.inputs), ("output", contents.outputs)):
        for one in group:
            shape = ", ".join(map(str, one.shape))
            facts.lines.append((heading, f"{one.name}: {one.kind} ({shape})"))
    facts.lines += [
        ("parameters", f"{contents.parameters:,} in {contents.nodes:,} nodes"),
        ("written by", f"{contents.producer or 'an unknown program'}, opset {contents.opset}"),
    ]
    _add_metadata(facts, contents.metadata)
    return facts


def _add_metadata(facts: Facts, texts: dict[str, str]) -> None:
    try:
        metadata: dict[str, Any] = onnx_metadata.parse(texts, facts.path)
    except InputError as error:
        metadata = dict(texts)
        facts.lines.append(("metadata", f"not an export's: {error}"))
    else:
        facts.lines.append(("classes", names(metadata["classes"])))
    facts.values["metadata"] = metadata
    for name, text in sorted(texts.items()):
        if name not in (*onnx_metadata.NAMES, "sha256"):
            facts.lines.append((name[:13], text[:200]))


def mindspore_facts(path: Path) -> Facts:
    """Facts of a MINDIR or AIR file: those of the JSON next to it, if there is one.

    Raises:
        InputError: the file or its JSON cannot be read.
    """
    files.check_regular(path)
    facts = Facts(path, f"{path.suffix[1:].upper()} file", path.stat().st_size)
    json_file = path.with_name(path.name + ".json")
    if not json_file.is_file():
        facts.values["json"] = None
        facts.note = f"there is no {json_file.name}"
        facts.lines.append(("contents", "such a file does not tell its classes; MindSpore runs it"))
        return facts
    content = files.read_json(json_file)
    if not isinstance(content, dict):
        raise InputError(f"{json_file} is not an object of facts; export {path.name} again")
    facts.values |= {"json": json_file.name, "metadata": content}
    if "sha256" in content:
        is_same = content["sha256"] == files.sha256(path)
        facts.checksum = VERIFIED if is_same else MISMATCH
        facts.note = f"SHA-256 in {json_file.name}" + ("" if is_same else " is another one")
    else:
        facts.note = f"{json_file.name} has none"
    for name, value in content.items():
        if name != "sha256":
            facts.lines.append((str(name)[:13], files.json_text(value, indent=None)[:300]))
    return facts
