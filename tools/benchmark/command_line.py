"""Command line of the benchmark."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from fcn8s_ms import files
from fcn8s_ms.errors import InputError, reported_by
from fcn8s_ms.formats import paths
from fcn8s_ms.network.architectures import ARCHITECTURES
from fcn8s_ms.options import Parser

from . import machine, race, scale
from .contestants import loss, pipeline
from .parts import PARTS

PROGRAM = "python tools/benchmark"

_OPPONENTS = dict.fromkeys(
    name for part in PARTS.values() for name in part.contestants if name != "ours"
)


def _interpreter(value: str) -> str:
    """Absolute path of an interpreter, for contestants run in another folder."""
    found = shutil.which(value)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{value} cannot be run; give the path of a Python interpreter"
        )
    return os.path.abspath(found)  # not resolved: a virtual environment's is a link


_EXAMPLES = f"""examples:
  training and inference against PyTorch:
    {PROGRAM} train infer --against torch --crop 128
  every way to infer that is known here:
    {PROGRAM} infer --crop 512 --against onnx int8 \\
        torch torch-bf16 torch-compile torch-bf16-compile
  images per second of predict and eval against those of the bare network:
    {PROGRAM} predict eval --pictures 300 --rounds 1 --warm-rounds 0
  what a change costs, against an older checkout:
    {PROGRAM} train infer --baseline ../fcn8s-ms-before
