"""Masks of any kind as labels: gray and palette images, colours, labelme's shapes, MATLAB files."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from .. import transforms, voc
from ..errors import InputError, listing
from ..files import PathLike
from ..formats import png
from ..images import reader
from ..images.reader import ImageFile
from . import labelme, matlab

__all__ = ["MASK_VALUES", "Mask", "MaskReader", "count_values"]

MASK_VALUES = ("auto", "ids", "colours")
"""Meaning of the values of masks; `auto`: gray and palette images hold ids, RGB images colours."""

_FLOAT32_EXACT = 2**24  # OpenCV's histograms are float32
_NO_LABEL = -1
_FEW_LEVELS = 32  # a larger difference is hardly that of a JPEG


@contextlib.contextmanager
def _decoding(file: ImageFile) -> Iterator[None]:
    """Turns the errors of Pillow and of the PNG checks into one that names the file."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise InputError(f"{file.path} is too large ({error}); cut it into tiles") from error
    except InputError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise file.damaged() from error


def count_values(mask: np.ndarray) -> np.ndarray:
    """Pixels of each value, int64 (256,). Unlike `np.bincount`, OpenCV lets other threads run."""
    if mask.size > _FLOAT32_EXACT:
        return np.bincount(mask.ravel(), minlength=256)
    return cv2.calcHist([mask], [0], None, [256], [0, 256])[:, 0].astype(np.int64)


@dataclass(frozen=True)
class Mask:
    """Content of a mask file.

    Attributes:
        values: uint8 (H, W).
        label_of_value: label of each value, int16 (256,); `_NO_LABEL` for foreign values.
        png: gray PNG of the values, if the file is easily turned into one.
        orientation: Exif orientation of the file, by which the values have been turned upright;
            None for shapes, which are drawn on the upright image.
    """

    values: np.ndarray
    label_of_value: np.ndarray
    png: bytes | None = None
    orientation: int | None = 1


