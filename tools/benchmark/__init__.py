"""Speed and memory against the tutorial's way, PyTorch, and another checkout of this project.

`python tools/benchmark --help` lists the options.

`parts` says what is raced against what. Every contestant is a process of its own that sets up, then
does one round whenever it is told to. The rounds go in turn, so that whatever else the machine does
meets all of them; figures are medians over the rounds, and ratios of them.
"""
