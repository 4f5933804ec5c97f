"""Converts published weights for use here: `python tools/convert_weights.py SOURCE OUTPUT`.

SOURCE is recognised by itself:

  torchvision   fcn_resnet50, fcn_resnet101; resnet50, resnet101; VGG-16, VGG-19 (.pth)
  timm          resnet50, resnet101; VGG-16, VGG-19 (.pth)
  MindCV        resnet50, resnet101; VGG-16, VGG-19 (.ckpt); MindSpore's model zoo: VGG-16
  the FCN paper FCN-32s, FCN-16s, FCN-8s, of pytorch-fcn (.pth) or the authors (.caffemodel)
  Keras, Caffe  VGG-16, VGG-19, with or without fully connected layers (.h5, .caffemodel)
  ONNX          a file that keeps the names of one of the above

Any of them may be a .safetensors file instead. OUTPUT is a checkpoint: of a whole network for every
program, of a backbone for `--pretrained`. Files are read as data, pickles (.pth) as weights only.
"""

import argparse
import dataclasses
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcn8s_ms import files
from fcn8s_ms.errors import InputError, command, listing, reported_by
from fcn8s_ms.formats import (
    caffe_file,
    checkpoints,
    hdf5_file,
    onnx_file,
    paths,
    safetensors_file,
)
from fcn8s_ms.network import conversion, vgg_weights
from fcn8s_ms.network.converted import Conversion
from fcn8s_ms.options import Parser
from fcn8s_ms.transforms import STRIDE, check_crops

_PROGRAM = "python tools/convert_weights.py"
_EXAMPLES = f"""examples:
  torchvision's FCN, to predict with:
    {_PROGRAM} fcn_resnet50_coco-1167a1af.pth fcn_resnet50.ckpt
  a VGG-16 to train from, calibrated on one's own data:
    {_PROGRAM} vgg16.pth vgg16.ckpt \\
        --calibrate dataset/train.mindrecord
"""
_DAMAGED = "it is damaged, cut short or of another kind; fetch or save it again"


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path}: reading {path.suffix} needs PyTorch (pip install torch; its CPU build will "
            "do); or convert a .safetensors file, which does not need it"
        ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than weights, which is not loaded for safety, or is damaged; save "
            "its state_dict() with torch.save, or fetch it again"
        ) from error
    except (RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise InputError(f"{path} cannot be read: {_DAMAGED}") from error
    # Training programs save the weights among other things, or under a wrapper's names.
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise InputError(f"{path} does not hold weights by name; save a network's state_dict()")
    return {
        str(name): value.detach().to(torch.float32).numpy()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return dict(safetensors_file.read(path))
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error}): {_DAMAGED}") from error


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    try:
        return hdf5_file.read(path)
    except ImportError:
        raise InputError(
            f"{path}: reading {path.suffix} needs h5py: pip install -e '.[convert]'"
        ) from None
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error}): {_DAMAGED}") from error


def _read_protobuf(
    reader: Callable[[bytes], dict[str, np.ndarray]], path: Path
) -> dict[str, np.ndarray]:
    try:
        return reader(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error}): {_DAMAGED}") from error


def _read_mindspore(path: Path) -> dict[str, np.ndarray]:
    import mindspore as ms

    from fcn8s_ms import checkpoint

    return {
        name: parameter.astype(ms.float32).asnumpy()
        for name, parameter in checkpoint.read(path).items()
    }


_READERS = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".safetensors": _read_safetensors,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".caffemodel": partial(_read_protobuf, caffe_file.read),
    ".onnx": partial(_read_protobuf, onnx_file.read_weights),
    ".ckpt": _read_mindspore,
}


def read(path: files.PathLike) -> dict[str, np.ndarray]:
    """Arrays of a file by name.

    Raises:
        InputError: the file is missing, damaged or of an unknown kind, or a package is missing.
    """
    path = Path(path).absolute()
    if path.suffix not in _READERS:
        raise InputError(f"{path} is of an unknown kind; convert one of {listing(_READERS)}")
    if not path.is_file():
        raise InputError(f"{path} is missing; check the path")
    return _READERS[path.suffix](path)


