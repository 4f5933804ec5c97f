"""The parts of an evaluation's web page, as HTML. Text from outside is escaped, always."""

import base64
import math
import struct
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from .. import confusion
from . import report
from .pictures import Picture
from .thumbnails import Panel

__all__ = [
    "card",
    "classes",
    "confused",
    "images_end",
    "images_start",
    "pictures",
    "protocol",
    "robustness",
    "scores",
    "worst",
]

_PRINTED = 24  # images, as report.css has it; of thousands nobody wants all on paper
_OPEN_LEGEND = 24  # classes; a longer legend is folded
_LARGE_PICTURE = 1_000_000  # bytes from which on a PNG holds photos, which WebP makes smaller
_LONGEST_WEBP = 16_383  # pixels

_MEANING = {
    "mean IoU": "the mean over the classes of intersection over union of the pixels labelled and "
    "the pixels predicted as the class, counted over all images together. Of one image: the mean "
    "over the classes in its label or prediction.",
    "pixel accuracy": "the share of the labelled pixels that are predicted correctly.",
    "mean pixel accuracy": "the mean of the classes' recall.",
    "frequency weighted IoU": "the mean of the classes' IoU, weighted by their labelled pixels.",
    "mean F1": "the mean of the classes' F1, also called Dice: twice the intersection, divided by "
    "the sum of both areas.",
    "mean precision": "the mean over the classes of the share of the pixels predicted as a class "
    "that are labelled so.",
    "mean boundary IoU": "the IoU of narrow bands inside the outlines of label and prediction.",
    "trimap mean IoU": "the mean IoU of the pixels close to another label.",
    "trimap pixel accuracy": "the pixel accuracy of the pixels close to another label.",
    "calibration error": "the mean distance between certainty and the share of right pixels. Lower "
    "is better.",
    "errors in doubtful tenth": "the share of all errors that the least certain tenth of the "
    "pixels holds: 0.1 if certainty says nothing.",
    "corrupted mean IoU": "the mean of the mean IoU on images made worse, over all kinds and "
    "strengths.",
    "mean certainty": "the mean probability of the predicted class over the labelled pixels of an "
    "image.",
}
_FIRST_SCORES = ("mean IoU", "pixel accuracy")


def _shown(value: float | int) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4f}"
    return f"{value:,}"


def _data(value: float | int) -> str:
    """A number as people read it, with all its digits as the value behind it."""
    exact = "" if isinstance(value, float) and math.isnan(value) else repr(value)
    return f'<data value="{exact}">{_shown(value)}</data>'


