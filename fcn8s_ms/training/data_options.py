"""Options of a training's data: what is read, and how samples are made of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .. import fetch
from ..errors import InputError
from ..images import augmentation, reader
from ..system import threads
from ..transforms import LONGEST_SIDE
from .option_group import Options, option

__all__ = ["DataOptions"]


@dataclass(frozen=True)
class DataOptions(Options):
    """Data to train and validate on, and how crops are made of them."""

    HEADING: ClassVar[str] = "data"

    data: Path = option(
        fetch.DATA_FILE,
        help="MindRecord file to train on (default: %(default)s)",
        may_change=True,
    )
    val_data: Path | None = option(
        None, help="MindRecord file to validate on, with whole images", may_change=True
    )
    sample: bool = option(False, help="draw a small dataset and train on it with a preset")
    download: str | None = option(
        None,
        nargs="?",
        const=fetch.BASE_URL,
        metavar="URL",
        help="fetch the tutorial's VOC+SBD records and VGG-16 weights first (URL: from a mirror)",
    )
    num_classes: int | None = option(
        None, help="number of classes, where the data do not tell (default: VOC's 21)"
    )
    crop_size: int = option(
        512,
        positive=True,
        at_most=LONGEST_SIDE,
        help="side of the training crops, in pixels (default: %(default)s)",
    )
    min_scale: float = option(0.5, help="smallest random scale (default: %(default)s)")
    max_scale: float = option(2.0, at_most=8, help="largest random scale (default: %(default)s)")
    augment: str = option(
        "",
        metavar="NAME,…",
        help="further random changes of the crops: photometric, blur, rotate, vflip, joined by "
        "commas (default: none)",
    )
    workers: int = option(
        min(4, threads.available_cpus()),
        positive=True,
        may_change=True,
        help="threads that prepare samples (default: %(default)s)",
    )
    max_pixels: int = option(reader.MAX_PIXELS, at_least=0, may_change=True, **reader.FLAG)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes is not None and not 2 <= self.num_classes <= 255:
            raise InputError(f"--num-classes is {self.num_classes}; choose 2…255")
        self.augmentations()

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
