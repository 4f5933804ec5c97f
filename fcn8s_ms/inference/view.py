"""Flags that say how a network sees an image, shared by the programs."""

from .engine import ENGINES

__all__ = ["add_arguments", "options_of"]


def add_arguments(parser) -> None:
    """Adds `--engine` and the flags for the options of `Predictor` to a parser or group."""
    add = parser.add_argument
    add(
        "--engine",
        choices=ENGINES,
        help="mindspore: computes a checkpoint; onnx: ONNX Runtime computes an exported .onnx file "
        "(default: by the file's ending)",
    )
    add(
        "--resize",
        type=_resize_value,
        metavar="none|N",
        help="none: every image at its own size; N: its longer side becomes N pixels for the "
        "network, and the result has the image's own size again (default: none)",
    )
    add(
        "--scales",
        type=_scales_value,
        default=(1.0,),
        metavar="S,S,…",
        help="factors on that size, for instance 0.5,0.75,1.0,1.25,1.5; the softmax of all of them "
        "is averaged (default: 1.0)",
    )
    add("--flip", action="store_true", help="average with the mirrored image, too")
    add(
        "--sliding",
        nargs=2,
        type=int,
        metavar=("CROP", "STRIDE"),
        help="run windows of CROP pixels every STRIDE pixels, instead of the whole image, and "
        "average where they overlap",
    )


def _resize_value(text: str) -> int | None:
    return None if text == "none" else int(text)


def _scales_value(text: str) -> tuple[float, ...]:
    return tuple(float(scale) for scale in text.split(",") if scale.strip())


def options_of(config) -> dict:
    """The options of `Predictor` among the fields of a program's `Config`."""
    return {name: getattr(config, name) for name in ("resize", "scales", "flip", "sliding")}


_resize_value.__name__, _scales_value.__name__ = "size", "list of scales"  # in argparse's errors
