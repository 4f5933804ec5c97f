"""What a training tells at its start: data, network, settings, disk; and soon how long it takes."""

import shutil
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mindspore.train import Callback
from tqdm import tqdm

from ..errors import listing
from ..images import header
from ..network.architectures import ARCHITECTURES
from ..records.read import unchecked_samples
from .data_options import DataOptions

if TYPE_CHECKING:
    from ..dataset import SegDataset
    from .arguments import Config
    from .resume import TrainingState
    from .schedule import Length

__all__ = ["Outlook", "hint_of_padding", "image_lines", "image_sizes", "sizes_line", "start_lines"]

_MEASURED_IMAGES = 64
_SHOWN_CLASSES = 12
_MUCH_PADDING = 0.2  # share of the pixels of a crop
_MEASURED_STEPS = 3
_ENOUGH = 60.0  # seconds of measured steps
_LONG_STEP = 20.0  # seconds


def image_sizes(data_file: Path) -> list[tuple[int, int]]:
    """Returns height and width of the first images of a record, from their headers.

    Args:
        data_file: record file that was opened before.
    """
    sizes = []
    for _, image, _ in unchecked_samples(data_file, _MEASURED_IMAGES):
        try:
            found = header.read(image)
        except ValueError:  # damaged, of which training tells when it comes to it
            continue
        if found is not None:
            sizes.append(found.size)
    return sizes


def sizes_line(sizes: Sequence[tuple[int, int]], images: int) -> str:
    """Returns the sizes of images in words.

    Args:
        sizes: result of `image_sizes`, not empty.
        images: number of images in the record.
    """
    heights, widths = zip(*sizes)
    among = f" (of the first {len(sizes)})" if images > len(sizes) else ""
    if len(set(sizes)) == 1:
        return f"Images: {widths[0]}x{heights[0]} (width x height){among}"
    return (
        f"Images: widths {min(widths)}…{max(widths)}, heights {min(heights)}…{max(heights)}{among}"
    )


def _padding(sizes: Sequence[tuple[int, int]], options: DataOptions) -> float:
    """Returns the expected share of a crop that no image covers."""
    crop, covered = options.crop_size, []
    for height, width in sizes:
        if options.resize_short is None:
            least, most = options.min_scale, options.max_scale
        else:
            least, most = (side / min(height, width) for side in options.resize_short)
        scales = np.linspace(least, most, 33)
        covered.append(
            np.mean(np.minimum(scales * height, crop) * np.minimum(scales * width, crop)) / crop**2
        )
    return 1 - float(np.mean(covered))


def hint_of_padding(
    sizes: Sequence[tuple[int, int]], options: DataOptions, multiple: int
) -> str | None:
    """Returns a hint where crops are so large that much of them is padding; None where not.

    Args:
        sizes: result of `image_sizes`.
        options: size of the crops, and scales.
        multiple: number that the side of a crop is a multiple of.
    """
    if not sizes or options.resize_to is not None:
        return None
    share = _padding(sizes, options)
    step = max(multiple, 32)
    sides = [min(size) for size in sizes]
    if options.resize_short is not None:
        sides = [min(options.resize_short)]
    fitting = int(statistics.median(sides)) // step * step
    if share < _MUCH_PADDING or not 0 < fitting < options.crop_size:
        return None
    return (
        f"Hint: {share:.0%} of the {options.crop_size}x{options.crop_size} crops is padding, as "
        f"the images are smaller; --crop-size {fitting} fits them and takes less time"
    )


def image_lines(data: "SegDataset", options: DataOptions, arch: str) -> list[str]:
    """Returns the sizes of the images, and a hint where crops do not fit them.

    Args:
        data: data to train on.
        options: size of the crops, and scales.
        arch: architecture that is trained.
    """
    sizes = image_sizes(data.data_file)
    if not sizes:
        return []
    hint = hint_of_padding(sizes, options, ARCHITECTURES[arch].multiple)
    return [sizes_line(sizes, data.num_samples), *([hint] if hint else [])]


