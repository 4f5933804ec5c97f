"""Speed and memory against the tutorial's way and PyTorch: `python tools/benchmark --help`.

Every contestant is a process of its own that sets up, then does one round whenever it is told to.
The rounds go in turn, so that whatever else the machine does meets all of them; figures are medians
over the rounds, and ratios of them.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from fcn8s_ms import device, files, voc
from fcn8s_ms.errors import InputError, reported_by

_PROGRAM = "python tools/benchmark"
_ISA_VARIABLES = ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")
_BATCH = 4


# --- contestants -----------------------------------------------------------------------------
#
# A contestant takes the options and returns a function that does one round and gives the number of
# things done (images, batches) as its result.


def _images(count: int, crop: int):
    rng = np.random.RandomState(0)
    images = rng.standard_normal((count, 3, crop, crop)).astype(np.float32)
    return images, rng.randint(0, voc.NUM_CLASSES, (count, crop, crop)).astype(np.int32)


def _mindspore_step(network, loss_function, images, labels):
    import mindspore as ms
    from mindspore import nn

    optimizer = nn.Momentum(
        params=network.trainable_params(), learning_rate=0.01, momentum=0.9, weight_decay=1e-4
    )
    step = nn.TrainOneStepCell(nn.WithLossCell(network, loss_function), optimizer).set_train()
    images, labels = ms.Tensor(images), ms.Tensor(labels)

    def round_():
        step(images, labels).asnumpy()
        return len(images)

    return round_


def _plain_network():
    """The network as the tutorial writes it, of MindSpore's own layers."""
    import mindspore as ms
    from mindspore import nn

    from fcn8s_ms.model import FCN8s

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    network = FCN8s(voc.NUM_CLASSES)
    for name, stage in network.name_cells().items():
        if isinstance(stage, nn.SequentialCell):
            setattr(network, name, nn.SequentialCell([_plain_layer(layer) for layer in stage]))
    return network


def _plain_layer(layer):
    from mindspore import nn

    if isinstance(layer, nn.MaxPool2d):
        return nn.MaxPool2d(kernel_size=2, stride=2, pad_mode="valid")
    if isinstance(layer, nn.Conv2d):
        return nn.Conv2d(
            in_channels=layer.in_channels,
            out_channels=layer.out_channels,
            kernel_size=layer.kernel_size,
            stride=1,
            pad_mode="same",
            has_bias=False,
            weight_init="xavier_uniform",
        )
    return layer


def train_ours(options):
    """A training step of this package."""
    from fcn8s_ms.loss import CrossEntropyLoss
    from fcn8s_ms.model import FCN8s

    device.configure("CPU")
    network = FCN8s(voc.NUM_CLASSES)
    return _mindspore_step(network, CrossEntropyLoss(), *_images(_BATCH, options.crop))


def train_plain(options):
    """A training step the tutorial's way."""
    from mindspore import nn

    loss_function = nn.CrossEntropyLoss(ignore_index=voc.IGNORE_LABEL)
    return _mindspore_step(_plain_network(), loss_function, *_images(_BATCH, options.crop))


def _torch_network():
    """The same network in PyTorch, eager."""
    import torch
    from torch_fcn8s import FCN8s

    torch.manual_seed(0)
    return FCN8s(voc.NUM_CLASSES)


def train_torch(options):
    """A training step in PyTorch."""
    import torch
    from torch.nn import functional

    network = _torch_network().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images, labels = (torch.from_numpy(array) for array in _images(_BATCH, options.crop))
    labels = labels.long()

    def round_():
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels, ignore_index=voc.IGNORE_LABEL)
        loss.backward()
        optimizer.step()
        loss.item()
        return _BATCH

    return round_


