"""Writes a checkpoint in a format for deployment: `python -m fcn8s_ms.export --help`."""

import argparse
import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import device, files, voc
from .errors import InputError, program, reported_by
from .transforms import STRIDE

__all__ = ["Config", "export", "get_parser", "main"]

_PROGRAM = program("export")
FORMATS = ("ONNX", "MINDIR", "AIR")

# Largest difference that passes, relative to the largest logit; and share of class ids.
_TOLERANCES = {"float32": (1e-4, 1e-4), "float16": (2e-2, 1e-2)}


@dataclass(frozen=True)
class Config:
    """Arguments of one export; every field is a flag of `get_parser`, explained there."""

    checkpoint: Path
    output: Path
    format: str
    height: int | None
    width: int | None
    argmax: bool
    normalize: bool
    fp16: bool
    image: Path | None
    overwrite: bool
    device: str
    device_id: int
    mode: str

    def __post_init__(self):
        size = {"--height": self.height, "--width": self.width}
        for flag, value in size.items():
            if self.format == "AIR":
                if value is None or value < STRIDE or value % STRIDE:
                    raise InputError(
                        f"AIR files have a fixed size: give {flag}, a multiple of {STRIDE}"
                        f" (it is {value})"
                    )
            elif value is not None:
                raise InputError(f"{self.format} files take any size; leave out {flag}")
        if self.fp16 and self.format != "ONNX":
            raise InputError(
                "--fp16 is for ONNX; MindSpore Lite and atc choose the precision when they convert"
            )
        if self.output.exists() and not self.overwrite:
            raise InputError(f"--output {self.output.absolute()} exists; pass --overwrite")
        if self.output.is_dir():
            raise InputError(f"--output {self.output.absolute()} is a folder; name a file")


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.export`."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Write a trained FCN for ONNX Runtime (ONNX), MindSpore Lite (MINDIR) or "
        "Ascend (AIR). BatchNorm is folded into the convolutions. ONNX and MINDIR files take any "
        "size; before they get their name they are run on a picture and compared with the "
        "checkpoint.",
        epilog=f"Example: {_PROGRAM} --checkpoint FCN8s.ckpt --format ONNX --output fcn8s.onnx",
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="trained FCN-8s, FCN-16s or FCN-32s")
    add("--output", type=Path, required=True, help="file to write")
    add("--format", type=str.upper, choices=FORMATS, default="ONNX", help="(default: %(default)s)")
    add("--height", type=int, help="of the input, for AIR: a multiple of 32")
    add("--width", type=int, help="of the input, for AIR: a multiple of 32")
    add(
        "--argmax",
        action="store_true",
        help="class ids come out, int32 (N, H, W), not logits, float32 (N, classes, H, W)",
    )
    add(
        "--normalize",
        action="store_true",
        help="pixels go in, uint8 (N, H, W, 3) in BGR order, not normalised float32 (N, 3, H, W); "
        "ONNX: of any size, padded inside; else sides are multiples of 32 in either case",
    )
    add("--fp16", action="store_true", help="float16 weights and arithmetic (ONNX)")
    add("--image", type=Path, help="picture to compare on (default: a drawn one)")
    add("--overwrite", action="store_true", help="replace an existing file")
    device.add_arguments(parser)
    return parser


def export(config: Config) -> float | None:
    """Writes the file.

    Args:
        config: what the command line says.

    Returns:
        Largest difference to the checkpoint's logits, relative to the largest one; with `argmax`
        the share of pixels of another class. None for AIR, which is not run here.

    Raises:
        InputError: an argument, the checkpoint or the picture cannot be used, a package is not
            installed, the disk is full, or the file does not compute what the checkpoint does.
    """
    from .inference import Segmenter

    target = device.configure(config.device, device_id=config.device_id, mode=config.mode)
    if config.format == "AIR" and target != "Ascend":
        raise InputError(
            f"AIR files can be written on an Ascend only, this is a {target}; write MINDIR here, "
            "which MindSpore Lite converts for Ascend"
        )
    picture = _picture(config)
    if config.format == "ONNX":
        from .deployment import onnx_graph

        onnx_graph.import_onnx()  # it tells what to install before minutes of work
    segmenter = Segmenter.from_checkpoint(config.checkpoint)
    with _new_file(config.output) as unfinished:
        expected = None if config.format == "AIR" else _expected(segmenter, picture)
        if config.format == "ONNX":
            _write_onnx(config, segmenter, unfinished)
        else:
            _write_mindspore(config, segmenter.predictor.engine.network, unfinished)
        difference = None
        if expected is not None:
            found = _run(config, unfinished, picture)[..., : picture.shape[0], : picture.shape[1]]
            difference = _compared(config, found, expected)
    size = config.output.stat().st_size / 1e6
    print(f"{config.output}: {config.format}, {size:,.0f} MB, {_interface(config)}")
    if difference is None:
        print("It was not run here: compare it on the device it is for.")
    else:
        what = "share of pixels of another class" if config.argmax else "largest difference"
        relative = "" if config.argmax else ", relative to the largest logit"
        source = config.image or "a drawn picture"
        print(f"Compared with {config.checkpoint} on {source}: {what} {difference:.2g}{relative}.")
    return difference


def _interface(config: Config) -> str:
    source = "float32 (N, 3, H, W), normalised BGR"
    if config.normalize:
        source = "uint8 (N, H, W, 3), BGR"
    output = "class_ids int32 (N, H, W)" if config.argmax else "logits float32 (N, classes, H, W)"
    return f"image {source} -> {output}"


def _picture(config: Config) -> np.ndarray:
    """What to compare on: uint8 (H, W, 3), BGR."""
    from .inference import read_image
    from .records import demo

    if config.image is None:
        picture, _ = demo.draw_scene(np.random.RandomState(0), class_ids=(1, 3, 5))
        picture = np.ascontiguousarray(picture[..., ::-1])
    else:
        picture = read_image(config.image)
    if config.normalize and config.format == "MINDIR":  # it does not pad
        height, width = (side // STRIDE * STRIDE for side in picture.shape[:2])
        picture = picture[:height, :width]
        if not picture.size:
            raise InputError(
                f"--image {config.image} is too small; it takes {STRIDE}x{STRIDE} pixels to compare"
            )
    return picture


@contextlib.contextmanager
def _new_file(path: Path):
    """A path to write to in a folder of its own; what is there gets the name at the end."""
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
            # With its own ending: MindSpore adds one where it is another.
            unfinished = Path(folder) / path.name
            yield unfinished
            files.give_ordinary_permissions(unfinished)
            files.replace(unfinished, path)
    except OSError as error:
        raise InputError(
            f"--output {path} cannot be written: {error.strerror}; free some space or choose "
            "another"
        ) from error


def _write_onnx(config: Config, segmenter, path: Path) -> None:
    from . import __version__
    from .deployment import onnx_graph

    network = segmenter.predictor.engine.network
    pixels = {"mean": voc.IMAGE_MEAN, "std": voc.IMAGE_STD} if config.normalize else {}
    model = onnx_graph.build(
        network,
        argmax=config.argmax,
        metadata={
            "classes": segmenter.classes,
            "palette": segmenter.palette[: network.n_class].tolist(),
            "mean": voc.IMAGE_MEAN,
            "std": voc.IMAGE_STD,
            "architecture": type(network).__name__,
            "version": __version__,
            "interface": _interface(config),
        },
        **pixels,
    )
    if config.fp16:
        model = onnx_graph.to_float16(model)
    import onnx

    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _write_mindspore(config: Config, network, path: Path) -> None:
    import mindspore as ms
    from mindspore import Tensor

    from .deployment.deployed import Deployed

    cell = Deployed(network, argmax=config.argmax, normalize=config.normalize).set_train(False)
    # None in MINDIR, which takes any size.
    count, height, width = (1 if config.height else None), config.height, config.width
    if config.normalize:
        source = Tensor(shape=[count, height, width, 3], dtype=ms.uint8)
    else:
        source = Tensor(shape=[count, 3, height, width], dtype=ms.float32)
    level = ms.get_context("jit_syntax_level")
    try:
        ms.export(cell, source, file_name=str(path), file_format=config.format)
    except RuntimeError as error:
        raise OSError(None, str(error).splitlines()[0]) from error
    finally:
        ms.set_context(jit_syntax_level=level)  # a failed export leaves another one


def _expected(segmenter, picture: np.ndarray) -> np.ndarray:
    """Logits (n_class, H, W) of the checkpoint."""
    from . import transforms

    batch = transforms.pad_to_multiple(_normalized(picture))
    return segmenter.predictor.engine.logits(batch)[..., : picture.shape[0], : picture.shape[1]]


def _normalized(picture: np.ndarray) -> np.ndarray:
    from . import transforms

    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    return transforms.normalize(picture, table)[np.newaxis]


def _run(config: Config, path: Path, picture: np.ndarray) -> np.ndarray:
    """What the written file gives for a picture; perhaps with its padding."""
    from . import transforms

    batch = transforms.pad_to_multiple(_normalized(picture))
    if config.normalize:
        batch = picture[np.newaxis]
    if config.format == "ONNX":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, {"image": batch})[0]
    import mindspore as ms
    from mindspore import nn

    return nn.GraphCell(ms.load(str(path)))(ms.Tensor(batch)).asnumpy()


def _compared(config: Config, found: np.ndarray, expected: np.ndarray) -> float:
    """The difference; InputError where it is too large."""
    of_logits, of_ids = _TOLERANCES["float16" if config.fp16 else "float32"]
    if config.argmax:
        difference, limit = float(np.mean(found != expected.argmax(axis=1))), of_ids
    else:
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        limit = of_logits
    if not difference <= limit:
        raise InputError(
            f"the {config.format} file does not compute what {config.checkpoint} does: difference "
            f"{difference:.2g}, allowed {limit:g}; nothing was written. "
            + ("Leave out --fp16" if config.fp16 else "Are the checkpoint's weights finite?")
        )
    return difference


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        export(Config(**vars(get_parser().parse_args(argv))))


if __name__ == "__main__":
    main()
