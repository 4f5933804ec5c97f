"""Model cards: a page on a checkpoint for people, with a head of YAML for model hubs.

Source of the head's fields: https://huggingface.co/docs/hub/model-cards.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .. import files, voc
from ..errors import InputError, listing
from ..formats import schema
from ..inference.view import trained_resize
from ..visualize import default_palette
from .checkpoint import checkpoint_facts
from .facts import MISMATCH, VERIFIED, Facts

__all__ = ["model_card", "read_scores"]

_SIZE = (512, 512)
_METRICS = {"mean IoU": "mean_iou", "pixel accuracy": "accuracy"}
"""Scores that hubs know, and the names they have there."""

_SCORES = schema.fields(
    {
        "data": schema.text(),
        "images": schema.whole_number(1),
        "protocol": schema.text(),
        "mean IoU": schema.optional(schema.number(0, 1)),
        "per class": schema.mapping(
            schema.fields({"IoU": schema.optional(schema.number(0, 1))}),
        ),
    },
    {"engine": schema.text(), "checkpoint": schema.text()},
)


def read_scores(path: Path) -> dict[str, Any]:
    """Reads the scores that an evaluation wrote as JSON.

    Raises:
        InputError: the file is missing, or of another kind.
    """
    found: dict[str, Any] = files.read_json(path)
    schema.check(found, _SCORES, path, "give the .json that fcn8s_ms.eval --output wrote")
    return found


def model_card(path: Path, scores: Path | None = None, exported: str | None = None) -> str:
    """Returns the card of a checkpoint as Markdown.

    Args:
        path: the checkpoint.
        scores: JSON of an evaluation; by default the scores are those of the last validation before
            the checkpoint, if there was one.
        exported: a line on the exported file that the card is for too.

    Raises:
        InputError: the checkpoint is damaged or not a whole FCN, or the scores are of other classes
            or cannot be read.
    """
    facts = checkpoint_facts(path, _SIZE)
    values = facts.values
    if facts.checksum == MISMATCH:
        raise InputError(f"{path}: {facts.note}; fetch or save it again")
    if values["architecture"] is None or values["missing"]:
        raise InputError(f"{path} does not hold all weights of an FCN; a card needs a whole one")
    classes = values["classes"] or voc.class_names(values["num_classes"])
    result = _validation(values) if scores is None else read_scores(scores)
    if scores is not None and list(result["per class"]) != list(classes):
        others = listing(list(result["per class"]), 3)
        raise InputError(f"{scores} has scores of other classes ({others}); they are not of {path}")
    parts = [
        _head(path, result),
        f"# {path.stem}\n\n{_summary(facts)}",
        f"## Use\n\n{_use(path, exported, trained_resize(values['arguments']))}",
        f"## Classes\n\n{_classes(classes, values['palette'])}",
        f"## Data and training\n\n{_training(values)}",
        f"## Scores\n\n{_scores(result)}",
        "## Limits\n\nFill in: what the model is for, and what it must not be used for.",
    ]
    return "\n\n".join(parts) + "\n"


def _validation(values: dict[str, Any]) -> dict[str, Any]:
    """Scores of the last validation before the checkpoint; empty without one."""
    metric = values["training"].get("metric") or {}
    if not any(isinstance(value, float) for value in metric.values()):
        return {}
    data = values["arguments"].get("val_data")
    squeezed = trained_resize(values["arguments"])
    size = "at its own size" if squeezed is None else f"squeezed to {squeezed} pixels"
    return {
        "protocol": f"validation after step {metric.get('step', '?')} of the training: every image "
        f"once, whole, {size}",
        **({"data": data} if isinstance(data, str) else {}),
        **metric,
    }


def _totals(result: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in result.items() if isinstance(value, float)}


def _head(path: Path, result: dict[str, Any]) -> str:
    """Front matter; its texts are spelled as in JSON, which YAML reads too."""
    lines = [
        "---",
        "license: unknown  # fill in, such as apache-2.0",
        "library_name: mindspore",
        "pipeline_tag: image-segmentation",
        "tags:",
        *(f"- {tag}" for tag in ("image-segmentation", "semantic-segmentation", "fcn", "fcn8s-ms")),
        "# datasets: fill in the hub's names of the training data, such as [scene_parse_150]",
    ]
    totals = _totals(result)
    known = [_METRICS[name] for name in totals if name in _METRICS]
    if known:
        lines += ["metrics:", *(f"- {name}" for name in known)]
        data = files.json_text(_bare(result.get("data", "unknown")))
        lines += [
            "model-index:",
            f"- name: {files.json_text(path.stem)}",
            "  results:",
            "  - task:",
            "      type: image-segmentation",
            "    dataset:",
            f"      name: {data}",
            f"      type: {data}",
            "    metrics:",
        ]
        for name, value in totals.items():
            if name in _METRICS:
                lines += [f"    - type: {_METRICS[name]}", f"      name: {name}"]
                lines.append(f"      value: {value:.4f}")
    return "\n".join([*lines, "---"])


def _summary(facts: Facts) -> str:
    values = facts.values
    network = next(text for heading, text in facts.lines if heading == "network")
    parameters, operations = values["parameters"], values["operations"]
    lines = [
        f"Semantic segmentation: {network}.",
        "",
        f"- File: `{facts.path.name}`, {facts.size / 1e6:,.1f} MB, {parameters['count']:,} numbers",
        f"- Operations: {operations['gflops']:,.1f} GFLOPs for an image of "
        f"{operations['width']}×{operations['height']}",
        f"- Input: images in BGR order, minus {_listed(voc.IMAGE_MEAN)}, divided by "
        f"{_listed(voc.IMAGE_STD)}",
    ]
    if facts.checksum == VERIFIED:
        lines.append(f"- Checksum ({facts.note}): `{values['sha256']}`")
    return "\n".join(lines)


def _use(path: Path, exported: str | None, squeezed: str | None) -> str:
    more = f"\n\nExported: {exported}" if exported else ""
    flags, given = "", files.json_text(path.name)
    if squeezed is not None:
        flags, given = f" --resize {squeezed}", f'{given}, resize="{squeezed}"'
    return (
        "With the package `fcn8s-ms`:\n\n```bash\n"
        f"python -m fcn8s_ms.predict --checkpoint {path.name} street.jpg{flags} "
        "--output predictions\n"
        "```\n\n```python\nfrom fcn8s_ms import Segmenter\n\n"
        f"segmenter = Segmenter.from_checkpoint({given})\n"
        'ids = segmenter("street.jpg")  # class ids: uint8 (H, W)\n```' + more
    )


def _classes(classes: Sequence[str], palette: Any) -> str:
    colours = default_palette(classes) if palette is None else palette
    rows = [
        (number, name, "#" + "".join(f"{int(one):02x}" for one in colours[number]))
        for number, name in enumerate(classes)
    ]
    return _table(("id", "class", "colour"), rows)


def _training(values: dict[str, Any]) -> str:
    training, arguments = values["training"], values["arguments"]
    rows = [
        (name, training[name])
        for name in ("epoch", "step", "loss", "seconds", "images")
        if name in training
    ]
    rows += [
        (name, _listed(map(_bare, value)) if isinstance(value, list) else _bare(value))
        for name, value in arguments.items()
        if value not in (None, False, []) and name not in ("output", "sample", "download")
    ]
    if not rows:
        return "Fill in: the file does not tell how it was trained."
    return _table(("", "value"), rows)


def _scores(result: dict[str, Any]) -> str:
    if not result:
        return "Fill in: the file has no scores."
    parts = [
        _table(("score", "value"), [(name, f"{v:.4f}") for name, v in _totals(result).items()])
    ]
    if "per class" in result:
        rows = [
            (name, "-" if row["IoU"] is None else f"{row['IoU']:.4f}")
            for name, row in result["per class"].items()
        ]
        parts.append(_table(("class", "IoU"), rows))
    about = [result["protocol"]]
    if "data" in result:
        images = f"{result['images']} images of " if "images" in result else ""
        about.append(f"{images}{_bare(result['data'])}")
    if "engine" in result:
        about.append(result["engine"])
    if "checkpoint" in result:
        about.append(f"checkpoint {_bare(result['checkpoint'])}")
    return "\n\n".join([*parts, f"Protocol: {_plain('; '.join(about))}."])


def _bare(value: Any) -> Any:
    """A value without the folders of a path: they are those of another machine."""
    if isinstance(value, str) and "://" not in value:
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def _listed(values: Iterable[Any]) -> str:
    return " ".join(map(str, values))


def _plain(value: object) -> str:
    """Text that is no markup in a table of Markdown."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"([\\|<>`*_\[\]])", r"\\\1", " ".join(text.split()))


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
