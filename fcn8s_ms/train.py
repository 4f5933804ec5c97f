"""Trains an FCN: `python -m fcn8s_ms.train --help`.

Defaults are the tutorial's, but the learning rate really follows its cosine, one value a step.
"""

import contextlib
import dataclasses
import logging
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import device, fetch, files, voc
from .distributed.ranks import ALONE, Ranks, check_launch, is_scheduler, run_scheduler
from .errors import InputError, reported_by
from .network.architectures import BACKBONES, FC_WIDTH
from .records import demo
from .training import interruption, schedule
from .training.arguments import PROGRAM, Config, command, get_parser, parse
from .training.resume import Progress
from .training.run_folder import RunFolder
from .training.tensorboard import TensorBoard

__all__ = ["Config", "get_parser", "main", "train"]

logger = logging.getLogger(__name__)

_PICTURES = 6
_TENSORBOARD_PICTURES = 3
_SECONDS_BETWEEN_CURVES = 60
# Of the optimizer, but given by the arguments of the run.
_CONSTANTS = ("learning_rate", "momentum", "weight_decay")


def _with_downloads(config: Config, ranks: Ranks) -> Config:
    """Fetches the published files; training starts from their weights unless told otherwise."""
    weights = config.pretrained
    if ranks.is_first:
        fetch.fetch_data(base_url=config.download)
        weights = weights or fetch.fetch_checkpoint(fetch.VGG16_FILE, base_url=config.download)
    ranks.barrier()
    return dataclasses.replace(config, pretrained=weights)


def _with_sample(config: Config, ranks: Ranks) -> Config:
    """Draws the sample, converts it, and says which command trains on it."""
    folder = demo.FOLDER
    data = {split: folder / f"{split}.mindrecord" for split in ("train", "val")}
    if ranks.is_first:
        _draw_sample(folder)
    ranks.barrier()
    config = dataclasses.replace(config, data=data["train"], val_data=data["val"], sample=False)
    print(f"The preset, as a command:\n  {PROGRAM} {shlex.join(command(config, demo.PRESET))}")
    if config.output is None:
        config = dataclasses.replace(config, output=_default_folder("sample-"))
    return config


def _draw_sample(folder: Path) -> None:
    from . import records

    print(f"Drawing the sample into {folder} …", flush=True)
    for split, path in demo.build_records(folder, overwrite=True).items():
        print(f"  {split}: {records.read_metadata(path).num_samples} images, {path}")


def _default_folder(prefix: str = "") -> Path:
    return Path("runs") / f"{prefix}{time.strftime('%Y%m%d-%H%M%S')}"


@dataclass(frozen=True)
class _Data:
    """Opened datasets and the classes they agree on; `val` is None without validation."""

    train: "SegDataset"  # noqa: F821 (loads MindSpore)
    val: "SegDataset | None"  # noqa: F821
    classes: tuple[str, ...]
    palette: np.ndarray
    class_weights: np.ndarray | None


