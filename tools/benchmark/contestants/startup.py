"""The start of a program."""

import subprocess
import sys


def ours(options):
    """`python -m fcn8s_ms.train --help`."""
    return _program("-m", "fcn8s_ms.train", "--help")


def plain(options):
    """`python -c "import mindspore"`, what a program pays that imports it at its head."""
    return _program("-c", "import mindspore")


def pytorch(options):
    """`python -c "import torch"`."""
    return _program("-c", "import torch")


def _program(*arguments):
    """A round that runs a Python process to its end."""

    def round_():
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        return 1

    round_.in_child = True
    return round_
