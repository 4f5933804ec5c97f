"""Weights of others, whatever they are: recognised by their names and converted."""

from collections.abc import Mapping

import numpy as np

from ..errors import InputError
from . import paper_weights, resnet_weights, vgg_weights
from .converted import Conversion, without_wrapper

__all__ = ["convert"]


def convert(
    arrays: Mapping[str, np.ndarray],
    *,
    with_fc: bool = True,
    preprocessing: str | None = None,
    at_once: bool = False,
    for_paper: bool = False,
) -> Conversion:
    """Converts weights of another framework to this package's parameters.

    Args:
        arrays: the source's arrays by name.
        with_fc: as for `vgg_weights.convert`.
        preprocessing: as for `vgg_weights.convert`; for VGG only.
        at_once: as for `paper_weights.convert`; for the authors' networks only.
        for_paper: start the paper's networks from a VGG, see `vgg_weights.for_paper`.

    Raises:
        InputError: the arrays are of no known network, incomplete, of another shape or not finite,
            or an argument is not for this network. The message does not name the file.
    """
    arrays = without_wrapper(arrays)
    paper, resnet = paper_weights.fits(arrays), resnet_weights.fits(arrays)
    kind = "an FCN of the paper's authors" if paper else "a ResNet" if resnet else "a VGG"
    if at_once and not paper:
        raise InputError(f"it is {kind}, which has no skips to scale; leave out --scales")
    if (paper or resnet) and (preprocessing or not with_fc or for_paper):
        flag = "--preprocessing" if preprocessing else "--paper" if for_paper else "--without-fc"
        raise InputError(f"it is {kind}, and {flag} is for VGG only; leave it out")
    if paper:
        return paper_weights.convert(arrays, at_once=at_once)
    if resnet:
        return resnet_weights.convert(arrays)
    found = vgg_weights.convert(arrays, with_fc=with_fc, preprocessing=preprocessing)
    return vgg_weights.for_paper(found) if for_paper else found
