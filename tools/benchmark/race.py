"""A race: processes that do their rounds in turn, and the table of their figures."""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fcn8s_ms.errors import InputError

_FOLDER = Path(__file__).absolute().parent
_ISA_VARIABLES = ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")


def run(part: str, names, options) -> dict:
    """Runs the contestants of a part in turn.

    Args:
        part: key of `benchmark.parts.PARTS`.
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


def table(title: str, result: dict, options) -> str:
    """A line per contestant.

    Args:
        title: of the part, with `{crop}` and `{workers}`.
        result: of `run`.
        options: `crop` and `workers`.
    """
    ours = result["ours"]
    lines = [title.format(crop=options.crop, workers=options.workers)]
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


def serve(set_up, options) -> None:
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


class _Contestant:
    """A process that does a round when it reads a line, and reports on standard output."""

    def __init__(self, part: str, name: str, options, python: str):
        self.name = name
        # The other interpreter need not have this package installed.
        root = str(_FOLDER.parents[1])
        environment = {**os.environ, "PYTHONPATH": root}
        if name == "plain":
            # No kernel selection either, as for somebody who knows nothing of it.
            for variable in _ISA_VARIABLES:
                environment.pop(variable, None)
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, str(_FOLDER), "--contestant", f"{part}_{name}"]
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
