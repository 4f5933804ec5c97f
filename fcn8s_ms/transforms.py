"""Operations on an image and its label, in numpy and OpenCV.

Images are uint8 arrays (H, W, 3) in BGR order, labels uint8 arrays (H, W) of class ids, until the
last step makes them float32 (3, H, W) and int32 (H, W) for the network.

Training images go through the tutorial's seven steps (decode, scale, normalise, pad, crop, mirror,
transpose), with the same random draws in the same order and the same bits as result, but scaled
pixels outside the crop are dropped before anything is computed on them, and normalisation is a
table look-up: an 8-bit channel has only 256 values.
"""

import cv2
import numpy as np

from .errors import InputError

__all__ = [
    "IMAGE_SUFFIXES",
    "STRIDE",
    "augment",
    "decode_image",
    "decode_label",
    "denormalize",
    "normalization_table",
    "next_multiple",
    "normalize",
    "pad_to_multiple",
]


STRIDE = 32
"""Pixels of input per cell of the deepest feature map: the network takes multiples of it."""

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".dib", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm")
    + (".ras", ".sr", ".tif", ".tiff", ".webp")
)
"""Endings of files that OpenCV decodes, in lower case."""


def _decode(encoded, flag: int, what: str) -> np.ndarray:
    buffer = np.frombuffer(encoded, np.uint8)
    pixels = cv2.imdecode(buffer, flag) if buffer.size else None
    if pixels is None:
        raise InputError(
            f"{what} cannot be decoded ({buffer.size} bytes); replace the file it came from and "
            "build the records again"
        )
    return pixels


def decode_image(encoded, name: str = "image") -> np.ndarray:
    """Decodes an image file's bytes.

    Args:
        encoded: bytes, or a numpy array that holds them.
        name: what an error calls the image.

    Returns:
        uint8 array (H, W, 3), BGR.

    Raises:
        InputError: the bytes are no image.
    """
    return _decode(encoded, cv2.IMREAD_COLOR, name)


def decode_label(encoded, name: str = "label") -> np.ndarray:
    """Decodes a single-channel PNG of class ids to uint8 (H, W); else as `decode_image`."""
    return _decode(encoded, cv2.IMREAD_GRAYSCALE, name)


def normalization_table(mean, std) -> np.ndarray:
    """(value - mean) / std of every 8-bit value: float32 array (channels, 256)."""
    values = np.arange(256, dtype=np.float32)
    mean = np.asarray(mean, np.float32).reshape(-1, 1)
    std = np.asarray(std, np.float32).reshape(-1, 1)
    return (values - mean) / std


def _normalize_into(out: np.ndarray, image: np.ndarray, table: np.ndarray) -> None:
    # Split first: OpenCV copies a strided channel slowly.
    for channel, values, plane in zip(cv2.split(image), table, out):
        cv2.LUT(channel, values, dst=plane)


def normalize(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Normalises an image and puts its channels first.

    Args:
        image: uint8 (H, W, 3), BGR.
        table: of `normalization_table`.

    Returns:
        float32 array (3, H, W).
    """
    out = np.empty((len(table), *image.shape[:2]), np.float32)
    _normalize_into(out, image, table)
    return out


def _pad_around(crop: np.ndarray, rows: int, columns: slice, value) -> np.ndarray:
    """Fills all but the first rows of some columns, and returns the view of these."""
    crop[..., rows:, :] = value
    crop[..., :rows, : columns.start] = value
    crop[..., :rows, columns.stop :] = value
    return crop[..., :rows, columns]


def denormalize(image: np.ndarray, mean, std) -> np.ndarray:
    """The image that was normalised: undoes `normalize` exactly.

    Args:
        image: float32 (3, H, W).
        mean: of the channels, as for `normalization_table`.
        std: of the channels.

    Returns:
        uint8 array (H, W, 3), BGR. Padding (0) has the mean colour.
    """
    mean = np.asarray(mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(std, np.float32).reshape(-1, 1, 1)
    values = np.round(image * std + mean).astype(np.uint8)
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def augment(
    image: np.ndarray,
    label: np.ndarray,
    rng,
    *,
    table: np.ndarray,
    crop_size: int,
    min_scale: float,
    max_scale: float,
    ignore_label: int,
    out=None,
):
    """Scales, crops and mirrors an image with its label at random, and normalises the image.

    Args:
        image: uint8 (H, W, 3), BGR.
        label: uint8 (H, W).
        rng: `numpy.random.RandomState` or `numpy.random` itself; drawn from are uniform (scale),
            randint (top), randint (left), uniform (mirror when above 0.5), in this order.
        table: of `normalization_table`.
        crop_size: side of the square crop in pixels. A smaller image is padded at the bottom and
            right: 0 in the normalised image, `ignore_label` in the label.
        min_scale: least factor of both sides.
        max_scale: largest factor.
        ignore_label: label of padding.
        out: arrays to write the result into, for instance a place in a batch; new ones without.

    Returns:
        float32 array (3, crop_size, crop_size) and int32 array (crop_size, crop_size).

    Source: the tutorial's `preprocess_dataset`.
    """
    factor = rng.uniform(min_scale, max_scale)
    height = max(int(factor * image.shape[0]), 1)
    width = max(int(factor * image.shape[1]), 1)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)

    top = rng.randint(0, max(height, crop_size) - crop_size + 1)
    left = rng.randint(0, max(width, crop_size) - crop_size + 1)
    image = image[top : top + crop_size, left : left + crop_size]
    label = label[top : top + crop_size, left : left + crop_size]

    rows, columns = label.shape
    kept = slice(0, columns)
    if rng.uniform(0, 1) > 0.5:
        # Copies of bytes; OpenCV is slow on views with negative strides.
        image, label = cv2.flip(image, 1), cv2.flip(label, 1)
        kept = slice(crop_size - columns, crop_size)  # padding moves to the left

    if out is None:
        out = (
            np.empty((len(table), crop_size, crop_size), np.float32),
            np.empty((crop_size, crop_size), np.int32),
        )
    image_crop, label_crop = out
    _normalize_into(_pad_around(image_crop, rows, kept, 0), image, table)
    _pad_around(label_crop, rows, kept, ignore_label)[:] = label
    return out


def next_multiple(side: int, multiple: int = STRIDE) -> int:
    """The smallest multiple that is not below a side."""
    return -(-side // multiple) * multiple


def pad_to_multiple(array: np.ndarray, multiple: int = STRIDE, value=0) -> np.ndarray:
    """Pads the last two axes at the bottom and right to the next multiple.

    Args:
        array: (…, H, W), for instance a normalised image (3, H, W) or a label (H, W).
        multiple: the network's stride in pixels.
        value: what to fill with; 0 is the mean colour of a normalised image.

    Returns:
        Array of the same dtype, or the array itself where nothing is to pad. Crop the network's
        output back with `[..., :H, :W]`.
    """
    height, width = array.shape[-2:]
    bottom = next_multiple(height, multiple) - height
    right = next_multiple(width, multiple) - width
    if not bottom and not right:
        return array
    before = [(0, 0)] * (array.ndim - 2)
    return np.pad(array, [*before, (0, bottom), (0, right)], constant_values=value)
