"""Builds MindRecord files from images and masks: `python tools/build_mindrecord.py --help`."""

import argparse
from pathlib import Path

from fcn8s_ms.errors import reported_by

_PROGRAM = "python tools/build_mindrecord.py"


def get_parser() -> argparse.ArgumentParser:
    """Command line of the converter."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Convert images and masks to a MindRecord file. Every file is checked: if any "
        "cannot be used, all of them are named and nothing is written.",
        epilog=f"Example: {_PROGRAM} --voc-root ~/data/VOCdevkit --split train "
        "--output dataset/voc_train.mindrecord",
    )
    add = parser.add_argument
    add(
        "--voc-root",
        type=Path,
        required=True,
        help="folder that holds VOCdevkit, or VOC2012 itself",
    )
    add(
        "--split",
        default="train",
        choices=("train", "val", "trainval"),
        help="list in ImageSets/Segmentation (default: %(default)s)",
    )
    add("--output", type=Path, required=True, help="record file to write")
    add(
        "--num-shards",
        type=int,
        default=1,
        help="number of files to spread the images over (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="replace an existing record")
    return parser


def _histogram(metadata) -> str:
    total = max(sum(metadata.pixel_counts), 1)
    width = max(len(name) for name in metadata.classes)
    lines = []
    for name, count in zip(metadata.classes, metadata.pixel_counts):
        share = count / total
        lines.append(f"  {name:<{width}} {count:14,} {share:7.2%} {'#' * round(40 * share)}")
    return "\n".join(lines)


def main(argv=None) -> None:
    """Command line; `argv` without the program's name."""
    arguments = get_parser().parse_args(argv)
    with reported_by(_PROGRAM):
        from tqdm import tqdm

        from fcn8s_ms import records

        pairs = records.voc_pairs(arguments.voc_root, arguments.split)
        metadata = records.build_records(
            pairs,
            arguments.output,
            num_shards=arguments.num_shards,
            overwrite=arguments.overwrite,
            source=arguments.voc_root.absolute(),
            list_name=arguments.split,
            progress=lambda rows, total: tqdm(rows, total=total, unit="image"),
        )
    print(f"Labelled pixels of each class:\n{_histogram(metadata)}")
    print(f"\n{metadata.num_samples} images in {', '.join(metadata.files)}. Train with:")
    print(f"  python -m fcn8s_ms.train --data {arguments.output}")


if __name__ == "__main__":
    main()
