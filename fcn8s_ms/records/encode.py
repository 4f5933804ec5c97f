"""One image and its mask: checked, and made into a row of a record.

What becomes of an image: a JPEG or PNG file is stored as it is. Other formats become a PNG of what
OpenCV decodes for training and prediction: three channels of 8 bits, BGR. OpenCV does the same to
the stored files when they are read: of 16 bits it keeps the upper 8, it drops transparency, and
turns JPEGs and PNGs upright as their Exif says.

What becomes of a mask: a gray PNG of class ids, `IGNORE_LABEL` where no class counts.
"""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from .. import files, png, transforms, voc
from ..errors import InputError, listing
from . import checksums, labelme

__all__ = ["MASK_VALUES", "Encoder", "Row"]

MASK_VALUES = ("auto", "ids", "colours")
"""How masks say their classes; `auto`: gray and palette images hold ids, RGB images colours."""

_LIMIT = 2**25 - 2**12
"""Bytes that an image and its label may have: MindRecord's page, less what it adds."""

_ORIENTATION = 0x0112  # Exif
_FLOAT32_EXACT = 2**24  # OpenCV's histograms are float32
_NO_LABEL = -1


@dataclass(frozen=True)
class Row:
    """A row of a record.

    Attributes:
        name: of the image.
        image: bytes of the image file.
        label: bytes of the label's PNG, sealed (see `fcn8s_ms.png`).
        counts: pixels of every label value, int64 (256,).
        from_values: whether the label is the mask's own values, and not made from colours, a label
            map or shapes.
    """

    name: str
    image: bytes
    label: bytes
    counts: np.ndarray
    from_values: bool


# --- images ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _decoding(encoded: bytes, path: Path):
    """Turns what Pillow and the PNG checks raise for a bad file into an error that names it."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is too large ({error}); cut it into tiles") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path} cannot be decoded ({len(encoded)} bytes): fetch the file again"
        ) from error


def _jpeg_size(encoded: bytes) -> tuple[int, int]:
    """Height and width of a JPEG as OpenCV decodes it for training, upright.

    Decodes with Pillow, which unlike OpenCV refuses a file that is cut short: at an eighth of the
    size and in gray, which goes through every byte at half the cost.
    """
    image = Image.open(io.BytesIO(encoded))
    width, height = image.size
    turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    image.draft("L", (max(width // 8, 1), max(height // 8, 1)))
    image.load()
    return (width, height) if turned else (height, width)


def _read_image(path: Path) -> tuple[bytes, tuple[int, int]]:
    """What the record stores of an image file, and the image's height and width."""
    encoded = files.read_bytes(path, "put it there or take it off the list")
    if encoded.startswith(b"\xff\xd8"):
        with _decoding(encoded, path):
            return encoded, _jpeg_size(encoded)
    as_it_is = False
    with _decoding(encoded, path):
        if encoded.startswith(png.SIGNATURE):
            # Versions of OpenCV differ in whether they turn a PNG upright.
            as_it_is = b"eXIf" not in [kind for kind, _ in png.chunks(encoded)]
        else:
            with contextlib.suppress(UnidentifiedImageError):  # OpenCV has the last word
                Image.open(io.BytesIO(encoded)).load()
        pixels = transforms.decode_image(encoded, str(path))
    if as_it_is:
        return encoded, pixels.shape[:2]
    depth = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED).dtype
    if depth not in (np.uint8, np.uint16):
        raise InputError(f"{path} holds {depth} numbers; save it with 8 or 16 bits a channel")
    return cv2.imencode(".png", pixels)[1].tobytes(), pixels.shape[:2]


# --- masks -------------------------------------------------------------------------------------


def _count_values(mask: np.ndarray) -> np.ndarray:
    """Pixels of every value: int64 (256,). Unlike `np.bincount`, OpenCV lets other threads run."""
    if mask.size > _FLOAT32_EXACT:
        return np.bincount(mask.ravel(), minlength=256)
    return cv2.calcHist([mask], [0], None, [256], [0, 256])[:, 0].astype(np.int64)