"""


def get_parser() -> argparse.ArgumentParser:
    """Command line of the benchmark."""
    parser = Parser(
        prog=PROGRAM,
        description="Race this package against the tutorial's way ('plain'), PyTorch, and another "
        "checkout of it, each in a process of its own, round by round in turn.",
        usage="%(prog)s [flags] [PART ...]",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"Race these: {', '.join(PARTS)} (default: these), or scale: a training step of one "
        "process and of several, each with a batch of its own.",
    )
    add(
        "--against",
        nargs="+",
        choices=_OPPONENTS,
        metavar="NAME",
        help="Race against these, where a part has them: plain, the tutorial's way, whose training "
        "step takes minutes on MindSpore 2.10; network, that alone of predict and eval; onnx and "
        "int8, the network exported for ONNX Runtime; torch, torch-bf16 (channels last, bfloat16 "
        "autocast), torch-compile and torch-bf16-compile (default: plain, network and, if there is "
        "PyTorch, torch; with --baseline none).",
    )
    add(
        "--baseline",
        type=Path,
        metavar="DIR",
        help="Race against another checkout of this project, to see what a change costs; 'pairs' "
        "in the table, the median of the ratios round by round, is the steadiest figure.",
    )
    add(
        "--crop",
        type=int,
        default=128,
        help="Give the images of train and infer, and the logits of loss, this side in pixels "
        "(default: %(default)s).",
    )
    add(
        "--loss",
        metavar="LOSS",
        default="ce",
        help="Compute this loss in loss, one that training takes (default: %(default)s).",
    )
    add(
        "--workers",
        type=int,
        default=1,
        help="Let the pipelines use this many threads or processes (default: %(default)s).",
    )
    add(
        "--augment",
        metavar="NAME,…",
        default="none",
        help="Change the crops of pipeline as training does with this flag; plain and PyTorch do "
        "not (default: %(default)s).",
    )
    add(
        "--rounds",
        type=int,
        default=7,
        help="Time this many rounds of each (default: %(default)s).",
    )
    add(
        "--warm-rounds",
        type=int,
        default=5,
        help="Run this many rounds first without timing: MindSpore tries out numbers of threads "
        "in its first five (default: %(default)s).",
    )
    add(
        "--arch",
        choices=ARCHITECTURES,
        metavar="NAME",
        default="fcn8s",
        help="Train and infer this network, with its auxiliary head if it has one (default: "
        f"%(default)s): {', '.join(ARCHITECTURES)}.",
    )
    add(
        "--fc-width",
        type=int,
        metavar="N",
        help="Give conv6 and conv7 this many channels in train and infer (default: all 4096, "
        "which a baseline has in any case).",
    )
    add(
        "--network",
        type=Path,
        help="Run this ONNX file in infer, predict and eval (default: MindSpore's network).",
    )
    add(
        "--pictures",
        type=int,
        default=30,
        help="Give predict and eval this many pictures per round (default: %(default)s).",
    )
    add(
        "--ranks",
        type=int,
        default=2,
        help="Run scale with this many processes (default: %(default)s).",
    )
    add(
        "--narrow",
        action="store_true",
        help="Run scale with a network of few parameters, for a quick look.",
    )
    add(
        "--quick",
        action="store_true",
        help="Take 3 rounds, 1 warm one and crop 64, for a quick look.",
    )
    add("--json", type=Path, help="Write the figures to this file.")
    add(
        "--torch-python",
        type=_interpreter,
        metavar="PATH",
        default=sys.executable,
        help="Run PyTorch with this interpreter, whose environment has torch, numpy and "
        "opencv-python (default: this one).",
    )
    add(
        "--plain-python",
        type=_interpreter,
        metavar="PATH",
        default=sys.executable,
        help="Run 'plain' with this interpreter, for instance one with another MindSpore "
        "(default: this one).",
    )
    add(
        "--baseline-python",
        type=_interpreter,
        metavar="PATH",
        default=sys.executable,
        help="Run the baseline with this interpreter; with --baseline . the race is between two "
        "versions of MindSpore (default: this one).",
    )
    add("--contestant", help=argparse.SUPPRESS)
    return parser


def _opponents(options, has_torch: bool) -> list[str]:
    """Names of the opponents; the baseline does its rounds right after ours."""
    if options.baseline is not None:
        return [race.BASELINE, *(options.against or [])]
    return options.against or ["plain", "network", *(["torch"] if has_torch else [])]


def _check_compiler(names) -> None:
    """Raises InputError if there is none for what `torch.compile` writes."""
    # Where PyTorch looks for it.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if any(name.endswith("compile") for name in names) and shutil.which(compiler) is None:
        raise InputError(
            f"torch.compile needs a C++ compiler, and {compiler} is not installed: install it "
            "(apt-get install g++), or name another one in the environment variable CXX"
        )


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    options = get_parser().parse_args(argv)
    if options.contestant == "scale_rank":
        scale.run_rank(options)
        return
    if options.contestant:
        part, name = options.contestant.split("_")
        race.serve(PARTS[part].contestants[name], options)
        return
    if options.quick:
        options.rounds, options.warm_rounds, options.crop = 3, 1, 64
    with reported_by(PROGRAM):
        unknown = set(options.parts) - set(PARTS) - {"scale"}
        if unknown:
            raise InputError(
                f"part {min(unknown)!r} is unknown; choose from {', '.join(PARTS)}, scale"
            )
        for name in ("crop", "workers", "rounds", "fc_width", "pictures"):
            value = getattr(options, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} is {value}; it must be positive")
        if options.warm_rounds < 0:
            raise InputError(f"--warm-rounds is {options.warm_rounds}; 0 is the least")
        if options.fc_width is not None and not ARCHITECTURES[options.arch].takes("fc_width"):
            raise InputError(f"--fc-width is not for --arch {options.arch}; leave it out")
        loss.terms(options)
        pipeline.augmentations(options)
        if options.ranks < 2:
            raise InputError(f"--ranks is {options.ranks}; scaling needs at least 2")
        if options.baseline is None and options.baseline_python != sys.executable:
            raise InputError("--baseline-python is for --baseline DIR; add it, or leave this out")
        if options.baseline is not None:
            if "scale" in options.parts:
                raise InputError("--baseline is not for scale; leave one of them out")
            options.baseline = options.baseline.absolute()
            race.program_of(options.baseline)
        if options.json:
            paths.check_file(options.json, "--json")
        found = machine.describe(options)
        if found.get("mindspore of the baseline", "") is None:
            raise InputError(
                f"--baseline-python {options.baseline_python} has no mindspore; give the "
                "interpreter of an environment that has it"
            )
        opponents = _opponents(options, has_torch=found["torch"] is not None)
        if any(name.startswith("torch") for name in opponents) and found["torch"] is None:
            raise InputError(
                f"{options.torch_python} has no torch: pip install torch==2.13.0 (CPU build) into "
                "an environment of its own and pass --torch-python"
            )
        _check_compiler(opponents)
        print(", ".join(f"{name} {value}" for name, value in found.items()), flush=True)
        results = {}
        for part in options.parts or PARTS:
            if part == "scale":
                results[part] = scale.measure(options)
                print("\n" + scale.table(results[part], options), flush=True)
                continue
            contestants = ("ours", race.BASELINE, *PARTS[part].contestants)
            names = ["ours", *(name for name in opponents if name in contestants)]
            results[part] = race.run(part, names, options)
            print("\n" + race.table(PARTS[part].round, results[part], options), flush=True)
        if options.json:
            settings = {"crop": options.crop, "workers": options.workers, "rounds": options.rounds}
            if {"train", "infer", "predict", "eval"} & {*(options.parts or PARTS)}:
                settings["arch"] = options.arch
            if options.fc_width is not None:
                settings["fc_width"] = options.fc_width
            if "loss" in (options.parts or PARTS):
                settings["loss"] = options.loss
            if "pipeline" in (options.parts or PARTS):
                settings["augment"] = options.augment
            if {"predict", "eval"} & {*(options.parts or PARTS)}:
                settings["pictures"] = options.pictures
            if options.baseline is not None:
                settings["baseline"] = options.baseline
            options.json.absolute().parent.mkdir(parents=True, exist_ok=True)
            files.write_json(
                options.json, {"machine": found, "settings": settings, "parts": results}
            )
