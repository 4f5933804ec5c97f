"""Options for the network's view of an image, and the flags for them that programs share."""

from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..options import ArgumentContainer, add_options, option
from ..transforms import LONGEST_SIDE
from .engine import ENGINES

__all__ = ["MAX_BATCH", "ViewOptions", "add_arguments", "options_of"]


MAX_BATCH = 1024
"""Largest batch of `eval` and `predict`; images wait for others of their size, so more are held."""


_SHORT = "short:"


def _size(text: str) -> int | str | None:
    if text.startswith(_SHORT):
        int(text.removeprefix(_SHORT))  # or argparse's error
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
        metavar="none|N|short:N",
        help="none: every image at its own size; N: scale its longer side to N pixels for the "
        "network, and the result back to the image's own size; short:N: its shorter side "
        "(default: none)",
    )
    scales: tuple[float, ...] = option(
        (1.0,),
        type=_scales,
        metavar="S,S,…",
        help="factors on that size, for instance 0.5,0.75,1.0,1.25,1.5; their softmax is averaged "
        "(default: 1.0)",
    )
    flip: bool = option(False, help="average with the mirrored image, too")
    sliding: tuple[int, int] | None = option(
        None,
        nargs=2,
        type=int,
        metavar=("CROP", "STRIDE"),
        help="run windows of CROP pixels every STRIDE pixels (the last ones moved inwards to the "
        "border) instead of the whole image, and average the logits where windows overlap",
    )

    def __post_init__(self) -> None:
        pixels = self._pixels
        if pixels is not None and pixels < 1:
            raise InputError(f"resize is {self.resize}; a side needs at least one pixel")
        # Lists and whole numbers are welcome; the dataclass is frozen.
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise InputError(f"scales are {self.scales}; give one or more between 0 and 8")
        if pixels is not None and pixels * max(self.scales) > LONGEST_SIDE:
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
    def _pixels(self) -> int | None:
        """Pixels of the side that `resize` names."""
        if not isinstance(self.resize, str):
            return self.resize
        digits = self.resize.removeprefix(_SHORT)
        if not (self.resize.startswith(_SHORT) and digits.isdecimal()):
            raise InputError(f"resize is {self.resize}; write N or short:N")
        return int(digits)

    def factor(self, height: int, width: int) -> float:
        """Factor by which `resize` scales an image; the longer side stays within LONGEST_SIDE."""
        pixels = self._pixels
        if pixels is None:
            return 1.0
        if not isinstance(self.resize, str):
            return pixels / max(height, width)
        most = LONGEST_SIDE / max(self.scales)
        return min(pixels / min(height, width), most / max(height, width))

    @property
    def views(self) -> list[tuple[float, bool]]:
        """Every view that is averaged: its scale, and whether it is mirrored."""
        mirrored = (False, True) if self.flip else (False,)
        return [(scale, mirror) for scale in self.scales for mirror in mirrored]

    @property
    def is_plain(self) -> bool:
        """True if the network's own class ids are the result: one view, whole, at its own size."""
        return self.resize is None and self.sliding is None and self.views == [(1.0, False)]

    def protocol(self, multiple: int) -> str:
        """Description of the view in words, to state with every score.

        Args:
            multiple: number that the sides of the network's inputs are multiples of.
        """
        size = "at its own size"
        if self.resize is not None:
            side = "shorter" if isinstance(self.resize, str) else "longer"
            size = f"resized to a {side} side of {self._pixels} pixels"
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
        help="mindspore: computes a checkpoint; onnx: ONNX Runtime computes an exported .onnx file "
        "(default: chosen by the file's ending)",
    )
    add_options(parser, ViewOptions)


def options_of(config: object) -> dict[str, Any]:
    """The options of `ViewOptions` among the attributes of a program's `Config`."""
    return {name: getattr(config, name) for name in ViewOptions.__dataclass_fields__}