def _amount(size: float) -> str:
    return f"{size / 1e9:.2g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def _disk_line(config: "Config", state: "TrainingState", length: "Length", folder: Path) -> str:
    """Returns the disk space that the checkpoints will take, and what is free."""
    weights = sum(one.nbytes for one in state.network.get_parameters())
    last = weights + sum(one.nbytes for one in state.optimizer)
    saves = -(-length.total_steps // (config.run.save_every or length.epoch_steps))
    count = min(config.run.keep, saves) + (config.data.val_data is not None)
    needed, free = count * weights + last, shutil.disk_usage(folder).free
    line = (
        f"Disk: {_amount(needed)} for {count} checkpoints of {_amount(weights)} and one to resume "
        f"from, {_amount(last)}; {_amount(free)} are free"
    )
    # A save needs room for a new file before an old one goes.
    if needed + last > free:
        line += ". That may not be enough: free some space, or pass a smaller --keep"
    return line


def start_lines(
    config: "Config",
    classes: Sequence[str],
    state: "TrainingState",
    length: "Length",
    folder: Path,
    batch: int,
) -> list[str]:
    """Returns what is about to happen, a line for each aspect.

    Args:
        config: options of the training.
        classes: names of the classes.
        state: network and optimizer.
        length: length of the training.
        folder: folder of the run, which exists.
        batch: images per step on all devices.
    """
    training = config.optimizer
    height, width = config.data.sample_size
    parameters = sum(one.size for one in state.network.get_parameters())
    rate = f"{training.base_lr:g}"
    if training.schedule != "constant":
        rate = f"{rate} to {training.min_lr:g}"
    epochs = length.total_steps / length.epoch_steps
    return [
        f"Classes: {listing(classes, _SHOWN_CLASSES)}",
        f"Network: {ARCHITECTURES[config.network.arch].title}, {parameters / 1e6:.3g} million "
        "parameters",
        f"Training: {length.total_steps} steps ({epochs:.3g} epochs of {length.epoch_steps}), "
        f"each of {batch} crops of {height}x{width}; {training.optimizer}, learning rate {rate}, "
        f"{training.schedule}",
        _disk_line(config, state, length, folder),
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


class Outlook(Callback):
    """Tells after a few steps how long the training will take, and of a step that is long.

    Without the latter, a compilation or a step of the full network on a CPU looks as if the program
    and Ctrl-C had no effect.

    Args:
        total_steps: steps of the whole run.
        memory: returns the memory in use, as items of a log line.
        say: called with each line.
        long_step: seconds after which a step is long.
    """

    def __init__(
        self,
        total_steps: int,
        memory: Callable[[], dict[str, float]] = dict,
        say: Callable[[str], object] = tqdm.write,
        long_step: float = _LONG_STEP,
    ):
        super().__init__()
        self.total_steps = total_steps
        self.memory = memory
        self.say = say
        self.long_step = long_step
        self._durations: list[float] = []
        self._started = 0.0
        self._told = False
        self._timer: threading.Timer | None = None

    def on_train_step_begin(self, run_context: Any) -> None:
        if self._told:
            return
        self._started = time.perf_counter()
        step = run_context.original_args().cur_step_num
        self._timer = threading.Timer(self.long_step, self._tell_of_long_step, [step])
        self._timer.daemon = True
        self._timer.start()

    def _tell_of_long_step(self, step: int) -> None:
        why = "" if self._durations else ", the first, in which the network is compiled,"
        self.say(
            f"Step {step}{why} has taken {self.long_step:.0f} s so far. Ctrl-C ends the training "
            "after the step, a second one at once"
        )

    def on_train_step_end(self, run_context: Any) -> None:
        if self._told:
            return
        self._cancel()
        self._durations.append(time.perf_counter() - self._started)
        left = self.total_steps - run_context.original_args().cur_step_num
        measured = self._durations[1:]  # the first compiles
        if left <= 0 or (len(measured) < _MEASURED_STEPS and sum(measured) < _ENOUGH):
            return
        self._told = True
        seconds = statistics.median(measured)
        kinds = {"memory_gb": "GB of memory", "device_memory_gb": "GB on the device"}
        used = [f"{value:.2g} {kinds[name]}" for name, value in self.memory().items()]
        self.say(
            f"About {_duration(seconds * left)} to go, without validations: {left} steps of "
            f"{seconds:.3g} s" + (f". In use: {', '.join(used)}" if used else "")
        )

    def on_train_end(self, run_context: Any) -> None:
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
