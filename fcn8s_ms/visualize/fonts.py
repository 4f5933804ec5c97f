"""Fonts for text in any script: Matplotlib's own, and those of the system for what it lacks."""

import functools
import importlib.util
import logging
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:  # loaded when text is drawn
    from matplotlib.figure import Figure
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

__all__ = ["are_available", "draw_strokes", "draw_text", "prepare_figure", "readable", "text_width"]

logger = logging.getLogger(__name__)

# Fonts whose glyphs stand for no character, or are pictures of one size.
_UNUSABLE = ("lastresort", "blank", "emoji")
# Of a family's fonts, the plain one is taken; Unifont, of coarse pixels, where no other has a
# character.
_STYLES = (
    "bold",
    "black",
    "italic",
    "oblique",
    "light",
    "thin",
    "medium",
    "mono",
    "serif",
    "unifont",
)


_STROKES = cv2.FONT_HERSHEY_SIMPLEX  # OpenCV's own letters, ASCII only
_STROKES_HEIGHT = 32  # from ascender to descender at scale 1, pixels


# --- which font has a character ------------------------------------------------------------------


@functools.cache
def are_available() -> bool:
    """Whether Pillow and Matplotlib are here, which prediction alone does not need."""
    try:
        import PIL  # noqa: F401

        _own_font()
    except ImportError:
        return False
    return True


@functools.cache
def _own_font() -> str:
    """Path of DejaVu Sans, which comes with Matplotlib: European scripts, Arabic and symbols."""
    try:
        spec = importlib.util.find_spec("matplotlib")
    except ValueError:  # it is barred
        spec = None
    for folder in () if spec is None else spec.submodule_search_locations or ():
        path = Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
        if path.is_file():  # without the time that importing Matplotlib takes
            return str(path)
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


def _system_fonts() -> list[str]:
    """Paths of the system's fonts, the plain ones first."""
    from matplotlib import font_manager

    # Not Matplotlib's own list, which is made once and does not hear of fonts installed later.
    found = (Path(path) for path in font_manager.findSystemFonts())
    usable = (path for path in found if not any(part in path.name.lower() for part in _UNUSABLE))

    def styles(path: Path) -> tuple[int, str, str]:
        return sum(style in path.name.lower() for style in _STYLES), path.name, str(path)

    return [str(path) for path in sorted(usable, key=styles)]


_font_of: dict[str, str | None] = {}  # path by character; None where no font has it


def _find_fonts(text: Iterable[str]) -> None:
    """Looks for a font for every character of a text."""
    wanted = {character for character in text if character not in _font_of}
    _font_of.update((character, _own_font()) for character in wanted if character.isascii())
    wanted -= _font_of.keys()
    if not wanted:
        return
    from matplotlib.ft2font import FT2Font

    def take(path: str) -> None:
        try:
            font = FT2Font(path)
            has = {one for one in wanted if font.get_char_index(ord(one))}
        except (OSError, RuntimeError):  # the file of a font is damaged, or of an unknown kind
            return
        if font.scalable:
            _font_of.update(dict.fromkeys(has, path))
            wanted.difference_update(has)

    take(_own_font())
    # Joiners and marks that are seen only through what they change are drawn with their neighbours.
    unseen = {one for one in wanted if unicodedata.category(one) in ("Cc", "Cf", "Mn", "Zl", "Zp")}
    for path in _system_fonts() if wanted - unseen else ():
        take(path)
        if not wanted:
            break
    _font_of.update(dict.fromkeys(unseen & wanted, _own_font()))
    missing = sorted(wanted - unseen)
    if missing:
        _font_of.update(dict.fromkeys(missing, None))
        is_cjk = any(unicodedata.east_asian_width(character) in "WF" for character in missing)
        logger.warning(
            "No font here has %s: they are drawn as boxes, and the names of classes with their "
            "ids. Install a font for that script; on Debian and Ubuntu: apt-get install %s",
            "".join(missing[:20]) + ("…" if len(missing) > 20 else ""),
            "fonts-noto-cjk" if is_cjk else "fonts-noto-core",
        )