def _terms(rows: Iterable[tuple[str, str]], kind: str) -> str:
    """A list of names and values; the values are HTML."""
    entries = (f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>\n" for name, value in rows)
    return f'<dl class="{kind}">\n{"".join(entries)}</dl>\n'


def _section(name: str, heading: str, content: str) -> str:
    return f'<section id="{name}">\n<h2>{heading}</h2>\n{content}</section>\n'


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _in_order(names: Iterable[str]) -> list[str]:
    """Names of scores, those that readers look for first in front."""
    names = list(names)
    first = [name for name in _FIRST_SCORES if name in names]
    return first + [name for name in names if name not in first]


# --- scores --------------------------------------------------------------------------------------


def scores(result: dict[str, Any]) -> str:
    """The scores over all classes, and what they mean."""
    totals = report.totals(result)
    names = _in_order(totals)
    meanings = [(name, escape(_MEANING[name])) for name in names if name in _MEANING]
    if "certainty" in result:
        meanings.append(("mean certainty", escape(_MEANING["mean certainty"])))
    return _section(
        "scores",
        "Scores",
        _terms(((name, _data(totals[name])) for name in names), "scores")
        + "<details>\n<summary>What the scores mean</summary>\n"
        + _terms(meanings, "facts")
        + "</details>\n",
    )


def protocol(result: dict[str, Any]) -> str:
    """What was evaluated, and how."""
    pixels = sum(row["pixels"] for row in result["per class"].values())
    rows = [
        (_first_upper(name), f"<bdi>{escape(result[name])}</bdi>")
        for name in ("checkpoint", "predictions", "data")
        if name in result
    ]
    rows += [
        ("Images", _data(result["images"])),
        ("Labelled pixels", f"{_data(pixels)}; ignored ones count nowhere"),
        ("Classes", _data(len(result["per class"]))),
        ("Protocol", f"{escape(_first_upper(result['protocol']))}."),
    ]
    if "engine" in result:
        rows.append(("Engine", escape(result["engine"])))
    if "trimap width" in result:
        width = result["trimap width"]
        rows.append(("Trimap", f"The labelled pixels within {width} pixels of another label."))
    if "boundary width" in result:
        rows.append(("Boundary IoU", f"Bands of {escape(result['boundary width'])}."))
    return _section("protocol", "Protocol", _terms(rows, "facts"))


def _colour(rgb: np.ndarray) -> str:
    red, green, blue = rgb.tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _class_name(name: str, rgb: np.ndarray) -> str:
    patch = f'<i style="--colour:{_colour(rgb)}"></i>'
    return f'<span class="class">{patch}<bdi>{escape(name)}</bdi></span>'


def classes(result: dict[str, Any], palette: np.ndarray) -> str:
    """The table of the classes."""
    names = report.class_columns(result)
    heading = ["class", "id", *names]
    rows = []
    for label, (name, row) in enumerate(result["per class"].items()):
        cells = [f'<th scope="row">{_class_name(name, palette[label])}</th>']
        cells.append(f"<td>{_data(label)}</td>")
        for column in names:
            bar = ""
            if column == "IoU" and not math.isnan(row[column]):
                bar = f' class="bar" style="--share:{100 * row[column]:.1f}%"'
            cells.append(f"<td{bar}>{_data(row[column])}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>\n")
    return _section("classes", "Classes", _table("Table of the classes", heading, rows))


def confused(result: dict[str, Any], palette: np.ndarray) -> str:
    """The table of the pairs that were confused most often; nothing without any."""
    pairs = result.get("most confused", [])
    if not pairs:
        return ""
    labels = {name: label for label, name in enumerate(result["per class"])}
    rows = []
    for pair in pairs:
        name, predicted = (
            _class_name(pair[key], palette[labels[pair[key]]]) for key in ("class", "predicted as")
        )
        rows.append(
            f'<tr><th scope="row">{name}</th><td class="text">{predicted}</td>'
            f"<td>{_data(pair['pixels'])}</td><td>{_data(pair['share'])}</td></tr>\n"
        )
    heading = ["class", "predicted as", "pixels", "share of the class"]
    table = _table("Most confused classes", heading, rows)
    return _section("confused", "Most confused classes", table)


def robustness(result: dict[str, Any]) -> str:
    """The table of mean IoU under corruptions; nothing without any."""
    if "corruptions" not in result:
        return ""
    heading, *rows = report.corruption_rows(result)
    lines = [
        f'<tr><th scope="row">{escape(kind)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>\n"
        for kind, *cells in rows
    ]
    return _section("robustness", "Robustness", _table("Mean IoU by strength", heading, lines))


def _table(label: str, heading: Sequence[str], rows: Iterable[str]) -> str:
    """A table in a frame in which it is moved where it is wider than the screen."""
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heading)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}">\n<table>\n'
        f"<thead><tr>{cells}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table>\n</div>\n"
    )


def _legend(names: Sequence[str], palette: np.ndarray) -> str:
    """The colours of the classes."""
    entries = "".join(
        f"<li>{_class_name(name, palette[label])}</li>\n" for label, name in enumerate(names)
    )
    is_open = " open" if len(names) <= _OPEN_LEGEND else ""
    return (
        f"<details{is_open}>\n<summary>Colours of the classes</summary>\n"
        f'<ul class="legend">\n{entries}</ul>\n</details>\n'
    )


# --- pictures ------------------------------------------------------------------------------------


def _source(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def pictures(drawn: Iterable[tuple[Picture, bytes]]) -> str:
    """Pictures of the scores, PNG."""
    figures = []
    for picture, content in drawn:
        width, height = struct.unpack(">II", content[16:24])  # of a PNG's header
        kind = "png"
        if len(content) > _LARGE_PICTURE and max(width, height) <= _LONGEST_WEBP:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            encoded = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 85])[1]
            kind, content = "webp", encoded.tobytes()
        title = escape(picture.title)
        figures.append(
            f"<figure>\n<h3>{title}</h3>\n"
            f'<div class="wide" tabindex="0" role="region" aria-label="{title}">'
            f'<img src="{_source(content, kind)}" width="{width}" height="{height}" '
            f'alt="{title}"></div>\n<figcaption>{escape(picture.about)}</figcaption>\n</figure>\n'
        )
    return _section("pictures", "Pictures", f'<div class="pictures">\n{"".join(figures)}</div>\n')