def _open_data(config: Config, ranks: Ranks) -> _Data:
    from . import evaluation, records
    from .dataset import SegDataset

    shard = {"num_shards": ranks.size, "shard_id": ranks.rank} if ranks.size > 1 else {}
    try:
        _, num_samples = records.open_record(config.data)
    except InputError as error:
        if config.data != fetch.DATA_FILE:
            raise
        raise InputError(
            f"{error}\nTo get data, choose one of:\n"
            f"  {PROGRAM} --download\n"
            "      fetches the tutorial's VOC+SBD records\n"
            "  python -m fcn8s_ms.build --voc-root DIR --split train --output FILE\n"
            "      makes records of your own VOC copy; then pass --data FILE\n"
            f"  {PROGRAM} --sample\n"
            "      draws a small dataset and trains on it"
        ) from error
    batch_size = config.batch_size * config.accumulate
    share = num_samples // ranks.size
    if 0 < share < batch_size:
        shrunk = config.batch_size * max(share // config.batch_size, 1)
        batch_size = min(shrunk, share)
        logger.warning(
            "%s has %d images: batches of %d instead of %d",
            config.data,
            num_samples,
            batch_size,
            config.batch_size * config.accumulate,
        )
    metadata = records.read_metadata(config.data)
    num_classes = config.num_classes or (len(metadata.classes) if metadata else voc.NUM_CLASSES)
    train_data = SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        config.data,
        batch_size=batch_size,
        crop_size=config.crop_size,
        max_scale=config.max_scale,
        min_scale=config.min_scale,
        num_classes=num_classes,
        num_readers=min(2, config.workers),
        num_parallel_calls=config.workers,
        seed=config.seed,
        **shard,
    )
    val_data = None
    if config.val_data is not None:
        others = records.read_metadata(config.val_data)
        if metadata is not None and others is not None and others.classes != metadata.classes:
            raise InputError(
                f"{config.data} and {config.val_data} have different classes; build both with the "
                "same --classes"
            )
        val_data = evaluation.whole_images(
            config.val_data, num_classes, config.workers, config.batch_size, **shard
        )
    _compare_data(ranks, train_data, val_data)
    names, palette = records.class_names(num_classes, metadata)
    weights = _class_weights(config, names, metadata)
    if weights is not None:
        shown = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, weights))
        print(f"Class weights: {shown}")
    return _Data(train_data, val_data, names, palette, weights)


def _compare_data(ranks: Ranks, train_data, val_data) -> None:
    """Makes sure that every machine reads the same."""
    images = [train_data.num_samples, 0 if val_data is None else val_data.num_samples]
    found = ranks.gather(np.array([*images, train_data.num_classes]))
    for rank, other in enumerate(found):
        if not np.array_equal(other, found[0]):
            raise InputError(
                f"{train_data.data_file}: images of training and validation, and classes, are "
                f"{other.tolist()} for rank {rank}, {found[0].tolist()} for rank 0; copy the same "
                "records to every machine"
            )


def _class_weights(config: Config, classes, metadata) -> np.ndarray | None:
    """Weights of the classes in the loss, None for equal ones."""
    from . import loss

    if config.class_weights == "none":
        return None
    if config.class_weights != "auto":
        return loss.read_class_weights(config.class_weights, classes)
    if metadata is None or len(metadata.present_pixels) != len(classes):
        raise InputError(
            f"--class-weights auto needs counts of {len(classes)} classes in {config.data}.json, "
            "which python -m fcn8s_ms.build writes; build the data with it, or give a file"
        )
    return loss.median_frequency_weights(metadata.pixel_counts, metadata.present_pixels)


def _build_network(config: Config, num_classes: int, is_restored: bool):
    """The network as a run begins; unless its weights come from elsewhere: `is_restored`."""
    import mindspore as ms

    from . import checkpoint, model
    from .network import batch_norm, cpu, freeze

    pretrained = None if is_restored else config.pretrained
    parameters = None if pretrained is None else checkpoint.read(pretrained)
    ms.set_seed(config.seed)
    sizes = {} if config.widths is None else {"widths": config.widths}
    if config.fc_width != FC_WIDTH:
        sizes["fc_width"] = config.fc_width
    network = model.NETWORKS[config.arch](
        num_classes,
        **sizes,
        depths=BACKBONES[config.backbone],
        upsample_init=config.upsample_init,
        skip_init=config.skip_init,
    )
    if parameters is not None:
        report = checkpoint.load_into(network, parameters)
        if not report.loaded:
            raise InputError(
                f"--pretrained {pretrained} has no parameter of this network; is it an "
                "checkpoint of an FCN, or of VGG under its names?"
            )
        print(f"{pretrained}: {report}")
    frozen = []
    if "backbone" in config.freeze:
        frozen += freeze.freeze_backbone(network)
    if "upsampling" in config.freeze:
        frozen += freeze.freeze_upsampling(network)
    if config.freeze_bn:
        frozen += freeze.freeze_batch_norm(network)
    if frozen:
        trained = [parameter.name for parameter in network.trainable_params()]
        print(f"{len(frozen)} parameters frozen: {', '.join(frozen)}")
        print(f"{len(trained)} parameters trained: {', '.join(trained)}")
    if config.sync_bn:
        print(f"{batch_norm.synchronize_batch_norm(network)} BatchNorms synchronized")
    if ms.get_context("device_target") == "CPU":
        cpu.accelerate(network)
    return network


