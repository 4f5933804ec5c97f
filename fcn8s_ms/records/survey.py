"""Survey of a whole record: sizes, counts, checksums."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .. import transforms, voc
from ..errors import InputError
from ..files import PathLike
from ..images.reader import MAX_PIXELS
from ..system.threads import Progress, available_cpus, map_ahead
from .checksums import check_sample
from .read import open_record, unchecked_samples

__all__ = ["Survey", "survey_record"]


@dataclass(frozen=True)
class Survey:
    """Contents of a record.

    Attributes:
        num_samples: number of images.
        num_sealed: number of images with a checksum, all of which agree.
        sizes: number of images of each (height, width).
        pixel_counts: pixels of each label value, int64 (256,).
        image_counts: number of images that hold the label value, int64 (256,).
        present_pixels: labelled pixels of the images that hold the label value, int64 (256,).
    """

    num_samples: int
    num_sealed: int
    sizes: Counter[tuple[int, int]]
    pixel_counts: np.ndarray
    image_counts: np.ndarray
    present_pixels: np.ndarray

    @property
    def num_classes(self) -> int:
        """Number of classes without metadata: VOC's if the labels fit, otherwise theirs."""
        labels = np.flatnonzero(self.pixel_counts[: voc.IGNORE_LABEL])
        return max(int(labels.max(initial=0)) + 1, voc.NUM_CLASSES)


def survey_record(
    path: PathLike, progress: Progress | None = None, max_pixels: int = MAX_PIXELS
) -> Survey:
    """Reads and checks all samples of a record.

    Args:
        path: as for `open_record`.
        progress: as for `build_records`.
        max_pixels: largest number of pixels of an image; 0 for any.

    Raises:
        InputError: a sample is damaged or cannot be decoded.
    """
    file, num_samples = open_record(path)
    sizes: Counter[tuple[int, int]] = Counter()
    num_sealed = 0
    pixels, images, present = (np.zeros(256, np.int64) for _ in range(3))

    def look(sample: tuple[str, bytes, bytes]) -> tuple[bool, tuple[int, int], np.ndarray]:
        name, encoded_image, encoded_label = sample
        is_sealed = check_sample(file, name, encoded_image, encoded_label)
        label = transforms.decode_label(encoded_label, f"{file}: label of {name!r}", max_pixels)
        if not is_sealed:
            image = transforms.decode_image(encoded_image, f"{file}: image of {name!r}", max_pixels)
            if image.shape[:2] != label.shape:
                raise InputError(
                    f"{file}: image and label of {name!r} differ in size; build the record again"
                )
        height, width = label.shape
        return is_sealed, (height, width), np.bincount(label.ravel(), minlength=256)

    with ThreadPoolExecutor(available_cpus()) as pool:
        results = map_ahead(pool, look, unchecked_samples(file), 16 * available_cpus())
        for is_sealed, shape, counts in progress(results, num_samples) if progress else results:
            num_sealed += is_sealed
            sizes[shape] += 1
            pixels += counts
            images += counts > 0
            present += np.where(counts > 0, counts[: voc.IGNORE_LABEL].sum(), 0)
    return Survey(num_samples, num_sealed, sizes, pixels, images, present)
