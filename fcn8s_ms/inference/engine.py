"""Engines that can compute a network, and which of them reads a file."""

from pathlib import Path

from ..errors import InputError

__all__ = ["ENGINES", "engine_for"]

ENGINES = ("mindspore", "onnx")
"""What can compute a network: MindSpore a checkpoint, ONNX Runtime an exported file."""


def engine_for(path, engine: str | None = None) -> str:
    """The engine that computes a file.

    Args:
        path: a checkpoint, or an exported file that ends in `.onnx`.
        engine: of `ENGINES` if one is wanted.

    Raises:
        InputError: that engine does not read such files.
    """
    found = "onnx" if Path(path).suffix.lower() == ".onnx" else "mindspore"
    if engine is not None and engine != found:
        remedy = (
            f"export it first: python -m fcn8s_ms.export --checkpoint {path} --output NAME.onnx"
            if engine == "onnx"
            else "it is for --engine onnx"
        )
        raise InputError(f"{path} cannot be computed by the engine {engine}; {remedy}")
    return found
