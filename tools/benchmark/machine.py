"""The machine and the versions that the figures are of."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

from fcn8s_ms.system.threads import available_cpus

_CPUINFO = Path("/proc/cpuinfo")

_NAMES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "VNNI",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "BF16",
    "amx_tile": "AMX",
    "asimd": "NEON",
    "sve": "SVE",
    "asimddp": "DOT",
    "i8mm": "I8MM",
    "bf16": "BF16",
}
"""Linux's names of the instruction sets that matter here, on x86 and on ARM, to usual ones."""


def describe(options) -> dict:
    """Processor with its instruction sets, and versions of what is raced.

    Args:
        options: `plain_python`, `baseline_python` and `torch_python`, interpreters whose packages
            are named too.
    """
    model = ""
    if _CPUINFO.is_file():
        names = [line for line in _CPUINFO.read_text().splitlines() if "model name" in line]
        model = names[0].split(":")[1].strip() if names else ""
    versions = {name: metadata.version(name) for name in ("mindspore", "numpy", "opencv-python")}
    if options.plain_python != sys.executable:
        versions["mindspore of plain"] = version(options.plain_python, "mindspore")
    if options.baseline_python != sys.executable:
        versions["mindspore of the baseline"] = version(options.baseline_python, "mindspore")
    versions["torch"] = version(
        options.torch_python, "torch", ", 'with', torch.get_num_threads(), 'threads'"
    )
    return {
        "cpu": model or platform.processor(),
        "instruction sets": " ".join(instruction_sets()) or "unknown",
        "cpus": available_cpus(),  # MindSpore uses as many threads
        "python": platform.python_version(),
        **versions,
    }


def instruction_sets() -> list[str]:
    """Instruction sets for vectors that the processor has: those of `_NAMES`, or NumPy's names."""
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text().splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):
                found = flags.split()
                return list(dict.fromkeys(_NAMES[flag] for flag in _NAMES if flag in found))
    try:
        return np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    except (TypeError, KeyError):  # an older NumPy, or one built without
        return []


def version(python: str, package: str, threads: str = "") -> str | None:
    """Version of a package in an environment, and its threads if it tells; None without it."""
    code = f"import {package}; print({package}.__version__{threads})"
    found = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
    return found.stdout.strip() or None
