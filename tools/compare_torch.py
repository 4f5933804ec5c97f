"""Trains the same network here and in PyTorch: `python tools/compare_torch.py --torch-python PATH`.

The training program trains from stored initial weights; PyTorch trains from the same weights, on
the same batches, with the same learning rates. The losses are printed side by side. They part in
the end, for rounding differs and training multiplies it, but have to agree in the first steps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from narrow import NARROW, flags

from fcn8s_ms import files, voc
from fcn8s_ms.errors import InputError, reported_by
from fcn8s_ms.options import Parser

_PROGRAM = "python tools/compare_torch.py"
_EXAMPLES = f"""examples:
  with the PyTorch of another environment:
    {_PROGRAM} --torch-python ~/torch/bin/python
  on a record, with a network of few channels:
    {_PROGRAM} --data dataset/train.mindrecord --narrow
"""
_BATCH = 4
_TOLERANCE, _STEPS_TO_AGREE = 1e-3, 10


def _train_torch(folder: Path) -> None:
    """PyTorch's side, in its own interpreter: losses of every step, into the folder."""
    import torch
    from torch.nn import functional
    from torch_fcn8s import FCN8s, load_mindspore

    settings = json.loads((folder / "settings.json").read_text())
    weights = np.load(folder / "weights.npz")
    network = FCN8s(settings["num_classes"], **settings["network"])
    load_mindspore(network, weights)
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0, momentum=0.9, weight_decay=1e-4)
    losses = []
    for step, rate in enumerate(settings["learning_rates"]):
        batch = np.load(folder / f"batch{step}.npz")
        images, label = torch.from_numpy(batch["data"]), torch.from_numpy(batch["label"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        logits = network(images)
        loss = functional.cross_entropy(logits, label.long(), ignore_index=settings["ignore_label"])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    (folder / "torch.json").write_text(json.dumps(losses))


def _prepare(options, folder: Path) -> tuple[Path, int]:
    """Puts weights and batches for both sides into the folder.

    Returns:
        The record that the batches are of, and the number of its classes.
    """
    import mindspore as ms

    from fcn8s_ms import checkpoint, device, model, records
    from fcn8s_ms.dataset import SegDataset
    from fcn8s_ms.records.demo import build_records

    device.configure("CPU")
    record = options.data or build_records(folder / "sample")["train"]
    metadata = records.read_metadata(record)
    num_classes = len(metadata.classes) if metadata else voc.NUM_CLASSES
    ms.set_seed(options.seed)
    network = model.FCN8s(num_classes, **(NARROW if options.narrow else {}))
    checkpoint.save(network, folder / "weights.ckpt", {})
    weights = {one.name: one.asnumpy() for one in network.get_parameters()}
    np.savez(folder / "weights.npz", **weights)
    data = SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        record,
        batch_size=_BATCH,
        crop_size=options.crop,
        num_classes=num_classes,
        num_readers=1,
        num_parallel_calls=1,
        seed=options.seed,
    )
    dataset = data.get_dataset()
    epochs = -(-options.steps // dataset.get_dataset_size())
    iterator = dataset.create_dict_iterator(num_epochs=epochs, output_numpy=True)
    batches = (batch for _ in range(epochs) for batch in iterator)
    for step, batch in zip(range(options.steps), batches):
        np.savez(folder / f"batch{step}.npz", **batch)
    return record, num_classes


def _train_here(options, folder: Path) -> list[float]:
    """Prepares both sides, and trains with the training program.

    Raises:
        InputError: the training failed.
    """
    record, num_classes = _prepare(options, folder)
    run = folder / "run"
    command = [sys.executable, "-m", "fcn8s_ms.train"]
    command += (
        ["--data", str(record), "--pretrained", str(folder / "weights.ckpt"), "--output", str(run)]
        + ["--steps", str(options.steps), "--batch-size", str(_BATCH), "--workers", "1"]
        + ["--crop-size", str(options.crop), "--seed", str(options.seed), "--device", "CPU"]
        + ["--base-lr", str(options.base_lr), "--save-every", str(options.steps), "--keep", "1"]
        + (flags(NARROW) if options.narrow else [])
    )
    status = subprocess.run(command, check=False).returncode
    if status:
        raise InputError(f"the training here ended with status {status}; see above")
    lines = files.read_json_lines(run / "log.jsonl")
    settings = {
        "num_classes": num_classes,
        "network": NARROW if options.narrow else {},
        "learning_rates": [line["lr"] for line in lines],
        "ignore_label": voc.IGNORE_LABEL,
    }
    files.write_json(folder / "settings.json", settings)
    return [line["loss"] for line in lines]


def get_parser() -> argparse.ArgumentParser:
    """Command line of the comparison."""
    parser = Parser(
        prog=_PROGRAM, description=" ".join(__doc__.split("\n\n")[1].split()), epilog=_EXAMPLES
    )
    add = parser.add_argument
    add("--data", type=Path, help="Train on this MindRecord file (default: the drawn sample).")
    add(
        "--crop",
        type=int,
        default=128,
        help="Give the crops this side in pixels (default: %(default)s).",
    )
    add(
        "--steps",
        type=int,
        default=50,
        help="Train this many steps of four crops (default: %(default)s).",
    )
    add(
        "--base-lr",
        type=float,
        default=0.05,
        help="Start the cosine with this learning rate (default: %(default)s).",
    )
    add(
        "--seed",
        type=int,
        default=1,
        help="Draw weights and crops with this seed (default: %(default)s).",
    )
    add("--narrow", action="store_true", help="Train a network of few channels, for a quick look.")
    add("--json", type=Path, help="Write the losses to this file.")
    add(
        "--torch-python",
        metavar="PATH",
        default=sys.executable,
        help="Run PyTorch with this interpreter, whose environment has torch and numpy (default: "
        "this one).",
    )
    add("--torch-side", type=Path, help=argparse.SUPPRESS)
    return parser


def _check_torch(python: str) -> None:
    """Raises InputError if an interpreter cannot run PyTorch's side."""
    try:
        done = subprocess.run(
            [python, "-c", "import numpy, torch"], check=False, capture_output=True, text=True
        )
    except OSError as error:
        raise InputError(
            f"--torch-python {python} cannot be run ({error.strerror}); give the path of a Python "
            "interpreter"
        ) from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise InputError(
            f"--torch-python {python} cannot import torch and numpy "
            f"({' '.join(last) or 'no message'}); pip install torch==2.13.0 numpy into an "
            "environment of its own, and give its interpreter"
        )


def compare(options) -> dict:
    """Trains on both sides.

    Returns:
        dict of the losses `here` and in `torch`, and their `relative` differences, step by step.

    Raises:
        InputError: a side failed, or PyTorch's cannot start; this is seen before the other trains.
    """
    _check_torch(options.torch_python)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        here = _train_here(options, folder)
        command = [options.torch_python, __file__, "--torch-side", str(folder)]
        root = str(Path(__file__).absolute().parents[1])
        environment = {**os.environ, "PYTHONPATH": root}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            raise InputError(f"{options.torch_python} failed: {' '.join(last) or 'no message'}")
        there = json.loads((folder / "torch.json").read_text())
    relative = [abs(one - other) / abs(other) for one, other in zip(here, there)]
    return {"here": here, "torch": there, "relative": relative}


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    options = get_parser().parse_args(argv)
    if options.torch_side:
        _train_torch(options.torch_side)
        return
    with reported_by(_PROGRAM):
        result = compare(options)
        print("step    here        torch       relative difference")
        for step, row in enumerate(zip(*result.values()), 1):
            print(f"{step:4}  {row[0]:10.6f}  {row[1]:10.6f}  {row[2]:12.2e}")
        if options.json:
            files.write_json(options.json, result)
        worst = max(result["relative"][:_STEPS_TO_AGREE])
        print(f"largest relative difference of the first {_STEPS_TO_AGREE} steps: {worst:.2e}")
        if worst > _TOLERANCE:
            raise InputError(f"that is more than {_TOLERANCE:g}")


if __name__ == "__main__":
    main()
