"""Scores one checkpoint in several engines, on the same images.

The checkpoint is computed by MindSpore, and exported, in float32 and in 8-bit integers, by ONNX
Runtime; with --torch by PyTorch, too. Each image goes through one after the other, so that what
else the machine does slows all of them alike. The table is one of mean IoU, pixel accuracy, class
ids that differ from MindSpore's, time in the network; then the sizes of the files.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcn8s_ms import checkpoint, device, export_network, records
from fcn8s_ms.errors import InputError, check_package, reported_by
from fcn8s_ms.evaluation import in_turn, int8, predictions
from fcn8s_ms.formats import checkpoints
from fcn8s_ms.inference import Segmenter
from fcn8s_ms.network.architectures import recognise
from fcn8s_ms.options import Parser

_PROGRAM = "python tools/compare_engines.py"
_EXAMPLES = f"""examples:
  a run, on the images that it was validated on:
    {_PROGRAM} --checkpoint runs/camvid --data dataset/camvid_val.mindrecord \\
        --calibration-data dataset/camvid_train.mindrecord --torch
  MindSpore and ONNX Runtime alone, on twenty images:
    {_PROGRAM} --checkpoint FCN8s.ckpt --data dataset/val.mindrecord \\
        --images 20
"""


class TorchEngine:
    """Computes a checkpoint's network with PyTorch, eager, for `fcn8s_ms.inference.Predictor`.

    Args:
        arrays: parameters by MindSpore's names.
        multiple: height and width of a batch are multiples of it.
    """

    def __init__(self, arrays: dict[str, np.ndarray], multiple: int):
        import torch

        found = recognise({name: array.shape for name, array in arrays.items()})
        if found.architecture.family == "vgg":
            import torch_fcn8s

            network = torch_fcn8s.ARCHITECTURES[found.arch](found.num_classes, **found.arguments)
            torch_fcn8s.load_mindspore(network, arrays)
        elif found.architecture.family == "resnet":
            import torch_fcn_resnet

            network = torch_fcn_resnet.FCNResNet(found.arch, found.num_classes, **found.arguments)
            torch_fcn_resnet.from_mindspore(network, arrays)
        else:
            raise InputError(f"--torch is for the other networks, not for {found.arch}")
        self.n_class, self.multiple = found.num_classes, multiple
        self.name = f"PyTorch {torch.__version__}, CPU"
        self._network = network.eval()

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Logits of a batch: float32 (N, n_class, H, W)."""
        import torch

        with torch.inference_mode():
            return self._network(torch.from_numpy(batch)).numpy()

    def class_ids(self, batch: np.ndarray) -> np.ndarray:
        """Class ids of a batch: int32 (N, H, W)."""
        import torch

        with torch.inference_mode():
            return self._network(torch.from_numpy(batch)).argmax(1).to(torch.int32).numpy()


def get_parser() -> argparse.ArgumentParser:
    """Command line of the comparison."""
    parser = Parser(
        prog=_PROGRAM, description=" ".join(__doc__.split("\n\n")[1].split()), epilog=_EXAMPLES
    )
    add = parser.add_argument
    add(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="FILE",
        help="Score this checkpoint, or the best one of a run's folder.",
    )
    add(
        "--data",
        type=Path,
        required=True,
        metavar="FILE",
        help="Score on the images of this MindRecord file.",
    )
    add(
        "--calibration-data",
        type=Path,
        metavar="FILE",
        help="Measure the ranges of the 8-bit integers on 32 images of this MindRecord file, best "
        "that of the training (default: leave out 8-bit integers).",
    )
    add(
        "--images",
        type=int,
        default=1000,
        metavar="N",
        help="Score at most this many images, spread over the record (default: %(default)s).",
    )
    add("--torch", action="store_true", help="Compute the network with PyTorch, too.")
    return parser


def compare(options: argparse.Namespace) -> tuple[dict[str, in_turn.Standing], dict[str, int]]:
    """Scores the engines one after the other on each image.

    Args:
        options: of the command line.

    Returns:
        Results, and sizes of the files in bytes, by engine.

    Raises:
        InputError: a file cannot be used, or a package is not installed.
    """
    if options.images < 1:
        raise InputError(f"--images is {options.images}; it must be positive")
    for name, extra in [("onnxruntime", "onnx"), *([("torch", "bench")] if options.torch else [])]:
        check_package(name, "the comparison", f'pip install -e ".[{extra}]"')
    path = checkpoints.chosen(options.checkpoint)
    device.configure("CPU")
    arrays = _arrays(path)
    classes = recognise({name: array.shape for name, array in arrays.items()}).num_classes
    given = {"data": options.data, "calibration_data": options.calibration_data}
    int8.check_records(path, classes, **given)
    total = min(records.open_record(options.data)[1], options.images)
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary, "float32.onnx")
        export_network(checkpoint=path, output=whole)
        paths = {"MindSpore": path, "ONNX Runtime": whole}
        if options.calibration_data is not None:
            small = whole.with_name("int8.onnx")
            export_network(
                checkpoint=path,
                output=small,
                int8=True,
                calibration_data=options.calibration_data,
                check_images=4,
                max_drop=1.0,
            )
            paths["ONNX Runtime, 8-bit integers"] = small
        segmenters = {name: Segmenter.from_checkpoint(one) for name, one in paths.items()}
        own = segmenters["MindSpore"]
        engines = {name: one.predictor.engine for name, one in segmenters.items()}
        sizes = {name: one.stat().st_size for name, one in paths.items()}
        if options.torch:
            engines["PyTorch"] = TorchEngine(arrays, own.predictor.engine.multiple)
            sizes["PyTorch"] = sizes["MindSpore"]
        samples = predictions.spread_samples(options.data, options.images, classes)
        standings = in_turn.score_in_turn(
            engines, _shown(samples, total), resize=own.resize_of_training
        )
    return standings, sizes


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Parameters of the network in a checkpoint, without those of its training."""
    parameters = checkpoint.load_network(path).parameters_dict()
    return {name: one.asnumpy() for name, one in parameters.items()}


def _shown(samples, total: int):
    yield from tqdm(samples, desc="scoring", total=total, unit="image")


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    options = get_parser().parse_args(argv)
    with reported_by(_PROGRAM):
        standings, sizes = compare(options)
        print(in_turn.table(standings))
        print("MB:", ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
