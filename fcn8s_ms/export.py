"""Writes a checkpoint in a format for deployment: `python -m fcn8s_ms.export --help`."""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals
from .errors import InputError, check_package, flag, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("export"))

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import __version__, device, files, transforms, voc
from .deployment.arguments import Config, get_parser, parse
from .formats import checkpoints, paths

if TYPE_CHECKING:  # MindSpore is loaded late
    from mindspore import nn

    from .inference import Segmenter

__all__ = ["Config", "export", "get_parser", "main", "parse"]

_PROGRAM = program("export")


class _Tolerance(NamedTuple):
    """Largest differences that pass."""

    logits: float  # relative to the largest logit
    class_ids: float  # share of the pixels


_FLOAT32 = _Tolerance(logits=1e-4, class_ids=1e-4)
_FLOAT16 = _Tolerance(logits=2e-2, class_ids=1e-2)


def export(config: Config) -> float | None:
    """Writes the exported file, the model card, or both.

    Args:
        config: arguments of the export.

    Returns:
        Largest difference from the checkpoint's logits, relative to the largest one; with `argmax`
        the share of the pixels whose class differs; with `int8` that of the file in float32 that
        it was made from. None for AIR, which is not run here, and for a card alone.

    Raises:
        InputError: an argument, the checkpoint or the picture cannot be used, a package is not
            installed, the disk is full, the file does not compute what the checkpoint does, or int8
            costs more than `max_drop`.
    """
    config = replace(config, checkpoint=checkpoints.chosen(config.checkpoint))
    card = _card(config)  # first: what is wrong with it shows before minutes of work
    difference = None if config.output is None else _export(config, config.output)
    if config.model_card is not None:
        _write_card(config.model_card, card)
    return difference


def _card(config: Config) -> str:
    """Text of the model card; empty without one."""
    from .inspection.model_card import model_card

    if config.model_card is None:
        return ""
    exported = None
    if config.output is not None:
        interface = _interface(config)
        exported = f"`{config.output.name}`, {config.format}, {interface}"
    return model_card(config.checkpoint, config.scores, exported)


def _write_card(path: Path, text: str) -> None:
    try:
        with paths.kept_if_used(path.parent, "the folder of --model-card"):
            files.write_text(path, text)
    except OSError as error:
        raise InputError(
            f"--model-card {path.absolute()} cannot be written: {error.strerror}; choose another"
        ) from error
    print(f"{path}: fill in the licence and what is marked so")


def _export(config: Config, output: Path) -> float | None:
    """Writes the exported file; returns as `export`."""
    from .deployment import deployed
    from .evaluation import int8
    from .inference import Segmenter

    target = device.configure(config.device, device_id=config.device_id, mode=config.mode)
    _check_packages(config, target)
    segmenter = Segmenter.from_checkpoint(config.checkpoint)
    network = _network(segmenter, config.checkpoint)
    multiple = segmenter.predictor.engine.multiple
    pads = config.normalize and config.format == "ONNX"  # inside, to any size
    for name, side in zip(("height", "width"), (config.size or ())[1:]):
        if side % multiple and not pads:
            raise InputError(
                f"{flag(name)} is {side}; {config.checkpoint} takes multiples of {multiple}: take "
                f"{transforms.next_multiple(side, multiple)}"
            )
    if config.int8:
        given = {"calibration_data": config.calibration_data, "check_data": config.check_data}
        int8.check_records(config.checkpoint, len(segmenter.classes), **given)
    # MINDIR files do not pad pixels.
    whole = multiple if config.normalize and config.format == "MINDIR" else 1
    picture = _comparison_picture(config.image, whole, config.size)

    difference = None
    with _new_file(output) as unfinished:
        # First: whatever writing might do to the network would show.
        expected = None if config.format == "AIR" else _logits(segmenter, picture)
        # Of int8 files the original in float32 is compared, and then scored against the file.
        written = unfinished.with_name("float32.onnx") if config.int8 else unfinished
        size = None if config.int8 else config.size
        if config.format == "ONNX":
            _write_onnx(segmenter, network, written, config, size)
        else:
            deployed.write(
                network,
                unfinished,
                config.format,
                size=config.size,
                argmax=config.argmax,
                normalize=config.normalize,
            )
        if expected is not None:
            batch = picture[np.newaxis] if config.normalize else _normalized(picture, multiple)
            batch = np.repeat(batch, size[0] if size else 1, axis=0)
            found = _without_padding(_run_file(written, config.format, batch), picture)
            difference = _difference(found, expected, config.argmax)
            limit = _limit(config.fp16, config.argmax)
            if not difference <= limit:  # nor is NaN
                raise InputError(
                    f"the {config.format} file does not compute what {config.checkpoint} does: "
                    f"difference {difference:.2g}, allowed {limit:g}; nothing was written. "
                    + ("Leave out --fp16" if config.fp16 else "Are the weights finite?")
                )
        if config.int8:
            int8.write(config, written, unfinished, segmenter.resize_of_training)
    _report(config, output, difference)
    return difference


def _check_packages(config: Config, target: str) -> None:
    """Says before minutes of work what cannot be written here."""
    if config.format == "AIR" and target != "Ascend":
        raise InputError(
            f"AIR files can be written on an Ascend only, this is a {target}; write ONNX or MINDIR "
            "here, which atc and MindSpore Lite convert for Ascend"
        )
    if config.format == "ONNX":
        from .deployment import onnx_graph

        onnx_graph.import_onnx()
        check_package("onnxruntime", "to compare the ONNX file", 'pip install -e ".[onnx]"')


