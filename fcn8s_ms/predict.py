"""Segments pictures with a checkpoint: `python -m fcn8s_ms.predict --help`."""

import argparse
import contextlib
import errno
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import device, files, inference, pictures, video
from .errors import InputError, reported_by

__all__ = ["ENDINGS", "Config", "get_parser", "main", "predict"]

_PROGRAM = "python -m fcn8s_ms.predict"

ENDINGS = {
    "mask": "_mask.png",
    "color": "_color.png",
    "overlay": "_overlay.png",
    "probability": "_probability.npz",
}
"""What can be saved, and how the file's name ends."""

_IN_VIDEO = ("color", "overlay")  # as a video; the others as a folder of files, one a frame
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Config:
    """Arguments of one prediction; every field is a flag of `get_parser`, explained there."""

    images: list[str]
    checkpoint: Path
    output: Path
    save: tuple[str, ...]
    plain_names: bool
    opacity: float
    legend: bool
    engine: str | None
    resize: int | None
    scales: tuple[float, ...]
    flip: bool
    sliding: list[int] | None
    batch_size: int
    device: str
    device_id: int
    mode: str

    def __post_init__(self):
        unknown = [kind for kind in self.save if kind not in ENDINGS]
        if unknown or not self.save:
            raise InputError(
                f"--save {','.join(self.save)}: choose from {', '.join(ENDINGS)}, with commas "
                "between"
            )
        if self.plain_names and len(self.save) > 1:
            raise InputError("--plain-names is for one kind of file; choose it, e.g. --save mask")
        if not 0 <= self.opacity <= 1:
            raise InputError(f"--opacity is {self.opacity}; choose 0…1")
        if self.batch_size < 1:
            raise InputError(f"--batch-size is {self.batch_size}; it must be positive")

    def ending(self, kind: str) -> str:
        """How the names of such files end."""
        return Path(ENDINGS[kind]).suffix if self.plain_names else ENDINGS[kind]


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.predict`."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Segment pictures. All results have the picture's own size; a picture that "
        "Exif says is turned is turned upright first. A file that cannot be used does not stop the "
        "others: it is named at the end, and the exit status is 1.",
        epilog=f"Example: {_PROGRAM} --checkpoint FCN8s.ckpt street.jpg holiday/ --output out",
    )
    add = parser.add_argument
    add(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="picture or video file; folder (its images, also in sub-folders); pattern such as "
        "'shots/**/*.jpg'; - for a list on standard input, a path a line",
    )
    add("--checkpoint", type=Path, required=True, help="trained FCN, or an exported .onnx file")

    group = parser.add_argument_group("how")
    inference.add_arguments(group)
    group.add_argument(
        "--batch-size",
        type=int,
        default=1,
        help="pictures of equal padded size (windows, with --sliding) that go through the network "
        "at once (default: %(default)s)",
    )
    device.add_arguments(parser.add_argument_group("device"))

    add = parser.add_argument_group("results").add_argument
    add(
        "--output",
        type=Path,
        default=Path("predictions"),
        help="folder to write to (default: %(default)s)",
    )
    add(
        "--save",
        type=_kinds,
        default=("mask", "overlay"),
        metavar="KIND,…",
        help="what to write: mask, NAME_mask.png, a palette PNG whose pixels are class ids, as "
        "VOC's; color, NAME_color.png, the same as RGB; overlay, NAME_overlay.png, the picture "
        "with its classes laid over; probability, NAME_probability.npz, of every class "
        "(default: mask,overlay). Of a video: color and overlay as NAME_….mp4, mask and "
        "probability as folders NAME_… with a file a frame",
    )
    add(
        "--plain-names",
        action="store_true",
        help="NAME.png instead of NAME_mask.png, as VOC's server wants; with one kind of --save",
    )
    add("--opacity", type=float, default=0.5, help="of an overlay's colours, 0 to 1 (default: 0.5)")
    add(
        "--legend",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="name the classes present in the overlay",
    )
    return parser


def _kinds(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind.strip() for kind in text.split(",")))


class _TimedEngine:
    """An engine that remembers how long it computed."""

    def __init__(self, engine):
        self._engine = engine
        self.n_class = engine.n_class
        self.name = engine.name
        self.seconds = 0.0

    def _timed(self, compute, batch):
        started = time.perf_counter()
        result = compute(batch)
        self.seconds += time.perf_counter() - started
        return result

    def class_ids(self, batch):
        return self._timed(self._engine.class_ids, batch)

    def logits(self, batch):
        return self._timed(self._engine.logits, batch)


class _Stopwatch:
    """Time an image takes, without the first, for which the network is compiled.

    Args:
        engine: `_TimedEngine`.
    """

    def __init__(self, engine):
        self._engine = engine
        self._started = time.perf_counter()
        self._first = (
            None  # number of images, seconds in all and in the engine, at the first result
        )
        self.images = 0

    def lap(self, images: int) -> None:
        """Notes that more images are done."""
        self.images += images
        if self._first is None:
            seconds = time.perf_counter() - self._started
            self._first = self.images, seconds, self._engine.seconds

    def __str__(self):
        total = time.perf_counter() - self._started
        text = f"{self.images} image{'s' * (self.images != 1)} in {total:.1f} s"
        if self._first is None:
            return f"{text}."
        first_images, first_seconds, first_engine = self._first
        images = self.images - first_images
        if not images:
            return f"{text}, compiling the network included."
        seconds, model = total - first_seconds, self._engine.seconds - first_engine
        return (
            f"{text}. After the first, which took {first_seconds:.1f} s as the network was "
            f"compiled: {images / seconds:.2f} images/s, {1000 * seconds / images:.0f} ms an "
            f"image, {1000 * model / images:.0f} ms of it the network ({self._engine.name})."
        )


class _Saver:
    """Writes what was asked for of a picture.

    Args:
        config: what the command line says.
        segmenter: `fcn8s_ms.inference.Segmenter`.
    """

    def __init__(self, config: Config, segmenter):
        from . import visualize

        self._config = config
        self._segmenter = segmenter
        self._visualize = visualize
        self._background = visualize.background(segmenter.classes)
        self.needs_probabilities = "probability" in config.save

    def path(self, name: str, kind: str) -> Path:
        """File of a picture's result."""
        return self._config.output / f"{name}{self._config.ending(kind)}"

    def paths(self, picture) -> list[Path]:
        """Everything that is written of a picture; of a video folders too."""
        if not picture.is_video:
            return [self.path(picture.name, kind) for kind in self._config.save]
        return [self._of_video(picture.name, kind) for kind in self._config.save]

    def _of_video(self, name: str, kind: str) -> Path:
        suffix = ".mp4" if kind in _IN_VIDEO else ""
        ending = "" if self._config.plain_names else f"_{kind}"
        return self._config.output / f"{name}{ending}{suffix}"

    def save(self, name: str, image, result) -> str:
        """Writes the files of an image.

        Returns:
            What to print of it.
        """
        ids, probabilities = self._split(result)
        paths = [self.path(name, kind) for kind in self._config.save]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, kind in zip(paths, self._config.save):
            self._write(path, kind, image, ids, probabilities)
        present = ", ".join(self._segmenter.classes[label] for label in sorted(set(ids.flat)))
        return f"{paths[0]}: {present}"

    def _split(self, result):
        """Class ids, and probabilities or None."""
        if not self.needs_probabilities:
            return result, None
        return result.argmax(axis=0).astype("uint8"), result

    def _write(self, path: Path, kind: str, image, ids, probabilities) -> None:
        if kind == "mask":
            self._visualize.write_mask(path, ids, self._segmenter.palette)
        elif kind == "probability":
            _write_probabilities(path, probabilities, self._segmenter.classes)
        else:
            self._visualize.write_picture(path, self._drawn(kind, image, ids))

    def _drawn(self, kind: str, image, ids, corner=None):
        palette = self._segmenter.palette
        if kind == "color":
            return palette[ids]
        picture = self._visualize.overlay(
            image, ids, palette, self._config.opacity, self._background
        )
        if not self._config.legend:
            return picture
        return self._visualize.draw_legend(picture, ids, self._segmenter.classes, palette, corner)

    @contextlib.contextmanager
    def video(self, name: str, fps: float):
        """Gives a function that takes the frames of a video in turn: image and result."""
        targets = {kind: self._of_video(name, kind) for kind in self._config.save}
        writers = {kind: video.Writer(targets[kind], fps) for kind in targets if kind in _IN_VIDEO}
        number = 0

        def add(image, result):
            nonlocal number
            ids, probabilities = self._split(result)
            for kind, target in targets.items():
                if kind in writers:
                    # In one place: a legend that jumps from frame to frame cannot be read.
                    writers[kind].write(self._drawn(kind, image, ids, "top left"))
                else:
                    frame = target / f"{number:06d}{Path(ENDINGS[kind]).suffix}"
                    frame.parent.mkdir(parents=True, exist_ok=True)
                    self._write(frame, kind, image, ids, probabilities)
            number += 1

        is_complete = False
        try:
            (self._config.output / name).parent.mkdir(parents=True, exist_ok=True)
            yield add
            is_complete = True
        finally:
            for writer in writers.values():
                writer.close(is_complete)


def _write_probabilities(path: Path, probabilities, classes) -> None:
    import io

    import numpy as np

    content = io.BytesIO()
    # Half the size, and still four decimals of what matters.
    np.savez(content, probabilities=probabilities.astype(np.float16), classes=np.array(classes))
    files.write_bytes(path, content.getvalue())


def _check_outputs(found, saver: _Saver) -> None:
    inputs = {os.path.realpath(picture.path): picture.path for picture in found}
    for picture in found:
        for path in saver.paths(picture):
            overwritten = inputs.get(os.path.realpath(path))
            if overwritten is not None:
                raise InputError(
                    f"the result of {picture.path} would overwrite {overwritten}, which is to be "
                    "predicted too; choose another --output"
                )


class _Run:
    """One prediction of many pictures.

    Attributes:
        faults: what was wrong with pictures that could not be segmented.
        stopwatch: `_Stopwatch`.
    """

    def __init__(self, config: Config, segmenter, saver: _Saver, bar):
        self._config = config
        self._saver = saver
        self._bar = bar
        self._predictor = segmenter.predictor
        self._predictor.engine = _TimedEngine(segmenter.predictor.engine)
        self.stopwatch = _Stopwatch(self._predictor.engine)
        self.faults = []

    def _fault(self, text: str, images: int = 1) -> None:
        self.faults.append(text)
        self._bar.update(images)

    def _engine_fault(self, what, error: Exception, images: int = 1) -> None:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        self._fault(f"{what} could not be segmented ({reason}); try --resize or --sliding", images)

    def _many(self, images, on_error):
        return self._predictor.many(
            images,
            self._config.batch_size,
            probabilities=self._saver.needs_probabilities,
            on_error=on_error,
        )

    def images(self, found) -> None:
        """Predicts image files: read ahead and written behind in threads of their own."""
        from .records import map_ahead

        ahead = 2 * self._config.batch_size + 2

        def read(picture):
            try:
                return picture, inference.read_image(picture.path)
            except (InputError, MemoryError) as error:
                return picture, error

        def usable(items):
            for picture, image in items:
                if isinstance(image, Exception):
                    self._fault(str(image) or f"{picture.path} is too large for the memory")
                else:
                    yield (picture, image), image

        def failed(keys, error):
            for picture, _ in keys:
                self._engine_fault(picture.path, error)

        def timed(results):
            for result in results:
                self.stopwatch.lap(1)
                yield result

        def save(item):
            (picture, image), result = item
            try:
                return self._saver.save(picture.name, image, result), None
            except OSError as error:
                if error.errno in _FULL_DISK:
                    raise InputError(
                        f"{self._config.output.absolute()} takes no more files: {error.strerror}; "
                        "free some space, and predict the rest"
                    ) from error
                return None, f"the result of {picture.path} cannot be written: {error}"

        with ThreadPoolExecutor(max(device.available_cpus(), 2)) as pool:
            readable = usable(map_ahead(pool, read, found, ahead))
            predicted = timed(self._many(readable, failed))
            # The probabilities of a large picture are hundreds of megabytes.
            behind = 2 if self._saver.needs_probabilities else ahead
            for line, fault in map_ahead(pool, save, predicted, behind):
                if fault is not None:
                    self._fault(fault)
                    continue
                self._bar.update(1)
                self._bar.write(line)

    def video(self, picture) -> None:
        """Predicts a video file."""
        reader, failures = None, []

        def failed(keys, error):
            failures.append(error)

        done = 0
        try:
            reader = video.Reader(picture.path)
            with self._saver.video(picture.name, reader.fps) as add:
                for image, result in self._many(((frame, frame) for frame in reader), failed):
                    self.stopwatch.lap(1)
                    add(image, result)
                    done += 1
                    self._bar.update(1)
                if failures:
                    raise failures[0]
            self._bar.write(f"{self._saver.paths(picture)[0]}: {done} frames")
        except InputError as error:
            self._fault(str(error), 0)
        except (RuntimeError, MemoryError) as error:
            self._engine_fault(picture.path, error, 0)
        finally:
            if reader is not None:
                reader.close()


class _NoBar:
    """Stands in for tqdm on a machine that has only what prediction needs."""

    def update(self, images: int) -> None:
        pass

    def close(self) -> None:
        pass

    def write(self, line: str) -> None:
        print(line, flush=True)


def _progress_bar(total: int):
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(total=total, unit="image", dynamic_ncols=True, disable=total < 2)


def _frame_count(picture) -> int:
    with contextlib.suppress(InputError):
        reader = video.Reader(picture.path)
        reader.close()
        return reader.frame_count
    return 0


def predict(config: Config) -> list[str]:
    """Segments the pictures and writes what was asked for of each.

    Args:
        config: what the command line says.

    Returns:
        What was wrong with pictures that could not be segmented; the others are done.

    Raises:
        InputError: the device, the checkpoint or the output folder cannot be used, an argument
            means no picture, or the disk is full.
    """
    found = pictures.find(
        config.images, sys.stdin if "-" in config.images else (), output=config.output
    )
    if not found:
        raise InputError("standard input names no picture; give a path a line")
    if inference.engine_for(config.checkpoint, config.engine) == "mindspore":
        device.configure(config.device, device_id=config.device_id, mode=config.mode)
    segmenter = inference.Segmenter.from_checkpoint(
        config.checkpoint, device=config.device, **inference.options_of(config)
    )
    saver = _Saver(config, segmenter)
    _check_outputs(found, saver)
    files.make_folder(config.output, "--output")
    images = [picture for picture in found if not picture.is_video]
    videos = [picture for picture in found if picture.is_video]
    bar = _progress_bar(len(images) + sum(map(_frame_count, videos)))
    run = _Run(config, segmenter, saver, bar)
    try:
        run.images(images)
        for picture in videos:
            run.video(picture)
    finally:
        bar.close()
        if run.stopwatch.images:
            print(run.stopwatch)
    return run.faults


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    with reported_by(_PROGRAM):
        try:
            faults = predict(Config(**vars(get_parser().parse_args(argv))))
        except KeyboardInterrupt:
            print(f"{_PROGRAM}: stopped by SIGINT", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
    for fault in faults:
        print(f"{_PROGRAM}: {fault}", file=sys.stderr)
    if faults:
        print(f"{_PROGRAM}: {len(faults)} could not be done", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
