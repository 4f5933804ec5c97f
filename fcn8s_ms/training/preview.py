"""A picture of what a training would see, drawn instead of training."""

from pathlib import Path

from .. import visualize
from ..distributed.ranks import ALONE
from ..errors import InputError
from ..formats import paths
from .arguments import Config
from .data import draw_sample, fetch_data, open_data

__all__ = ["draw_preview"]

_SAMPLES = 8


def draw_preview(config: Config) -> Path:
    """Draws the first samples of a training, in true colours next to their labels.

    They are those of the first epoch in their order, after everything that the options do to them.

    Args:
        config: options of the training; `run.preview` names the file.

    Returns:
        The PNG file that was written.

    Raises:
        InputError: the data or a sample cannot be used, or the file cannot be written.
    """
    path = config.run.preview
    assert path is not None, "there is no file to draw to"
    if config.data.download is not None:
        config = fetch_data(config, ALONE)
    if config.data.sample:
        config = draw_sample(config, ALONE)
    data = open_data(config.data, config.optimizer, ALONE)
    samples = data.train.crops(_SAMPLES)
    height, width = config.data.sample_size
    title = f"{data.train.data_file.name}: training samples of {height}×{width}"
    paths.make_folder(path.parent, "--preview")
    try:
        visualize.sample_grid(path, samples, data.classes, data.palette, title)
    except OSError as error:
        raise InputError(
            f"--preview {path} cannot be written: {error.strerror}; choose another name"
        ) from error
    return path