def _network(segmenter: "Segmenter", checkpoint: Path) -> "nn.Cell":
    from .inference.mindspore_engine import MindSporeEngine

    engine = segmenter.predictor.engine
    if not isinstance(engine, MindSporeEngine):
        raise InputError(
            f"--checkpoint {checkpoint} is an exported file; give the checkpoint it was made from"
        )
    return engine.network


def _comparison_picture(
    path: Path | None, multiple: int, size: tuple[int, int, int] | None
) -> np.ndarray:
    """Picture to compare on: uint8 (H, W, 3), BGR.

    Args:
        path: image file; None for a drawn picture.
        multiple: crop the sides to multiples of it.
        size: batch, height and width; the picture is scaled to them. None keeps its size.
    """
    import cv2

    from .inference import read_image
    from .records import demo

    if path is None:
        drawn, _ = demo.draw_scene(np.random.RandomState(0), class_ids=(1, 3, 5))
        picture = np.ascontiguousarray(drawn[..., ::-1])
    else:
        picture = read_image(path)
    if size is not None:
        return cv2.resize(picture, size[:0:-1], interpolation=cv2.INTER_AREA)
    height, width = (side // multiple * multiple for side in picture.shape[:2])
    picture = picture[:height, :width]
    if not picture.size:
        raise InputError(
            f"--image {path} is too small; the comparison needs {multiple}x{multiple} pixels"
        )
    return picture


# --- writing -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Yields a path to write to, in a folder of its own; the file gets its name at the end."""
    path = path.absolute()
    try:
        with (
            paths.kept_if_used(path.parent, "the folder of --output"),
            files.unfinished_folder(path) as folder,
        ):
            # With its own ending: MindSpore appends one to any other.
            unfinished = folder / path.name
            yield unfinished
            files.give_ordinary_permissions(unfinished)
            files.replace(unfinished, path)
    except OSError as error:
        raise InputError(
            f"--output {path} cannot be written: {error.strerror}; free some space or choose "
            "another"
        ) from error


def _write_onnx(
    segmenter: "Segmenter",
    network: "nn.Cell",
    path: Path,
    config: Config,
    size: tuple[int, int, int] | None,
) -> None:
    from .deployment import fixed_size, onnx_graph

    resize = segmenter.resize_of_training
    model = onnx_graph.build(
        network,
        argmax=config.argmax,
        metadata={
            "classes": segmenter.classes,
            "palette": segmenter.palette[: len(segmenter.classes)].tolist(),
            "mean": voc.IMAGE_MEAN,
            "std": voc.IMAGE_STD,
            "architecture": type(network).__name__,
            "version": __version__,
            "interface": _interface(config),
            "multiple": segmenter.predictor.engine.multiple,
            "precision": "float16" if config.fp16 else "float32",
            **({"resize_of_training": resize} if resize else {}),
        },
        mean=voc.IMAGE_MEAN if config.normalize else None,
        std=voc.IMAGE_STD if config.normalize else None,
    )
    if config.fp16:
        model = onnx_graph.to_float16(model)
    if size is not None:
        model = fixed_size.with_fixed_size(model, *size)
    onnx_graph.write(model, path)


def _interface(config: Config) -> str:
    count, height, width = config.size or ("N", "H", "W")
    source = f"float32 ({count}, 3, {height}, {width}), normalised BGR"
    if config.normalize:
        source = f"uint8 ({count}, {height}, {width}, 3), BGR"
    output = f"logits float32 ({count}, classes, {height}, {width})"
    if config.argmax:
        output = f"class_ids int32 ({count}, {height}, {width})"
    return f"image {source} -> {output}"


# --- comparing -----------------------------------------------------------------------------------


def _logits(segmenter: "Segmenter", picture: np.ndarray) -> np.ndarray:
    """Logits of the checkpoint: float32 (1, n_class, H, W)."""
    engine = segmenter.predictor.engine
    logits = engine.logits(_normalized(picture, engine.multiple))
    return _without_padding(logits, picture)


def _run_file(path: Path, file_format: str, batch: np.ndarray) -> np.ndarray:
    """Output of the written file: logits (1, n_class, H, W) or class ids (1, H, W)."""
    if file_format == "ONNX":
        from .deployment import onnx_graph

        return onnx_graph.run(path, batch)
    from .deployment import deployed

    return deployed.run(path, batch)


def _normalized(picture: np.ndarray, multiple: int) -> np.ndarray:
    """Input of the network: float32 (1, 3, H, W), padded to multiples of a number."""
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    return transforms.pad_to_multiple(transforms.normalize(picture, table)[np.newaxis], multiple)


def _without_padding(output: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return output[..., : picture.shape[0], : picture.shape[1]]


def _difference(found: np.ndarray, expected: np.ndarray, argmax: bool) -> float:
    """Share of other class ids; or largest difference of logits, relative to the largest."""
    if argmax:
        return float(np.mean(found != expected.argmax(axis=1)))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _limit(fp16: bool, argmax: bool) -> float:
    """Largest difference that passes."""
    tolerance = _FLOAT16 if fp16 else _FLOAT32
    return tolerance.class_ids if argmax else tolerance.logits


def _report(config: Config, output: Path, difference: float | None) -> None:
    size = output.stat().st_size / 1e6
    interface = _interface(config)
    kind = f"{config.format} in int8" if config.int8 else config.format
    print(f"{output}: {kind}, {size:,.0f} MB, {interface}")
    if difference is None:
        print("It was not run here: compare it on the device it is for.")
        return
    found = f"largest difference {difference:.2g}, relative to the largest logit"
    if config.argmax:
        found = f"share of pixels of another class {difference:.2g}"
    source = config.image or "a drawn picture"
    what = "Its original in float32, compared" if config.int8 else "Compared"
    print(f"{what} with {config.checkpoint} on {source}: {found}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        export(parse(argv))


if __name__ == "__main__":
    main()
