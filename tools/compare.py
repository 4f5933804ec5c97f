"""Trains FCN-32s, FCN-16s and FCN-8s alike and shows what they learn: `python tools/compare.py`.

Each is trained by the training program, in a process of its own, on the same data in the same
order, with the same seed; on the drawn sample unless --data says otherwise. Flags that are not
listed here are passed on to the training program, such as --epochs 20 --pretrained vgg16.ckpt
--backbone vgg19 --freeze-bn.

OUTPUT holds a folder for each run, curves.png (loss, mean IoU and pixel accuracy side by side),
predictions.png (images, truth, and what each network sees), and comparison.json.
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import narrow

from fcn8s_ms import device, files
from fcn8s_ms.errors import InputError, reported_by
from fcn8s_ms.network import architectures
from fcn8s_ms.options import Parser
from fcn8s_ms.records import demo
from fcn8s_ms.training import arguments
from fcn8s_ms.training.run_folder import RunFolder

_PROGRAM = "python tools/compare.py"
_EXAMPLES = f"""examples:
  the drawn sample, with networks of few channels:
    {_PROGRAM} --narrow --epochs 8
  your own records:
    {_PROGRAM} --data dataset/train.mindrecord \\
        --val-data dataset/val.mindrecord --epochs 20
"""
_SCORES = ("mean IoU", "pixel accuracy", "mean pixel accuracy", "frequency weighted IoU")
# The sample's preset, longer and with a validation an epoch, so that there are curves to see.
_SAMPLE_FLAGS = {**demo.PRESET, "epochs": 6, "val_every": 1}
# Of the training program, but decided here.
_TAKEN = ("--sample", "--download", "--resume")


def get_parser() -> argparse.ArgumentParser:
    """Command line of the comparison."""
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s [flags] [flags of python -m fcn8s_ms.train]",
        description=__doc__.split("\n\n", 1)[1],
        epilog=_EXAMPLES,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", type=Path, help="Train on this MindRecord file (default: the drawn sample).")
    add("--val-data", type=Path, help="With --data: validate on this MindRecord file.")
    add(
        "--arch",
        nargs="+",
        choices=architectures.ARCHITECTURES,
        metavar="NAME",
        default=list(architectures.TUTORIAL),
        help="Train these networks in this order (default: fcn32s fcn16s fcn8s), of "
        f"{', '.join(architectures.ARCHITECTURES)}.",
    )
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="Write the results into this folder (default: runs/compare-<date-time>).",
    )
    add("--pictures", type=int, default=4, help="Show this many images (default: %(default)s).")
    add("--narrow", action="store_true", help="Train networks of few channels, for a quick look.")
    return parser


def _name(arch: str) -> str:
    return architectures.ARCHITECTURES[arch].title


def _sample_preset(arch: str, given) -> list[str]:
    """The preset as flags; what is given on the command line comes after it and wins."""
    flags = []
    takes = architectures.ARCHITECTURES[arch].takes
    for name, value in _SAMPLE_FLAGS.items():
        if takes(name) and (name != "epochs" or "--steps" not in given):
            flags += ["--" + name.replace("_", "-"), str(value)]
    return flags


def _run(arch: str, flags) -> None:
    """Trains in a process of its own: the memory of one network at a time.

    Raises:
        InputError: the training failed or was stopped.
    """
    process = subprocess.Popen([sys.executable, "-m", "fcn8s_ms.train", *flags])
    # Ctrl-C reaches the training by itself, SIGTERM is handed on: it saves before it ends.
    handlers = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        status = process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if status:
        raise InputError(f"the training of {_name(arch)} ended with status {status}; see above")


def _result(path: Path) -> dict:
    """Log and scores of a finished run."""
    folder = RunFolder.of(path)
    metrics = files.read_json(folder.metrics)
    return {
        "steps": files.read_json_lines(folder.log),
        "validations": files.read_json_lines(folder.validations),
        "metrics": metrics,
    }


def table(results: dict) -> str:
    """A line a network: last loss (mean of a tenth of the steps), scores of the best, seconds.

    Args:
        results: architecture to what `_result` returns.
    """
    width = max(8, *(len(_name(arch)) for arch in results))
    lines = [f"{'':{width}} {'steps':>6} {'loss':>8}  " + "  ".join(_SCORES) + "  seconds"]
    for arch, result in results.items():
        losses = [step["loss"] for step in result["steps"]]
        last = losses[-max(len(losses) // 10, 1) :]
        best = result["metrics"]["best"]
        scores = "  ".join(f"{best[score]:{len(score)}.4f}" for score in _SCORES)
        lines.append(
            f"{_name(arch):{width}} {len(losses):6} {sum(last) / len(last):8.4f}  {scores}  "
            f"{result['metrics']['seconds']:7.0f}"
        )
    return "\n".join(lines)


def compare(options, given) -> dict:
    """Trains, and writes what the module says.

    Args:
        options: of `get_parser`.
        given: flags for the training program.

    Returns:
        Architecture to dict of `steps`, `validations` and `metrics`, as the run left them.

    Raises:
        InputError: flags or data cannot be used, or a training failed.
    """
    for flag in _TAKEN:
        if any(one == flag or one.startswith(flag + "=") for one in given):
            raise InputError(f"{flag} is of a single training; leave it out")
    if options.pictures < 1:
        raise InputError(f"--pictures is {options.pictures}; it must be positive")
    if (options.data is None) != (options.val_data is None):
        raise InputError("--data and --val-data go together: the scores are those of --val-data")
    output = options.output or Path("runs") / time.strftime("compare-%Y%m%d-%H%M%S")
    if output.exists() and any(output.iterdir()):
        raise InputError(f"{output.absolute()} exists and is not empty; choose another --output")

    data, val_data = options.data, options.val_data
    if options.data is None:
        data, val_data = (output / "sample" / f"{split}.mindrecord" for split in ("train", "val"))

    def flags_of(arch: str) -> list[str]:
        flags = ["--data", str(data), "--val-data", str(val_data), "--arch", arch]
        if options.narrow:
            flags += narrow.flags(narrow.NARROW, arch)
        if options.data is None:
            flags += _sample_preset(arch, given)
        return [*flags, *given]

    # A wrong flag ends it here.
    chosen = [arguments.parse(flags_of(arch)) for arch in options.arch][0].device
    output.mkdir(parents=True, exist_ok=True)
    if options.data is None:
        from fcn8s_ms.records.demo import build_records

        print(f"Drawing the sample into {data.parent} …", flush=True)
        build_records(data.parent)

    results = {}
    for arch in options.arch:
        print(f"\n{_name(arch)}", flush=True)
        run = output / arch
        _run(arch, [*flags_of(arch), "--output", str(run)])
        results[arch] = _result(run)
    device.configure(chosen.device, device_id=chosen.device_id, mode=chosen.mode)
    _show(output, results, val_data, options.pictures)
    return results


def _show(output: Path, results: dict, val_data: Path, pictures: int) -> None:
    """Draws and prints what came of the runs."""
    from fcn8s_ms import evaluation, records, visualize
    from fcn8s_ms.inference import Segmenter

    names = [_name(arch) for arch in results]
    runs = {
        _name(arch): visualize.Course(result["steps"], result["validations"])
        for arch, result in results.items()
    }
    visualize.runs_curves(output / "curves.png", runs)
    rows = []
    for arch in results:
        segmenter = Segmenter.from_checkpoint(RunFolder.of(output / arch).best)
        shown = evaluation.predict_first(segmenter.predictor, val_data, pictures)
        rows = [
            [*row, prediction]
            for row, (*_, prediction) in zip(rows or [one[:3] for one in shown], shown)
        ]
    first = next(iter(results.values()))["metrics"]
    classes, palette = records.class_names(
        len(first["validation"]["per class"]), records.read_metadata(val_data)
    )
    title = f"{val_data.name}, the best of {first['train']['steps']} steps each"
    picture = output / "predictions.png"
    visualize.prediction_grid(picture, rows, classes, palette, title, networks=names)
    files.write_json(
        output / "comparison.json",
        {arch: result["metrics"] for arch, result in results.items()},
    )
    print(f"\n{table(results)}")
    print(
        f"Scores of the best validation. Protocol: {first['validation']['protocol']}.\n"
        f"Look at {output / 'curves.png'} and {output / 'predictions.png'}."
    )


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    options, given = get_parser().parse_known_args(argv)
    with reported_by(_PROGRAM):
        compare(options, given)


if __name__ == "__main__":
    main()
