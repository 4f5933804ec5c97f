"""Files as this package writes them: strict readable JSON, ordinary permissions."""

import json
import math
import os
from pathlib import Path

__all__ = ["give_ordinary_permissions", "write_json"]


def _strict(value):
    """The value with null for NaN and infinity, which JSON has not, and text for paths."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, os.PathLike) else value


def write_json(path, value) -> None:
    """Writes dicts, lists, numbers, text and paths as a JSON file."""
    text = json.dumps(_strict(value), indent=1, ensure_ascii=False, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def give_ordinary_permissions(path) -> None:
    """Makes a file as readable as any new one; MindSpore's are for their owner only."""
    umask = os.umask(0)
    os.umask(umask)
    Path(path).chmod(0o666 & ~umask)