def readable(names: Sequence[str]) -> list[str]:
    """Class names to draw: with the id in front where no font has all characters of a name.

    Args:
        names: class names; the position is the class id.
    """
    return list(_readable(tuple(names)))


@functools.lru_cache(maxsize=8)
def _readable(names: tuple[str, ...]) -> tuple[str, ...]:
    plain = [_plain(name) for name in names]
    if not are_available():
        return tuple(
            name if name.isascii() else f"{label}: {name}" for label, name in enumerate(plain)
        )
    _find_fonts("".join(plain))
    return tuple(
        name if all(_font_of[character] for character in name) else f"{label}: {name}"
        for label, name in enumerate(plain)
    )


def _plain(text: str) -> str:
    """Text of one line: tabs, line ends and the like as spaces."""
    return "".join(" " if unicodedata.category(one) == "Cc" else one for one in text)


# --- pictures ------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _font(path: str, size: int) -> "FreeTypeFont":
    from PIL import ImageFont

    return ImageFont.truetype(path, size)


def _runs(text: str, size: int) -> list[tuple["FreeTypeFont", str]]:
    """Parts of a text that one font draws each."""
    _find_fonts(text)
    own = _own_font()
    # A space takes the font of what stands before it, so that a sentence stays in one part.
    paths: list[str] = []
    for character in text:
        keeps = bool(paths) and (character.isspace() or unicodedata.combining(character) > 0)
        paths.append(paths[-1] if keeps else _font_of[character] or own)
    parts = groupby(zip(paths, text), key=lambda pair: pair[0])
    return [(_font(path, size), "".join(one for _, one in part)) for path, part in parts]


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: int) -> int:
    """Width of a text of one line, pixels.

    Args:
        text: in any script.
        size: height of the letters from ascender to descender, pixels.
    """
    if not are_available():
        return int(cv2.getTextSize(text, _STROKES, size / _STROKES_HEIGHT, 1)[0][0])
    return int(sum(font.getlength(part) for font, part in _runs(text, size))) + 1


def draw_text(draw: "ImageDraw", left: int, baseline: int, text: str, size: int, fill: int) -> None:
    """Draws a text of one line.

    Args:
        draw: picture to draw into.
        left: where it begins, pixels.
        baseline: line on which its letters stand, pixels.
        text: in any script.
        size: as for `text_width`.
        fill: colour, of a picture with one channel.
    """
    x: float = left
    for font, part in _runs(text, size):
        draw.text((x, baseline), part, fill=fill, font=font, anchor="ls")
        x += font.getlength(part)


def draw_strokes(canvas: np.ndarray, left: int, baseline: int, text: str, size: int) -> None:
    """Draws a text as OpenCV does, where no fonts are available; what is not ASCII becomes ?.

    Args:
        canvas: uint8 (H, W), to draw into with 255.
        left: as for `draw_text`.
        baseline: likewise.
        text: likewise.
        size: likewise.
    """
    scale = size / _STROKES_HEIGHT
    cv2.putText(canvas, text, (left, baseline), _STROKES, scale, 255, 1, cv2.LINE_AA)


# --- figures -------------------------------------------------------------------------------------


def prepare_figure(figure: "Figure") -> None:
    """Gives the texts of a figure the fonts that they need, and takes them literally.

    A dollar sign in a name does not begin a formula.

    Args:
        figure: figure whose titles, labels and legends are complete.
    """
    from matplotlib.font_manager import FontProperties, fontManager
    from matplotlib.text import Text

    # Matplotlib's own formulas are the powers of ten along an axis.
    texts = [one for one in figure.findobj(Text) if "\\mathdefault" not in one.get_text()]
    for one in texts:
        one.set_parse_math(False)
    foreign = [one for one in texts if not one.get_text().isascii()]
    if not foreign:
        return
    written = "".join(_plain(one.get_text()) for one in foreign)
    _find_fonts(written)
    paths = dict.fromkeys(_font_of[character] or _own_font() for character in written)
    families = ["DejaVu Sans"]
    for path in paths:
        if path != _own_font():
            fontManager.addfont(path)
            families.append(FontProperties(fname=path).get_name())
    for one in foreign:
        one.set_fontfamily(families)
