"""Sizes of networks that train within seconds, and the flags of the training program for them."""

from fcn8s_ms.network.architectures import ARCHITECTURES

__all__ = ["NARROW", "TINY", "flags"]

NARROW = {"widths": (8, 16, 32, 32, 32), "fc_width": 64}
"""Few channels, but enough to learn the drawn sample."""

TINY = {"widths": (4, 4, 8, 8, 8), "fc_width": 16}
"""A few thousand parameters, where the scores do not matter."""


def flags(sizes: dict, arch: str = "fcn8s") -> list[str]:
    """The sizes as flags of `python -m fcn8s_ms.train`.

    Args:
        sizes: `NARROW` or `TINY`.
        arch: name of the architecture.
    """
    if ARCHITECTURES[arch].family == "resnet":
        return ["--resnet-width", str(sizes["widths"][0])]
    return ["--widths", *map(str, sizes["widths"]), "--fc-width", str(sizes["fc_width"])]
