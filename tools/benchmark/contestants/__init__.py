"""One module per part; each function in it is a contestant of `benchmark.parts`."""
