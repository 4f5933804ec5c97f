"""Operations on an image and its label, in numpy and OpenCV.

Images are uint8 arrays (H, W, 3) in BGR order, labels uint8 arrays (H, W) of class ids, until the
last step makes them float32 (3, H, W) and int32 (H, W) for the network.

Training images go through the tutorial's seven steps (decode, scale, normalise, pad, crop, mirror,
transpose), with the same random draws in the same order and bit-identical results. Two shortcuts
make it faster: scaled pixels outside the crop are dropped before anything is computed on them, and
normalisation is a table look-up, because an 8-bit channel has only 256 values.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike

from .errors import InputError
from .images import augmentation, geometry, header, reader

__all__ = [
    "Crop",
    "Encoded",
    "IMAGE_SUFFIXES",
    "LONGEST_SIDE",
    "MAX_BATCH_PIXELS",
    "RandomSource",
    "STRIDE",
    "augment",
    "check_crops",
    "check_sizes",
    "decode_image",
    "decode_label",
    "denormalize",
    "empty",
    "normalization_table",
    "next_multiple",
    "normalize",
    "pad_to_multiple",
    "scaled_size",
    "stack",
]

MAX_BATCH_PIXELS = 100_000_000
"""Largest number of pixels of a batch of crops: at full width a layer has 26 GB for them."""

LONGEST_SIDE = 10_000
"""Longest side in pixels of a crop, or of an image that is resized: gigabytes for each layer."""

STRIDE = 32
"""Pixels of input per cell of the deepest feature map: the network takes multiples of it."""

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".dib", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm")
    + (".ras", ".sr", ".tif", ".tiff", ".webp")
)
"""Suffixes of the files that OpenCV decodes, in lower case."""

Encoded: TypeAlias = bytes | np.ndarray
"""Content of an image file: bytes, or a uint8 array of them."""


Crop: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Image and label as the network takes them: float32 (3, H, W), int32 (H, W)."""

RandomSource: TypeAlias = np.random.RandomState | ModuleType
"""Source of random numbers: a legacy generator, or the module `numpy.random` for the global one."""


def _decode(encoded: Encoded, flag: int, what: str, max_pixels: int) -> np.ndarray:
    try:
        if max_pixels:
            found = header.read(bytes(encoded))
            if found is not None:
                reader.check_pixels(what, found.width, found.height, max_pixels)
        return reader.decode(encoded, flag)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{what} cannot be decoded ({len(encoded)} bytes); replace the file it came from and "
            "build the records again"
        ) from error


def decode_image(
    encoded: Encoded, name: str = "image", max_pixels: int = reader.MAX_PIXELS
) -> np.ndarray:
    """Decodes the bytes of an image file.

    Args:
        encoded: content of the file.
        name: name of the image in error messages.
        max_pixels: largest number of pixels that the header may announce; 0 for any.

    Returns:
        uint8 array (H, W, 3), BGR, turned upright as Exif says.

    Raises:
        InputError: the bytes are not an image, or one of too many pixels.
    """
    return _decode(encoded, cv2.IMREAD_COLOR, name, max_pixels)


def decode_label(
    encoded: Encoded, name: str = "label", max_pixels: int = reader.MAX_PIXELS
) -> np.ndarray:
    """Decodes a single-channel PNG of class ids.

    Args:
        encoded: content of the file.
        name: name of the label in error messages.
        max_pixels: as for `decode_image`.

    Returns:
        uint8 array (H, W).

    Raises:
        InputError: the bytes are not an image, or one of too many pixels.
    """
    return _decode(encoded, cv2.IMREAD_GRAYSCALE, name, max_pixels)