def infer_ours(options):
    """Class ids of one image with this package's engine, or with an exported file."""
    image, _ = _images(1, options.crop)
    if options.network is not None:
        from fcn8s_ms.onnx_engine import OnnxEngine

        engine = OnnxEngine(options.network, "CPU")
        return lambda: len(engine.class_ids(image))
    from fcn8s_ms.engine import MindSporeEngine
    from fcn8s_ms.folding import fold_batch_norm
    from fcn8s_ms.model import FCN8s

    device.configure("CPU")
    engine = MindSporeEngine(fold_batch_norm(FCN8s(voc.NUM_CLASSES)))
    return lambda: len(engine.class_ids(image))


def infer_plain(options):
    """Logits of one image, reduced in numpy, the tutorial's way."""
    import mindspore as ms

    network = _plain_network().set_train(False)
    image, _ = _images(1, options.crop)

    def round_():
        return len(network(ms.Tensor(image)).asnumpy().argmax(axis=1))

    return round_


def infer_torch(options):
    """Class ids of one image in PyTorch."""
    import torch

    network = _torch_network().eval()
    image = torch.from_numpy(_images(1, options.crop)[0])

    def round_():
        with torch.inference_mode():
            return len(network(image).argmax(dim=1).numpy())

    return round_


def _drawn_pairs(count: int):
    """JPEGs and label PNGs of VOC's size, as bytes."""
    import cv2

    rng = np.random.RandomState(0)
    pairs = []
    for _ in range(count):
        coarse = rng.randint(0, 256, (24, 32, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC)
        image = cv2.add(image, rng.randint(0, 24, image.shape).astype(np.uint8))
        label = cv2.resize(
            rng.randint(0, voc.NUM_CLASSES, (6, 8)).astype(np.uint8),
            (500, 375),
            interpolation=cv2.INTER_NEAREST,
        )
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        # Decodes in 0.14 ms as VOC's own masks do; without a level it would be 0.5 ms.
        png = cv2.imencode(".png", label, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        pairs.append((jpeg.tobytes(), png.tobytes()))
    return pairs


def plain_steps(image, label, rng, crop: int):
    """The tutorial's preprocessing: normalises and pads the whole scaled image, then crops."""
    import cv2

    image = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    label = cv2.imdecode(np.frombuffer(label, np.uint8), cv2.IMREAD_GRAYSCALE)
    factor = rng.uniform(0.5, 2.0)
    size = (int(factor * image.shape[1]), int(factor * image.shape[0]))
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    mean, std = np.array(voc.IMAGE_MEAN, np.float32), np.array(voc.IMAGE_STD, np.float32)
    image = (image - mean) / std
    bottom, right = max(crop - image.shape[0], 0), max(crop - image.shape[1], 0)
    if bottom or right:
        border = cv2.BORDER_CONSTANT
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, border, value=0)
        label = cv2.copyMakeBorder(label, 0, bottom, 0, right, border, value=voc.IGNORE_LABEL)
    top = rng.randint(0, image.shape[0] - crop + 1)
    left = rng.randint(0, image.shape[1] - crop + 1)
    image = image[top : top + crop, left : left + crop]
    label = label[top : top + crop, left : left + crop]
    if rng.uniform(0, 1) > 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    image = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    return image, np.ascontiguousarray(label, np.int32)


# A third of VOC 2012's training list: MindSpore starts an epoch's iterator in 35 ms.
_PIPELINE_IMAGES = 512


def _record(folder: Path) -> Path:
    from fcn8s_ms import build, sources

    pairs = []
    for number, (image, label) in enumerate(_drawn_pairs(_PIPELINE_IMAGES)):
        pair = sources.Pair(str(number), folder / f"{number}.jpg", folder / f"{number}.png")
        pair.image.write_bytes(image)
        pair.mask.write_bytes(label)
        pairs.append(pair)
    build.build_records(pairs, folder / "pipeline.mindrecord")
    return folder / "pipeline.mindrecord"


def _drain(dataset):
    # One epoch to an iterator: a longer one would prepare the next round in the others' turns.
    def round_():
        iterator = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
        return sum(len(image) for image, _ in iterator)

    return round_


def pipeline_ours(options):
    """An epoch of training crops from `SegDataset`."""
    import cv2

    from fcn8s_ms.dataset import SegDataset

    cv2.setNumThreads(1)
    folder = tempfile.TemporaryDirectory()
    data = SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        _record(Path(folder.name)),
        batch_size=_BATCH,
        num_readers=1,
        num_parallel_calls=options.workers,
        seed=1,
    )
    round_ = _drain(data.get_dataset())
    round_.folder = folder  # removed with the contestant
    return round_


