"""A network that anyone can compute by heart, and pictures for it."""

import math

import cv2
import numpy as np

from fcn8s_ms.inference import Segmenter

CLASSES = ("background", "meadow", "<b>poppy</b>")
PALETTE = ((0, 0, 0), (0, 0, 255), (255, 255, 0))  # RGB
RED, GREEN, BLUE = (240, 0, 0), (0, 240, 0), (0, 0, 240)  # RGB


class Channels:
    """An engine whose classes are the channels of a picture, BGR; its logits the values by 48."""

    n_class = 3
    multiple = 1
    takes_pixels = True
    name = "channels"

    def logits(self, batch):
        return (batch.transpose(0, 3, 1, 2) / 48).astype(np.float32)

    def class_ids(self, batch):
        return self.logits(batch).argmax(1).astype(np.int32)


class ChannelIds(Channels):
    """The same without logits, as a file of `export --argmax`."""

    has_logits = False


# Of a pixel of one of the colours above: one logit is 5, the others are 0.
CERTAINTY = math.exp(5) / (math.exp(5) + 2)


def segmenter(engine=None, **options):
    return Segmenter(engine or Channels(), CLASSES, PALETTE, **options)


def halves(path, left, right, height=60, width=80):
    """Writes a picture of two colours, RGB, and returns its path."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = left[::-1], right[::-1]
    cv2.imwrite(str(path), image)
    return path


def write_bad_files(folder):
    """Files that are not pictures the page takes, by name, with what is said about each."""
    (folder / "notes.png").write_text("milk, bread, eggs")
    broken = halves(folder / "broken.jpg", RED, GREEN)
    broken.write_bytes(broken.read_bytes()[:-200])
    # Zeros of a PNG compress to a thousandth: 100 megapixels in 100 kB.
    cv2.imwrite(str(folder / "huge.png"), np.zeros((10_000, 10_000), np.uint8))
    return {
        "notes.png": "notes.png cannot be decoded (17 bytes)",
        "broken.jpg": "it is cut short",
        "huge.png": "huge.png has 10000x10000 pixels; up to 50,000,000 are read",
    }
