"""Trains FCN-8s: `python -m fcn8s_ms.train --help`.

Defaults are the tutorial's, but the learning rate really follows its cosine, one value a step.
"""

import argparse
import dataclasses
import logging
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import device, fetch, files, sample, voc
from .errors import InputError, reported_by

__all__ = ["Config", "get_parser", "main", "train"]

logger = logging.getLogger(__name__)

_PROGRAM = "python -m fcn8s_ms.train"
_PICTURES = 6


@dataclass(frozen=True)
class Config:
    """Arguments of one training; every field is a flag of `get_parser`, explained there."""

    data: Path
    val_data: Path | None
    device: str
    device_id: int
    mode: str
    epochs: int
    batch_size: int
    crop_size: int
    min_scale: float
    max_scale: float
    base_lr: float
    min_lr: float
    warmup_steps: int
    momentum: float
    weight_decay: float
    num_classes: int | None
    upsample_init: str
    pretrained: Path | None
    seed: int
    workers: int
    save_every: int | None
    keep: int
    val_every: int
    output: Path | None
    sample: bool
    download: str | None

    def __post_init__(self):
        positive = ("epochs", "batch_size", "crop_size", "base_lr", "workers", "keep", "val_every")
        for name in (*positive, "save_every"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{_flag(name)} is {value}; it must be positive")
        for name in ("min_lr", "warmup_steps", "momentum", "weight_decay", "seed", "device_id"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{_flag(name)} is {getattr(self, name)}; it must not be negative")
        if self.momentum >= 1:
            raise InputError(f"--momentum is {self.momentum}; it must be below 1")
        if self.min_lr > self.base_lr:
            raise InputError(f"--min-lr {self.min_lr} is above --base-lr {self.base_lr}")
        if self.num_classes is not None and not 2 <= self.num_classes <= 255:
            raise InputError(f"--num-classes is {self.num_classes}; choose 2…255")
        if self.crop_size % 32:
            raise InputError(
                f"--crop-size {self.crop_size} is not a multiple of 32; "
                f"take {-(-self.crop_size // 32) * 32}"
            )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def get_parser() -> argparse.ArgumentParser:
    """Command line of `python -m fcn8s_ms.train`."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Train FCN-8s on MindRecord data.",
        epilog="Try it: python -m fcn8s_ms.train --sample",
    )
    add = parser.add_argument_group("data").add_argument
    add(
        "--data",
        type=Path,
        default=fetch.DATA_FILE,
        help="MindRecord file to train on (default: %(default)s)",
    )
    add("--val-data", type=Path, help="MindRecord file to validate on, with whole images")
    add("--sample", action="store_true", help="draw a small dataset, train on it with a preset")
    add(
        "--download",
        nargs="?",
        const=fetch.BASE_URL,
        metavar="URL",
        help="fetch the tutorial's VOC+SBD records and VGG-16 weights first (from a mirror: URL)",
    )
    add("--num-classes", type=int, help="number of classes, where the data do not say (21: VOC)")
    add(
        "--crop-size",
        type=int,
        default=512,
        help="side of the training crops, in pixels (default: %(default)s)",
    )
    add("--min-scale", type=float, default=0.5, help="least random scale (default: %(default)s)")
    add("--max-scale", type=float, default=2.0, help="largest random scale (default: %(default)s)")
    add(
        "--workers",
        type=int,
        default=min(4, device.available_cpus()),
        help="threads preparing samples (default: %(default)s)",
    )

    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=int, default=1, help="passes over the data (default: %(default)s)")
    add("--batch-size", type=int, default=4, help="images a step (default: %(default)s)")
    add(
        "--base-lr",
        type=float,
        default=0.05,
        help="learning rate at the top of the cosine (default: %(default)s)",
    )
    add(
        "--min-lr",
        type=float,
        default=0.0005,
        help="learning rate at its end (default: %(default)s)",
    )
    add(
        "--warmup-steps",
        type=int,
        default=0,
        help="steps of linear rise to --base-lr (default: %(default)s)",
    )
    add(
        "--momentum",
        type=float,
        default=0.9,
        help="momentum of the optimizer (default: %(default)s)",
    )
    add(
        "--weight-decay",
        type=float,
        default=1e-4,
        help="L2 penalty on all weights (default: %(default)s)",
    )
    add("--pretrained", type=Path, help="checkpoint to start from, as far as names and shapes fit")
    add(
        "--upsample-init",
        choices=("xavier_uniform", "bilinear"),
        default="xavier_uniform",
        help="how the transposed convolutions start: as in the tutorial's code, or the paper "
        "(default: %(default)s)",
    )
    add("--seed", type=int, default=1, help="of weights, order and crops (default: %(default)s)")

    device.add_arguments(parser.add_argument_group("device"))

    add = parser.add_argument_group("results").add_argument
    add("--output", type=Path, help="folder for the results (default: runs/<date-time>)")
    add("--save-every", type=int, help="steps between checkpoints (default: one an epoch)")
    add(
        "--keep",
        type=int,
        default=5,
        help="how many of the newest checkpoints stay (default: %(default)s)",
    )
    add(
        "--val-every", type=int, default=1, help="epochs between validations (default: %(default)s)"
    )
    return parser


def _parse(argv) -> Config:
    parser = get_parser()
    arguments = parser.parse_args(argv)
    if arguments.sample:
        # A flag on the command line beats the preset, which beats the defaults.
        parser.set_defaults(**sample.PRESET)
        arguments = parser.parse_args(argv)
    return Config(**vars(arguments))


def _with_downloads(config: Config) -> Config:
    """Fetches the published files; training starts from their weights unless told otherwise."""
    fetch.fetch_data(base_url=config.download)
    if config.pretrained is not None:
        return config
    weights = fetch.fetch_checkpoint(fetch.VGG16_FILE, base_url=config.download)
    return dataclasses.replace(config, pretrained=weights)


def _with_sample(config: Config) -> Config:
    """Draws the sample, converts it, and says which command trains on it."""
    from . import records

    folder = sample.FOLDER
    print(f"Drawing the sample into {folder} …", flush=True)
    sample.write_sample(folder)
    data = {}
    for split in ("train", "val"):
        data[split] = folder / f"{split}.mindrecord"
        metadata = records.build_records(
            records.voc_pairs(folder, split),
            data[split],
            classes=sample.CLASSES,
            overwrite=True,
            source=folder,
            list_name=split,
        )
        print(f"  {split}: {metadata.num_samples} images, {data[split]}")
    config = dataclasses.replace(config, data=data["train"], val_data=data["val"], sample=False)
    defaults = get_parser()
    flags = []
    for name, value in dataclasses.asdict(config).items():
        differs = value is not None and value != defaults.get_default(name)
        if differs or name in sample.PRESET:
            flags += [_flag(name), str(value)]
    print(f"The preset, as a command:\n  {_PROGRAM} {shlex.join(flags)}")
    if config.output is None:
        config = dataclasses.replace(config, output=_default_folder("sample-"))
    return config


def _default_folder(prefix: str = "") -> Path:
    return Path("runs") / f"{prefix}{time.strftime('%Y%m%d-%H%M%S')}"


def _new_folder(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--output {folder.absolute()} is not empty; choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--output {folder.absolute()} cannot be made: {error.strerror}; choose another"
        ) from error
    return folder


@dataclass(frozen=True)
class _Data:
    """Opened datasets and the classes they agree on; `val` is None without validation."""

    train: "SegDataset"  # noqa: F821 (loads MindSpore)
    val: "SegDataset | None"  # noqa: F821
    classes: tuple[str, ...]
    palette: np.ndarray


def _open_data(config: Config) -> _Data:
    from . import evaluation, records
    from .dataset import SegDataset

    try:
        _, num_samples = records.open_record(config.data)
    except InputError as error:
        if config.data != fetch.DATA_FILE:
            raise
        raise InputError(
            f"{error}\nTo get data, choose one of:\n"
            f"  {_PROGRAM} --download\n"
            "      fetches the tutorial's VOC+SBD records\n"
            "  python tools/build_mindrecord.py --voc-root DIR --split train --output FILE\n"
            "      makes records of your own VOC copy; then pass --data FILE\n"
            f"  {_PROGRAM} --sample\n"
            "      draws a small dataset and trains on it"
        ) from error
    if num_samples < config.batch_size:
        logger.warning(
            "%s has %d images: batches of %d instead of %d",
            config.data,
            num_samples,
            num_samples,
            config.batch_size,
        )
        config = dataclasses.replace(config, batch_size=num_samples)
    metadata = records.read_metadata(config.data)
    num_classes = config.num_classes or (len(metadata.classes) if metadata else voc.NUM_CLASSES)
    train_data = SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        config.data,
        batch_size=config.batch_size,
        crop_size=config.crop_size,
        max_scale=config.max_scale,
        min_scale=config.min_scale,
        num_classes=num_classes,
        num_readers=min(2, config.workers),
        num_parallel_calls=config.workers,
        seed=config.seed,
    )
    val_data = None
    if config.val_data is not None:
        val_data = evaluation.whole_images(
            config.val_data, num_classes, config.workers, config.batch_size
        )
    return _Data(train_data, val_data, *evaluation.class_names(num_classes, metadata))


def _build_network(config: Config, num_classes: int):
    import mindspore as ms

    from . import checkpoint, model

    parameters = None if config.pretrained is None else checkpoint.read(config.pretrained)
    ms.set_seed(config.seed)
    network = model.FCN8s(num_classes, upsample_init=config.upsample_init)
    if parameters is not None:
        report = checkpoint.load_into(network, parameters)
        if not report.loaded:
            raise InputError(
                f"--pretrained {config.pretrained} has no parameter of this network; is it an "
                "FCN-8s or VGG-16 checkpoint under FCN-8s names?"
            )
        print(f"{config.pretrained}: {report}")
    return network


@dataclass(frozen=True)
class _Outcome:
    """What a finished training leaves for the report."""

    steps: list[dict]
    validations: list[dict]
    best: dict | None
    newest_checkpoint: Path
    seconds: float


def _fit(config: Config, target: str, network, predictor, data: _Data, folder: Path) -> _Outcome:
    """Trains; writes log and checkpoints into the folder as it goes."""
    from mindspore import nn
    from mindspore.train import Model
    from tqdm import tqdm

    from . import callbacks, checkpoint, evaluation
    from .loss import CrossEntropyLoss
    from .schedule import cosine_lr

    started = time.perf_counter()
    dataset = data.train.get_dataset()
    epoch_steps = dataset.get_dataset_size()
    total_steps = epoch_steps * config.epochs
    learning_rates = cosine_lr(
        config.base_lr,
        config.min_lr,
        total_steps,
        warmup_steps=min(config.warmup_steps, total_steps),
    )
    optimizer = nn.Momentum(
        params=network.trainable_params(),
        learning_rate=learning_rates,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    model = Model(
        network,
        loss_fn=CrossEntropyLoss(),
        optimizer=optimizer,
        **device.model_arguments(target),
    )
    bar = tqdm(
        total=total_steps,
        unit="step",
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 20,
    )

    def save(name: str, **state) -> Path:
        path = folder / name
        colours = data.palette[: len(data.classes)].tolist()
        checkpoint.save(network, path, {"classes": data.classes, "palette": colours, **state})
        return path

    def on_validation(result: dict, is_best: bool) -> None:
        bar.write(
            f"epoch {result['epoch']}: validation mean IoU {result['mean IoU']:.4f}, "
            f"pixel accuracy {result['pixel accuracy']:.4f}"
        )
        if is_best:
            save("FCN8s-best.ckpt", **_summary(result))

    log = callbacks.TrainingLog(folder / "log.jsonl", learning_rates, data.train.batch_size, bar)
    validation = callbacks.Validation(
        lambda: evaluation.evaluate(predictor, data.val, data.classes),
        config.val_every,
        config.epochs,
        on_validation,
    )
    saver = callbacks.CheckpointSaver(
        lambda epoch, step: save(f"FCN8s-{epoch}_{step}.ckpt", epoch=epoch, step=step),
        config.save_every or epoch_steps,
        config.keep,
    )
    print(
        f"{config.epochs} epochs of {epoch_steps} steps. Results: {folder}/\n"
        "Compiling the network for the first step …",
        flush=True,
    )
    try:
        model.train(
            config.epochs,
            dataset,
            callbacks=[log, saver] if data.val is None else [log, saver, validation],
            dataset_sink_mode=False,
        )
    except RuntimeError as error:
        raise data.train.explain(error) from error
    finally:
        log.close()
    return _Outcome(
        steps=log.steps,
        validations=validation.results,
        best=validation.best,
        newest_checkpoint=saver.paths[-1],
        seconds=round(time.perf_counter() - started, 1),
    )


def _summary(result: dict) -> dict:
    """A validation result without its table of classes."""
    return {name: value for name, value in result.items() if name != "per class"}


def _metrics(outcome: _Outcome, data: _Data) -> dict:
    """What goes into `metrics.json`: every score with its data and protocol."""
    from .inference import PROTOCOL

    metrics = {
        "train": {
            "data": data.train.data_file,
            "images": data.train.num_samples,
            "steps": len(outcome.steps),
            "final loss": outcome.steps[-1]["loss"],
            "seconds": outcome.seconds,
        }
    }
    if outcome.validations:
        metrics["validation"] = {
            "data": data.val.data_file,
            "images": data.val.num_samples,
            "protocol": PROTOCOL,
            **outcome.validations[-1],
        }
        metrics["best"] = _summary(outcome.best)
        metrics["history"] = [_summary(result) for result in outcome.validations]
    return metrics


def train(config: Config) -> dict:
    """Runs one training from data to pictures.

    Args:
        config: what the command line says.

    Returns:
        What is in `metrics.json`.

    Raises:
        InputError: an argument, the data or a checkpoint cannot be used.
    """
    started = time.perf_counter()
    import mindspore as ms

    from . import evaluation, visualize
    from .inference import Predictor

    target = device.configure(config.device, device_id=config.device_id, mode=config.mode)
    print(f"{target}, MindSpore {ms.__version__}, {config.mode} mode", flush=True)
    if config.download is not None:
        config = _with_downloads(config)
    if config.sample:
        config = _with_sample(config)
    data = _open_data(config)
    print(f"{data.train.num_samples} images, {len(data.classes)} classes: {data.train.data_file}")
    network = _build_network(config, len(data.classes))
    predictor = Predictor(network)

    folder = _new_folder(config.output or _default_folder())
    files.write_json(folder / "arguments.json", dataclasses.asdict(config))
    outcome = _fit(config, target, network, predictor, data, folder)

    shown = data.val or data.train
    metrics = _metrics(outcome, data)
    visualize.curves(folder / "curves.png", outcome.steps, outcome.validations)
    visualize.prediction_grid(
        folder / "predictions.png",
        evaluation.samples(predictor, shown.data_file, _PICTURES),
        data.classes,
        data.palette,
        f"{shown.data_file.name} after {len(outcome.steps)} steps",
    )
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    files.write_json(folder / "metrics.json", metrics)

    if outcome.validations:
        print(evaluation.table(metrics["validation"]))
        print(f"Protocol: {metrics['validation']['protocol']}.")
    checkpoint = outcome.newest_checkpoint
    print(
        f"Done in {metrics['seconds']:.0f} s. Look at {folder / 'predictions.png'} and "
        f"{folder / 'curves.png'}. Next:\n"
        f"  python -m fcn8s_ms.eval --checkpoint {checkpoint} --data {shown.data_file}\n"
        f"  python -m fcn8s_ms.predict --checkpoint {checkpoint} IMAGE --output predictions"
    )
    return metrics


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with reported_by(_PROGRAM):
        train(_parse(argv))


if __name__ == "__main__":
    main()