def pipeline_plain(options):
    """The same from a MindSpore pipeline with the tutorial's order of steps."""
    import cv2
    import mindspore.dataset as ds

    cv2.setNumThreads(1)
    folder = tempfile.TemporaryDirectory()
    dataset = ds.MindDataset(
        str(_record(Path(folder.name))),
        columns_list=["data", "label"],
        shuffle=True,
        num_parallel_workers=1,
    )
    dataset = dataset.map(
        lambda image, label: plain_steps(image, label, np.random, 512),
        input_columns=["data", "label"],
        output_columns=["data", "label"],
        num_parallel_workers=options.workers,
    )
    dataset = dataset.shuffle(10 * _BATCH).batch(_BATCH, drop_remainder=True)
    round_ = _drain(dataset)
    round_.folder = folder
    return round_


def pipeline_torch(options):
    """A torch DataLoader over the same OpenCV steps, in this package's cheap order."""
    import cv2
    import torch

    from fcn8s_ms import transforms

    cv2.setNumThreads(1)
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)

    class Crops(torch.utils.data.Dataset):
        def __init__(self):
            self.pairs = _drawn_pairs(_PIPELINE_IMAGES)

        def __len__(self):
            return len(self.pairs)

        def __getitem__(self, index):
            image, label = self.pairs[index]
            return transforms.augment(
                transforms.decode_image(image),
                transforms.decode_label(label),
                np.random.RandomState(index),
                table=table,
                crop_size=512,
                min_scale=0.5,
                max_scale=2.0,
                ignore_label=voc.IGNORE_LABEL,
            )

    loader = torch.utils.data.DataLoader(
        Crops(),
        batch_size=_BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=True,
    )

    def round_():
        return sum(len(image) for image, _ in loader)

    return round_


def metrics_ours(options):
    """Four scores of a batch of logits, reduced to class ids on the device."""
    import mindspore as ms
    from mindspore import nn

    from fcn8s_ms.engine import MindSporeEngine
    from fcn8s_ms.metrics import segmentation_metrics

    device.configure("CPU")
    logits, label = _logits()
    logits = ms.Tensor(logits)
    nothing = nn.Identity()
    nothing.n_class = voc.NUM_CLASSES
    engine = MindSporeEngine(nothing)
    engine._class_ids.set_inputs(ms.Tensor(shape=[None] * 4, dtype=ms.float32))
    group = segmentation_metrics(voc.NUM_CLASSES)

    def round_():
        ids = engine.class_ids(logits)
        for metric in group.values():
            metric.update(ids, label)
        return len(ids)

    return round_


def _logits():
    rng = np.random.RandomState(0)
    logits = rng.standard_normal((_BATCH, voc.NUM_CLASSES, 512, 512)).astype(np.float32)
    return logits, rng.randint(0, voc.NUM_CLASSES, (_BATCH, 512, 512)).astype(np.int32)


def metrics_plain(options):
    """Four scores, each from the logits and with a matrix of its own."""
    logits, label = _logits()
    matrices = [np.zeros((voc.NUM_CLASSES,) * 2) for _ in range(4)]

    def round_():
        for matrix in matrices:
            prediction = logits.argmax(axis=1)
            counted = (label >= 0) & (label < voc.NUM_CLASSES)
            pairs = voc.NUM_CLASSES * label[counted].astype(int) + prediction[counted]
            counts = np.bincount(pairs, minlength=voc.NUM_CLASSES**2)
            matrix += counts.reshape(matrix.shape)
        return len(label)

    return round_


