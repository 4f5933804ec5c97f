"""Constants of PASCAL VOC 2012 and of the tutorial's preprocessing."""

import numpy as np

__all__ = [
    "CLASSES",
    "IGNORE_LABEL",
    "IMAGE_MEAN",
    "IMAGE_STD",
    "NUM_CLASSES",
    "class_names",
    "palette",
]

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""Class names; the position is the class id."""

NUM_CLASSES = len(CLASSES)

IGNORE_LABEL = 255
"""Label of pixels that neither train nor score: object borders and difficult regions."""

IMAGE_MEAN = (103.53, 116.28, 123.675)
IMAGE_STD = (57.375, 57.120, 58.395)
"""Mean and standard deviation of the pixels of ImageNet, in BGR order, on the scale 0…255."""


def class_names(num_classes: int) -> tuple[str, ...]:
    """Names for classes that come without: VOC's if their number is VOC's, else numbers."""
    if num_classes == NUM_CLASSES:
        return CLASSES
    return tuple(f"class {number}" for number in range(num_classes))


def palette() -> np.ndarray:
    """VOC's colour map: uint8 array (256, 3), RGB of every label value.

    The bits of the label are dealt to red, green and blue in turn, the lowest to the highest bit of
    each channel (VOC devkit, VOClabelcolormap).
    """
    label = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for shift in range(8):
        for channel in range(3):
            bit = (label >> (3 * shift + channel)) & 1
            colours[:, channel] |= (bit << (7 - shift)).astype(np.uint8)
    return colours