def normalization_table(mean: ArrayLike, std: ArrayLike) -> np.ndarray:
    """Computes (value - mean) / std of every 8-bit value.

    Args:
        mean: mean of each channel, 0…255.
        std: standard deviation of each channel.

    Returns:
        float32 array (channels, 256).
    """
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
        table: result of `normalization_table`.

    Returns:
        float32 array (3, H, W).
    """
    out = np.empty((len(table), *image.shape[:2]), np.float32)
    _normalize_into(out, image, table)
    return out


def _pad_around(crop: np.ndarray, rows: int, columns: slice, value: float) -> np.ndarray:
    """Fills all but the first rows of some columns, and returns the view of these."""
    crop[..., rows:, :] = value
    crop[..., :rows, : columns.start] = value
    crop[..., :rows, columns.stop :] = value
    return crop[..., :rows, columns]


def denormalize(image: np.ndarray, mean: ArrayLike, std: ArrayLike) -> np.ndarray:
    """Restores the image that was normalised, exactly.

    Args:
        image: float32 (3, H, W).
        mean: mean of each channel, as for `normalization_table`.
        std: standard deviation of each channel.

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
    rng: RandomSource,
    *,
    table: np.ndarray,
    crop_size: int,
    min_scale: float,
    max_scale: float,
    ignore_label: int,
    out: Crop | None = None,
    augmentations: Sequence[str] = (),
    resize_to: Sequence[int] | None = None,
    resize_short: Sequence[int] | None = None,
    cat_max_ratio: float | None = None,
) -> Crop:
    """Scales, crops and mirrors an image with its label at random, and normalises the image.

    Without the last three arguments these are the tutorial's steps.

    Args:
        image: uint8 (H, W, 3), BGR.
        label: uint8 (H, W).
        rng: source of the draws: uniform (scale), randint (top), randint (left), uniform (mirror
            when above 0.5), in this order.
        table: result of `normalization_table`.
        crop_size: side of the square crop in pixels. A smaller image is padded at the bottom and
            right: 0 in the normalised image, `ignore_label` in the label.
        min_scale: smallest factor by which both sides are scaled.
        max_scale: largest factor.
        ignore_label: label of padding.
        out: arrays to write the result into, for instance a place in a batch; None for new ones.
        augmentations: names of further changes, `images.augmentation.AUGMENTATIONS`; they draw
            after all others.
        resize_to: height and width to which the whole image is squeezed, instead of scaling and
            cropping it; of the draws above the mirror's is left.
        resize_short: smallest and largest length of the shorter side; randint draws one, both ends
            included, in the place of the scale.
        cat_max_ratio: the crop is drawn anew while a class covers this share of its labelled pixels
            or more, as for `images.geometry.random_place`.

    Returns:
        float32 array (3, crop_size, crop_size) and int32 array (crop_size, crop_size), or of height
        and width `resize_to`; `out` itself if it was given.

    Source: the tutorial's `preprocess_dataset`.
    """
    size = (crop_size, crop_size)
    if resize_to is not None:
        size = (resize_to[0], resize_to[1])
        image, label = geometry.squeezed(image, label, size)
    else:
        if resize_short is not None:
            side = rng.randint(resize_short[0], resize_short[1] + 1)
            image, label = geometry.shorter_side(image, label, side, LONGEST_SIDE)
        else:
            factor = rng.uniform(min_scale, max_scale)
            height = max(int(factor * image.shape[0]), 1)
            width = max(int(factor * image.shape[1]), 1)
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
            label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
        top, left = geometry.random_place(label, crop_size, rng, ignore_label, cat_max_ratio)
        image = image[top : top + crop_size, left : left + crop_size]
        label = label[top : top + crop_size, left : left + crop_size]

    rows, columns = label.shape
    kept = slice(0, columns)
    if rng.uniform(0, 1) > 0.5:
        # Copies of bytes; OpenCV is slow on views with negative strides.
        image, label = cv2.flip(image, 1), cv2.flip(label, 1)
        kept = slice(size[1] - columns, size[1])  # padding moves to the left
    if augmentations:
        # The colour that is nearest to 0 after normalisation.
        fill = np.abs(table).argmin(axis=1).tolist()
        image, label = augmentation.apply(augmentations, image, label, rng, fill, ignore_label)

    out = empty(len(table), size) if out is None else out
    image_crop, label_crop = out
    _normalize_into(_pad_around(image_crop, rows, kept, 0), image, table)
    _pad_around(label_crop, rows, kept, ignore_label)[:] = label
    return out


def empty(channels: int, size: Sequence[int], *count: int) -> Crop:
    """Makes room for a crop, or for a batch of `count`, of a height and width."""
    return np.empty((*count, channels, *size), np.float32), np.empty((*count, *size), np.int32)


