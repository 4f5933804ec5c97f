import functools
import gc

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms import visualize, voc
from fcn8s_ms.visualize import figures

from ..helpers import read_mask

PALETTE = voc.palette()


def test_mask_is_a_palette_png_of_class_ids(tmp_path):
    ids = np.array([[0, 15, 20], [255, 7, 1]], np.uint8)
    visualize.write_mask(tmp_path / "m.png", ids, PALETTE)
    mask = Image.open(tmp_path / "m.png")
    assert mask.mode == "P"
    assert (np.asarray(mask) == ids).all()
    assert mask.convert("RGB").getpixel((1, 0)) == (192, 128, 128)
    assert (read_mask(tmp_path / "m.png") == ids).all()


def test_mask_of_another_type():
    with pytest.raises(ValueError, match="class ids are uint8"):
        visualize.write_mask("m.png", np.zeros((2, 2), np.int64), PALETTE)


def test_overlay_mixes_true_colours():
    image = np.zeros((1, 3, 3), np.uint8)
    image[0, :] = (200, 100, 0)  # BGR
    ids = np.array([[0, 15, 255]], np.uint8)
    found = visualize.overlay(image, ids, PALETTE, opacity=0.5)
    assert found[0, 0].tolist() == [0, 100, 200]  # background: the picture, in RGB
    assert found[0, 1].tolist() == [96, 114, 164]
    assert found[0, 2].tolist() == [0, 100, 200]


