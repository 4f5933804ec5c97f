"""Options of a training's data: what is read, and how samples are made of it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .. import fetch
from ..errors import InputError, flag
from ..images import augmentation, reader
from ..system import threads
from ..transforms import LONGEST_SIDE, check_sizes
from .option_group import Options, option

__all__ = ["DataOptions", "replaced"]

_SIZES = {"crop_size": 512, "min_scale": 0.5, "max_scale": 2.0}

# Options, and those that take their place.
_INSTEAD = {
    "crop_size": ("resize_to",),
    "min_scale": ("resize_to", "resize_short"),
    "max_scale": ("resize_to", "resize_short"),
    "resize_short": ("resize_to",),
    "cat_max_ratio": ("resize_to",),
    "epochs": ("steps",),
}


def replaced(names: Collection[str]) -> set[str]:
    """Names of the options that cannot stand next to those with the given names."""
    others = {one for one, instead in _INSTEAD.items() if not set(instead).isdisjoint(names)}
    return others | {instead for name in names for instead in _INSTEAD.get(name, ())}


@dataclass(frozen=True)
class DataOptions(Options):
    """Data to train and validate on, and how crops are made of them."""

    HEADING: ClassVar[str] = "data"

    data: Path = option(
        fetch.DATA_FILE,
        help="Train on this MindRecord file (default: %(default)s).",
        may_change=True,
    )
    val_data: Path | None = option(
        None, help="Validate on the whole images of this MindRecord file.", may_change=True
    )
    sample: bool = option(False, help="Draw a small dataset and train on it with a preset.")
    download: str | None = option(
        None,
        nargs="?",
        const=fetch.BASE_URL,
        metavar="URL",
        help="Fetch the tutorial's VOC+SBD records and VGG-16 weights first, from a mirror if "
        "there is a URL.",
    )
    num_classes: int | None = option(
        None, help="Train this many classes, where the data do not tell (default: VOC's 21)."
    )
    crop_size: int = option(
        None,
        positive=True,
        at_most=LONGEST_SIDE,
        help="Give the training crops this side in pixels (default: 512).",
    )
    min_scale: float = option(
        None, help="Scale images at random by this factor at least (default: 0.5)."
    )
    max_scale: float = option(
        None, at_most=8, help="Scale images at random by this factor at most (default: 2.0)."
    )
    resize_short: list[int] | None = option(
        None,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="Resize every image so that its shorter side has a random number of pixels, MIN to "
        "MAX, as torchvision's references do, instead of scaling it by a random factor.",
    )
    resize_to: list[int] | None = option(
        None,
        nargs=2,
        metavar=("H", "W"),
        help="Squeeze every image to H pixels of height and W of width, instead of random scales "
        "and crops; images to validate on, too.",
    )
    cat_max_ratio: float | None = option(
        None,
        metavar="R",
        help="Draw a crop anew, up to 10 times, while one class covers the share R of its "
        "labelled pixels or more, as mmsegmentation does with 0.75 (default: take every crop).",
    )
    augment: str = option(
        "",
        metavar="NAME,…",
        help="Change the crops at random in more ways: photometric, blur, rotate, vflip, joined "
        "by commas (default: none).",
    )
    workers: int = option(
        min(4, threads.available_cpus()),
        positive=True,
        may_change=True,
        help="Prepare samples in this many threads (default: %(default)s).",
    )
    max_pixels: int = option(reader.MAX_PIXELS, at_least=0, may_change=True, **reader.FLAG)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes is not None and not 2 <= self.num_classes <= 255:
            raise InputError(f"--num-classes is {self.num_classes}; choose 2…255")
        self.augmentations()
        check_sizes(self.resize_to, self.resize_short, self.cat_max_ratio, flag)
        self._complete()

    def _complete(self) -> None:
        """Sets the defaults of what is used, and refuses what is not."""
        for name, default in _SIZES.items():
            instead = next((one for one in _INSTEAD[name] if getattr(self, one) is not None), None)
            if instead is None and getattr(self, name) is None:
                # A frozen dataclass can be completed in no other way.
                object.__setattr__(self, name, default)
            elif instead is not None and getattr(self, name) is not None:
                raise InputError(f"{flag(instead)} takes the place of {flag(name)}; leave one out")

    @property
    def sizes(self) -> dict[str, Any]:
        """Arguments of `SegDataset` for scales and crops, or what is made instead."""
        names = (*_SIZES, "resize_to", "resize_short", "cat_max_ratio")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def sample_size(self) -> tuple[int, int]:
        """Height and width of what the network trains on, in pixels."""
        if self.resize_to is not None:
            return self.resize_to[0], self.resize_to[1]
        return self.crop_size, self.crop_size

    @property
    def sample_flag(self) -> str:
        """The flag that the size of samples comes from."""
        return flag("crop_size" if self.resize_to is None else "resize_to")

    @property
    def view(self) -> dict[str, Any]:
        """Arguments of `Predictor` that show images as training does, not cut into crops."""
        return {} if self.resize_to is None else {"resize": "{}x{}".format(*self.resize_to)}

    def augmentations(self) -> tuple[str, ...]:
        """Returns the names in `--augment`.

        Raises:
            InputError: one is unknown.
        """
        names = tuple(name.strip() for name in self.augment.split(",") if name.strip())
        for name in names:
            if name not in augmentation.AUGMENTATIONS:
                raise InputError(
                    f"--augment {self.augment}: {name!r} is not known; choose from "
                    f"{', '.join(augmentation.AUGMENTATIONS)}"
                )
        return names
