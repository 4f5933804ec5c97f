"""A record built from images and masks."""

import tempfile
from pathlib import Path

from ..workloads import drawn_pairs, write_pairs


def ours(options):
    """Building a record from images and masks of VOC's size."""
    from fcn8s_ms import records

    folder = tempfile.TemporaryDirectory()
    pairs = _written_pairs(Path(folder.name))

    def round_():
        output = Path(folder.name) / "r.mindrecord"
        return records.build_records(pairs, output, overwrite=True).num_samples

    return round_


def plain(options):
    """Reading and decoding the same files once, in one thread, without writing anything."""
    import cv2

    cv2.setNumThreads(1)
    folder = tempfile.TemporaryDirectory()
    pairs = _written_pairs(Path(folder.name))

    def round_():
        for pair in pairs:
            cv2.imread(str(pair.image), cv2.IMREAD_COLOR)
            cv2.imread(str(pair.mask), cv2.IMREAD_GRAYSCALE)
        return len(pairs)

    round_.folder = folder  # removed with the contestant
    return round_


def _written_pairs(folder: Path) -> list:
    """Files of 200 images, among them 20 different ones."""
    drawn = drawn_pairs(20)
    return write_pairs(folder, [drawn[number % len(drawn)] for number in range(200)])
