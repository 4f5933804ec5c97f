"""Options for the network's view of an image, and the flags for them that programs share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..options import ArgumentContainer, add_options, option
from ..transforms import LONGEST_SIDE, scaled_size
from .engine import ENGINES

__all__ = ["MAX_BATCH", "ViewOptions", "add_arguments", "options_of", "trained_resize"]


MAX_BATCH = 1024
"""Largest batch of `eval` and `predict`; images wait for others of their size, so more are held."""


_SHORT = "short:"


def _size(text: str) -> int | str | None:
    if text.startswith(_SHORT):
        int(text.removeprefix(_SHORT))  # or argparse's error
        return text
    if re.fullmatch(r"\d+x\d+", text):
        return text
    return None if text == "none" else int(text)


def _scales(text: str) -> tuple[float, ...]:
    return tuple(float(scale) for scale in text.split(",") if scale.strip())


_size.__name__, _scales.__name__ = "size", "list of scales"  # for argparse's errors


@dataclass(frozen=True)
class ViewOptions:
    """Options for the network's view of an image; the help of each option describes it.

    Raises:
        InputError: an option is out of range.
    """

    resize: int | str | None = option(
        None,
        type=_size,
        metavar="none|N|short:N|HxW",
        help="Show the network every image at its own size (none), with N pixels on its longer or "
        "shorter side (N, short:N), or squeezed to H pixels of height and W of width, as train "
        "--resize-to does (HxW); the result gets the image's own size (default: none).",
    )
    scales: tuple[float, ...] = option(
        (1.0,),
        type=_scales,
        metavar="S,S,…",
        help="Average the softmax over these factors on that size, for instance "
        "0.5,0.75,1.0,1.25,1.5 (default: 1.0).",
    )
    flip: bool = option(False, help="Average with the mirrored image, too.")
    sliding: tuple[int, int] | None = option(
        None,
        nargs=2,
        type=int,
        metavar=("CROP", "STRIDE"),
        help="Run windows of CROP pixels every STRIDE pixels (the last ones moved inwards to the "
        "border) instead of the whole image, and average the logits where windows overlap.",
    )

    def __post_init__(self) -> None:
        sides = self._sides
        if min(sides, default=1) < 1:
            raise InputError(f"resize is {self.resize}; a side needs at least one pixel")
        # Lists and whole numbers are welcome; the dataclass is frozen.
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise InputError(f"scales are {self.scales}; give one or more between 0 and 8")
        if max(sides, default=1) * max(self.scales) > LONGEST_SIDE:
            raise InputError(
                f"resize is {self.resize}, scaled by up to {max(self.scales):g}; more than "
                f"{LONGEST_SIDE:,} pixels on a side take too much memory: choose less"
            )
        if self.sliding is not None:
            crop, stride = self.sliding
            object.__setattr__(self, "sliding", (crop, stride))
            if crop < 1:
                raise InputError(f"sliding window of {crop} pixels; take at least one")
            if not 0 < stride <= crop:
                raise InputError(f"sliding stride of {stride} pixels; take 1…{crop}, the window")

    @property
    def _sides(self) -> tuple[int, ...]:
        """Pixels of the side that `resize` names, or of height and width; () for none."""
        if self.resize is None:
            return ()
        if not isinstance(self.resize, str):
            return (self.resize,)
        if found := re.fullmatch(
            rf"{_SHORT}(\d{{1,9}})|(\d{{1,9}})x(\d{{1,9}})", self.resize, re.ASCII
        ):
            return tuple(int(digits) for digits in found.groups() if digits is not None)
        raise InputError(f"resize is {self.resize}; write N, short:N or HxW")

    @property
    def is_squeezed(self) -> bool:
        """True if every image gets the same height and width, whatever its own."""
        return len(self._sides) == 2

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that `resize` gives an image; its sides stay within LONGEST_SIDE."""
        sides = self._sides
        if not sides:
            return height, width
        if len(sides) == 2:
            return sides[0], sides[1]
        if isinstance(self.resize, str):
            most = LONGEST_SIDE / max(self.scales)
            factor = min(sides[0] / min(height, width), most / max(height, width))
        else:
            factor = sides[0] / max(height, width)
        return scaled_size((height, width), factor)

    @property
    def views(self) -> list[tuple[float, bool]]:
        """Every view that is averaged: its scale, and whether it is mirrored."""
        mirrored = (False, True) if self.flip else (False,)
        return [(scale, mirror) for scale in self.scales for mirror in mirrored]

    @property
    def is_single(self) -> bool:
        """True if an image is seen once, at its own size, whole or in windows."""
        return self.resize is None and self.views == [(1.0, False)]

    @property
    def is_plain(self) -> bool:
        """True if the network's own class ids are the result: one view, whole, at its own size."""
        return self.sliding is None and self.is_single

    def protocol(self, multiple: int) -> str:
        """Description of the view in words, to state with every score.

        Args:
            multiple: number that the sides of the network's inputs are multiples of.
        """
        size, sides = "at its own size", self._sides
        if len(sides) == 2:
            size = f"squeezed to {sides[0]}x{sides[1]} pixels (height x width)"
            if self.scales == (1.0,) and not any(side % multiple for side in sides):
                multiple = 1
        elif sides:
            side = "shorter" if isinstance(self.resize, str) else "longer"
            size = f"resized to a {side} side of {sides[0]} pixels"
        if self.sliding is None:
            padding = f"padded to a multiple of {multiple}, scored without the padding"
            size = f"whole, {size} ({padding if multiple > 1 else 'no padding'})"
        else:
            crop, stride = self.sliding
            size = f"in windows of {crop}x{crop} every {stride} pixels, {size} (overlaps averaged)"
        if self.resize is not None:
            size += ", scored at its own size"
        scales = "one scale"
        if self.scales != (1.0,):
            scales = f"scales {', '.join(f'{scale:g}' for scale in self.scales)}"
        mirrored = "with mirroring" if self.flip else "no mirroring"
        return f"every image once, {size}, {scales}, {mirrored}"


def add_arguments(parser: ArgumentContainer) -> None:
    """Adds `--engine` and the flags of `ViewOptions` to a parser or group."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="Compute a checkpoint with MindSpore, or an exported .onnx file with ONNX Runtime "
        "(default: chosen by the file's ending).",
    )
    add_options(parser, ViewOptions)


def options_of(config: object) -> dict[str, Any]:
    """The options of `ViewOptions` among the attributes of a program's `Config`."""
    return {name: getattr(config, name) for name in ViewOptions.__dataclass_fields__}


def trained_resize(arguments: Mapping[str, Any]) -> str | None:
    """The `resize` that shows a network images as its training did; None for their own size.

    Args:
        arguments: arguments of the training, as the metadata of a checkpoint hold them.
    """
    sides = arguments.get("resize_to")
    if isinstance(sides, list) and len(sides) == 2 and all(type(side) is int for side in sides):
        return f"{sides[0]}x{sides[1]}"
    return None