def records_ours(options):
    """Building a record from images and masks of VOC's size."""
    from fcn8s_ms import build

    folder = tempfile.TemporaryDirectory()
    pairs = _written_pairs(Path(folder.name))

    def round_():
        output = Path(folder.name) / "r.mindrecord"
        return build.build_records(pairs, output, overwrite=True).num_samples

    return round_


def _written_pairs(folder: Path, count: int = 200):
    from fcn8s_ms import sources

    drawn = _drawn_pairs(20)
    pairs = []
    for number in range(count):
        pair = sources.Pair(str(number), folder / f"{number}.jpg", folder / f"{number}.png")
        image, label = drawn[number % len(drawn)]
        pair.image.write_bytes(image)
        pair.mask.write_bytes(label)
        pairs.append(pair)
    return pairs


def records_plain(options):
    """Reading and decoding the same files once, in one thread, without writing anything."""
    import cv2

    cv2.setNumThreads(1)
    folder = tempfile.TemporaryDirectory()
    pairs = _written_pairs(Path(folder.name))

    def round_():
        for pair in pairs:
            cv2.imread(str(pair.image), cv2.IMREAD_COLOR)
            cv2.imread(str(pair.mask), cv2.IMREAD_GRAYSCALE)
        folder.name  # keeps the files
        return len(pairs)

    return round_


def _program(*arguments):
    def round_():
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        return 1

    return round_


def startup_ours(options):
    """`python -m fcn8s_ms.train --help`."""
    return _program("-m", "fcn8s_ms.train", "--help")


def startup_plain(options):
    """`python -c "import mindspore"`, what a program pays that imports it at its head."""
    return _program("-c", "import mindspore")


def startup_torch(options):
    """`python -c "import torch"`."""
    return _program("-c", "import torch")


# --- several processes -------------------------------------------------------------------------


def scale_rank(options) -> None:
    """Life of one of the processes of `scale`: measures, and writes what it found if first."""
    from mindspore import nn

    from fcn8s_ms.loss import CrossEntropyLoss
    from fcn8s_ms.model import FCN8s
    from fcn8s_ms.ranks import ALONE, Ranks, is_scheduler, run_scheduler

    if is_scheduler():
        run_scheduler()
        return
    device.configure("CPU", device_id=None)
    narrow = {"widths": (4, 4, 8, 8, 8), "fc_width": 16} if options.narrow else {}
    images, labels = _images(_BATCH, options.crop)
    # Without the others: what a step takes while they compute, too, but nobody waits for anybody.
    network = FCN8s(voc.NUM_CLASSES, **narrow)
    rounds = {"apart": _mindspore_step(network, CrossEntropyLoss(), images, labels)}
    with Ranks.start("CPU") if options.ranks > 1 else ALONE as ranks:
        if ranks.size > 1:
            loss = CrossEntropyLoss(ranks=ranks.size)
            rounds["together"] = _mindspore_step(network, loss, images, labels)
            weights = network.trainable_params()
            reduce_all = nn.DistributedGradReducer(weights, mean=True, degree=ranks.size)
            rounds["all-reduce alone"] = lambda: reduce_all(tuple(weights))[-1].asnumpy()
        seconds = {name: [] for name in rounds}
        for number in range(options.warm_rounds + options.rounds):
            for name, round_ in rounds.items():
                ranks.barrier()
                started = time.perf_counter()
                round_()
                taken = time.perf_counter() - started
                if number >= options.warm_rounds:
                    # A step of all is over when the last of them is.
                    seconds[name].append(float(max(ranks.gather(np.array([taken])))[0]))
        if ranks.is_first:
            parameters = sum(parameter.size for parameter in network.trainable_params())
            files.write_json(options.json, {"parameters": parameters, "seconds": seconds})


