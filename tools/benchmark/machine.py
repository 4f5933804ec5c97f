"""The machine and the versions that the figures are of."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from fcn8s_ms.system.threads import available_cpus


def describe(options) -> dict:
    """Processor, and versions of what is raced.

    Args:
        options: `plain_python` and `torch_python`, interpreters whose packages are named too.
    """
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].split(":")[1].strip() if names else ""
    versions = {name: metadata.version(name) for name in ("mindspore", "numpy", "opencv-python")}
    if options.plain_python != sys.executable:
        versions["mindspore of plain"] = version(options.plain_python, "mindspore")
    versions["torch"] = version(
        options.torch_python, "torch", ", 'with', torch.get_num_threads(), 'threads'"
    )
    return {
        "cpu": model or platform.processor(),
        "cpus": available_cpus(),  # MindSpore uses as many threads
        "python": platform.python_version(),
        **versions,
    }


def version(python: str, package: str, threads: str = "") -> str | None:
    """Version of a package in an environment, and its threads if it tells; None without it."""
    code = f"import {package}; print({package}.__version__{threads})"
    found = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
    return found.stdout.strip() or None
