"""Metadata that an exported ONNX file carries: what they must be, checked before use."""

import re
from collections.abc import Mapping
from typing import Any

from .. import files
from ..errors import InputError, listing
from . import schema

__all__ = ["NAMES", "parse"]

_DESCRIPTION = schema.fields(
    {
        "classes": schema.array(schema.text(1000), 2, 255),
        "palette": schema.array(schema.COLOUR, 2, 255),
        "mean": schema.array(schema.number(), 3, 3),
        "std": schema.array(schema.number(1e-6), 3, 3),
        "multiple": schema.whole_number(1),
    }
)
NAMES = ("classes", "palette", "mean", "std")
"""Entries that are JSON and must be there; `multiple` is JSON too, all others are text."""

_MULTIPLE = "32"  # of files without the entry

_REMEDY = "export it again with fcn8s_ms.export"


def parse(texts: Mapping[str, str], source: object) -> dict[str, Any]:
    """Values of a file's metadata.

    Args:
        texts: entries of the file.
        source: path of the file, for the error.

    Returns:
        The same entries, those of `NAMES` as values of JSON.

    Raises:
        InputError: an entry of `NAMES` is missing, or is not what an export writes.
    """
    missing = [name for name in NAMES if name not in texts]
    if missing:
        raise InputError(f"{source} has no {listing(missing)} in its metadata; {_REMEDY}")
    found: dict[str, Any] = {}
    texts = {"multiple": _MULTIPLE, **texts}
    for name in (*NAMES, "multiple"):
        try:
            found[name] = files.parse_json(texts[name])
        except ValueError as error:
            raise InputError(
                f"{source}: {name} is not valid JSON ({str(error)[:100]}): {_REMEDY}"
            ) from None
    schema.check(found, _DESCRIPTION, source, _REMEDY)
    schema.check(found, schema.as_many("palette", "classes"), source, _REMEDY)
    if not re.fullmatch(r"\d{1,5}x\d{1,5}", texts.get("resize_of_training", "")):
        texts.pop("resize_of_training", None)
    return {**texts, **found}
