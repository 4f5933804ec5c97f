"""Trains an FCN: `python -m fcn8s_ms.train --help`.

The defaults are the tutorial's, but the learning rate really follows its cosine, one value per
step. `_train` reads in the tutorial's order: dataset, network, loss, learning rates, optimizer,
`Model`, callbacks, `Model.train`.
"""

# ruff: noqa: E402 (Ctrl-C during the imports must not abort the interpreter)

from .ending import end_at_signals, ended_by_signals
from .errors import InputError, flag, program, reported_by

if __name__ == "__main__":
    end_at_signals(program("train"))

import logging
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import device, errors
from .distributed.ranks import ALONE, Ranks, check_launch, is_scheduler, run_scheduler
from .records import demo
from .training import schedule
from .training.arguments import PROGRAM, Config, command, get_parser, parse
from .training.interruption import StopRequest
from .training.resume import TrainingState, command_to_resume, open_run
from .training.run_folder import RunFolder, check_results

if TYPE_CHECKING:  # it loads MindSpore, and --help should be quick
    from .dataset import SegDataset

__all__ = ["Config", "Run", "get_parser", "main", "parse", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Results of a training.

    Attributes:
        folder: the run's folder.
        checkpoint: weights to use: of the best validation, or of the last step without one.
        metrics: content of `metrics.json`; the scores of the last validation are under
            `validation`.
    """

    folder: Path
    checkpoint: Path
    metrics: dict[str, Any] = field(repr=False)  # of many lines


def train(config: Config) -> Run | None:
    """Runs one training, from data to pictures.

    Args:
        config: options of the training.

    Returns:
        What the run has left; None on ranks other than the first, and where `--preview` draws a
        picture instead.

    Raises:
        InputError: an option, the data or a checkpoint cannot be used, the disk is full, or loss or
            weights are no longer finite.
        SystemExit: a signal stopped the training; the status is 128 + its number.
    """
    started = time.perf_counter()
    if config.run.preview is not None:
        from .training.preview import draw_preview

        print(f"Look at {draw_preview(config)}. Nothing was trained.")
        return None
    options = config.device
    check_launch(options.distributed, PROGRAM)
    if is_scheduler():
        # If the device is not here the ranks fail too, and the scheduler would wait for them.
        device.choose(options.device)
        run_scheduler()
        return None
    target = device.configure(
        options.device,
        device_id=None if options.distributed else options.device_id,
        mode=options.mode,
        conv_algo=options.conv_algo,
        allow_tf32=options.allow_tf32,
    )
    if options.sync_bn and target != "Ascend":
        raise InputError(
            f"--sync-bn is for Ascend, not for {target}, for which MindSpore has no SyncBatchNorm; "
            "leave it out, and each process normalises with its own batch"
        )
    with Ranks.start(target) if options.distributed else ALONE as ranks, ranks.quiet_others():
        return _train(config, target, ranks, started)


def _train(config: Config, target: str, ranks: Ranks, started: float) -> Run | None:
    import mindspore as ms
    from mindspore.train import Model

    from .inference import Predictor
    from .inference.mindspore_engine import MindSporeEngine
    from .loss import AuxiliaryLoss
    from .network.batch_norm import moving_statistics
    from .training import summary
    from .training.accumulation import AccumulatedStep
    from .training.callbacks import Validation
    from .training.data import draw_sample, fetch_data, open_data
    from .training.ema import MovingAverage
    from .training.loop import Loop, evaluation_of
    from .training.losses import make_loss
    from .training.network import build_network, lr_factors
    from .training.optimizer import make_optimizer
    from .training.precheck import check_batch_norm, warn_of_shared_images
    from .training.recorder import Recorder
    from .training.train_scores import TrainScores, WatchedLoss

    among = f", {ranks.size} ranks" if ranks.size > 1 else ""
    print(f"{target}, MindSpore {ms.__version__}, {config.device.mode} mode{among}", flush=True)

    if ranks.is_first:
        check_results(config.run)

    # Dataset
    if config.data.download is not None:
        config = fetch_data(config, ranks)
    prefix = "sample-" if config.data.sample else ""
    if config.data.sample:
        print(f"Drawing the sample into {demo.FOLDER} …", flush=True)
        config = draw_sample(config, ranks)
        print(f"The preset, as a command:\n  {PROGRAM} {shlex.join(command(config, demo.PRESET))}")
    data = open_data(config.data, config.optimizer, ranks)
    print(f"{data.train.num_samples} images, {len(data.classes)} classes: {data.train.data_file}")
    if data.class_weights is not None:
        weights = zip(data.classes, data.class_weights)
        print(f"Class weights: {', '.join(f'{name} {weight:.3g}' for name, weight in weights)}")
    if ranks.is_first:
        for line in summary.image_lines(data.train, config.data, config.network.arch):
            print(line)
        if data.val is not None:
            warn_of_shared_images(data.train.data_file, data.val.data_file)
    check_batch_norm(config.network, data.network_batch, config.data, data.train.num_samples)
    opened, progress = open_run(
        config.run.resume, config.network.arch, data.train.data_file, data.train.num_samples, ranks
    )

    # Network
    network, report = build_network(
        config.network,
        len(data.classes),
        seed=config.optimizer.seed,
        sync_bn=config.device.sync_bn,
        # A checkpoint of the run, or the first rank, provides the weights otherwise.
        load_pretrained=progress.parameters is None and ranks.is_first,
    )
    for line in report:
        print(line)
    factors = lr_factors(network, config.network.arch, config.optimizer.lr_factors())
    predictor = Predictor(MindSporeEngine(network), **config.data.view)

    output = config.run.output or Path("runs") / time.strftime(f"{prefix}%Y%m%d-%H%M%S")
    folder = opened or RunFolder.start(
        output, config.network.arch, config.run.checkpoint_format, ranks
    )
    resume_command = command_to_resume(folder.path, ranks.size)
    ranks.advise(f"Resume with: {resume_command}")
    with folder, folder.full_disk_reported(f"Resume with: {resume_command}"):
        # Loss, learning rates, optimizer, model
        dataset = data.train.get_dataset(first_step=progress.step + 1)
        length = schedule.Length.of(config.optimizer, dataset.get_dataset_size())
        progress.check(length, folder)
        if done := progress.finished(length, folder):
            print(done)
        loss = make_loss(
            config.optimizer.loss_terms(),
            class_weights=data.class_weights,
            smoothing=config.optimizer.label_smoothing,
            ranks=ranks.size,
            reduction=config.optimizer.loss_reduction,
        )
        if config.network.loss_weight_of_auxiliary:
            loss = AuxiliaryLoss(loss, config.network.loss_weight_of_auxiliary)
        scores = None
        if target == "CPU" if config.run.train_scores is None else config.run.train_scores:
            loss = WatchedLoss(loss, (data.network_batch, *data.train.sample_size))
            scores = TrainScores(
                loss,
                len(data.classes),
                length.epoch_steps,
                progress.metadata.get("train_counts"),
            )
        learning_rates = schedule.learning_rates(
            config.optimizer, length.total_steps, config.device.lr_scale(ranks.size)
        )
        optimizer = make_optimizer(
            config.optimizer.optimizer,
            network.trainable_params(),
            learning_rates,
            momentum=config.optimizer.momentum,
            weight_decay=config.optimizer.weight_decay,
            clip_norm=config.optimizer.clip_norm,
            factors=factors,
            bias_decay=config.optimizer.bias_decay,
        )
        precision = config.device.precision(target)
        if data.accumulate == 1:
            model = Model(network, loss_fn=loss, optimizer=optimizer, **precision)
        else:
            model = Model(
                AccumulatedStep.build(
                    network,
                    loss,
                    optimizer,
                    data.accumulate,
                    after_batch=scores.keep_batch if scores else lambda: None,
                    **precision,
                )
            )

        # Callbacks
        average = None
        if config.optimizer.ema is not None:
            average = MovingAverage(network, config.optimizer.ema)
        state = TrainingState(network, model, average)
        request = StopRequest()
        validation = Validation(
            evaluation_of(predictor, data, ranks, request, state.for_use),
            config.run.val_every,
            length.epoch_steps,
            length.total_steps,
            results=progress.validations,
            patience=config.optimizer.patience,
        )
        recorder = None
        if ranks.is_first:
            for line in summary.start_lines(
                config, data.classes, state, length, folder.path, data.train.step_size
            ):
                print(line, flush=True)
            recorder = Recorder(
                folder,
                data,
                state,
                predictor,
                validation,
                progress,
                learning_rates,
                options=config.run,
                arguments=config.stored(ranks.size),
                max_overflows=config.device.max_overflows,
                memory=lambda: device.memory(target),
                scores=scores,
                new_schedule=progress.has_new_schedule(length, config.optimizer.schedule),
            )
        loop = Loop(
            data,
            length,
            progress.step,
            ranks=ranks,
            request=request,
            validation=validation,
            recorder=recorder,
            save_every=config.run.save_every,
            statistics=moving_statistics(network),
            average=average,
        )

        # Training
        state.restore(progress, ranks)
        if recorder is not None:
            folder.write_arguments(config.stored(ranks.size, folder.path))
        resuming = f"; resuming after step {progress.step}" if progress.step else ""
        print(f"{length.total_steps} steps, {length.epoch_steps} per epoch{resuming}.", end=" ")
        print(f"Results: {folder.path}/", flush=True)
        with loop.running() as has_steps:
            if has_steps:
                if config.device.mode == "graph":
                    print("Compiling the network for the first step …", flush=True)
                model.train(
                    length.epochs,
                    dataset,
                    callbacks=loop.callbacks,
                    dataset_sink_mode=False,
                    initial_epoch=progress.step // length.epoch_steps,
                )
        if not ranks.have_same_bits(network.get_parameters()):
            logger.warning("the weights differ between ranks; the checkpoints hold those of rank 0")
        elif ranks.size > 1:
            print(f"The weights of all {ranks.size} ranks have the same bits.")
        if recorder is not None:
            recorder.finish()
        if request.signum is not None:
            if recorder is not None:
                recorder.write_metrics()
                print(
                    f"{PROGRAM}: stopped by {signal.Signals(request.signum).name} after step "
                    f"{recorder.last_step} of {length.total_steps}; resume with: {resume_command}",
                    file=sys.stderr,
                )
            raise SystemExit(128 + request.signum)
        if recorder is None:
            return None
        recorder.draw_predictions()
        metrics = recorder.write_metrics(seconds=round(time.perf_counter() - started, 1))
        best = folder.best if "validation" in metrics else None
        run = Run(folder.path, best or [folder.last, *folder.all_weights()][-1], metrics)
        _report(run, folder, data.val or data.train, config.data.view)
        if validation.out_of_patience and recorder.last_step < length.total_steps:
            longer = ("--resume", folder.path, "--patience", 2 * validation.since_best)
            print(
                f"Stopped by --patience after step {recorder.last_step} of {length.total_steps}: "
                f"{validation.since_best} validations without a better mean IoU. To go on:\n"
                f"  {errors.command('train', *longer)}"
            )
        return run


def _report(run: Run, folder: RunFolder, shown: "SegDataset", view: dict[str, Any]) -> None:
    """Prints the scores, where the results are, and what can be done with them."""
    from .evaluation import report

    if "validation" in run.metrics:
        print(report.table(run.metrics["validation"]))
        print(f"Protocol: {run.metrics['validation']['protocol']}.")
    alike = [part for name, value in view.items() for part in (flag(name), value)]
    given = ("--checkpoint", run.checkpoint)
    data, results = ("--data", shown.data_file), ("--output", "predictions")
    print(
        f"Done in {run.metrics['seconds']:.0f} s. "
        f"Look at {folder.predictions} and {folder.curves}. Next:\n"
        f"  {errors.command('eval', *given, *data, *alike)}\n"
        f"  {errors.command('predict', *given, 'IMAGE', *alike, *results)}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line; `argv` is without the program's name."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with ended_by_signals(PROGRAM), reported_by(PROGRAM):
        train(parse(argv))


if __name__ == "__main__":
    main()
