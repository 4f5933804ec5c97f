"""Legends where neither Pillow nor Matplotlib is installed, as prediction alone allows."""

import numpy as np
import pytest

from fcn8s_ms import voc
from fcn8s_ms.visualize import draw_legend, fonts


@pytest.fixture
def without_fonts(monkeypatch):
    caches = (fonts._readable, fonts.text_width)
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(fonts, "are_available", lambda: False)
    yield
    for cache in caches:
        cache.cache_clear()


def test_legend_is_drawn_with_the_letters_of_opencv(without_fonts):
    picture = np.full((200, 300, 3), 200, np.uint8)
    ids = np.zeros((200, 300), np.uint8)
    ids[100:, 150:] = 1
    drawn = draw_legend(picture, ids, ["background", "an unusual car"], voc.palette())
    assert drawn.shape == picture.shape
    assert (drawn == voc.palette()[1]).all(axis=2).sum() > 20  # the patch
    assert (drawn.max(axis=2) < 100).sum() > 20  # the letters


def test_names_that_opencv_cannot_draw_have_their_ids(without_fonts):
    assert fonts.readable(["sky", "größe"]) == ["sky", "1: größe"]
    assert fonts.text_width("ab", 16) < fonts.text_width("abab", 16)