class MaskReader:
    """Reads masks of any kind as labels.

    Args:
        names: class names; the position is the class id.
        ignore_label: value of masks that is ignored.
        label_map: labels for some values, in place of the values themselves; `IGNORE_LABEL` for
            those that are ignored.
        label_offset: number added to the ids of masks, -1 for ids that start at 1; what falls below
            0 is ignored.
        only_mapped: whether values that are not in `label_map` are errors.
        colours: label of each RGB colour, for masks that hold colours.
        mask_values: one of the values in `MASK_VALUES`.
        colour_tolerance: by how many levels of red, green and blue a colour may be off.
        mat_variable: variable that MATLAB files hold masks in; SBD's by default.
        max_pixels: largest number of pixels of an image or mask; 0 for any.

    Raises:
        InputError: masks hold colours, but there are none; the tolerance makes classes one; or an
            offset leaves no class, or stands next to a label map.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        ignore_label: int = voc.IGNORE_LABEL,
        label_map: Mapping[int, int] | None = None,
        label_offset: int = 0,
        only_mapped: bool = False,
        colours: Mapping[tuple[int, int, int], int] | None = None,
        mask_values: str = "auto",
        colour_tolerance: int = 0,
        mat_variable: str | None = None,
        max_pixels: int = reader.MAX_PIXELS,
    ):
        self.max_pixels = max_pixels
        self._ids = {name: number for number, name in enumerate(names)}
        self._mask_values = mask_values
        self._only_mapped = only_mapped and bool(label_map)
        # Of labels themselves, which colours and shapes are turned into.
        self._label_of_label = self._table(voc.IGNORE_LABEL)
        self._known = f"classes are 0…{len(names) - 1}, and {ignore_label} is ignored"
        self._label_offset = label_offset
        self._label_of_value = self._table(ignore_label, label_offset)
        if label_offset:
            if label_map:
                raise InputError(
                    f"--label-offset {label_offset} does not go with a label map, which says what "
                    "ids mean; drop one of them"
                )
            first, last = max(0, -label_offset), len(names) - 1 - label_offset
            self._known = f"with --label-offset {label_offset}, ids {first}…{last} are classes"
        if label_map and self._only_mapped:
            self._label_of_value[:] = _NO_LABEL
            self._known = f"this format has {min(label_map)}…{max(label_map)}"
        for value, label in (label_map or {}).items():
            self._label_of_value[value] = label
        self._has_label_map = bool(label_map)
        self._mat_variable = mat_variable
        self._colours = dict(colours or {})
        self._tolerance = colour_tolerance
        self._largest_tolerance = _largest_tolerance(self._colours)
        self._check_tolerance()
        self._label_of_colour: np.ndarray | None = None
        if colours:
            self._label_of_colour = np.full(2**24, _NO_LABEL, np.int16)
            for (red, green, blue), label in colours.items():
                self._label_of_colour[red << 16 | green << 8 | blue] = label
        elif mask_values == "colours":
            raise InputError(
                "masks of colours need a class file that gives every class its colour: --classes"
            )

    def _check_tolerance(self) -> None:
        if not 0 <= self._tolerance <= 255:
            raise InputError(f"--colour-tolerance is {self._tolerance}; take a level, 0…255")
        if self._tolerance and not self._colours:
            raise InputError("--colour-tolerance needs a class file that gives classes colours")
        if self._tolerance > self._largest_tolerance:
            raise InputError(
                f"--colour-tolerance is {self._tolerance}, but colours of different classes lie so "
                f"close that at most {self._largest_tolerance} tells them apart"
            )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self._ids)

    def read(self, path: PathLike) -> np.ndarray:
        """Labels of a mask file.

        Args:
            path: gray or palette image of ids, RGB image of colours, labelme's JSON, or a MATLAB
                file of SBD.

        Returns:
            uint8 array (H, W).

        Raises:
            InputError: the file is missing, cannot be decoded, is of another kind, or holds
                something that is not a class.
        """
        path = Path(path).absolute()
        mask = self.read_values(path)
        self.check(np.flatnonzero(count_values(mask.values)), mask, path)
        return mask.label_of_value[mask.values].astype(np.uint8)

    def of_labels(self, labels: np.ndarray) -> Mask:
        """The content of a mask that has been drawn, as labels."""
        return Mask(labels, self._label_of_label, orientation=None)

    def holds_labels(self, mask: Mask) -> bool:
        """Whether labels are the mask's own values, not those of colours, a label map or shapes."""
        own = not self._has_label_map and not self._label_offset
        return own and mask.label_of_value is self._label_of_value

    def palette_of(self, path: Path) -> np.ndarray | None:
        """Colours in which a palette image shows the classes, RGB, uint8 (C, 3).

        None if the file is of another kind or cannot be read, if its values are not class ids, or
        if its colours do not tell the classes apart: missing, repeated or only grays.
        """
        if self._has_label_map:
            return None
        try:
            with Image.open(path) as image:
                colours = np.asarray(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            # What is wrong is said when it is encoded.
            return None
        colours = colours[: len(self._ids)]
        gray = (colours == colours[:, :1]).all()
        return None if gray or len(np.unique(colours, axis=0)) < len(self._ids) else colours

    def check(self, present: np.ndarray, mask: Mask, path: Path) -> None:
        """Raises InputError if one of the values that are present has no label."""
        foreign = present[mask.label_of_value[present] == _NO_LABEL].tolist()
        if not foreign:
            return
        remedy = "correct the mask, or pass the meaning of its values as --label-map"
        if self._only_mapped:
            remedy = "correct the mask"
        elif set(present.tolist()) == {0, 255}:
            remedy = "is it a mask of two classes? Then pass --label-map '{\"255\": 1}'"
        elif foreign == [self.num_classes] and self.holds_labels(mask):
            remedy = (
                "do your ids start at 1? Then pass --label-offset -1, and 0 is ignored; if 0 is "
                "the background, add it as the first class"
            )
        raise InputError(f"{path} holds label {listing(foreign, 8)}; {self._known}: {remedy}")

    def read_values(self, path: Path) -> Mask:
        """Content of a mask file, whose values may be foreign; raises as `read`."""
        suffix = path.suffix.lower()
        if suffix == ".json":
            return self.of_labels(labelme.read_mask(path, self._ids))
        if suffix == ".mat":
            ids = matlab.read_mask(path, self._mat_variable, self.max_pixels)
            return Mask(ids, self._label_of_value)
        file = reader.open_file(
            path, self.max_pixels, "put it there or take its image off the list"
        )
        mask = self._of_file(file)
        if file.orientation == 1:
            return mask
        return replace(
            mask,
            values=reader.upright(mask.values, file.orientation),
            png=None,
            orientation=file.orientation,
        )

    def _of_file(self, file: ImageFile) -> Mask:
        """Content of an image file, as it is stored: not turned upright."""
        encoded = file.unturned()
        with _decoding(file):
            if self._mask_values == "ids" or self._label_of_colour is None:
                gray = png.gray(encoded) if encoded.startswith(png.SIGNATURE) else None
                if gray is not None:
                    values = transforms.decode_label(gray, str(file.path), self.max_pixels)
                    return Mask(values, self._label_of_value, gray)
            image = Image.open(io.BytesIO(encoded))
            reader.check_pixels(file.path, *image.size, self.max_pixels)
            image.load()
        return self._of_image(image, encoded, file.path)

    def _of_image(self, image: Image.Image, encoded: bytes, path: Path) -> Mask:
        """Content of a mask that Pillow has decoded: ids or colours."""
        what = f"{path} is an image of mode {image.mode}"
        if image.format == "JPEG" and not (image.mode == "RGB" and self._tolerance):
            hint = ", or pass --colour-tolerance" if self._colours and image.mode == "RGB" else ""
            raise InputError(f"{path} is a JPEG, which blurs class ids; save masks as PNG{hint}")
        if image.mode == "P" and self._mask_values != "ids" and self._label_of_colour is not None:
            return self._of_palette(image, self._label_of_colour, path)
        if image.mode in ("P", "L", "1") and self._mask_values != "colours":
            return Mask(_ids(image, encoded), self._label_of_value)
        if image.mode in ("RGB", "RGBA") and self._mask_values != "ids":
            if self._label_of_colour is None:
                raise InputError(
                    f"{what}; a mask holds class ids (gray or palette), or colours that the file "
                    "of --classes gives"
                )
            return self._of_colours(image, self._label_of_colour, path)
        if image.mode.startswith("I") and self._mask_values != "colours":
            return Mask(_few_ids(image, path), self._label_of_value)
        raise InputError(
            f"{what}; a mask is a gray or palette image of class ids"
            + (", or RGB" if self._label_of_colour is not None else "")
        )

    def _of_palette(self, image: Image.Image, label_of_colour: np.ndarray, path: Path) -> Mask:
        """By the palette's colours if asked to; otherwise the indices, unless colours disagree."""
        if self._mask_values == "colours":
            return self._of_colours(image, label_of_colour, path)
        indices = np.asarray(image)
        palette = np.asarray(image.getpalette("RGB"), np.int64).reshape(-1, 3)
        present = np.unique(indices)
        if present.max() < len(palette):
            packed = (palette[present] << (16, 8, 0)).sum(axis=1)
            by_colour, by_index = label_of_colour[packed], self._label_of_value[present]
            if (by_colour != _NO_LABEL).all() and (by_colour != by_index).any():
                raise InputError(
                    f"{path} is a palette image whose indices and colours disagree about the "
                    "classes; choose one of them with --mask-values"
                )
        return Mask(indices, self._label_of_value)

    def _of_colours(self, image: Image.Image, label_of_colour: np.ndarray, path: Path) -> Mask:
        rgb = np.asarray(image.convert("RGB"))
        packed = rgb[:, :, 0].astype(np.int32) << 16
        packed |= rgb[:, :, 1].astype(np.int32) << 8
        packed |= rgb[:, :, 2]
        labels = label_of_colour[packed]
        if (labels == _NO_LABEL).any():
            unknown = np.unique(packed[labels == _NO_LABEL])
            nearest, distance = self._nearest(unknown)
            is_near = distance <= self._tolerance
            if not is_near.all():
                raise self._foreign_colours(unknown[~is_near], int(distance.max()), path)
            # Other threads, too, find the same labels for these colours.
            label_of_colour[unknown] = nearest
            labels = label_of_colour[packed]
        return Mask(labels.astype(np.uint8), self._label_of_label)

    def _nearest(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Label of the nearest colour, int16 (N,), and by how many levels it is off, int64 (N,)."""
        nearest = np.full(len(packed), _NO_LABEL, np.int16)
        distance = np.full(len(packed), 256)
        levels = [packed >> shift & 255 for shift in (16, 8, 0)]
        for colour, label in self._colours.items():
            off = np.max([abs(level - one) for level, one in zip(levels, colour)], axis=0)
            nearest[off < distance] = label
            distance = np.minimum(off, distance)
        return nearest, distance

    def _foreign_colours(self, packed: np.ndarray, distance: int, path: Path) -> InputError:
        """The error of a mask with colours of no class, the farthest of which is off so far."""
        shown = [f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in packed.tolist()]
        remedy = (
            "add them to the class file (named 'ignore' if they do not count) or correct the mask"
        )
        if distance <= min(self._largest_tolerance, _FEW_LEVELS):
            remedy = (
                f"they are off by up to {distance} levels, as JPEG and smoothing leave colours: "
                f"pass --colour-tolerance {distance}, or save masks as PNG without smoothing"
            )
        return InputError(f"{path} holds colours of no class: {listing(shown, 4)}; {remedy}")

    def _table(self, ignored: int, offset: int = 0) -> np.ndarray:
        """Label of each value: the value plus the offset, and `IGNORE_LABEL` of one value."""
        if not -voc.IGNORE_LABEL < offset < self.num_classes:
            raise InputError(
                f"--label-offset {offset} makes no id one of the {self.num_classes} classes; take "
                "-1 if ids start at 1"
            )
        labels = np.arange(256) + offset
        table = np.where(labels < self.num_classes, labels, _NO_LABEL).astype(np.int16)
        table[labels < 0] = voc.IGNORE_LABEL
        table[ignored] = voc.IGNORE_LABEL
        return table


def _largest_tolerance(colours: Mapping[tuple[int, int, int], int]) -> int:
    """Largest number of levels by which colours can be off and still have one nearest label."""
    every = np.array(list(colours), np.int64).reshape(-1, 3)
    labels = np.array(list(colours.values()), np.int64)
    least = 256
    for colour, label in colours.items():
        others = every[labels != label]
        if len(others):
            least = min(least, int(abs(others - colour).max(axis=1).min()))
    return (least - 1) // 2 if least < 256 else 255


def _few_ids(mask: Image.Image, path: Path) -> np.ndarray:
    """Ids of a gray image of 16 or 32 bits that fit into 8, uint8 (H, W)."""
    values = np.asarray(mask)
    largest = int(values.max()) if values.min() >= 0 else int(values.min())
    if not 0 <= largest <= 255:
        raise InputError(
            f"{path} holds label {largest}; ids are 0…255, also in files of 16 bits: give every "
            "pixel the id of its class, not of an object"
        )
    return values.astype(np.uint8)


def _ids(mask: Image.Image, encoded: bytes) -> np.ndarray:
    """Ids of a gray or palette image, uint8 (H, W)."""
    values = np.asarray(mask).astype(np.uint8)
    if mask.format == "PNG" and mask.mode == "L":
        # Pillow spreads 2 and 4 bits over 0…255; the numbers in the file are the ids.
        return values // (255 // (2 ** encoded[24] - 1))
    return values
