"""Scores of an evaluation as text, Markdown, CSV and JSON."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import confusion, files
from ..errors import InputError
from ..formats.columns import columns

__all__ = [
    "FORMATS",
    "check_format",
    "class_columns",
    "corruption_rows",
    "csv_text",
    "markdown",
    "most_confused",
    "protocol_line",
    "table",
    "totals",
    "write",
    "write_all",
    "write_text",
]

FORMATS = (".json", ".csv", ".md")
"""Suffixes of the files that `write` writes."""

# Columns of a table, in their order: name, and whether its values are whole numbers.
_COLUMNS = {
    "IoU": False,
    "F1": False,
    "precision": False,
    "recall": False,
    "boundary IoU": False,
    "trimap IoU": False,
    "share": False,
    "pixels": True,
    "images": True,
}


def class_columns(result: dict[str, Any]) -> list[str]:
    """Names of the scores and counts of each class, in the order in which they are shown."""
    rows = list(result["per class"].values())
    return [name for name in _COLUMNS if rows and name in rows[0]]


def _number(value: float, is_count: bool) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,}" if is_count else f"{value:.4f}"


def totals(result: dict[str, Any]) -> dict[str, float]:
    """Scores over all classes."""
    return {name: value for name, value in result.items() if isinstance(value, float)}


_PAIRS, _PAIRS_SHOWN = 20, 10
_ENDS = {"worst": "lowest mean IoU", "best": "highest mean IoU"}


def most_confused(matrix: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The 20 pairs of classes that were confused most often, by falling number of pixels.

    Args:
        matrix: integers (C, C), rows are the true classes.
        classes: class names.

    Returns:
        Dicts of the true `class`, what it was `predicted as`, and these pixels: their number
        `pixels` and `share` of all pixels of the true class.
    """
    return [
        {
            "class": classes[pair.label],
            "predicted as": classes[pair.predicted],
            "pixels": pair.pixels,
            "share": pair.share,
        }
        for pair in confusion.most_confused(matrix, _PAIRS)
    ]


def _confused(result: dict[str, Any]) -> list[list[str]]:
    """The pairs most often confused as rows, with a heading; empty without any."""
    found = result.get("most confused", [])[:_PAIRS_SHOWN]
    rows = [
        [one["class"], one["predicted as"], f"{one['pixels']:,}", _number(one["share"], False)]
        for one in found
    ]
    return [["most confused", "predicted as", "pixels", "share of class"], *rows] if rows else []