def _read_sbd(path: Path) -> np.ndarray:
    """Class ids of a MATLAB file of SBD: the field Segmentation of its structure GTcls."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise InputError(
            f"{path} is a MATLAB file, which takes SciPy to read: pip install 'fcn8s-ms[sbd]'"
        ) from error
    encoded = files.read_bytes(path, "put it there or take it off the list")
    try:
        content = loadmat(io.BytesIO(encoded), variable_names=["GTcls"])
    except Exception as error:  # SciPy raises whatever its parser stumbles over
        raise InputError(
            f"{path} cannot be read as a MATLAB file ({len(encoded)} bytes): fetch the file again"
        ) from error
    try:
        ids = content["GTcls"]["Segmentation"][0, 0]
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} has no GTcls with a Segmentation; take the files of SBD's folder cls"
        ) from error
    if ids.dtype != np.uint8 or ids.ndim != 2:
        raise InputError(
            f"{path}: Segmentation is {ids.dtype} of shape {ids.shape}; need 8-bit ids"
        )
    return np.ascontiguousarray(ids)


class Encoder:
    """Turns images and masks into samples of a record.

    Args:
        names: class names; the position is the class id.
        ignore_label: value of masks that does not count.
        label_map: label of some mask values, instead of the value itself; `IGNORE_LABEL` for none.
        colours: label of every RGB colour, for masks that hold colours.
        mask_values: one of `MASK_VALUES`.
    """

    def __init__(
        self,
        names,
        *,
        ignore_label: int = voc.IGNORE_LABEL,
        label_map: dict[int, int] | None = None,
        colours: dict[tuple[int, int, int], int] | None = None,
        mask_values: str = "auto",
    ):
        self.ids = {name: number for number, name in enumerate(names)}
        self.ignore_label = ignore_label
        self.mask_values = mask_values
        # Label of every value that a mask may hold.
        self._table = np.full(256, _NO_LABEL, np.int16)
        self._table[: len(names)] = np.arange(len(names))
        self._table[ignore_label] = voc.IGNORE_LABEL
        for value, label in (label_map or {}).items():
            self._table[value] = label
        self._own = np.full(256, _NO_LABEL, np.int16)  # of what is a label already
        self._own[: len(names)] = np.arange(len(names))
        self._own[voc.IGNORE_LABEL] = voc.IGNORE_LABEL
        self._mapped = bool(label_map)
        self._label_of_colour = None
        if colours:
            self._label_of_colour = np.full(2**24, _NO_LABEL, np.int16)
            for (red, green, blue), label in colours.items():
                self._label_of_colour[red << 16 | green << 8 | blue] = label
        elif mask_values == "colours":
            raise InputError(
                "masks of colours need a class file that gives every class its colour: --classes"
            )

    def __call__(self, pair) -> Row:
        """Checks and converts a pair.

        Args:
            pair: has `name`, `image` and `mask`, the latter two paths.

        Raises:
            InputError: a file is missing or undecodable, the two differ in size, or the mask has
                something that is no class.
        """
        image_path, mask_path = Path(pair.image).absolute(), Path(pair.mask).absolute()
        image, size = _read_image(image_path)
        values, encoded, table = self._read_values(mask_path)
        if size != values.shape:
            raise InputError(
                f"{mask_path} is {values.shape[1]}x{values.shape[0]}, its image {image_path} "
                f"{size[1]}x{size[0]}; give both one size"
            )
        counts = _count_values(values)
        present = np.flatnonzero(counts)
        self._check(present, table, mask_path)
        if (table[present] != present).any():
            values = table[values].astype(np.uint8)
            counts, encoded = _count_values(values), None
        if encoded is None:
            # Without a level OpenCV writes differences of neighbours: twice as long to decode.
            encoded = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        if len(image) + len(encoded) > _LIMIT:
            raise InputError(
                f"{image_path} takes {len(image) / 1e6:.0f} MB; MindRecord stores up to "
                f"{_LIMIT / 1e6:.0f} MB a sample: save it as JPEG or cut it into tiles"
            )
        from_values = table is self._table and not self._mapped
        return Row(
            pair.name, image, checksums.sealed(encoded, image, pair.name), counts, from_values
        )

    def read_mask(self, path) -> np.ndarray:
        """Labels of a mask file.

        Args:
            path: gray or palette image of ids, RGB image of colours, labelme's JSON, or a MATLAB
                file of SBD.

        Returns:
            uint8 array (H, W).

        Raises:
            InputError: missing, undecodable, of another kind, or with something that is no class.
        """
        path = Path(path).absolute()
        values, _, table = self._read_values(path)
        self._check(np.flatnonzero(_count_values(values)), table, path)
        return table[values].astype(np.uint8)

    def _check(self, present: np.ndarray, table: np.ndarray, path: Path) -> None:
        foreign = present[table[present] == _NO_LABEL].tolist()
        if not foreign:
            return
        remedy = "mend the mask, or say with --label-map what its values are"
        if set(present.tolist()) == {0, 255}:
            remedy = 'is it a mask of two classes? Then pass a --label-map of {"255": 1}'
        raise InputError(
            f"{path} holds label {listing(foreign, 8)}; classes are 0…{len(self.ids) - 1}, and "
            f"{self.ignore_label} is ignored: {remedy}"
        )

    def _read_values(self, path: Path) -> tuple[np.ndarray, bytes | None, np.ndarray]:
        """Values of a mask, the PNG of them if there is one, and the label of every value."""
        suffix = path.suffix.lower()
        if suffix == ".json":
            return labelme.read_mask(path, self.ids), None, self._own
        if suffix == ".mat":
            return _read_sbd(path), None, self._table
        encoded = files.read_bytes(path, "put it there or take its image off the list")
        with _decoding(encoded, path):
            if self.mask_values == "ids" or self._label_of_colour is None:
                values = png.gray(encoded) if encoded.startswith(png.SIGNATURE) else None
                if values is not None:
                    return transforms.decode_label(values, str(path)), values, self._table
            elif encoded.startswith(png.SIGNATURE):
                for _ in png.chunks(encoded):  # their checksums
                    pass
            mask = Image.open(io.BytesIO(encoded))
            mask.load()
        what = f"{path} is an image of mode {mask.mode}"
        if mask.format == "JPEG":
            raise InputError(f"{path} is a JPEG, which blurs class ids; save masks as PNG")
        if mask.mode == "P" and self.mask_values != "ids" and self._label_of_colour is not None:
            return self._palette_values(mask, path)
        if mask.mode in ("P", "L", "1") and self.mask_values != "colours":
            return self._ids(mask, encoded), None, self._table
        if mask.mode in ("RGB", "RGBA") and self.mask_values != "ids":
            if self._label_of_colour is None:
                raise InputError(
                    f"{what}; a mask holds class ids (gray or palette), or colours that the file "
                    "of --classes gives"
                )
            return self._colours(np.asarray(mask.convert("RGB")), path), None, self._own
        raise InputError(
            f"{what}; a mask is an 8-bit gray or palette image of class ids"
            + (", or RGB" if self._label_of_colour is not None else "")
        )

    @staticmethod
    def _ids(mask: Image.Image, encoded: bytes) -> np.ndarray:
        values = np.asarray(mask).astype(np.uint8)
        if mask.format == "PNG" and mask.mode == "L":
            # Pillow spreads 2 and 4 bits over 0…255; the file's own numbers are the ids.
            return values // (255 // (2 ** encoded[24] - 1))
        return values

    def _palette_values(self, mask: Image.Image, path: Path):
        """By the palette's colours if asked to; else the indices, if the colours do not object."""
        indices = np.asarray(mask)
        if self.mask_values == "colours":
            return self._colours(np.asarray(mask.convert("RGB")), path), None, self._own
        palette = np.asarray(mask.getpalette("RGB"), np.int64).reshape(-1, 3)
        present = np.unique(indices)
        if present.max() < len(palette):
            packed = (palette[present] << (16, 8, 0)).sum(axis=1)
            by_colour, by_index = self._label_of_colour[packed], self._table[present]
            if (by_colour != _NO_LABEL).all() and (by_colour != by_index).any():
                raise InputError(
                    f"{path} is a palette image whose indices and colours disagree about the "
                    "classes; say with --mask-values which of them counts"
                )
        return indices, None, self._table

    def _colours(self, mask: np.ndarray, path: Path) -> np.ndarray:
        packed = mask[:, :, 0].astype(np.int32) << 16
        packed |= mask[:, :, 1].astype(np.int32) << 8
        packed |= mask[:, :, 2]
        labels = self._label_of_colour[packed]
        if (labels == _NO_LABEL).any():
            unknown = np.unique(packed[labels == _NO_LABEL])
            shown = [f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in unknown.tolist()]
            raise InputError(
                f"{path} holds colours of no class: {listing(shown, 4)}; add them to the file of "
                "--classes (named 'ignore' if they do not count) or mend the mask"
            )
        return labels.astype(np.uint8)
