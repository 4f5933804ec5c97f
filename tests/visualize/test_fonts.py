import cv2
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from fcn8s_ms import visualize
from fcn8s_ms.visualize import figures, fonts, overlays


def write_font(path, characters):
    """A font whose glyphs are full squares."""
    names = [f"g{number}" for number in range(len(characters))]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap(dict(zip(map(ord, characters), names)))
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (900, 700), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), **dict.fromkeys(names, square)})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names], (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def system_fonts(monkeypatch):
    """Fonts of the system: none, or those that a test puts there."""
    found = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    monkeypatch.setattr(fonts, "_font_of", {})
    for cache in (fonts._readable, fonts.text_width, overlays._ink):
        cache.cache_clear()
    yield found
    for cache in (fonts._readable, fonts.text_width, overlays._ink):
        cache.cache_clear()


def legend_of(name, size=400):
    picture = np.full((size, size, 3), 255, np.uint8)
    ids = np.zeros((size, size), np.uint8)
    palette = visualize.default_palette((name,))
    return visualize.draw_legend(picture, ids, (name,), palette, "top left")


def test_scripts_of_the_font_that_comes_along(system_fonts, caplog):
    names = ["Straße", "небо", "ουρανός", "tráva", "السماء"]
    assert fonts.readable(names) == names
    drawn = [legend_of(name).tobytes() for name in (*names, "????")]
    assert len(set(drawn)) == len(drawn)
    assert not caplog.records


def test_a_font_of_the_system_draws_what_the_own_one_lacks(system_fonts, tmp_path, caplog):
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    system_fonts += [str(tmp_path / "damaged.ttf"), write_font(tmp_path / "Squares.ttf", "天空")]
    assert fonts.readable(["天空", "sky 天"]) == ["天空", "sky 天"]
    ink = overlays._ink(("天空",), 20, 30, 80)[..., 0]
    size = 15  # 0.75 of the line
    assert ink.sum() == pytest.approx(2 * 0.9 * 0.7 * size**2, rel=0.15)
    assert fonts.text_width("天空", 20) == pytest.approx(40, abs=1)
    assert not caplog.records


def test_plain_fonts_come_first(system_fonts, tmp_path):
    for name in ("A-Bold.ttf", "B-Regular.ttf", "C-Italic.ttf"):
        system_fonts.append(write_font(tmp_path / name, "天"))
    fonts.readable(["天"])
    assert fonts._font_of["天"].endswith("B-Regular.ttf")


@pytest.mark.parametrize(
    ("name", "package"), [("天空", "fonts-noto-cjk"), ("ท้องฟ้า", "fonts-noto-core")]
)
def test_names_that_no_font_has_show_their_ids(system_fonts, caplog, name, package):
    for _ in range(2):
        assert fonts.readable(["road", name]) == ["road", f"1: {name}"]
    (warning,) = caplog.messages
    assert warning.startswith(f"No font here has {sorted(name)[0]}")
    assert warning.endswith(f"apt-get install {package}")
    shown = legend_of(name)
    assert (shown != legend_of("")).any()


def drawn_texts(monkeypatch, draw):
    """Texts of a figure that is drawn, ready for its file."""
    kept = []

    def keep(figure, path):
        fonts.prepare_figure(figure)
        from matplotlib.text import Text

        kept.extend(figure.findobj(Text))

    monkeypatch.setattr(figures, "save_figure", keep)
    draw()
    return {one.get_text(): one for one in kept if one.get_text()}


def test_figures_use_the_same_fonts_and_take_names_literally(system_fonts, tmp_path, monkeypatch):
    system_fonts.append(write_font(tmp_path / "Squares.ttf", "天空"))
    names = ("_background_", "天空", "a $x_{$ b", "ไม้")
    label = np.arange(4, dtype=np.uint8).repeat(4).reshape(4, 4)
    samples = [(np.zeros((4, 4, 3), np.uint8), label)]
    palette = visualize.default_palette(names)
    texts = drawn_texts(
        monkeypatch,
        lambda: visualize.sample_grid("-", samples, names, palette, "空 $a^{$ 1.jpg"),
    )
    assert {"_background_", "天空", "a $x_{$ b", "3: ไม้"} <= set(texts)
    for text in ("天空", "空 $a^{$ 1.jpg"):
        assert texts[text].get_fontfamily() == ["DejaVu Sans", "Squares"]
    assert not texts["a $x_{$ b"].get_parse_math()


def test_a_figure_with_all_of_this_is_written(system_fonts, tmp_path):
    names = ("_a_", "天空", "a $x_{$ b")
    visualize.confusion_plot(tmp_path / "a.png", np.eye(3, dtype=int), names, "ไ $a^{$")
    assert cv2.imread(str(tmp_path / "a.png")).std() > 10
