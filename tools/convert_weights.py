"""Converts a published VGG to start training from: `python tools/convert_weights.py SOURCE OUTPUT`.

SOURCE is VGG-16 or VGG-19, with or without BatchNorm:

  .pth .pt       of torchvision or timm (read by PyTorch, weights only)
  .safetensors   the same
  .h5 .hdf5      of Keras, with or without the fully connected layers ("notop")
  .ckpt          of MindSpore's model zoo or MindCV

OUTPUT is a checkpoint for `--pretrained`. In evaluation mode, and in training with `--freeze-bn`,
an image has the same features as in the source; `fcn8s_ms/network/vgg_weights.py` explains how.
"""

import argparse
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcn8s_ms import files
from fcn8s_ms.errors import InputError, listing, reported_by
from fcn8s_ms.formats import checkpoints, paths
from fcn8s_ms.network import vgg_weights

_PROGRAM = "python tools/convert_weights.py"
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
        str(name).removeprefix("module."): value.detach().to(torch.float32).numpy()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError  # MindSpore needs the package too
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read: {_DAMAGED}") from error
    except (KeyError, TypeError) as error:  # a type that numpy lacks
        raise InputError(f"{path} holds numbers of type {error}; save it as float32") from error


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{path}: reading {path.suffix} needs h5py: pip install -e '.[convert]'"
        ) from None
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            arrays[name] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(add)
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path} cannot be read: {_DAMAGED}") from error
    return arrays


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


def write(path: files.PathLike, conversion: vgg_weights.Conversion, source: Path) -> None:
    """Writes the checkpoint, and next to it a JSON that states its source.

    Args:
        path: the checkpoint.
        conversion: its parameters.
        source: file that was converted.

    Raises:
        InputError: the file cannot be written.
    """
    import mindspore as ms

    from fcn8s_ms import checkpoint

    parameters = [
        ms.Parameter(ms.Tensor(array), name=name) for name, array in conversion.parameters.items()
    ]
    metadata = {
        "source": paths.portable(source),
        "source_sha256": files.sha256(source),
        "layout": conversion.layout,
        "backbone": conversion.backbone,
        "preprocessing": conversion.preprocessing,
        "batch_norm": conversion.batch_norm,
        "converted": list(conversion.parameters),
        "left": conversion.left,
    }
    checkpoint.save(ms.nn.Cell(), path, metadata, parameters)


def report(conversion: vgg_weights.Conversion) -> str:
    """Summary of what was converted and what was left out, in a few lines."""
    convolutions = [
        array.shape
        for name, array in conversion.parameters.items()
        if name.endswith(".weight") and name[:5] not in ("conv6", "conv7")
    ]
    numbers = sum(array.size for array in conversion.parameters.values())
    kind = "BatchNorm and its moving statistics" if conversion.batch_norm else "no BatchNorm"
    lines = [
        f"{conversion.layout}, {conversion.backbone}: {len(convolutions)} convolutions with {kind}",
        f"converted: {len(conversion.parameters)} parameters ({numbers:,} numbers), conv1 to "
        + (
            "conv7"
            if conversion.fc
            else "conv5; conv6 and conv7 are not there and start from random weights"
        ),
        f"input of the source: {conversion.preprocessing}; of the result: this package's",
    ]
    # PyTorch counts batches in every BatchNorm.
    left = [name for name in conversion.left if not name.endswith("num_batches_tracked")]
    if left:
        lines.append(f"left out: {listing(left, 8)}")
    if not conversion.batch_norm:
        lines.append("The source has no BatchNorm: its features are kept only with --freeze-bn")
    return "\n".join(lines)


def get_parser() -> argparse.ArgumentParser:
    """Command line of the conversion."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="file with the weights of VGG-16 or VGG-19")
    add("output", type=Path, metavar="OUTPUT", help="checkpoint to write (.ckpt, .safetensors)")
    add(
        "--without-fc", action="store_true", help="leave out fc6 and fc7, the later conv6 and conv7"
    )
    add(
        "--preprocessing",
        choices=tuple(vgg_weights.PREPROCESSING),
        help="input of SOURCE. torchvision: RGB minus mean, divided by standard deviation (default "
        "except for Keras); caffe: BGR minus the original network's mean (default for Keras); "
        "caffe-rgb: the same in RGB, as torchvision's IMAGENET1K_FEATURES",
    )
    return parser


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
        arrays = read(options.source)
        try:
            conversion = vgg_weights.convert(
                arrays,
                with_fc=not options.without_fc,
                preprocessing=options.preprocessing,
            )
        except InputError as error:
            raise InputError(f"{options.source.absolute()}: {error}") from error
        write(options.output, conversion, options.source)
        print(report(conversion))
        backbone = "" if conversion.backbone == "vgg16" else f" --backbone {conversion.backbone}"
        frozen = "" if conversion.batch_norm else " --freeze-bn"
        print(
            f"Next:\n  python -m fcn8s_ms.train --data FILE --pretrained {options.output}"
            f"{backbone}{frozen}"
        )


if __name__ == "__main__":
    main()
