"""The command line of an export."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import device
from ..errors import InputError, flag, program
from ..formats import paths
from ..options import Parser, add_options, option, take_options
from ..transforms import LONGEST_SIDE

__all__ = ["FORMATS", "Config", "get_parser", "parse"]

_PROGRAM = program("export")
_EXAMPLES = f"""examples:
  for ONNX Runtime, from pixels to class ids:
    {_PROGRAM} --checkpoint runs/mine --output fcn8s.onnx \\
        --normalize --argmax
  for MindSpore Lite:
    {_PROGRAM} --checkpoint FCN8s.ckpt --format MINDIR \\
        --output fcn8s.mindir
"""
FORMATS = ("ONNX", "MINDIR", "AIR")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of one export; `--help` describes every field.

    Raises:
        InputError: two arguments do not go together, or the file exists.
    """

    checkpoint: Path = option(help="Export this checkpoint, or the best one of a run's folder.")
    output: Path | None = option(None, help="Write the network to this file.")
    format: str = option(
        "ONNX",
        type=str.upper,
        choices=FORMATS,
        help="Write for ONNX Runtime and others (ONNX), MindSpore Lite (MINDIR) or Ascend (AIR) "
        "(default: %(default)s).",
    )
    height: int | None = option(
        None, help="Fix the height of the input, which only AIR files need."
    )
    width: int | None = option(None, help="Fix the width of the input, which only AIR files need.")
    argmax: bool = option(
        False,
        help="Output class ids, int32 (N, H, W), instead of logits, float32 (N, classes, H, W).",
    )
    normalize: bool = option(
        False,
        help="Take pixels, uint8 (N, H, W, 3) in BGR order, instead of normalised float32 (N, 3, "
        "H, W). An ONNX file then pads them inside and takes any size; otherwise sides are "
        "multiples of 32, or of any size for networks that take any.",
    )
    fp16: bool = option(False, help="Compute in float16, with float16 weights (ONNX only).")
    image: Path | None = option(
        None, help="Compare the file with the checkpoint on this picture (default: a drawn one)."
    )
    model_card: Path | None = option(
        None,
        metavar="FILE",
        help="Write a model card for hubs too, such as README.md; without --output nothing else.",
    )
    scores: Path | None = option(
        None,
        metavar="FILE",
        help="Put these scores into the model card: the .json of eval --output (default: those of "
        "the last validation).",
    )
    overwrite: bool = option(False, help="Replace existing files.")
    device: str = "auto"
    device_id: int = 0
    mode: str = "graph"

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            side = getattr(self, name)
            if self.format == "AIR":
                if side is None or not 1 <= side <= LONGEST_SIDE:
                    raise InputError(
                        f"AIR files have a fixed size: give {flag(name)}, up to {LONGEST_SIDE:,} "
                        f"(it is {side})"
                    )
            elif side is not None:
                raise InputError(f"{self.format} files take any size; leave out {flag(name)}")
        if self.fp16 and self.format != "ONNX":
            raise InputError(
                "--fp16 is for ONNX; MindSpore Lite and atc choose the precision when they convert"
            )
        if self.scores is not None and self.model_card is None:
            raise InputError("--scores are for the model card; pass --model-card FILE too")
        if self.output is None and self.model_card is None:
            raise InputError("nothing to write; pass --output FILE, or --model-card FILE")
        for name in ("output", "model_card"):
            path = getattr(self, name)
            if path is None:
                continue
            paths.check_utf8(path)
            if path.is_dir():
                raise InputError(f"{flag(name)} {path.absolute()} is a folder; name a file in it")
            if path.exists() and not self.overwrite:
                raise InputError(f"{flag(name)} {path.absolute()} exists; pass --overwrite")
            paths.check_file(path, flag(name))
        self._check_suffix()

    def _check_suffix(self) -> None:
        """Raises InputError unless the name of the file says what will be in it."""
        suffix = f".{self.format.lower()}"
        if self.output is not None and self.output.suffix.lower() != suffix:
            given = self.output.suffix[1:].upper()
            named = f"--output {self.output.with_suffix(suffix)}"
            raise InputError(
                f"--output {self.output} does not end in {suffix}, by which programs know a file "
                f"of {self.format}; pass {f'--format {given}' if given in FORMATS else named}"
            )

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the input; None for any size."""
        return None if self.height is None or self.width is None else (self.height, self.width)


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.export`."""
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s --checkpoint FILE --output FILE [flags]",
        description="Write a trained FCN for ONNX Runtime (ONNX), MindSpore Lite (MINDIR) or "
        "Ascend (AIR). BatchNorm is folded into the convolutions. ONNX and MINDIR files take any "
        "size; before they get their name they are run on a picture and compared with the "
        "checkpoint.",
        epilog=_EXAMPLES,
    )
    add_options(parser, Config)
    device.add_arguments(parser)
    return parser


def parse(argv: Sequence[str] | None = None) -> Config:
    """Arguments of a command line; `argv` without the program's name.

    Raises:
        InputError: two arguments do not go together, or the file exists.
    """
    return take_options(Config, vars(get_parser().parse_args(argv)))
