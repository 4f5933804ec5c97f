"""Starts the benchmark: `python tools/benchmark --help`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python has put this folder on the path; its parent makes it a package, and has torch_fcn8s.
    sys.path[0] = str(Path(__file__).absolute().parents[1])
    from benchmark.command_line import main

    main()