def _free_port() -> int:
    """Of those that are not given to outgoing connections: the launcher takes it seconds later."""
    while True:
        port = random.randint(20000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def scale(options) -> dict:
    """Weak scaling: the same batch for each of 1 and of `options.ranks` processes.

    Returns:
        Number of processes to dict of `parameters` and `seconds`: of the timed rounds of a step
        `together` with the others, of one `apart`, and of the `all-reduce alone`.

    Raises:
        InputError: a process failed.
    """
    found = {}
    for size in (1, options.ranks):
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            command = [__file__, "--contestant", "scale_rank", "--json", str(result)]
            command += ["--ranks", str(size), "--crop", str(options.crop)]
            command += ["--rounds", str(options.rounds)]
            command += ["--warm-rounds", str(options.warm_rounds)]
            command += ["--narrow"] if options.narrow else []
            if size == 1:
                command = [sys.executable, *command]
            else:
                launcher = Path(folder) / "python"  # what msrun starts
                launcher.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
                launcher.chmod(0o755)
                launch = [sys.executable, "-m", "mindspore.parallel.cluster.run", "--join", "True"]
                launch += ["--worker_num", str(size), "--local_worker_num", str(size)]
                launch += ["--master_port", str(_free_port()), "--log_dir", folder]
                command = [*launch, "python", *command]
            environment = {
                **os.environ,
                "PYTHONPATH": str(Path(__file__).absolute().parents[2]),
                "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
                "GLOG_v": "3",
            }
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode or not result.is_file():
                last = (done.stdout + done.stderr).strip().splitlines()[-30:]
                raise InputError(f"{size} processes failed:\n" + "\n".join(last))
            found[size] = json.loads(result.read_text())
    return found


def _scale_table(found: dict, options) -> str:
    gradients = found[1]["parameters"] * 4
    lines = [
        f"training step, batch {_BATCH} a process, crop {options.crop}; "
        f"{gradients / 1e6:.3g} MB of gradients",
        "  processes   step s   (least … largest)   images/s   of linear   all-reduce   alone s",
    ]
    alone = statistics.median(found[1]["seconds"]["apart"])
    for size, result in found.items():
        seconds = result["seconds"]
        together = seconds.get("together", seconds["apart"])
        step = statistics.median(together)
        apart = statistics.median(seconds["apart"])
        line = (
            f"  {size:<9} {step:8.3f}   ({min(together):.3f} … {max(together):.3f})"
            f"   {size * _BATCH / step:8.2f}   {alone / step:8.1%}"
        )
        if size > 1:
            reducing = statistics.median(seconds["all-reduce alone"])
            line += f"   {max(step - apart, 0) / step:9.1%}   {reducing:7.3f}"
        lines.append(line)
    return "\n".join(lines)


@dataclass(frozen=True)
class Part:
    """Work that is raced.

    Attributes:
        round: description of one round; `{crop}` and `{workers}` stand for the options.
        contestants: name to a function that takes the options, sets up, and returns a function
            which does one round and returns the number of things done (images, batches).
    """

    round: str
    contestants: dict[str, Callable]


PARTS = {
    "train": Part(
        "training step, batch 4, crop {crop}",
        {"ours": train_ours, "plain": train_plain, "torch": train_torch},
    ),
    "infer": Part(
        "class ids of one {crop}x{crop} image",
        {"ours": infer_ours, "plain": infer_plain, "torch": infer_torch},
    ),
    "pipeline": Part(
        "512 training crops of 512, {workers} worker(s)",
        {"ours": pipeline_ours, "plain": pipeline_plain, "torch": pipeline_torch},
    ),
    "metrics": Part(
        "four scores of 4x21x512x512",
        {"ours": metrics_ours, "plain": metrics_plain},
    ),
    "records": Part(
        "200 images of VOC's size into a record",
        {"ours": records_ours, "plain": records_plain},
    ),
    "startup": Part(
        "--help / import",
        {"ours": startup_ours, "plain": startup_plain, "torch": startup_torch},
    ),
}


# --- the race ----------------------------------------------------------------------------------


class _Contestant:
    """A process that does a round when it reads a line, and reports on standard output."""

    def __init__(self, part: str, name: str, options, python: str):
        self.name = name
        # The other interpreter need not have this package installed.
        root = str(Path(__file__).absolute().parents[2])
        environment = {**os.environ, "PYTHONPATH": root}
        if name == "plain":
            # No kernel selection either, as for somebody who knows nothing of it.
            for variable in _ISA_VARIABLES:
                environment.pop(variable, None)
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, __file__, "--contestant", f"{part}_{name}"]
            + ["--crop", str(options.crop), "--workers", str(options.workers)]
            + (["--network", str(options.network)] if options.network else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        self.seconds = []

    def ask(self, line: str) -> dict:
        """Sends a line and waits for the answer."""
        with contextlib.suppress(BrokenPipeError):  # it ended; the empty answer tells
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:]
            raise InputError(
                f"the contestant {self.name} stopped: {' '.join(last) or 'no message'}"
            )
        return json.loads(answer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._errors.close()


def _serve(set_up, options) -> None:
    """Life of a contestant: sets up, then a round for every line on standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    round_ = None
    for line in sys.stdin:
        started = time.perf_counter()
        if round_ is None:
            round_ = set_up(options)
        done = round_()
        seconds = time.perf_counter() - started
        owners = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        usage = max(resource.getrusage(owner).ru_maxrss for owner in owners) * 1024
        answer = {"seconds": seconds, "done": done, "peak_bytes": usage, "asked": line.strip()}
        print(json.dumps(answer), file=answers, flush=True)


def race(part: str, names, options) -> dict:
    """Runs the contestants of a part in turn.

    Args:
        part: key of `PARTS`.
        names: of its contestants.
        options: `rounds`, `warm_rounds`, `crop`, `workers`, `network`, `plain_python`,
            `torch_python`.

    Returns:
        Contestant to dict of median, least and largest seconds a round, seconds of the first round
        with set-up, and peak memory in bytes.
    """
    with contextlib.ExitStack() as stack:
        contestants = []
        for name in names:
            python = {"plain": options.plain_python, "torch": options.torch_python}
            python = python.get(name, sys.executable)
            contestants.append(_Contestant(part, name, options, python))
            stack.callback(contestants[-1].close)
        first = {one.name: one.ask("set up and warm up")["seconds"] for one in contestants}
        for number in range(options.warm_rounds + options.rounds):
            for one in contestants:
                answer = one.ask(f"round {number}")
                if number >= options.warm_rounds:
                    one.seconds.append(answer["seconds"])
                one.peak = answer["peak_bytes"]
        return {
            one.name: {
                "median": statistics.median(one.seconds),
                "least": min(one.seconds),
                "largest": max(one.seconds),
                "first": first[one.name],
                "peak_bytes": one.peak,
            }
            for one in contestants
        }


def _version(python: str, package: str, threads: str = "") -> str | None:
    """Version of a package in an environment, and its threads if it tells; None without it."""
    code = f"import {package}; print({package}.__version__{threads})"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return found.stdout.strip() or None


def _machine(options) -> dict:
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].split(":")[1].strip() if names else ""
    versions = {name: metadata.version(name) for name in ("mindspore", "numpy", "opencv-python")}
    if options.plain_python != sys.executable:
        versions["mindspore of plain"] = _version(options.plain_python, "mindspore")
    versions["torch"] = _version(
        options.torch_python, "torch", ", 'with', torch.get_num_threads(), 'threads'"
    )
    return {
        "cpu": model or platform.processor(),
        "cpus": device.available_cpus(),  # MindSpore uses as many threads
        "python": platform.python_version(),
        **versions,
    }


def _table(part: str, result: dict, options) -> str:
    ours = result["ours"]
    lines = [PARTS[part].round.format(crop=options.crop, workers=options.workers)]
    lines.append(
        "            median s   (least … largest)   first s   peak GB   ours/theirs: time  memory"
    )
    for name, row in result.items():
        line = (
            f"  {name:<8} {row['median']:9.4f}   ({row['least']:.4f} … {row['largest']:.4f})"
            f"   {row['first']:7.2f}   {row['peak_bytes'] / 1e9:7.2f}"
        )
        if name != "ours":
            time_ratio = ours["median"] / row["median"]
            line += f"   {time_ratio:17.3f}  {ours['peak_bytes'] / row['peak_bytes']:6.2f}"
        lines.append(line)
    return "\n".join(lines)


def get_parser() -> argparse.ArgumentParser:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Race this package against the tutorial's way ('plain') and PyTorch, each in a "
        "process of its own, round by round in turn.",
        epilog=f"Example: {_PROGRAM} train infer --against torch --crop 128",
    )
    add = parser.add_argument
    add(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS)} (default: these), or scale: a training step of one process "
        "and of several, each with a batch of its own",
    )
    add(
        "--against",
        nargs="+",
        choices=("plain", "torch"),
        help="opponents (default: both; the plain training step takes minutes on MindSpore 2.10)",
    )
    add("--crop", type=int, default=128, help="side for train and infer (default: %(default)s)")
    add("--workers", type=int, default=1, help="of the pipelines (default: %(default)s)")
    add("--rounds", type=int, default=7, help="timed rounds of each (default: %(default)s)")
    add(
        "--warm-rounds",
        type=int,
        default=5,
        help="untimed rounds before them: MindSpore tries out numbers of threads in its first five "
        "(default: %(default)s)",
    )
    add("--network", type=Path, help="ONNX file to run for infer (default: MindSpore)")
    add("--ranks", type=int, default=2, help="processes for scale (default: %(default)s)")
    add("--narrow", action="store_true", help="a network of few parameters for scale: for a look")
    add("--quick", action="store_true", help="3 rounds, 1 warm, crop 64: for a look")
    add("--json", type=Path, help="file for the figures")
    add(
        "--torch-python",
        default=sys.executable,
        help="interpreter of an environment with torch, numpy, opencv-python (default: this one)",
    )
    add(
        "--plain-python",
        default=sys.executable,
        help="interpreter for 'plain', for instance one with another MindSpore (default: this one)",
    )
    add("--contestant", help=argparse.SUPPRESS)
    return parser


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    options = get_parser().parse_args(argv)
    if options.contestant == "scale_rank":
        scale_rank(options)
        return
    if options.contestant:
        part, name = options.contestant.split("_")
        _serve(PARTS[part].contestants[name], options)
        return
    if options.quick:
        options.rounds, options.warm_rounds, options.crop = 3, 1, 64
    with reported_by(_PROGRAM):
        unknown = set(options.parts) - set(PARTS) - {"scale"}
        if unknown:
            raise InputError(
                f"part {min(unknown)!r} is unknown; choose of {', '.join(PARTS)}, scale"
            )
        if options.ranks < 2:
            raise InputError(f"--ranks is {options.ranks}; scaling needs at least 2")
        machine = _machine(options)
        opponents = options.against or ["plain", *(["torch"] if machine["torch"] else [])]
        if "torch" in opponents and machine["torch"] is None:
            raise InputError(
                f"{options.torch_python} has no torch: pip install torch==2.13.0 (CPU build) into "
                "an environment of its own and pass --torch-python"
            )
        print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
        results = {}
        for part in options.parts or PARTS:
            if part == "scale":
                results[part] = scale(options)
                print("\n" + _scale_table(results[part], options), flush=True)
                continue
            names = ["ours", *(name for name in opponents if name in PARTS[part].contestants)]
            results[part] = race(part, names, options)
            print("\n" + _table(part, results[part], options), flush=True)
        if options.json:
            settings = {"crop": options.crop, "workers": options.workers, "rounds": options.rounds}
            files.write_json(
                options.json, {"machine": machine, "settings": settings, "parts": results}
            )


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).absolute().parents[1])  # for torch_fcn8s
    main()
