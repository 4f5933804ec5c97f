"""One image and its mask: checked, and encoded as a row of a record.

Images: a JPEG or PNG file is stored unchanged. Other formats are stored as a PNG of the pixels that
OpenCV decodes for training and prediction: three channels of 8 bits, BGR. OpenCV treats the stored
files alike when they are read: it keeps the upper 8 of 16 bits and drops transparency. The package
`images` turns them upright as their Exif says.

Masks: a gray PNG of class ids, with `IGNORE_LABEL` for pixels that are ignored.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import InputError
from ..formats import png
from ..images import reader
from ..images.reader import ImageFile
from . import checksums
from .masks import Mask, MaskReader, count_values
from .sources import Pair

__all__ = ["Encoder", "Row"]

_LIMIT = 2**25 - 2**12
"""Maximum bytes of an image and its label: MindRecord's page, less what it adds."""


@dataclass(frozen=True)
class Row:
    """A row of a record.

    Attributes:
        name: name of the image.
        image: bytes of the image file.
        label: bytes of the label's PNG, sealed (see `records.checksums`).
        counts: pixels of each label value, int64 (256,).
        from_values: whether the label holds the mask's own values, not those of colours, a label
            map or shapes.
    """

    name: str
    image: bytes
    label: bytes
    counts: np.ndarray
    from_values: bool


# --- images ------------------------------------------------------------------------------------


def _read_image(file: ImageFile) -> tuple[bytes, tuple[int, int]]:
    """Bytes that the record stores of an image file, and the image's height and width."""
    kind = None if file.header is None else file.header.kind
    if file.header is not None and kind == "JPEG":
        # An eighth of the size takes every byte through the decoder at half the cost.
        file.pixels(cv2.IMREAD_REDUCED_COLOR_8)
        return file.encoded, file.header.size
    pixels = file.pixels()
    height, width = pixels.shape[:2]
    # Other versions of this program leave it to OpenCV whether a PNG is turned upright.
    if kind == "PNG" and b"eXIf" not in [name for name, _ in png.chunks(file.encoded)]:
        return file.encoded, (height, width)
    return cv2.imencode(".png", pixels)[1].tobytes(), (height, width)


# --- rows --------------------------------------------------------------------------------------


class Encoder:
    """Encodes images and masks as rows of a record.

    Args:
        masks: reads the masks.
    """

    def __init__(self, masks: MaskReader):
        self._masks = masks

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._masks.num_classes

    def __call__(self, pair: Pair) -> Row:
        """Checks and encodes a pair.

        Raises:
            InputError: a file is missing or cannot be decoded, the two differ in size or Exif
                orientation, or the mask holds something that is not a class.
        """
        image_path, mask_path = Path(pair.image).absolute(), Path(pair.mask).absolute()
        list_name = "list" if pair.draw is None else "annotations"
        file = reader.open_file(
            image_path, self._masks.max_pixels, f"put it there or take it off the {list_name}"
        )
        image, size = _read_image(file)
        if pair.draw is not None:
            return self._row(pair, file, image, self._masks.of_labels(pair.draw(*size)), size)
        try:
            return self._row(pair, file, image, self._masks.read_values(mask_path), size)
        except InputError:
            if not self._are_swapped(image_path, mask_path):
                raise
        raise InputError(
            f"{mask_path} looks like a photo, and {image_path} like its mask: are the two folders "
            "swapped?"
        )

    def _are_swapped(self, image: Path, mask: Path) -> bool:
        """Whether a mask that is none looks like an image, and its image like a mask."""
        try:
            of_image = self._masks.read_values(image).values
            of_mask = reader.open_file(mask, self._masks.max_pixels).pixels()
        except InputError:
            return False
        most = self.num_classes + 2  # the background or the ignore label may not be among them
        colours = np.unique((of_mask.astype(np.uint32) << (0, 8, 16)).sum(axis=2))
        return len(np.unique(of_image)) <= most < len(colours)

    def _row(
        self, pair: Pair, file: ImageFile, image: bytes, mask: Mask, size: tuple[int, int]
    ) -> Row:
        """The row of an image, which has been read, and its mask."""
        image_path, mask_path = file.path, Path(pair.mask).absolute()
        if mask.orientation not in (None, file.orientation):
            raise InputError(
                f"{image_path} has the Exif orientation {file.orientation}, its mask {mask_path} "
                f"{mask.orientation}; save both upright without it, or both with the same"
            )
        values, encoded = mask.values, mask.png
        if size != values.shape:
            raise InputError(
                f"{mask_path} is {values.shape[1]}x{values.shape[0]}, its image {image_path} "
                f"{size[1]}x{size[0]}; give both one size"
            )
        counts = count_values(values)
        present = np.flatnonzero(counts)
        self._masks.check(present, mask, mask_path)
        if (mask.label_of_value[present] != present).any():
            values = mask.label_of_value[values].astype(np.uint8)
            counts, encoded = count_values(values), None
        if encoded is None:
            # Without a level OpenCV writes differences of neighbours: twice as long to decode.
            encoded = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        if len(image) + len(encoded) > _LIMIT:
            raise InputError(
                f"{image_path} takes {len(image) / 1e6:.0f} MB; MindRecord stores up to "
                f"{_LIMIT / 1e6:.0f} MB per sample: save it as JPEG or cut it into tiles"
            )
        label = checksums.sealed(encoded, image, pair.name)
        return Row(pair.name, image, label, counts, self._masks.holds_labels(mask))