def _panels(panels: Sequence[Panel], across: int) -> str:
    cells = "".join(
        f'<div><img src="{_source(one.content, "webp")}" width="{one.width}" '
        f'height="{one.height}" decoding="async" alt="{escape(one.heading)}">'
        f'<span aria-hidden="true">{escape(one.heading)}</span></div>'
        for one in panels
    )
    return f'<div class="panels" style="--across:{across}">{cells}</div>\n'


def worst(
    images: Sequence[tuple[float, str, Sequence[Panel]]], names: Sequence[str], palette: np.ndarray
) -> str:
    """The worst images, as of `Thumbnails.worst`; nothing without any."""
    if not images:
        return ""
    figures = []
    for iou, name, panels in images:
        across = 2 if panels[0].width > 0.8 * panels[0].height else 4
        figures.append(
            f"<figure>\n<h3><bdi>{escape(name)}</bdi></h3>\n{_panels(panels, across)}"
            f"<figcaption>mean IoU {_data(iou)}</figcaption>\n</figure>\n"
        )
    return _section(
        "worst",
        "Worst images",
        "<p>The images of lowest mean IoU. A background has no colour; ignored pixels are pale.</p>"
        f'\n{_legend(names, palette)}<div class="worst">\n{"".join(figures)}</div>\n',
    )


# --- images --------------------------------------------------------------------------------------


def _columns(row: dict[str, Any]) -> list[str]:
    """The numbers of an image's row, scores first."""
    others = ("pixels", "seconds")
    scores = [name for name in row if name not in ("image", "width", "height", *others)]
    return [*_in_order(scores), *others]


def images_start(
    row: dict[str, Any], names: Sequence[str], place: range, total: int, links: str
) -> str:
    """What stands in front of the images: the order, and which of them are shown.

    Args:
        row: one of `PerImage.rows`.
        names: class names.
        place: the images of this page, of all in the order of their mean IoU.
        total: number of all images.
        links: HTML with links to all pages; empty for one page.
    """
    by = "".join(
        f'<option value="{number}">{escape(name)}</option>'
        for number, name in enumerate(_columns(row))
    )
    of = "".join(
        f'<option value="{label}">{escape(name)}</option>' for label, name in enumerate(names)
    )
    which, more = "All images", ""
    if len(place) < total:
        which = f"Images {place.start + 1:,} to {place.stop:,} of {total:,}"
        which = f"Image {place.stop:,} of {total:,}" if len(place) == 1 else which
        more = " Order and filters below are those of this page."
    return (
        '<section id="images">\n<h2>Images</h2>\n'
        f"<p>{which}, by mean IoU, the lowest first.{more} Wrong pixels are those whose "
        f"prediction is not the truth; ignored pixels are pale.</p>\n{links}"
        '<div class="tools" hidden>\n'
        '<div><label for="by">Order by</label><select id="by">'
        '<option value="class" disabled>IoU of the class</option>'
        f'{by.replace(">", " selected>", 1)}<option value="name">name</option></select></div>\n'
        '<button type="button" id="order"></button>\n'
        '<div><label for="of">Only images with</label><select id="of">'
        f'<option value="">any class</option>{of}</select></div>\n'
        '<div><label for="search">Name contains</label>'
        '<input id="search" type="search" autocomplete="off" spellcheck="false"></div>\n'
        '<p id="said" role="status"></p>\n</div>\n'
        + (
            f'<p class="print">Of {len(place):,} images the first {_PRINTED} are printed.</p>\n'
            if len(place) > _PRINTED
            else ""
        )
        + '<ol class="cards">\n'
    )


def card(row: dict[str, Any], counts: Sequence[Sequence[int]], panels: Sequence[Panel]) -> str:
    """One image with its pictures and scores.

    Args:
        row: one of `PerImage.rows`.
        counts: its `counts` in `PerImage.counts`.
        panels: its pictures.
    """
    ious = confusion.iou_of_counts(np.array([one[1:] for one in counts], float).reshape(-1, 3).T)
    of_classes = " ".join(
        f"{one[0]}:{iou:.6g}" for one, iou in zip(counts, ious) if not math.isnan(iou)
    )
    numbers = [(name, _data(row[name])) for name in _columns(row)]
    numbers.append(("size", f"{row['width']}×{row['height']}"))
    return (
        f'<li data-classes="{of_classes}"><h3><bdi>{escape(row["image"])}</bdi></h3>\n'
        f"{_panels(panels, len(panels))}{_terms(numbers, 'numbers')}"
        '<p class="chosen" hidden></p></li>\n'
    )


def images_end(links: str) -> str:
    """What follows the images; `links` as of `images_start`."""
    return f"</ol>\n{links}</section>\n"
