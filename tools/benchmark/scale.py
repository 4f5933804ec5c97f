"""Weak scaling: a training step of one process and of several, each with a batch of its own."""

import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from narrow import TINY

from fcn8s_ms import files
from fcn8s_ms.errors import InputError

from .workloads import BATCH, drawn_images, mindspore_step, own_network

_FOLDER = Path(__file__).absolute().parent


def measure(options) -> dict:
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
            command = [str(_FOLDER), "--contestant", "scale_rank", "--json", str(result)]
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
                "PYTHONPATH": str(_FOLDER.parents[1]),
                "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
                "GLOG_v": "3",
            }
            done = subprocess.run(
                command, check=False, env=environment, capture_output=True, text=True
            )
            if done.returncode or not result.is_file():
                last = (done.stdout + done.stderr).strip().splitlines()[-30:]
                raise InputError(f"{size} processes failed:\n" + "\n".join(last))
            found[size] = json.loads(result.read_text())
    return found


def run_rank(options) -> None:
    """Life of one of the processes of `scale`: measures, and writes what it found if first."""
    from mindspore import nn

    from fcn8s_ms.distributed.ranks import ALONE, Ranks, is_scheduler, run_scheduler
    from fcn8s_ms.loss import CrossEntropyLoss

    if is_scheduler():
        run_scheduler()
        return
    images, labels = drawn_images(BATCH, options.crop)
    # Without the others: what a step takes while they compute, too, but nobody waits for anybody.
    network = own_network(device_id=None, **(TINY if options.narrow else {}))
    rounds = {"apart": mindspore_step(network, CrossEntropyLoss(), images, labels)}
    with Ranks.start("CPU") if options.ranks > 1 else ALONE as ranks:
        if ranks.size > 1:
            loss = CrossEntropyLoss(ranks=ranks.size)
            rounds["together"] = mindspore_step(network, loss, images, labels)
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
    """A port that is not given to outgoing connections: the launcher takes it seconds later."""
    while True:
        port = random.randint(20000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def table(found: dict, options) -> str:
    """A line per number of processes; `found` is what `measure` returned."""
    gradients = found[1]["parameters"] * 4
    lines = [
        f"training step, batch {BATCH} per process, crop {options.crop}; "
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
            f"   {size * BATCH / step:8.2f}   {alone / step:8.1%}"
        )
        if size > 1:
            reducing = statistics.median(seconds["all-reduce alone"])
            line += f"   {max(step - apart, 0) / step:9.1%}   {reducing:7.3f}"
        lines.append(line)
    return "\n".join(lines)