def _model(config: Config, target: str, ranks: Ranks, network, learning_rates, data: _Data):
    """`mindspore.train.Model` that trains the network."""
    from mindspore.train import Model

    from .loss import CrossEntropyLoss
    from .training.optimizer import make_optimizer

    precision = device.model_arguments(
        target,
        config.amp,
        loss_scale=config.loss_scale,
        loss_scale_factor=config.loss_scale_factor,
        loss_scale_window=config.loss_scale_window,
    )
    optimizer = make_optimizer(
        config.optimizer,
        network.trainable_params(),
        learning_rates,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    loss = CrossEntropyLoss(class_weights=data.class_weights, ranks=ranks.size)
    accumulate = max(data.train.batch_size // config.batch_size, 1)
    if accumulate == 1:
        return Model(network, loss_fn=loss, optimizer=optimizer, **precision)
    from mindspore.amp import build_train_network

    from .training.accumulation import AccumulatedStep

    level = precision.pop("amp_level", "O0")
    step = build_train_network(network, optimizer, loss, level=level, **precision)
    return Model(AccumulatedStep(step, accumulate))


def _optimizer_state(model, network) -> list:
    """The parameters beside the network's that change from step to step."""
    own = {parameter.name for parameter in network.get_parameters()}
    return [
        parameter
        for parameter in model.train_network.get_parameters()
        if parameter.name not in (*own, *_CONSTANTS)
        and not parameter.name.startswith("accumulated.")
    ]


def _learning_rates(config: Config, ranks: Ranks, total_steps: int) -> list[float]:
    warmup_steps = min(config.warmup_steps, total_steps)
    factor = ranks.size if config.scale_lr else 1
    base_lr, min_lr = factor * config.base_lr, factor * config.min_lr
    if config.schedule == "constant":
        return schedule.constant_lr(base_lr, total_steps, warmup_steps=warmup_steps)
    limits = (base_lr, min_lr, total_steps)
    if config.schedule == "polynomial":
        return schedule.polynomial_lr(*limits, power=config.power, warmup_steps=warmup_steps)
    return schedule.cosine_lr(*limits, warmup_steps=warmup_steps)


def _recorder(
    config: Config,
    target: str,
    ranks: Ranks,
    network,
    state,
    predictor,
    data: _Data,
    folder,
    progress,
    learning_rates,
):
    """Of the first rank, with the log: what writes the run's files."""
    from tqdm import tqdm

    from .training.callbacks import TrainingLog
    from .training.recorder import Recorder

    recorder = Recorder(
        folder,
        network,
        state,
        predictor,
        data.train,
        data.val,
        data.classes,
        data.palette,
        keep=config.keep,
        arguments=_stored(config, ranks),
        seconds=progress.metadata.get("seconds", 0),
        board=TensorBoard(folder.tensorboard, progress.step) if config.tensorboard else None,
    )
    bar = tqdm(
        total=len(learning_rates),
        initial=progress.step,
        unit="step",
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 20,
    )
    recorder.log = TrainingLog(
        folder.log,
        learning_rates,
        data.train.step_size,
        bar,
        steps=progress.steps,
        memory=lambda: device.memory(target),
        circumstances=recorder.circumstances,
        max_overflows=config.max_overflows,
        on_step=recorder.on_step,
    )
    return recorder


def _evaluation(predictor, data: _Data, ranks: Ranks, request):
    """The function that validates: each rank its share of the images, all with the same result."""
    from . import evaluation
    from .confusion import ConfusionMatrix

    def until_asked_to_stop(predicted, total):
        for prediction in predicted:
            if request.signum is not None:
                return
            yield prediction

    def combine(counts):
        request.agree(ranks)
        request.raise_if_asked()
        total = sum(ranks.gather(counts.to_vector()))
        return ConfusionMatrix.from_vector(total, len(data.classes))

    def evaluate():
        try:
            return evaluation.evaluate_dataset(
                predictor, data.val, data.classes, until_asked_to_stop, combine
            )
        except interruption.Interrupted:
            return None

    return evaluate


def _restore(ranks: Ranks, network, state, progress: Progress, overflows: int) -> None:
    """Gives all ranks the parameters to begin with: the checkpoint's, or else the first rank's."""
    from . import checkpoint

    if progress.parameters is not None:
        checkpoint.restore(network.get_parameters(), progress.parameters)
        if progress.is_complete:
            checkpoint.restore(state, progress.parameters)
        else:
            # The optimizer starts afresh, but at its place in the schedule.
            checkpoint.set_value(state, "global_step", progress.step - overflows)
        progress.parameters = None  # a gigabyte
    ranks.broadcast([*network.get_parameters(), *state])


def _fit(config: Config, target: str, ranks: Ranks, network, predictor, data, folder, progress):
    """Trains from where the run stands; the first rank writes log and checkpoints as it goes.

    Returns:
        `fcn8s_ms.recorder.Recorder` of the run on the first rank, None on the others.

    Raises:
        SystemExit: a signal stopped it; the status is 128 + its number.
    """
    from .distributed import agreement
    from .network import batch_norm
    from .training import callbacks

    start = progress.step
    dataset = data.train.get_dataset(start + 1)
    epoch_steps = dataset.get_dataset_size()
    total_steps = config.steps or epoch_steps * config.epochs
    epochs = -(-total_steps // epoch_steps)
    if start > total_steps:
        raise InputError(
            f"{folder.path} has done {start} steps, more than {total_steps}; give a larger "
            "--epochs or --steps"
        )
    learning_rates = _learning_rates(config, ranks, total_steps)
    model = _model(config, target, ranks, network, learning_rates, data)
    state = _optimizer_state(model, network)
    recorder = None
    if ranks.is_first:
        common = (config, target, ranks, network, state, predictor, data)
        recorder = _recorder(*common, folder, progress, learning_rates)
    request = interruption.StopRequest()
    validation = callbacks.Validation(
        _evaluation(predictor, data, ranks, request),
        config.val_every,
        epoch_steps,
        total_steps,
        recorder.on_validation if recorder else lambda result, is_best: None,
        results=progress.validations,
        patience=config.patience,
    )
    during = [
        callbacks.StartAt(start),
        agreement.Agreement(ranks, batch_norm.moving_statistics(network), request),
        callbacks.StopAt(total_steps, request),
    ]
    if recorder:
        recorder.validation = validation
        saver = callbacks.CheckpointSaver(
            recorder.save,
            config.save_every or epoch_steps,
            lambda step: request.signum is not None and step < total_steps,
        )
        during[2:] = [recorder.log, during[2], saver]
    if data.val is not None:
        during.append(validation)
    if recorder:
        during.append(callbacks.Periodically(recorder.draw_curves, _SECONDS_BETWEEN_CURVES))
    _restore(ranks, network, state, progress, recorder.log.overflows if recorder else 0)
    if recorder:
        folder.write_arguments(_stored(config, ranks))
    print(
        f"{total_steps} steps, {epoch_steps} an epoch"
        f"{f'; going on after step {start}' if start else ''}. Results: {folder.path}/",
        flush=True,
    )
    try:
        with request:
            ranks.on_orphaned(lambda: request.ask(signal.SIGTERM))
            if data.val is not None:
                validation.catch_up(start)
            request.agree(ranks)
            if start < total_steps and not validation.out_of_patience and request.signum is None:
                print("Compiling the network for the first step …", flush=True)
                model.train(
                    epochs,
                    dataset,
                    callbacks=during,
                    dataset_sink_mode=False,
                    initial_epoch=start // epoch_steps,
                )
            request.agree(ranks)
    except RuntimeError as error:
        raise data.train.explain(error) from error
    finally:
        if recorder:
            recorder.close()
    if not ranks.agree(network.get_parameters()):
        logger.warning("the weights differ from rank to rank; the checkpoints hold rank 0's")
    elif ranks.size > 1:
        print(f"The weights of all {ranks.size} ranks have the same bits.")
    if recorder:
        folder.prune(config.keep)
        recorder.draw_curves()
    if request.signum is not None:
        if recorder:
            recorder.write_metrics()
            steps = recorder.log.steps
            print(
                f"{PROGRAM}: stopped by {signal.Signals(request.signum).name} after step "
                f"{steps[-1]['step'] if steps else 0} of {total_steps}; "
                f"go on with: {_resume_command(ranks, folder)}",
                file=sys.stderr,
            )
        raise SystemExit(128 + request.signum)
    return recorder


def _resume_command(ranks: Ranks, folder: RunFolder) -> str:
    launch = f"msrun --worker_num {ranks.size} … " if ranks.size > 1 else ""
    return f"{launch}{PROGRAM} --resume {shlex.quote(str(folder.path))}"


def _stored(config: Config, ranks: Ranks) -> dict:
    """The arguments as the run's folder keeps them: paths that hold from everywhere."""
    arguments = dataclasses.asdict(config)
    del arguments["resume"]
    arguments["ranks"] = ranks.size
    return {
        name: value.absolute() if isinstance(value, Path) else value
        for name, value in arguments.items()
    }


@contextlib.contextmanager
def _full_disk_reported(ranks: Ranks, folder: RunFolder):
    """Turns the system's errors of a full disk into a message; `checkpoint.save` has its own."""
    try:
        yield
    except OSError as error:
        if error.errno not in files.DISK_ERRORS:
            raise
        raise InputError(
            f"{folder.path.absolute()}: {error.strerror}; the checkpoints are as they were. Free "
            f"some space and go on with: {_resume_command(ranks, folder)}"
        ) from error


def train(config: Config) -> dict:
    """Runs one training from data to pictures.

    Args:
        config: what the command line says.

    Returns:
        What is in `metrics.json`; nothing on other ranks than the first.

    Raises:
        InputError: an argument, the data or a checkpoint cannot be used, the disk is full, or the
            training has left the finite numbers.
        SystemExit: a signal stopped the training; the status is 128 + its number.
    """
    started = time.perf_counter()
    check_launch(config.distributed, PROGRAM)
    if is_scheduler():
        device.choose(config.device)  # or it would wait in vain for ranks that end here
        run_scheduler()
        return {}
    target = device.configure(
        config.device,
        device_id=None if config.distributed else config.device_id,
        mode=config.mode,
        conv_algo=config.conv_algo,
        allow_tf32=config.allow_tf32,
    )
    if config.sync_bn and target != "Ascend":
        raise InputError(
            f"--sync-bn is for Ascend, not for {target}, for which MindSpore has no SyncBatchNorm; "
            "leave it out, and each process normalises with its own batch"
        )
    with Ranks.start(target) if config.distributed else ALONE as ranks, ranks.quiet_others():
        return _train(config, target, ranks, started)


def _train(config: Config, target: str, ranks: Ranks, started: float) -> dict:
    import mindspore as ms

    from .inference import Predictor
    from .inference.mindspore_engine import MindSporeEngine

    among = f", {ranks.size} ranks" if ranks.size > 1 else ""
    print(f"{target}, MindSpore {ms.__version__}, {config.mode} mode{among}", flush=True)
    if config.download is not None:
        config = _with_downloads(config, ranks)
    if config.sample:
        config = _with_sample(config, ranks)
    data = _open_data(config, ranks)
    print(f"{data.train.num_samples} images, {len(data.classes)} classes: {data.train.data_file}")
    folder, progress = None, Progress()
    if config.resume is not None:
        folder = RunFolder.open(config.resume) if ranks.is_first else None
        progress = _progress(folder, data, ranks)
    is_restored = progress.parameters is not None or not ranks.is_first
    network = _build_network(config, len(data.classes), is_restored)
    predictor = Predictor(MindSporeEngine(network))
    if folder is None and ranks.is_first:
        folder = RunFolder.create(config.output or _default_folder(), config.arch)
    path = ranks.share(str(folder.path) if folder else None)
    folder = folder or RunFolder(path, config.arch)
    ranks.advise(f"Go on with: {_resume_command(ranks, folder)}")
    try:
        with _full_disk_reported(ranks, folder):
            recorder = _fit(config, target, ranks, network, predictor, data, folder, progress)
            if recorder is None:
                return {}
            return _report(recorder, data, folder, predictor, time.perf_counter() - started)
    finally:
        folder.release()


def _progress(folder: RunFolder | None, data: _Data, ranks: Ranks) -> Progress:
    """Where the run stands; the parameters and the log on the first rank alone."""
    if not ranks.is_first:
        return Progress(**ranks.share(None))
    trained_by = folder.read_arguments().get("ranks", 1)
    if trained_by != ranks.size:
        raise InputError(
            f"the run in {folder.path} is of {trained_by} ranks, not {ranks.size}: its batches and "
            f"the order of its images would be others. Go on with: "
            f"{_resume_command(Ranks(size=trained_by), folder)}; or start another run from its "
            f"weights: --pretrained {folder.last} --output NEW"
        )
    progress = Progress.read(folder)
    images = progress.metadata.get("images", data.train.num_samples)
    if images != data.train.num_samples:
        raise InputError(
            f"{data.train.data_file} has {data.train.num_samples} images, the data of the run in "
            f"{folder.path} had {images}; give the right --data"
        )
    ranks.share({"step": progress.step, "validations": progress.validations})
    return progress


def _report(recorder, data: _Data, folder: RunFolder, predictor, seconds: float) -> dict:
    """Writes the last pictures and scores, and says where they are and what to do with them."""
    from . import evaluation, visualize
    from .evaluation import report

    shown = data.val or data.train
    steps = recorder.log.steps
    visualize.prediction_grid(
        folder.predictions,
        evaluation.predict_first(predictor, shown.data_file, _PICTURES),
        data.classes,
        data.palette,
        f"{shown.data_file.name} after {steps[-1]['step'] if steps else 0} steps",
    )
    metrics = recorder.write_metrics(seconds=round(seconds, 1))
    if "validation" in metrics:
        print(report.table(metrics["validation"]))
        print(f"Protocol: {metrics['validation']['protocol']}.")
    weights = [folder.last, *folder.all_weights()][-1]
    checkpoint = folder.best if "validation" in metrics else weights
    print(
        f"Done in {metrics['seconds']:.0f} s. Look at {folder.predictions} and {folder.curves}. "
        f"Next:\n"
        f"  python -m fcn8s_ms.eval --checkpoint {checkpoint} --data {shown.data_file}\n"
        f"  python -m fcn8s_ms.predict --checkpoint {checkpoint} IMAGE --output predictions"
    )
    return metrics


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with reported_by(PROGRAM):
        try:
            train(parse(argv))
        except KeyboardInterrupt:  # before the first step or after the last
            print(f"{PROGRAM}: stopped by SIGINT", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None


if __name__ == "__main__":
    main()
