"""The drawn sample as MindRecord files for training and validation."""

from pathlib import Path

from . import build, sample, sources

__all__ = ["build_sample_records"]


def build_sample_records(folder, *, overwrite: bool = False) -> dict[str, Path]:
    """Draws the sample into a folder and builds its records there.

    Args:
        folder: directory for the pictures, as of `fcn8s_ms.sample.write_sample`, and the records.
        overwrite: whether to replace records that are there already.

    Returns:
        Paths of the records, by the names of their splits: `'train'` and `'val'`.

    Raises:
        InputError: the folder cannot be written, or has records and `overwrite` is false.
    """
    folder = Path(folder)
    sample.write_sample(folder)
    found = {split: folder / f"{split}.mindrecord" for split in ("train", "val")}
    for split, path in found.items():
        build.build_records(
            sources.voc_pairs(folder, split),
            path,
            classes=sample.CLASSES,
            overwrite=overwrite,
            source=folder,
            list_name=split,
        )
    return found
