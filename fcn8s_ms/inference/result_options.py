"""Options for the results of a prediction: kinds, names, looks."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..options import option
from .polygons import TOLERANCE, check_tolerance

__all__ = ["ENDINGS", "IN_VIDEO", "OF_LOGITS", "ResultOptions"]

ENDINGS = {
    "mask": "_mask.png",
    "color": "_color.png",
    "overlay": "_overlay.png",
    "probability": "_probability.npz",
    "certainty": "_certainty.png",
    "heatmap": "_heatmap.png",
    "polygons": ".json",
}
"""Kinds of results, and the endings of their files; polygons are in a sub-folder."""

IN_VIDEO = ("color", "overlay", "heatmap")
"""Kinds that are written as a video; the others as a folder, one file per frame."""

_OF_WHOLE = ("probability", "polygons")  # not written part by part

OF_LOGITS = ("probability", "certainty", "heatmap")
"""Kinds that follow from logits."""


def _kinds(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind.strip() for kind in text.split(",")))


@dataclass(frozen=True)
class ResultOptions:
    """Results to write for every picture; the help of each option describes it.

    Raises:
        InputError: an option is out of range, or two do not go together.
    """

    output: Path = option(
        Path("predictions"),
        metavar="DIR",
        help="Write the results into this folder (default: %(default)s).",
    )
    save: tuple[str, ...] = option(
        ("mask", "overlay"),
        type=_kinds,
        metavar="KIND,…",
        help="Write these results. mask: NAME_mask.png, a palette PNG whose pixels are class ids, "
        "like VOC's; color: NAME_color.png, the same as RGB; overlay: NAME_overlay.png, the "
        "classes drawn over the picture; probability: NAME_probability.npz, of all classes; "
        "certainty: NAME_certainty.png, the probability of the chosen class in grey, 255 for 1; "
        "heatmap: NAME_heatmap.png, the same in colours; "
        "polygons: labelme/NAME.json of every picture for labelme, coco.json of all for CVAT and "
        "others, and classes.txt, to correct and to build records with again. Of a video, color, "
        "overlay and heatmap become NAME_….mp4, the others folders NAME_…, a file per frame "
        "(default: mask,overlay).",
    )
    geotiff: bool = option(
        False,
        help="Read TIFF files window by window, as --sliding says, and write results as TIFF files "
        "with the same place on the map, NAME_mask.tif and so on without legends: memory hardly "
        "grows with a picture, and --max-pixels does not count.",
    )
    plain_names: bool = option(
        False,
        help="Write NAME.png instead of NAME_mask.png, as VOC's server expects; goes with one "
        "kind of --save.",
    )
    opacity: float = option(
        0.5, help="Draw an overlay's colours with this opacity, 0 to 1 (default: %(default)s)."
    )
    legend: bool = option(
        True, help="Name the classes that are present in the overlay (default: yes)."
    )
    min_certainty: float = option(
        0.0,
        metavar="P",
        help="Give pixels whose class has a probability below P the ignore label 255; overlays "
        "show them in its colour, as 'uncertain' (default: %(default)s, which is none).",
    )
    tolerance: float = option(
        TOLERANCE,
        metavar="PIXELS",
        help="Let the simplified outlines of polygons lie up to this far from the pixels' edges; "
        "0 keeps every corner (default: %(default)s).",
    )

    def __post_init__(self) -> None:
        if not self.save or any(kind not in ENDINGS for kind in self.save):
            raise InputError(
                f"--save {','.join(self.save)}: choose from {', '.join(ENDINGS)}, separated by "
                "commas"
            )
        if self.plain_names and len(self.save) > 1:
            raise InputError("--plain-names is for one kind of file; choose it, e.g. --save mask")
        if not 0 <= self.opacity <= 1:
            raise InputError(f"--opacity is {self.opacity}; choose 0…1")
        check_tolerance(self.tolerance)
        if self.geotiff and (whole := [kind for kind in self.save if kind in _OF_WHOLE]):
            raise InputError(
                f"--save {','.join(whole)} needs a whole picture; with --geotiff choose from "
                f"{', '.join(kind for kind in ENDINGS if kind not in _OF_WHOLE)}"
            )
        if not 0 <= self.min_certainty <= 1:
            raise InputError(f"--min-certainty is {self.min_certainty}; choose 0…1")
