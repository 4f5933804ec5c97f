"""The command line of `fcn8s_ms.eval`: its flags, and the arguments they become."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import device, fetch, inference, transforms
from ..errors import InputError, flag, program
from ..formats import paths
from ..images import reader
from ..options import Parser
from ..system import threads
from . import html_report, report
from .robustness import Corruption, corruptions

__all__ = ["CHANGED_SHOWN", "PROGRAM", "PROTOCOLS", "Config", "get_parser", "parse"]

PROGRAM = program("eval")
"""Name of the program on a command line."""

_EXAMPLES = f"""examples:
  the best checkpoint of a run:
    {PROGRAM} --checkpoint runs/mine --data dataset/val.mindrecord
  the masks of any program, with tables of the scores:
    {PROGRAM} --predictions masks --data dataset/val.mindrecord \\
        --output scores.json scores.md
"""

PROTOCOLS = ("whole", "tutorial")
CHANGED_SHOWN = 5
"""Images that `--compare` shows at either end, if `--worst` does not say otherwise."""

_TUTORIAL_BATCH_SIZE = 4


@dataclass(frozen=True)
class Config:
    """Arguments of one evaluation; each field is a flag of `get_parser`, explained there."""

    checkpoint: Path
    predictions: Path | None
    data: Path
    download: str | None
    protocol: str
    engine: str | None
    resize: int | str | None
    scales: tuple[float, ...]
    flip: bool
    sliding: list[int] | None
    crop_size: int
    seed: int
    trimap: int
    batch_size: int
    workers: int
    max_pixels: int
    device: str
    device_id: int
    mode: str
    output: list[Path]
    worst: int
    best: int
    per_image: Path | None
    fast: bool
    corrupt: str | None
    compare: list[Path] | None
    masks: list[Path] | None
    save_masks: Path | None
    pictures: Path | None
    report: Path | None

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "workers": 1, "crop_size": 1}
        least |= dict.fromkeys(("trimap", "worst", "best", "seed"), 0)
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise InputError(
                    f"{flag(name)} is {getattr(self, name)}; it must be at least {limit}"
                )
        most = {
            "trimap": 100,
            "crop_size": transforms.LONGEST_SIDE,
            "seed": 2**32 - 1,
            "batch_size": inference.MAX_BATCH,
            "worst": 1000,
            "best": 1000,
        }
        for name, limit in most.items():
            if getattr(self, name) > limit:
                raise InputError(
                    f"{flag(name)} is {getattr(self, name)}; it must be at most {limit:,}"
                )
        reader.check_max_pixels(self.max_pixels)
        self.corruptions()
        if self.corrupt and self.predictions:
            raise InputError(
                "--corrupt changes the images that a network sees, and --predictions has none; "
                "give a --checkpoint"
            )
        self._check_comparison()
        for path in self.output:
            report.check_format(path)
            paths.check_file(path, "--output")
        if self.pictures is not None:
            paths.check_folder(self.pictures, "--pictures")
        if self.report is not None:
            html_report.check(self.report)
        if self.protocol == "tutorial":
            size = (self.crop_size, self.crop_size)
            transforms.check_crops(self.batch_size, size, "--batch-size and --crop-size")
            if self.resize or self.scales != (1.0,) or self.flip or self.sliding:
                raise InputError(
                    "--protocol tutorial scores random crops; --resize, --scales, --flip and "
                    "--sliding are for whole images"
                )
            if self.worst or self.best or self.predictions or self.per_image or self.corrupt:
                raise InputError(
                    "--protocol tutorial scores random crops; --worst, --best, --per-image, "
                    "--corrupt and --predictions are for whole images"
                )
        if self.per_image is not None and self.per_image.suffix.lower() != ".csv":
            raise InputError(f"--per-image {self.per_image} does not end in .csv; it is a table")
        if self.per_image is not None:
            paths.check_file(self.per_image, "--per-image")

    def _check_comparison(self) -> None:
        """Checks what goes together with `--compare`, and the masks.

        Raises:
            InputError: something does not.
        """
        if self.masks and not (self.compare and self.pictures):
            raise InputError(
                "--masks has the images of --compare A.json B.json drawn into the folder of "
                "--pictures; give both, or leave it out"
            )
        scoring = ("report", "per_image", "corrupt", "save_masks", "predictions", "best")
        for name in scoring if self.compare else ():
            if getattr(self, name):
                raise InputError(f"--compare scores nothing; leave out {flag(name)}")
        if self.save_masks is not None:
            if self.predictions or self.protocol == "tutorial":
                raise InputError(
                    "--save-masks saves what a network predicts for whole images; leave out "
                    "--predictions and --protocol tutorial"
                )
            paths.check_folder(self.save_masks, "--save-masks")

    def corruptions(self) -> list[Corruption]:
        """Those that `--corrupt` names; none without it."""
        return corruptions(self.corrupt) if self.corrupt is not None else []


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.eval`."""
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s [flags]",
        description="Score an FCN on whole images: pixel accuracy, mean pixel "
        "accuracy, mean IoU, frequency weighted IoU, scores close to boundaries, and a table of "
        "the classes.",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument_group("what").add_argument
    add(
        "--checkpoint",
        type=Path,
        default=fetch.TRAINED_FILE,
        help="Score this checkpoint, exported .onnx file, or best checkpoint of a run's folder "
        "(default: %(default)s).",
    )
    add(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="Score the masks of this folder instead of a checkpoint: gray or palette PNGs of "
        "class ids, NAME.png or NAME_mask.png for every image of the record.",
    )
    add(
        "--data",
        type=Path,
        default=fetch.DATA_FILE,
        help="Score on this MindRecord file (default: %(default)s).",
    )
    add(
        "--download",
        nargs="?",
        const=fetch.BASE_URL,
        metavar="URL",
        help="Fetch the tutorial's records and trained checkpoint first, from a mirror if there "
        "is a URL.",
    )

    group = parser.add_argument_group("how")
    add = group.add_argument
    add(
        "--protocol",
        choices=PROTOCOLS,
        default="whole",
        help="Score every image once (whole), or random crops, scaled and mirrored as in "
        "training, for which the tutorial reports 0.8957 (tutorial) (default: %(default)s).",
    )
    inference.add_arguments(group)
    add(
        "--trimap",
        type=int,
        default=5,
        metavar="WIDTH",
        help="Score the band along outlines too: the pixels at most WIDTH pixels from another "
        "label; 0 leaves it out (default: %(default)s).",
    )
    add(
        "--fast",
        action="store_true",
        help="Leave out boundary IoU and the scores of certainty, which take 1 ms and 7 ms of "
        "processor time for an image of 480x360 pixels and 11 classes; FCN-8s takes 960 ms on a "
        "CPU.",
    )
    add(
        "--corrupt",
        metavar="KIND,…[:1-5]",
        help="Score the images made worse, too, by each kind named (noise, blur, jpeg, brightness, "
        "contrast) at the strengths after the colon: a number or a range, all five without one. "
        "Each kind and strength takes as long as an evaluation with --fast.",
    )
    add(
        "--crop-size",
        type=int,
        default=512,
        help="Give the crops of --protocol tutorial this side in pixels (default: %(default)s).",
    )
    add(
        "--seed",
        type=int,
        default=1,
        help="Draw the crops of --protocol tutorial with this seed (default: %(default)s).",
    )
    add(
        "--batch-size",
        type=int,
        help="Send up to this many images of equal padded size through the network at once; the "
        "scores of whole images stay the same (default: 1; --protocol tutorial: "
        f"{_TUTORIAL_BATCH_SIZE}).",
    )
    add(
        "--workers",
        type=int,
        default=min(4, threads.available_cpus()),
        help="Prepare samples in this many threads (default: %(default)s).",
    )
    reader.add_arguments(group)
    device.add_arguments(parser.add_argument_group("device"))

    add = parser.add_argument_group("results").add_argument
    add(
        "--output",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="Write the scores as JSON (with the confusion matrix), CSV or Markdown, by the "
        "ending of each name: .json, .csv, .md.",
    )
    add("--worst", type=int, default=0, metavar="N", help="Name the N images of lowest mean IoU.")
    add("--best", type=int, default=0, metavar="N", help="Name the N images of highest mean IoU.")
    add(
        "--per-image",
        type=Path,
        metavar="FILE",
        help="Write a table of every image with size, scores, mean certainty and seconds, as CSV; "
        "it takes less than 1 ms per image.",
    )
    add(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A.json", "B.json"),
        help="Score nothing; print which classes and images of two evaluations changed, from the "
        "first to the second, and a 95 %% interval of the difference in mean IoU. --output takes "
        "a .json; --pictures draws the changes of classes and images as bars.",
    )
    add(
        "--masks",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="With --compare and --pictures, draw the images of --data that got better and worse "
        f"the most ({CHANGED_SHOWN} each, or as many as --worst says) with label and both "
        "predictions, read from the folders that --save-masks wrote in the two evaluations.",
    )
    add(
        "--save-masks",
        type=Path,
        metavar="DIR",
        help="Save the predicted class ids of every image as NAME.png into this folder, for "
        "--predictions, and for --masks in a comparison.",
    )
    add(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="Draw class_bars.png (the IoU of every class), confusion.png, certainty.png, "
        "corruptions.png (mean IoU over strength, with --corrupt), and each of the worst and "
        "best images with truth, prediction and errors, into this folder, and the first 100 of "
        "them into its worst.png and best.png.",
    )
    add(
        "--report",
        type=Path,
        metavar="DIR/index.html",
        help="Write a web page with scores, tables, pictures, and every image with its prediction "
        "and scores, to be sorted; it is complete in itself and needs no network.",
    )
    return parser


def parse(argv: Sequence[str] | None = None) -> Config:
    """Arguments of a command line; `argv` without the program's name.

    Raises:
        InputError: a value is out of range, or two do not go together.
    """
    arguments = vars(get_parser().parse_args(argv))
    if arguments["batch_size"] is None:
        is_tutorial = arguments["protocol"] == "tutorial"
        arguments["batch_size"] = _TUTORIAL_BATCH_SIZE if is_tutorial else 1
    return Config(**arguments)