def _ends(result: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Headings and images of the worst and the best."""
    for end, heading in _ENDS.items():
        if result.get(end):
            yield heading, result[end]


def corruption_rows(result: dict[str, Any]) -> list[list[str]]:
    """Mean IoU by kind and strength as rows, with a heading; empty without corruptions."""
    found = result.get("corruptions")
    if not found:
        return []
    strengths = [row["strength"] for row in next(iter(found.values()))]
    rows = [["mean IoU by strength", "none", *map(str, strengths), "mean"]]
    for kind, of_kind in found.items():
        values = [row["mean IoU"] for row in of_kind]
        mean = sum(values) / len(values)
        cells = (_number(value, False) for value in (result["mean IoU"], *values, mean))
        rows.append([kind, *cells])
    return rows


def _sources(result: dict[str, Any]) -> list[str]:
    return [
        f"{name.capitalize()}: {result[name]}"
        for name in ("checkpoint", "predictions")
        if name in result
    ]


def protocol_line(result: dict[str, Any]) -> str:
    """One line on how the scores came about: protocol, trimap, number of images, data, engine."""
    parts = [result["protocol"]]
    if "trimap width" in result:
        parts.append(f"trimap: within {result['trimap width']} pixels of another label")
    if "boundary width" in result:
        parts.append(f"boundary IoU: bands of {result['boundary width']}")
    parts.append(f"{result['images']} images of {result['data']}")
    if "engine" in result:
        parts.append(result["engine"])
    return "; ".join(parts)


def table(result: dict[str, Any]) -> str:
    """Scores as text for a terminal.

    A score that does not exist is shown as -, for instance the IoU of a class that occurs neither
    in labels nor in predictions.

    Args:
        result: result of `fcn8s_ms.evaluation.scores`, perhaps with `corruptions`,
            `most confused`, `worst` and `best` as in the program's JSON.
    """
    names = class_columns(result)
    rows = [["class", *names]]
    for name, row in result["per class"].items():
        rows.append([name, *(_number(row[one], _COLUMNS[one]) for one in names)])
    text = [columns(rows), ""]
    text += [f"{name:<24} {_number(value, False)}" for name, value in totals(result).items()]
    if corruption_rows(result):
        text += ["", columns(corruption_rows(result))]
    if _confused(result):
        text += ["", columns(_confused(result), left=2)]
    for heading, images in _ends(result):
        text += ["", heading]
        text += [f"  {item['mean IoU']:.4f}  {item['image']}" for item in images]
    return "\n".join(text)


def markdown(result: dict[str, Any]) -> str:
    """Scores as a page of Markdown."""
    names = class_columns(result)

    def row(cells: Iterable[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    lines = [row(["score", "value"]), "| --- | ---: |"]
    lines += [row([name, _number(value, False)]) for name, value in totals(result).items()]
    lines += ["", row(["class", *names]), "| --- |" + " ---: |" * len(names)]
    for name, values in result["per class"].items():
        lines.append(row([name, *(_number(values[one], _COLUMNS[one]) for one in names)]))
    for rows, left in ((corruption_rows(result), 1), (_confused(result), 2)):
        for place, cells in enumerate(rows):
            lines += [row(cells)] if place else ["", row(cells)]
            if not place:
                lines.append("|" + " --- |" * left + " ---: |" * (len(cells) - left))
    for heading, images in _ends(result):
        lines += ["", row([heading, "image"]), "| ---: | --- |"]
        lines += [row([_number(one["mean IoU"], False), one["image"]]) for one in images]
    lines += ["", "".join(f"{line}. " for line in _sources(result))]
    lines[-1] += f"Protocol: {protocol_line(result)}."
    return "\n".join(lines) + "\n"


def csv_text(result: dict[str, Any]) -> str:
    """Scores as CSV: one row per class, in full precision.

    Everything else stands above in lines that begin with #, which most readers can skip (pandas:
    `comment="#"`). A score that does not exist is an empty cell.
    """
    names = class_columns(result)
    text = io.StringIO()
    for line in _sources(result):
        text.write(f"# {line[0].lower()}{line[1:]}\n")
    text.write(f"# protocol: {protocol_line(result)}\n")
    for name, value in totals(result).items():
        text.write(f"# {name}: {'' if math.isnan(value) else repr(value)}\n")
    for kind, rows in result.get("corruptions", {}).items():
        for one in rows:
            cell = "" if math.isnan(one["mean IoU"]) else repr(one["mean IoU"])
            text.write(f"# mean IoU under {kind} {one['strength']}: {cell}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", *names])
    for name, values in result["per class"].items():
        cells = (values[column] for column in names)
        writer.writerow(
            [name, *("" if isinstance(one, float) and math.isnan(one) else one for one in cells)]
        )
    return text.getvalue()


def check_format(path: files.PathLike) -> None:
    """Checks that the suffix of a file is one of `FORMATS`.

    Raises:
        InputError: it is not.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise InputError(f"{path} ends in none of {', '.join(FORMATS)}; take one of them")


def write(path: files.PathLike, result: dict[str, Any]) -> None:
    """Writes scores in the format that the file's suffix asks for: JSON, CSV or Markdown.

    Args:
        path: file to write; its folder is made.
        result: result of `fcn8s_ms.evaluation.scores` with `images`, `data` and `protocol`, perhaps
            `checkpoint` or `predictions`, `engine`, `trimap width`, `corruptions`,
            `most confused`, `worst` and `best`.

    Raises:
        InputError: the file has another suffix or cannot be written.
    """
    path = Path(path)
    check_format(path)
    if path.suffix.lower() == ".json":
        write_text(path, files.json_text(result))
    else:
        write_text(path, (csv_text if path.suffix.lower() == ".csv" else markdown)(result))


def write_all(paths: Iterable[files.PathLike], result: dict[str, Any]) -> None:
    """Writes several files; arguments and errors as of `write`."""
    for path in paths:
        write(path, result)


def write_text(path: files.PathLike, text: str) -> None:
    """Writes a text, or nothing.

    Args:
        path: file to write; its folder is made.
        text: its content.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
    except OSError as error:
        raise InputError(
            f"{path.absolute()} cannot be written: {error.strerror}; choose another place"
        ) from error
