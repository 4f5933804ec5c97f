"""A record built from images and masks."""

import tempfile
from pathlib import Path

from ..workloads import written_pairs


def ours(options):
    """Building a record from images and masks of VOC's size."""
    from fcn8s_ms import build

    folder = tempfile.TemporaryDirectory()
    pairs = written_pairs(Path(folder.name))

    def round_():
        output = Path(folder.name) / "r.mindrecord"
        return build.build_records(pairs, output, overwrite=True).num_samples

    return round_


def plain(options):
    """Reading and decoding the same files once, in one thread, without writing anything."""
    import cv2

    cv2.setNumThreads(1)
    folder = tempfile.TemporaryDirectory()
    pairs = written_pairs(Path(folder.name))

    def round_():
        for pair in pairs:
            cv2.imread(str(pair.image), cv2.IMREAD_COLOR)
            cv2.imread(str(pair.mask), cv2.IMREAD_GRAYSCALE)
        folder.name  # keeps the files
        return len(pairs)

    return round_