@pytest.mark.parametrize(("height", "width"), [(375, 500), (64, 48), (20, 20), (1200, 900)])
def test_legend_shows_the_colours_present(height, width):
    picture = np.full((height, width, 3), 77, np.uint8)
    ids = np.zeros((height, width), np.uint8)
    ids[: height // 2, : width // 2] = 15
    found = visualize.draw_legend(picture, ids, voc.CLASSES, PALETTE)
    assert (found.shape == picture.shape) == (height > 100)
    assert (picture == 77).all()
    assert (found == PALETTE[15]).all(axis=2).any()
    # The corner with the object stays free.
    assert (found[: height // 4, : width // 4] == 77).all()


def test_no_legend_without_classes():
    picture = np.full((50, 50, 3), 77, np.uint8)
    found = visualize.draw_legend(picture, np.zeros((50, 50), np.uint8), voc.CLASSES, PALETTE)
    assert (found == picture).all()


def test_grid_shows_image_truth_and_prediction(tmp_path):
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, :] = (255, 0, 0)  # blue, in BGR
    truth = np.full((60, 80), 15, np.uint8)
    prediction = np.full((60, 80), 7, np.uint8)
    truth[:5] = 255
    visualize.prediction_grid(
        tmp_path / "grid.png", [("a.jpg", image, truth, prediction)], voc.CLASSES, PALETTE, "title"
    )
    picture = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    thirds = np.split(picture[:, : picture.shape[1] // 3 * 3], 3, axis=1)
    for third, colour in zip(thirds, ((0, 0, 255), (192, 128, 128), (128, 128, 128))):
        assert (third == colour).all(axis=2).mean() > 0.2


@pytest.mark.parametrize("count", [1, 2, 9])
def test_grid_shows_images_beside_their_labels(tmp_path, count):
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, :] = (255, 0, 0)  # blue, in BGR
    label = np.full((60, 60), 15, np.uint8)
    label[:20] = 255
    samples = [(image, label)] * count
    visualize.sample_grid(tmp_path / "grid.png", samples, voc.CLASSES, PALETTE, "title")
    picture = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    blue, person = ((picture == colour).all(axis=2) for colour in ((0, 0, 255), (192, 128, 128)))
    assert 1.2 < blue.sum() / person.sum() < 1.6  # persons cover two thirds
    assert blue.mean() > 0.1


def test_curves_that_are_drawn_again_and_again(tmp_path):
    """No figure waits for Python's garbage collection, which a training seldom causes."""
    from matplotlib.axes import Axes

    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            visualize.curves(tmp_path / "curves.png", [{"step": 1, "loss": 1.0, "lr": 0.1}], [])
        # By its type: what is alive may be a weak proxy of something that is not.
        alive = sum(issubclass(type(one), Axes) for one in gc.get_objects())
    finally:
        gc.enable()
    assert alive <= 4  # at most those of the last figure


def test_grid_has_a_column_for_each_network(tmp_path):
    image = np.full((60, 80, 3), 255, np.uint8)
    labels = [np.full((60, 80), label, np.uint8) for label in (15, 7, 1, 0)]
    visualize.prediction_grid(
        tmp_path / "grid.png",
        [("a", image, *labels)],
        voc.CLASSES,
        PALETTE,
        networks=("A", "B", "C"),
    )
    picture = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    columns = [
        np.flatnonzero((picture == PALETTE[label]).all(axis=2).mean(axis=0) > 0.3)
        for label in (15, 7, 1, 0)
    ]
    assert all(len(column) > picture.shape[1] / 8 for column in columns)
    assert [column.mean() for column in columns] == sorted(column.mean() for column in columns)


def test_overlay_without_background_colours_the_first_class():
    image = np.zeros((1, 2, 3), np.uint8)
    ids = np.array([[0, 1]], np.uint8)
    palette = voc.palette()
    palette[0] = (100, 50, 20)
    found = visualize.overlay(image, ids, palette, background=None)
    assert found[0, 0].tolist() == [50, 25, 10]
    assert visualize.background_id(voc.CLASSES) == 0
    assert visualize.background_id(("sky", "road")) is None


def test_legend_names_the_first_class_where_it_is_no_background():
    picture = np.full((200, 200, 3), 77, np.uint8)
    ids = np.zeros((200, 200), np.uint8)
    palette = voc.palette()
    palette[0] = (1, 200, 3)
    found = visualize.draw_legend(picture, ids, ("sky", "road"), palette, "top left")
    assert (found[:40, :40] == palette[0]).all(axis=2).any()
    assert (found[100:] == 77).all()


def test_comparison_shows_errors_in_a_colour_of_their_own(tmp_path):
    image = np.full((60, 80, 3), 40, np.uint8)
    truth = np.full((60, 80), 15, np.uint8)
    prediction = truth.copy()
    prediction[:30] = 7
    truth[:, :20] = 255
    visualize.comparison(
        tmp_path / "a.png", image, truth, prediction, voc.CLASSES, PALETTE, "title"
    )
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    wrong = (picture == (255, 0, 255)).all(axis=2)  # VOC's chairs are red
    ignored = (picture == (224, 224, 192)).all(axis=2)
    right = (picture == (20, 20, 20)).all(axis=2)
    assert wrong.sum() / right.sum() == pytest.approx(1, abs=0.1)
    assert ignored.sum() > wrong.sum()  # a third of the pixels, and in two of the pictures


def test_confusion_plot_is_normalised_by_rows(tmp_path):
    from matplotlib import colormaps

    matrix = np.array([[90, 10, 0], [0, 1000, 0], [0, 0, 0]])
    visualize.confusion_plot(tmp_path / "a.png", matrix, ("sky", "road", "car"), "title")
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    blues = colormaps["Blues"]

    def area(share):
        colour = np.round(255 * np.array(blues(share)[:3]))
        return (np.abs(picture - colour) <= 1).all(axis=2).sum()

    assert area(1.0) == pytest.approx(area(0.9), rel=0.2)  # one cell each
    assert area(0.1) == pytest.approx(area(0.9), rel=0.2)
    gray = (picture == round(0.93 * 255)).all(axis=2).sum()
    assert gray == pytest.approx(3 * area(0.9), rel=0.2)  # a row without pixels


@pytest.mark.parametrize("height_width", [(20_000, 30), (30, 20_000)])
def test_comparison_of_a_ribbon_is_a_picture_of_ordinary_size(tmp_path, height_width):
    ids = np.zeros(height_width, np.uint8)
    image = np.zeros((*height_width, 3), np.uint8)
    visualize.comparison(tmp_path / "a.png", image, ids, ids, voc.CLASSES, PALETTE)
    width, height = Image.open(tmp_path / "a.png").size
    assert max(width, height) < 4000


def test_legend_of_255_classes_leaves_room_for_the_pictures(tmp_path):
    names = [f"class {number}" for number in range(255)]
    label = np.arange(40 * 50).reshape(40, 50).astype(np.uint8)
    picture = np.full((40, 50, 3), 7, np.uint8)
    visualize.sample_grid(tmp_path / "a.png", [(picture, label)], names, PALETTE)
    drawn = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert (drawn == 7).all(axis=2).sum() > 150 * 150


@pytest.mark.parametrize(("count", "length"), [(2, 0), (21, 0), (255, 0), (2, 5000)])
def test_confusion_plot_of_any_number_of_classes(tmp_path, count, length):
    names = [f"class {number}{length * 'x'}" for number in range(count)]
    visualize.confusion_plot(tmp_path / "a.png", np.eye(count, dtype=int), names)
    assert 12 * count < Image.open(tmp_path / "a.png").width < 6000


def test_confusion_plot_lists_the_pairs_and_thins_the_names(monkeypatch):
    figures = []
    monkeypatch.setattr(
        "fcn8s_ms.visualize.confusion_matrix.save_figure",
        lambda figure, path: figures.append(figure),
    )
    matrix = np.array([[60, 40, 0], [5, 1000, 95], [0, 0, 0]])
    visualize.confusion_plot("unused.png", matrix, ("sky", "road", "a" * 30))
    pairs = [text.get_text() for text in figures[0].axes[1].texts][2:]
    assert pairs == ["8.6 %", f"road → {'a' * 19}…", "40.0 %", "sky → road", "0.5 %", "road → sky"]
    cells = [text.get_text() for text in figures[0].axes[0].texts]
    assert cells == ["60", "40", "91", "9"]  # 0.45 % is left out
    visualize.confusion_plot(
        "unused.png", 7 * np.eye(255, dtype=int), [f"c{k}" for k in range(255)]
    )
    matrix, beside, _ = figures[1].axes  # the last one is the scale of the colours
    names = [label.get_text() for label in matrix.get_yticklabels()]
    assert names == [f"c{k}" for k in range(0, 255, 2)] and not matrix.texts
    assert [text.get_text() for text in beside.texts] == ["no errors"]


def stripes(height, width, count):
    """Ids of classes 1…count, one below the other."""
    return (np.arange(height) * count // height + 1).astype(np.uint8)[:, None].repeat(width, 1)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (1080, 1920), (240, 320), (64, 48)])
@pytest.mark.parametrize("corner", [None, "top left"])
def test_a_legend_covers_a_tenth_of_the_picture_at_most(height, width, corner):
    picture = np.full((height, width, 3), 77, np.uint8)
    ids = stripes(height, width, 7)
    found = visualize.draw_legend(picture, ids, voc.CLASSES, PALETTE, corner)
    covered = (found[:height, :width] != 77).any(axis=2).mean()
    assert covered <= 0.1
    if corner is None:
        assert all((found == PALETTE[label]).all(axis=2).any() for label in range(1, 8))
    else:
        assert found.shape == picture.shape


def test_a_legend_that_would_hide_a_small_picture_stands_beside_it():
    picture = np.full((64, 48, 3), 77, np.uint8)
    found = visualize.draw_legend(picture, stripes(64, 48, 20), voc.CLASSES, PALETTE)
    assert (found[:64, :48] == 77).all()
    beside = found[:, 48:]
    for label in range(1, 21):
        assert (beside == PALETTE[label]).all(axis=2).sum() >= 80
    assert (beside == 255).all(axis=2).mean() > 0.5
    assert (picture == 77).all()


def test_where_a_picture_keeps_its_size_the_largest_classes_are_named():
    ids = stripes(240, 320, 20)
    ids[:120] = 15
    found = visualize.draw_legend(
        np.full((240, 320, 3), 77, np.uint8), ids, voc.CLASSES, PALETTE, "top left"
    )
    assert (found == PALETTE[15]).all(axis=2).any()
    assert sum((found == PALETTE[label]).all(axis=2).any() for label in range(1, 21)) > 3


def headings(monkeypatch, draw):
    """Titles of the cells of a figure, row by row; and the sides of the figure in inches."""
    kept = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: kept.append(figure))
    draw()
    (figure,) = kept
    return [axis.get_title() for axis in figure.axes], figure.get_size_inches()


def test_grid_names_images_and_their_scores(monkeypatch):
    image = np.zeros((20, 20, 3), np.uint8)
    truth = np.zeros((20, 20), np.uint8)
    half = truth.copy()
    half[:10] = 1  # IoU of class 0: 200 of 400, of class 1: none of 200
    ignored = np.full((20, 20), 255, np.uint8)
    long = f"{'folder/' * 9}0001.jpg"
    rows = [("a.jpg", image, truth, truth, half), (long, image, ignored, truth, half)]
    found, _ = headings(
        monkeypatch,
        lambda: visualize.prediction_grid(
            "-", rows, ("sky", "road"), PALETTE, networks=("FCN-8s", "FCN-32s")
        ),
    )
    assert found[:4] == ["a.jpg", "truth", "FCN-8s, mean IoU 1.0000", "FCN-32s, mean IoU 0.2500"]
    assert found[4].startswith("folder/") and found[4].endswith("…er/folder/0001.jpg")
    assert found[6:] == ["FCN-8s, nothing labelled", "FCN-32s, nothing labelled"]


@pytest.mark.parametrize(("names", "expected"), [((), "image"), (("a.jpg", "b.jpg"), "b.jpg")])
def test_samples_are_named(monkeypatch, names, expected):
    samples = [(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8))] * 2
    found, _ = headings(
        monkeypatch, lambda: visualize.sample_grid("-", samples, voc.CLASSES, PALETTE, names=names)
    )
    assert found[1:] == ["label", expected, "label"]


def test_rows_are_as_high_as_their_images(monkeypatch):
    def height(rows):
        samples = [(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)) for size in rows]
        draw = functools.partial(visualize.sample_grid, "-", samples, voc.CLASSES, PALETTE)
        return headings(monkeypatch, draw)[1][1]

    assert height([(20, 20)]) - height([(10, 20)]) == pytest.approx(1.5)  # of 3 inches
    assert height([(20, 20)] * 4) - height([(20, 20)] * 2) == pytest.approx(3.3)
    assert height([(9000, 20)]) < 6


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        ([(0, 0, 0), (0, 255, 0)], "red"),
        ([(0, 0, 0), (250, 10, 10)], "magenta"),
        ([(255, 0, 0), (255, 0, 255), (250, 250, 0)], "cyan"),
    ],
)
def test_errors_have_a_colour_that_no_class_has(colours, expected):
    assert figures._error_colour(np.array(colours, np.uint8)) == expected


def test_errors_among_any_classes():
    for palette in (PALETTE[:21], visualize.default_palette([str(n) for n in range(255)])[:255]):
        colour = figures._ERROR_COLOURS[figures._error_colour(palette)]
        assert np.abs(palette.astype(int) - colour).sum(axis=1).min() > 60