def calibrated(found: Conversion, record: Path, count: int, crop_size: int) -> Conversion:
    """Gives the BatchNorms of a VGG without them the statistics of training crops.

    Args:
        found: the converted weights.
        record: MindRecord file to train on.
        count: number of crops.
        crop_size: side of the crops, in pixels.

    Raises:
        InputError: the source is not a VGG without BatchNorm, or the record cannot be used.
    """
    from fcn8s_ms import device, records, voc
    from fcn8s_ms.dataset import SegDataset
    from fcn8s_ms.network.calibration import calibrate

    if not isinstance(found, vgg_weights.VggConversion):
        raise InputError("the source is not a VGG, and --calibrate is for VGG only; leave it out")
    if found.batch_norm:
        raise InputError("the source has BatchNorm and its statistics; leave out --calibrate")
    device.configure("CPU", mode="pynative")
    metadata = records.read_metadata(record)
    data = SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        record,
        batch_size=1,
        crop_size=crop_size,
        num_classes=len(metadata.classes) if metadata else 256,  # classes do not matter here
        num_readers=1,
        num_parallel_calls=1,
        seed=1,
    )
    epochs = -(-count // data.num_samples)
    batches = data.get_dataset().create_tuple_iterator(num_epochs=epochs, output_numpy=True)
    crops: list[np.ndarray] = []
    with tqdm(total=count, unit="crop", desc="calibration") as bar:
        try:
            for _ in range(epochs):
                for images, _ in batches:
                    if len(crops) < count:
                        crops.append(images[0])
                        bar.update()
        except RuntimeError as error:
            raise data.explain(error) from error
    calibration = {"record": paths.portable(record), "crops": count, "crop_size": crop_size}
    parameters = calibrate(found.parameters, crops)
    return dataclasses.replace(found, parameters=parameters, calibration=calibration)


def write(path: files.PathLike, found: Conversion, source: Path) -> None:
    """Writes the checkpoint, and next to it a JSON that states its source.

    Args:
        path: the checkpoint.
        found: the converted weights.
        source: file that was converted.

    Raises:
        InputError: the file cannot be written.
    """
    import mindspore as ms

    from fcn8s_ms import checkpoint

    parameters = [
        ms.Parameter(ms.Tensor(array), name=name) for name, array in found.parameters.items()
    ]
    metadata = {
        "source": paths.portable(source),
        "source_sha256": files.sha256(source),
        "layout": found.layout,
        **found.facts,
        "converted": list(found.parameters),
        "left": found.left,
    }
    checkpoint.save(ms.nn.Cell(), path, metadata, parameters)


def get_parser() -> argparse.ArgumentParser:
    """Command line of the conversion."""
    parser = Parser(
        prog=_PROGRAM,
        description=(__doc__ or "").partition("\n\n")[2],
        usage="%(prog)s [flags] SOURCE OUTPUT",
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="Read the weights from this file.")
    add(
        "output",
        type=Path,
        metavar="OUTPUT",
        help="Write the checkpoint to this file, .ckpt or .safetensors.",
    )
    add(
        "--without-fc",
        action="store_true",
        help="Leave out fc6 and fc7 of a VGG, the later conv6 and conv7.",
    )
    add(
        "--paper",
        action="store_true",
        help="Convert a VGG-16 without BatchNorm to start the paper's networks (--arch "
        "fcn32s_paper) from.",
    )
    add(
        "--scales",
        action="store_true",
        help="Convert the paper's networks as trained at once, with factors 0.01 and 0.0001 on "
        "pool4 and pool3, which only a .caffemodel tells by itself.",
    )
    add(
        "--preprocessing",
        choices=tuple(vgg_weights.PREPROCESSING),
        help="Take this for the input of a VGG. torchvision: RGB minus mean, divided by standard "
        "deviation (default except for Keras and Caffe); caffe: BGR minus the original network's "
        "mean (default for these two); caffe-rgb: the same in RGB, as torchvision's "
        "IMAGENET1K_FEATURES.",
    )
    add(
        "--calibrate",
        type=Path,
        metavar="RECORD",
        help="Give a VGG without BatchNorm the statistics of crops of this MindRecord file to "
        "train on, which keeps its features in training.",
    )
    add(
        "--calibrate-crops",
        type=int,
        default=48,
        metavar="N",
        help="Take the statistics of this many crops (default: %(default)s).",
    )
    add(
        "--calibrate-crop-size",
        type=int,
        default=160,
        metavar="PIXELS",
        help="Give these crops this side in pixels, best that of the training (default: "
        "%(default)s).",
    )
    return parser


def _check_calibration(options: argparse.Namespace) -> None:
    """Checks the flags of the calibration and its record, before the weights are read.

    Raises:
        InputError: the record is missing or damaged, or a number is out of range.
    """
    if options.calibrate is None:
        return
    if options.paper:
        raise InputError("--calibrate is for BatchNorm, which --paper has none of; leave one out")
    from fcn8s_ms import records

    if options.calibrate_crops < 2:
        raise InputError(f"--calibrate-crops is {options.calibrate_crops}; take at least 2")
    size = options.calibrate_crop_size
    if size < 1 or size % STRIDE:
        raise InputError(f"--calibrate-crop-size is {size}; take a multiple of {STRIDE}")
    check_crops(
        options.calibrate_crops, (size, size), "--calibrate-crops and --calibrate-crop-size"
    )
    records.open_record(options.calibrate)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the program.

    Args:
        argv: arguments without the program's name; those of this process by default.
    """
    options = get_parser().parse_args(argv)
    with reported_by(_PROGRAM):
        if options.output.suffix[1:] not in checkpoints.FORMATS:
            raise InputError(
                f"OUTPUT is {options.output}; give it a name that ends in .ckpt or .safetensors"
            )
        if options.output.absolute() == options.source.absolute():
            raise InputError(f"{options.output} is SOURCE too; choose another OUTPUT")
        paths.check_file(options.output, "OUTPUT")
        _check_calibration(options)
        arrays = read(options.source)
        try:
            found = conversion.convert(
                arrays,
                with_fc=not options.without_fc,
                preprocessing=options.preprocessing,
                at_once=options.scales,
                for_paper=options.paper,
            )
        except InputError as error:
            raise InputError(f"{options.source.absolute()}: {error}") from error
        if options.calibrate is not None:
            crops, size = options.calibrate_crops, options.calibrate_crop_size
            found = calibrated(found, options.calibrate, crops, size)
        write(options.output, found, options.source)
        print(found.report)
        print("Next:")
        if found.segments:
            print(f"  {command('predict', '--checkpoint', options.output, 'PICTURE')}")
        flags = f" {found.flags}" if found.flags else ""
        data = options.calibrate or "FILE"
        print(f"  {command('train', '--data', data, '--pretrained', options.output)}{flags}")


if __name__ == "__main__":
    main()
