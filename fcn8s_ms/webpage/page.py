"""The page itself, in Gradio's components: a picture to give, examples, and the answer."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..inference.certainty import heat_colours
from .answers import Answerer, Kept
from .results import Results

__all__ = ["build", "style", "theme"]

_WAITING = 32  # pictures in the queue; further ones are refused
_SECONDS_ON_DISK = 3600  # of pictures that were sent; Gradio looks for older ones as often

_PARTS = Path(__file__).parent


def style() -> str:
    """The page's CSS."""
    return (_PARTS / "viewer.css").read_text(encoding="utf-8")


def theme() -> Any:
    """Gradio's theme with fonts of the reader's system: its own come from a font server."""
    import gradio

    return gradio.themes.Default(
        font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
    )


def build(
    answerer: Answerer,
    kept: Kept,
    results: Results,
    *,
    title: str,
    examples: Sequence[Path],
    folder: Path,
) -> Any:
    """The page as Gradio's `Blocks`.

    Args:
        answerer: answers the pictures.
        kept: takes the answers, which the page then fetches by their keys.
        results: what is told and handed out of an answer.
        title: name of the network, shown at the top.
        examples: pictures to try it with.
        folder: folder that Gradio puts the files into that are sent, its `GRADIO_TEMP_DIR`.
    """
    import gradio

    def segment(sent: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if sent is None:
            return None
        try:
            answer = answerer(_sent_file(sent, folder), sent.get("orig_name"))
        except InputError as error:
            return {"error": str(error)}
        return {"key": kept.add(answer), **results.summary(answer)}

    with gradio.Blocks(
        title=f"FCN-8s: {title}",
        analytics_enabled=False,
        delete_cache=(_SECONDS_ON_DISK, _SECONDS_ON_DISK),
    ) as page:
        heading = f"<h1>{html.escape(title)}</h1><p>{html.escape(_description(answerer))}</p>"
        gradio.HTML(heading, elem_classes="demo-title", apply_default_css=False)
        with gradio.Row():
            with gradio.Column(scale=2, min_width=280):
                picture = gradio.Image(
                    label="Picture",
                    type="filepath",
                    sources=["upload", "clipboard"],
                    buttons=[],
                    height=260,
                    elem_classes="demo-picture",
                )
                gradio.Examples([[str(path)] for path in examples], picture, label="Examples")
            with gradio.Column(scale=5, min_width=320):
                viewer = gradio.HTML(
                    html_template=(_PARTS / "viewer.html").read_text(encoding="utf-8"),
                    js_on_load=(_PARTS / "viewer.js").read_text(encoding="utf-8"),
                    apply_default_css=False,
                    heat=heat_colours().tolist(),
                )
        picture.change(
            segment,
            picture,
            viewer,
            api_name="segment",
            concurrency_limit=1,
            trigger_mode="always_last",
            preprocess=False,  # it would decode the file before anything is checked
        )
    page.queue(max_size=_WAITING)
    return page


def _description(answerer: Answerer) -> str:
    segmenter = answerer.segmenter
    return f"{len(segmenter.classes)} classes, computed by {segmenter.predictor.engine.name}"


def _sent_file(sent: Mapping[str, Any], folder: Path) -> Path:
    """Path of a picture that was sent, as Gradio describes it.

    Raises:
        InputError: it is not a file in the folder of those that were sent, but another one of this
            machine that somebody names.
    """
    path = sent.get("path")
    if isinstance(path, str) and "\0" not in path:
        found = Path(path).resolve()
        if found.is_relative_to(folder.resolve()):
            return found
    raise InputError("the picture is not a file that was sent to the page; send it")
