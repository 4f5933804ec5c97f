"""The report of an evaluation as a web page that needs nothing else: no network, no other file."""

import base64
import datetime
import hashlib
import math
import os
import re
import string
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import numpy as np

from .. import __version__, files
from ..errors import InputError
from ..formats import paths
from . import html_sections, pictures
from .per_image import PerImage
from .thumbnails import Thumbnails

__all__ = ["LARGEST_PAGE", "check", "write"]

LARGEST_PAGE = 18_000_000
"""Bytes of text and pictures that a page has at most; more images stand on further pages."""

_FLAG = "--report"
_MARK = '<meta name="generator" content="fcn8s_ms.eval --report">'
_MARK_OF_MORE = '<meta name="generator" content="fcn8s_ms.eval --report, images">'
_MARK_WITHIN = 1000  # bytes from the start of a page
_ENDINGS = (".html", ".htm")


# --- the files -----------------------------------------------------------------------------------


def check(path: Path) -> None:
    """Checks, without making anything, that a report can be written, in place of an older one.

    Raises:
        InputError: the name has another ending, its folder is not writable, or in the place of a
            page there is a file that is not of such a report.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise InputError(
            f"{_FLAG} {path} does not end in .html; name a page, such as {path / 'index.html'}"
        )
    paths.check_file(path, _FLAG)
    for one in (path, *_more_pages(path)):
        mark = _MARK if one == path else _MARK_OF_MORE
        if one.exists() and not _has(one, mark):
            raise InputError(
                f"{_FLAG} {path} would replace {one}, which is not of such a report; choose "
                "another name"
            )


def _page(path: Path, number: int) -> Path:
    """Path of a page of a report; the first is number 0, the second NAME-images-2.html."""
    return path if number == 0 else path.with_name(f"{path.stem}-images-{number + 1}{path.suffix}")


def _more_pages(path: Path) -> list[Path]:
    """Files in the places of the second and further pages of a report."""
    pattern = re.compile(rf"{re.escape(path.stem)}-images-\d+{re.escape(path.suffix)}")
    if not path.parent.is_dir():
        return []
    return [one for one in path.parent.iterdir() if pattern.fullmatch(one.name)]


def _has(path: Path, mark: str) -> bool:
    """Whether a file is a page with that mark."""
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return mark.encode() in file.read(_MARK_WITHIN)
    except OSError as error:
        raise InputError(
            f"{path.absolute()} cannot be read: {error.strerror}; choose another name"
        ) from error


def write(
    path: Path,
    result: dict[str, Any],
    palette: np.ndarray,
    images: PerImage,
    thumbnails: Thumbnails,
) -> list[Path]:
    """Writes the report; a page is complete or, after an error, as it was before.

    The images are in the order of their mean IoU, the lowest first. Those that the first page has
    no room for stand on further pages, `NAME-images-2.html` and so on; such pages of an older
    report are removed.

    Args:
        path: page to write, which `check` has accepted; its folder is made.
        result: as `fcn8s_ms.eval` writes it as JSON.
        palette: uint8 (C, 3) or longer, RGB.
        images: scores of every image; of none, if the images were not evaluated whole.
        thumbnails: pictures of the same images.

    Returns:
        The pages, `path` first.

    Raises:
        InputError: a page cannot be written.
    """
    paths.make_folder(path.parent, _FLAG)
    try:
        front = _front(path, result, palette, thumbnails)
        cards = _Cards(images, thumbnails)
        slices = cards.slices(LARGEST_PAGE - len(front.encode(errors="backslashreplace")))
        pages = [_page(path, number) for number in range(len(slices))]
        frame = _Frame(result, _navigation(front, bool(images.rows)))
        names = list(result["per class"])
        # The first page, which leads to the others, comes last.
        for number, places in reversed(list(enumerate(slices))):
            links = _page_links(pages, number)
            with files.written(pages[number]) as unfinished, _opened(unfinished) as file:
                file.write(frame.before(number == 0))
                file.write(front if number == 0 else "")
                file.writelines(cards.section(places, names, links))
                file.write(frame.after)
        for old in _more_pages(path):
            if old not in pages and _has(old, _MARK_OF_MORE):
                old.unlink()
    except OSError as error:
        raise InputError(
            f"{path.absolute()} cannot be written: {error.strerror}; choose another place"
        ) from error
    return pages


def _opened(path: Path) -> TextIO:
    # One kind of line ending everywhere: the page names the checksum of its script.
    return open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n")


def _front(path: Path, result: dict[str, Any], palette: np.ndarray, thumbnails: Thumbnails) -> str:
    """What the first page has in front of the images."""
    with files.unfinished_folder(path) as folder:
        drawn = [
            (picture, (folder / picture.name).read_bytes())
            for picture in pictures.draw_scores(folder, result)
        ]
    return "".join(
        (
            html_sections.scores(result),
            html_sections.protocol(result),
            html_sections.classes(result, palette),
            html_sections.confused(result, palette),
            html_sections.robustness(result),
            html_sections.pictures(drawn),
            html_sections.worst(thumbnails.worst(), list(result["per class"]), palette),
        )
    )


def _rank(row: dict[str, Any]) -> tuple[bool, float, str]:
    """Key of the images' order: mean IoU, those without one last, then name."""
    return math.isnan(row["mean IoU"]), row["mean IoU"], row["image"]


