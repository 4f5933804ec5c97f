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

BASELINE = "baseline"
"""Contestant that is `ours` of another checkout."""

_ROOT = Path(__file__).absolute().parents[2]
_ISA_VARIABLES = ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")


def run(part: str, names, options) -> dict:
    """Runs the contestants of a part in turn.

    Args:
        part: key of `benchmark.parts.PARTS`.
        names: contestants of the part, `ours` among them, and `BASELINE` if wanted.
        options: `rounds`, `warm_rounds`, `crop`, `loss`, `workers`, `augment`, `arch`, `fc_width`,
            `network`, `plain_python`, `torch_python`, `baseline`, `baseline_python`, `pictures`.

    Returns:
        Contestant to dict of `median`, `least` and `largest` seconds per round, things done
        `per_second` of the median, seconds of the `first` round with set-up, and `peak_bytes` of
        memory; of others than `ours` also the `paired_ratio` of ours to theirs.

    Raises:
        InputError: a contestant stopped.
    """
    with contextlib.ExitStack() as stack:
        contestants = []
        for name in names:
            contestants.append(_Contestant(part, name, options))
            stack.callback(contestants[-1].close)
        first = {one.name: one.ask("set up and warm up")["seconds"] for one in contestants}
        for number in range(options.warm_rounds + options.rounds):
            for one in contestants:
                answer = one.ask(f"round {number}")
                if number >= options.warm_rounds:
                    one.seconds.append(answer["seconds"])
                one.peak, one.done = answer["peak_bytes"], answer["done"]
    ours = next(one.seconds for one in contestants if one.name == "ours")
    result = {}
    for one in contestants:
        row = {
            "median": statistics.median(one.seconds),
            "least": min(one.seconds),
            "largest": max(one.seconds),
            "per_second": one.done / statistics.median(one.seconds),
            "first": first[one.name],
            "peak_bytes": one.peak,
        }
        if one.name != "ours":
            row["paired_ratio"] = paired_ratio(ours, one.seconds)
        result[one.name] = row
    return result


def paired_ratio(ours, theirs) -> float:
    """Median of the ratios round by round.

    What disturbs the machine for longer than a round slows both of a pair, and cancels out; the
    ratio of the medians may compare a quiet round with a disturbed one.

    Args:
        ours: seconds of each round.
        theirs: seconds of the same rounds.
    """
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def program_of(checkout: Path) -> Path:
    """Path that Python runs as the benchmark of a checkout of this project, of any version.

    Raises:
        InputError: the folder is not such a checkout.
    """
    folder, script = checkout / "tools" / "benchmark", checkout / "tools" / "benchmark.py"
    if (checkout / "fcn8s_ms" / "__init__.py").is_file():
        # Of a version that is gone, compiled modules may keep the folder in place.
        if (folder / "__main__.py").is_file():
            return folder
        if script.is_file():
            return script
    raise InputError(
        f"--baseline {checkout.absolute()} is not a checkout of this project; give the folder that "
        "has fcn8s_ms and tools/benchmark in it, such as one made by `git worktree add DIR COMMIT`"
    )


def table(title: str, result: dict, options) -> str:
    """A line per contestant.

    Args:
        title: description of a round, with the names of options in braces.
        result: what `run` returned.
        options: `arch`, `crop`, `loss`, `workers`, `augment` and `pictures`.

    Returns:
        Text with ratios of the medians (`time`), of the peaks (`memory`), and `paired_ratio`
        (`pairs`).
    """
    ours, width = result["ours"], max(8, *map(len, result))
    lines = [title.format(**vars(options))]
    lines.append(
        f"  {'':<{width}} {'median s':>9}   (least … largest)    per s   first s   peak GB   "
        "ours/theirs: time  memory   pairs"
    )
    for name, row in result.items():
        line = (
            f"  {name:<{width}} {row['median']:9.4f}   ({row['least']:.4f} … {row['largest']:.4f})"
            f"   {row['per_second']:6.2f}   {row['first']:7.2f}   {row['peak_bytes'] / 1e9:7.2f}"
        )
        if name != "ours":
            time_ratio = ours["median"] / row["median"]
            memory_ratio = ours["peak_bytes"] / row["peak_bytes"]
            line += f"   {time_ratio:17.3f}  {memory_ratio:6.2f}   {row['paired_ratio']:5.3f}"
        lines.append(line)
    return "\n".join(lines)


def serve(set_up, options) -> None:
    """Life of a contestant: sets up, then a round for every line on standard input.

    A checkout of an earlier version answers in the same way as a baseline: arguments, lines and
    answers have to stay as they are.

    Args:
        set_up: a value of `benchmark.parts.Part.contestants`.
        options: handed to it.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps what libraries print apart from the answers
    round_ = None
    for line in sys.stdin:
        started = time.perf_counter()
        if round_ is None:
            round_ = set_up(options)
        done = round_()
        seconds = time.perf_counter() - started
        # Children that wrote files for the rounds do not count.
        is_child = getattr(round_, "in_child", False)
        owner = resource.RUSAGE_CHILDREN if is_child else resource.RUSAGE_SELF
        usage = resource.getrusage(owner).ru_maxrss * 1024
        answer = {"seconds": seconds, "done": done, "peak_bytes": usage, "asked": line.strip()}
        print(json.dumps(answer), file=answers, flush=True)


class _Contestant:
    """A process that does a round when it reads a line, and reports on standard output."""

    def __init__(self, part: str, name: str, options):
        self.name = name
        interpreter = sys.executable
        if name == "plain":
            interpreter = options.plain_python
        elif name.startswith("torch"):
            interpreter = options.torch_python
        checkout, contestant = _ROOT, name
        if name == BASELINE:
            checkout, contestant = options.baseline, "ours"
            interpreter = options.baseline_python
        # The other interpreter need not have this package installed.
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        if name == "plain":
            # No kernel selection either, as for somebody who knows nothing of it.
            for variable in _ISA_VARIABLES:
                environment.pop(variable, None)
        # A baseline of an earlier version knows the ordinary network only, and no flag for it.
        sizes = [] if options.arch == "fcn8s" else ["--arch", options.arch]
        if options.fc_width is not None and name != BASELINE:
            sizes += ["--fc-width", str(options.fc_width)]
        if part in ("predict", "eval"):  # no others have it, nor an earlier version
            sizes += ["--pictures", str(options.pictures)]
        if part == "loss":
            sizes += ["--loss", options.loss]
        if part == "pipeline" and options.augment != "none":
            sizes += ["--augment", options.augment]
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [interpreter, str(program_of(checkout))]
            + ["--contestant", f"{part}_{contestant}"]
            + ["--crop", str(options.crop), "--workers", str(options.workers)]
            + (["--network", str(options.network.absolute())] if options.network else [])
            + sizes,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
            cwd=checkout,  # from where `python -m` takes the package before PYTHONPATH
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
