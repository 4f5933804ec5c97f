"""The digest that an exported ONNX file carries in its metadata."""

import hashlib

from . import protobuf

__all__ = ["digest", "sealed"]

_DIGEST = "sha256"  # entry of the metadata
_METADATA_PROPS = 14  # field of ONNX's ModelProto; its entries have a key (1) and a value (2)


def digest(content: bytes) -> tuple[str, str | None]:
    """SHA-256 of a model without the entry that holds it, and that entry.

    Raises:
        ValueError: the bytes are not a message of Protocol Buffers.
    """
    view, position = memoryview(content), 0
    checksum, stored = hashlib.sha256(), None
    for field in protobuf.fields(view, 0, len(view)):
        entry: dict[int, bytes] = {}
        if (field.number, field.kind) == (_METADATA_PROPS, protobuf.LENGTH):
            parts = protobuf.fields(view, field.value, field.end)
            entry = {part.number: bytes(view[part.value : part.end]) for part in parts}
        if entry.get(1) == _DIGEST.encode():
            stored = entry.get(2, b"").decode("ascii", "replace")
        else:
            checksum.update(view[position : field.end])
        position = field.end
    return checksum.hexdigest(), stored


def sealed(content: bytes) -> bytes:
    """An ONNX file with the digest of its graph, weights and metadata, which `OnnxEngine` checks.

    Args:
        content: a serialised `onnx.ModelProto` without a digest.
    """
    key, value = _DIGEST.encode(), digest(content)[0].encode()
    entry = b"\x0a%c%b\x12%c%b" % (len(key), key, len(value), value)
    return content + b"%c%c%b" % (_METADATA_PROPS << 3 | protobuf.LENGTH, len(entry), entry)