class _Cards:
    """The images as HTML, by their mean IoU, and on which page each stands.

    Args:
        images: scores of every image.
        thumbnails: their pictures.
    """

    def __init__(self, images: PerImage, thumbnails: Thumbnails):
        self._images, self._thumbnails = images, thumbnails
        rows = images.rows
        self._order = sorted(range(len(rows)), key=lambda at: _rank(rows[at]))

    def _card(self, place: int) -> str:
        at = self._order[place]
        return html_sections.card(
            self._images.rows[at],
            self._images.counts[at]["counts"],
            self._thumbnails.panels[at],
        )

    def slices(self, room: int) -> list[range]:
        """Places of the images of each page, one at least; on the first they have `room` bytes."""
        found, start = [], 0
        for place in range(len(self._order)):
            size = len(self._card(place).encode(errors="backslashreplace"))
            if size > room and place > start:
                found.append(range(start, place))
                start, room = place, LARGEST_PAGE
            room -= size
        return [*found, range(start, len(self._order))]

    def section(self, places: range, names: Sequence[str], links: str) -> Iterator[str]:
        """The images of a page; nothing if there are none at all."""
        if not self._order:
            return
        row = self._images.rows[0]
        yield html_sections.images_start(row, names, places, len(self._order), links)
        yield from map(self._card, places)
        yield html_sections.images_end(links)


# --- the frame of each page ----------------------------------------------------------------------


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


class _Frame:
    """Each page's beginning and end, between which its content stands.

    Args:
        result: as of `write`.
        navigation: links to the sections of the first page.

    Attributes:
        after: the end.
    """

    def __init__(self, result: dict[str, Any], navigation: str):
        self._navigation = navigation
        script = _resource("report.js")
        # The browser runs no other script, whatever else a page may come to hold.
        digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
        source = result.get("checkpoint", result.get("predictions", ""))
        now = datetime.datetime.now().astimezone()
        self._values = {
            "script_hash": f"sha256-{digest}",
            "title": f"{escape(source)}: mean IoU {result['mean IoU']:.4f}",
            "style": _resource("report.css"),
            "heading": f"Evaluation of <bdi>{escape(source)}</bdi>",
            "subheading": f"{result['images']:,} images of <bdi>{escape(result['data'])}</bdi>",
            "footer": f"Written by fcn8s_ms {__version__} on {now:%Y-%m-%d at %H:%M %z}.",
            "script": script,
        }
        before, after = _resource("report.html").split("$content")
        self._before = string.Template(before)
        self.after = string.Template(after).substitute(self._values)

    def before(self, is_first: bool) -> str:
        """The beginning; on the first page it has links to the sections."""
        return self._before.substitute(
            self._values,
            mark=_MARK if is_first else _MARK_OF_MORE,
            navigation=self._navigation if is_first else "",
        )


def _navigation(front: str, with_images: bool) -> str:
    """Links to the sections of the first page, by the headings that they have."""
    sections = re.findall(r'<section id="(\w+)">\n<h2>(.+)</h2>', front)
    sections += [("images", "Images")] if with_images else []
    links = "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in sections)
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'


def _page_links(pages: Sequence[Path], number: int) -> str:
    """Links to all pages of a report, if there are several."""
    if len(pages) == 1:
        return ""
    parts = [
        f'<b aria-current="page">{at + 1}</b>'
        if at == number
        # With "./", for a name such as "a:b.html" alone would be read as an address.
        else f'<a href="./{quote(os.fsencode(page.name))}#images">{at + 1}</a>'
        for at, page in enumerate(pages)
    ]
    return f'<nav class="pages" aria-label="Pages">Page {" ".join(parts)}</nav>\n'