def check_sizes(
    resize_to: Sequence[int] | None,
    resize_short: Sequence[int] | None,
    cat_max_ratio: float | None,
    spelled: Callable[[str], str] = str,
) -> None:
    """Checks those arguments of `augment`.

    Args:
        resize_to: as for `augment`.
        resize_short: as for `augment`.
        cat_max_ratio: as for `augment`.
        spelled: spells the name of an argument for the error, for instance as a flag.

    Raises:
        InputError: one is out of range, or two contradict each other.
    """
    if resize_to is not None:
        if len(resize_to) != 2 or not all(1 <= side <= LONGEST_SIDE for side in resize_to):
            raise InputError(
                f"{spelled('resize_to')} is {' '.join(map(str, resize_to))}; give height and "
                f"width, 1…{LONGEST_SIDE:,} pixels each"
            )
        for name, value in (("resize_short", resize_short), ("cat_max_ratio", cat_max_ratio)):
            if value is not None:
                raise InputError(
                    f"{spelled('resize_to')} squeezes whole images and makes no crops; leave out "
                    f"{spelled(name)}"
                )
    if resize_short is not None:
        if len(resize_short) != 2 or not 1 <= resize_short[0] <= resize_short[1] <= LONGEST_SIDE:
            raise InputError(
                f"{spelled('resize_short')} is {' '.join(map(str, resize_short))}; give the "
                f"smallest and the largest number of pixels, within 1…{LONGEST_SIDE:,}"
            )
    if cat_max_ratio is not None and not 0 < cat_max_ratio < 1:
        raise InputError(
            f"{spelled('cat_max_ratio')} is {cat_max_ratio}; choose a share between 0 and 1"
        )


def check_crops(
    count: int, size: Sequence[int], flags: str, max_pixels: int = MAX_BATCH_PIXELS
) -> None:
    """Checks the number of pixels of crops, before memory is asked for.

    Args:
        count: number of crops that are in memory at the same time.
        size: their height and width in pixels.
        flags: flags that make count and size, for the error.
        max_pixels: largest number of pixels of all.

    Raises:
        InputError: they have more.
    """
    height, width = size
    if count * height * width > max_pixels:
        raise InputError(
            f"{flags} make {count:,} crops of {height:,}x{width:,} "
            f"pixels; up to {max_pixels:,} pixels are held at a time: choose less"
        )


def stack(crops: Sequence[Crop], names: Sequence[str]) -> Crop:
    """Makes a batch of crops.

    Args:
        crops: (image, label) of each sample, (C, H, W) and (H, W) of any number types.
        names: names of the samples, for error messages.

    Returns:
        float32 array (N, C, H, W) and int32 array (N, H, W).

    Raises:
        InputError: an image and its label, or two images, differ in size.
    """
    images = [np.asarray(image, np.float32) for image, _ in crops]
    labels = [np.asarray(label, np.int32) for _, label in crops]
    for name, image, label in zip(names, images, labels):
        if image.ndim != 3 or image.shape[1:] != label.shape:
            raise InputError(
                f"preprocess_dataset returned an image of shape {image.shape} and a label of shape "
                f"{label.shape} for {name!r}; return (channels, height, width) and (height, width)"
            )
        if image.shape != images[0].shape:
            raise InputError(
                f"preprocess_dataset returned images of shape {images[0].shape} for {names[0]!r} "
                f"and {image.shape} for {name!r}, which are in one batch; return one size for all"
            )
    return np.stack(images), np.stack(labels)


def scaled_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Height and width times a factor, rounded, of one pixel at least."""
    height, width = (max(round(side * factor), 1) for side in size)
    return height, width


def next_multiple(side: int, multiple: int = STRIDE) -> int:
    """Rounds a side up to the next multiple."""
    return -(-side // multiple) * multiple


def pad_to_multiple(array: np.ndarray, multiple: int = STRIDE, value: float = 0) -> np.ndarray:
    """Pads the last two axes at the bottom and right to the next multiple.

    Args:
        array: (…, H, W), for instance a normalised image (3, H, W) or a label (H, W).
        multiple: the network's stride in pixels.
        value: value of the padding; 0 is the mean colour of a normalised image.

    Returns:
        Array of the same dtype, or the array itself if it needs no padding. Crop the network's
        output back with `[..., :H, :W]`.
    """
    height, width = array.shape[-2:]
    bottom = next_multiple(height, multiple) - height
    right = next_multiple(width, multiple) - width
    if not bottom and not right:
        return array
    before = [(0, 0)] * (array.ndim - 2)
    return np.pad(array, [*before, (0, bottom), (0, right)], constant_values=value)
