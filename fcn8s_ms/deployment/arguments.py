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
  in 8-bit integers, if they lose little of the mean IoU:
    {_PROGRAM} --checkpoint runs/mine --output int8.onnx --int8 \\
        --calibration-data dataset/train.mindrecord \\
        --check-data dataset/val.mindrecord
  for MindSpore Lite:
    {_PROGRAM} --checkpoint FCN8s.ckpt --format MINDIR \\
        --output fcn8s.mindir
"""
FORMATS = ("ONNX", "MINDIR", "AIR")
ACTIVATIONS = ("auto", "uint8", "int8")
MAX_BATCH = 1024
"""Images of a fixed batch."""


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
        None,
        help="Fix the height of the input, as AIR files need and Ascend's atc, TensorRT and "
        "OpenVINO prefer (default: any).",
    )
    width: int | None = option(None, help="Fix the width of the input (default: any).")
    batch: int | None = option(
        None,
        help="Fix the number of images of a batch (default: any; 1 with --height and --width).",
    )
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
    int8: bool = option(
        False,
        help="Compute in 8-bit integers up to the score layers (ONNX only): a quarter of the size, "
        "and faster where the processor has instructions for it. Needs --calibration-data.",
    )
    calibration_data: Path | None = option(
        None, help="Take the ranges of the activations for --int8 from images of this record."
    )
    calibration_images: int = option(
        64,
        help="Take this many images of --calibration-data, spread over the record "
        "(default: %(default)s).",
    )
    check_data: Path | None = option(
        None,
        help="Score the int8 file and its float32 original on this record, best one that training "
        "has not seen (default: --calibration-data).",
    )
    check_images: int = option(
        500,
        help="Score at most this many images, spread over the record (default: %(default)s).",
    )
    max_drop: float = option(
        0.01,
        help="Write no int8 file whose mean IoU is lower than float32's by more than this "
        "(default: %(default)s).",
    )
    activations: str = option(
        "auto",
        choices=ACTIVATIONS,
        help="Store activations for --int8 as uint8, which x86-64 computes faster, or as int8, "
        "which ARM does; auto takes the one for this machine (default: %(default)s).",
    )
    reduce_range: bool = option(
        False,
        help="Give the weights for --int8 7 bits instead of 8, for x86-64 processors without VNNI, "
        "whose 16-bit sums could overflow.",
    )
    float_layers: list[str] = option(
        [],
        nargs="+",
        metavar="NAME",
        help="Leave these convolutions in float32 with --int8, such as conv1 or conv5.2; each name "
        "stands for all layers that begin with it.",
    )
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
        self._check_size()
        self._check_int8()
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

    def _check_size(self) -> None:
        """Raises InputError unless the fixed sizes are whole and in range."""
        if self.format == "AIR" or (self.height, self.width, self.batch) != (None, None, None):
            is_air = self.format == "AIR"
            reason = "AIR files have a fixed size" if is_air else "a fixed size has both sides"
            for name in ("height", "width"):
                side = getattr(self, name)
                if side is None or not 1 <= side <= LONGEST_SIDE:
                    raise InputError(
                        f"{reason}: give {flag(name)}, up to {LONGEST_SIDE:,} (it is {side})"
                    )
        if self.batch is not None and not 1 <= self.batch <= MAX_BATCH:
            raise InputError(f"--batch is {self.batch}; it must be 1 to {MAX_BATCH:,}")

    def _check_int8(self) -> None:
        """Raises InputError unless the arguments of --int8 go together."""
        if not self.int8:
            for name in ("calibration_data", "check_data", "float_layers"):
                if getattr(self, name):
                    raise InputError(f"{flag(name)} is for --int8; pass that too, or leave it out")
            return
        if self.format != "ONNX":
            raise InputError(
                "--int8 is for ONNX; MindSpore Lite and atc quantise when they convert"
            )
        if self.fp16:
            raise InputError("--int8 and --fp16 are two precisions; pass one of them")
        if self.output is None:
            raise InputError("--int8 is for an exported file; pass --output FILE.onnx too")
        if self.calibration_data is None:
            raise InputError(
                "--int8 needs images to take the ranges of activations from: pass "
                "--calibration-data RECORD, best the one of the training"
            )
        for name in ("calibration_images", "check_images"):
            if getattr(self, name) < 1:
                raise InputError(f"{flag(name)} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.max_drop <= 1:
            raise InputError(f"--max-drop is {self.max_drop:g}; it is a mean IoU, from 0 to 1")

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
    def size(self) -> tuple[int, int, int] | None:
        """Images of a batch, height and width of the input; None for any size."""
        if self.height is None or self.width is None:
            return None
        return self.batch or 1, self.height, self.width


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.export`."""
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s --checkpoint FILE --output FILE [flags]",
        description="Write a trained FCN for ONNX Runtime (ONNX), MindSpore Lite (MINDIR) or "
        "Ascend (AIR). BatchNorm is folded into the convolutions. ONNX and MINDIR files take any "
        "size unless it is fixed; before they get their name they are run on a picture and "
        "compared with the checkpoint.",
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
