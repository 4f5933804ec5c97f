"""Two parts of a list of images, one to train on and one to validate on.

A hash of its id says which part an image belongs to, so that images that are added later move no
other. Images of one group, such as the frames of a sequence, stay together.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence

from .. import files
from ..errors import InputError, listing
from .sources import Pair

__all__ = ["check_apart", "same_content", "split_pairs"]


def _place(key: str) -> float:
    """Place of an id between 0 and 1, the same on every machine."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _groups(names: Sequence[str], group_by: str) -> list[str]:
    """Group of each id: what the first group of the pattern matches, or all of it."""
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise InputError(
            f"--group-by {group_by!r} is not a regular expression ({error}); correct it"
        ) from None
    found = [pattern.search(name) for name in names]
    missing = [name for name, match in zip(names, found) if match is None]
    if missing:
        raise InputError(
            f"--group-by {group_by!r} does not fit {len(missing)} of {len(names)} ids: "
            f"{listing(missing, 5)}; give a pattern for all"
        )
    matches = [match for match in found if match is not None]
    return [match[1] if pattern.groups and match[1] is not None else match[0] for match in matches]


def split_pairs(
    pairs: Sequence[Pair], fraction: float, group_by: str | None = None
) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on, and pairs to validate on.

    Args:
        pairs: images and masks.
        fraction: share of the images (or groups) to validate on, approximately: each one is dealt
            by itself.
        group_by: regular expression that is searched for in an id; images with the same match stay
            together.

    Returns:
        Both parts, in the order of the pairs.

    Raises:
        InputError: a part is empty, or the expression is damaged or does not fit an id.
    """
    names = [pair.name for pair in pairs]
    keys = names if group_by is None else _groups(names, group_by)
    held_out = [_place(key) < fraction for key in keys]
    if all(held_out) or not any(held_out):
        what = "images" if group_by is None else "groups"
        raise InputError(
            f"--val-fraction {fraction:g} leaves a part of {len(set(keys))} {what} empty; take "
            "another fraction, or more data"
        )
    train = [pair for pair, out in zip(pairs, held_out) if not out]
    return train, [pair for pair, out in zip(pairs, held_out) if out]


def same_content(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Groups of pairs whose image files have the same bytes. Only files of one size are read."""
    by_size: dict[int, list[Pair]] = {}
    for pair in pairs:
        try:
            by_size.setdefault(os.stat(pair.image).st_size, []).append(pair)
        except OSError:  # missing: an error of the build
            continue
    found: dict[tuple[int, str], list[Pair]] = {}
    for size, candidates in by_size.items():
        for pair in candidates if len(candidates) > 1 else ():
            found.setdefault((size, files.sha256(pair.image)), []).append(pair)
    return [same for same in found.values() if len(same) > 1]


def check_apart(same: Iterable[Sequence[Pair]], held_out: Iterable[Pair]) -> None:
    """Checks that no image is in both parts.

    Args:
        same: groups of pairs with the same image.
        held_out: pairs to validate on.

    Raises:
        InputError: images of a group are in different parts.
    """
    names = {pair.name for pair in held_out}
    torn = [group for group in same if len({pair.name in names for pair in group}) > 1]
    if torn:
        shown = listing((" = ".join(pair.name for pair in group) for group in torn), 5)
        raise InputError(
            f"{len(torn)} images would be in both records, under different names: {shown}; remove "
            "one of each, or keep them together with --group-by"
        )
