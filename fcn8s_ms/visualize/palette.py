"""Colours of classes that come without: told apart at a glance, also by the colour-blind."""

from collections.abc import Sequence

import numpy as np

from .. import voc

__all__ = ["background_id", "default_palette"]

_BACKGROUND_NAMES = frozenset(
    """
    background _background_ bg void unlabeled unlabelled 背景
    """.split()
)

# Each colour is the farthest from all before it; the first twelve were chosen together. Distances
# are in CIE Lab, the least of half of that in normal vision and of those under simulated
# protanopia and deuteranopia. Left out are near-grays, and colours near the black of the
# background, the tone of ignored pixels and the magenta of errors.
_COLOURS = """
    ff6020 0000ff 00ffe0 602040 0080ff 004000 ffe020 4080a0 e0a080 8000a0 ffa0ff a0ff80
    c02040 ff20b0 103060 0050ff c0b050 608060 ff80a0 b05020 b0ffc0 ffb030 0000a0 3090e0
    b03070 e0b0e0 ff1070 6050d0 403020 70c0b0 70a020 d050d0 802080 d0e090 7000d0 302080
    e0e0ff a08040 007040 c0e050 00a080 10b0c0 ffd0d0 c02090 2050b0 d080ff 90d070 803020
    801030 00d0ff 007000 60e0a0 a0a060 c090e0 c050ff c0ff50 ff8040 2010e0 ff7060 c08080
    ffb070 7040e0 9000ff 70e0c0 803070 e00020 b05050 0030c0 804050 301090 800000 b07090
    7090c0 403050 806060 ffc000 8050b0 606090 508080 60ffa0 70c080 30ff60 a000c0 90e0e0
    a0ff30 70c0d0 70a0ff e0a0b0 900090 605030 60b010 b07050 d060b0 504050 501070 ff90d0
    304030 3040b0 5070e0 ffb0a0 30c040 30b0a0 905040 2000c0 905000 80e030 402050 00b0e0
    206060 004040 506080 304060 105060 605010 708030 503070 50a030 a0d050 7060a0 e07050
    ffe070 5080e0 60b090 4090a0 707050 00ffb0 c020c0 e0d0ff a03030 502090 d06070 a03080
    309090 0090d0 409070 5000b0 805070 e0c0d0 003070 b0a070 a050d0 701010 600060 5050a0
    502030 6000a0 e0c090 8080b0 30e0b0 d02080 9030a0 b090d0 a000e0 ff50c0 a05030 a0a080
    a080ff 80e080 e090c0 703090 90c090 50d0e0 0030e0 404080 60c060 909000 604040 60a090
    80d060 303080 8050ff ffe0a0 a0b0e0 b060c0 b0ff90 00a070 7060c0 7090b0 70a050 a070d0
    805050 8020d0 60e040 b06060 80d0a0 d05030 3020ff 5020b0 c0a040 80b0d0 60d0c0 9080a0
    a07030 604060 5040d0 00ffd0 ffc080 d06060 608070 701020 50b030 1020c0 8050e0 40b060
    603030 60c0ff 301080 705060 806080 ff90ff 00e090 ffc040 c090b0 70ff70 3040a0 a030d0
    a060a0 e0d070 b02020 d07090 807020 e0a070 0060c0 d0d080 a07040 c0c080 6040b0 003050
    c0b000 a0d0d0 6070b0 5000d0 c0b0d0 b01090 707040 50c0c0 30a060 e08080 900040 807000
    9080e0 104010 e08090 e0e060 80c050 507070 d0d060 303010 005010 10ff40 00e050 501090
    c0e0a0 b0c040 609050
"""


def background_id(classes: Sequence[str]) -> int | None:
    """Id of the class that stands for no object and gets no colour in overlays; None without one.

    Args:
        classes: class names. CamVid's have no background: the first one is sky.
    """
    names = (label for label, name in enumerate(classes) if name.lower() in _BACKGROUND_NAMES)
    return next(names, None)


def default_palette(classes: Sequence[str]) -> np.ndarray:
    """Colours for classes whose data state none.

    VOC's classes have VOC's colours. Of others the background is black, as in VOC, and each of the
    rest takes the next colour of a list that begins with the most different ones.

    Args:
        classes: class names, at most 255.

    Returns:
        RGB of every label value, uint8 (256, 3); beyond the classes VOC's.
    """
    palette = voc.palette()
    if tuple(classes) == voc.CLASSES:
        return palette
    background = background_id(classes)
    objects = [label for label in range(len(classes)) if label != background]
    colours = np.frombuffer(bytes.fromhex(_COLOURS), np.uint8).reshape(-1, 3)
    palette[objects] = colours[: len(objects)]
    if background is not None:
        palette[background] = 0
    return palette
