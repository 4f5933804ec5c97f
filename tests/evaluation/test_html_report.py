"""The web page of an evaluation: as text, and in a browser where there is one."""

import base64
import csv
import hashlib
import html.parser
import json
import re

import cv2
import numpy as np
import pytest

from fcn8s_ms import confusion, eval, evaluation, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.evaluation import html_report, html_sections
from fcn8s_ms.evaluation.predictions import Prediction
from fcn8s_ms.evaluation.thumbnails import Thumbnails
from fcn8s_ms.inference import Segmenter

from ..helpers import Spread, draw_pair, error_line_of, ordinary_user, read_strict

# Names that are code where they are not escaped.
CLASSES = ("<script>alert(1)</script>", "天空", "a&amp;b", "\"><img src=x onerror='alert(1)'>")
CLASSES += ("long" * 60,)
VOID = {"meta", "img", "input", "br"}


class Page(html.parser.HTMLParser):
    """A page as tags, attributes and texts; a tag that is not closed in its turn is an error."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.texts = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def texts_in(self, tag):
        return [text for inside, text in self.texts if inside and inside[-1] == tag]


def values(page, kind):
    """Name to value of every list of that class, in their order, from the source."""
    text = page.read_text(encoding="utf-8")
    for part in re.findall(rf'<dl class="{kind}">(.*?)</dl>', text, re.S):
        found = re.findall(r'<dt>([^<]*)</dt><dd><data value="([^"]*)">([^<]*)</data>', part)
        yield {name: (float(value or "nan"), shown) for name, value, shown in found}


def section(page, name):
    text = page.read_text(encoding="utf-8")
    return re.findall(rf'<section id="{name}">.*?</section>', text, re.S)[0]


def made(names, classes=CLASSES, size=(48, 64), noise=False, copies=1):
    """What an evaluation of drawn images hands over; each image stands there `copies` times."""
    counts, palette = confusion.ConfusionMatrix(len(classes)), voc.palette()
    images, thumbnails = evaluation.PerImage(), Thumbnails(classes, palette)
    rng = np.random.RandomState(0)
    for name in names:
        image, label = draw_pair(name, *size)
        label[label == 15], label[label == 7] = 3, 2
        image = rng.randint(0, 256, image.shape) if noise else cv2.blur(image, (9, 9))
        image = image.astype(np.uint8)
        ids = np.where(label == 255, 0, np.roll(label, 5, 1)).astype(np.uint8)
        ids[ids == 255] = 1
        of_image = confusion.ConfusionMatrix(len(classes))
        of_image.update(label, ids)
        counts.add(of_image)
        for one in (images, thumbnails):
            one.add(Prediction(name, image, label, ids), of_image)
    for kept in (images.rows, images.counts):
        kept[:] = [
            {**one, "image": f"{one['image']}{number or ''}"}
            for number in range(copies)
            for one in kept
        ]
    thumbnails.panels *= copies
    result = {
        "checkpoint": "<b>.ckpt",
        "data": "天空&.mindrecord",
        "images": len(images.rows),
        "protocol": "every image once",
        **evaluation.scores(counts, classes),
        "confusion matrix": counts.matrix.tolist(),
        "per image": images.counts,
    }
    return result, palette, images, thumbnails


@pytest.fixture(scope="module")
def report(record, tmp_path_factory):
    """The report of a whole evaluation, with its other files."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Segmenter, "from_checkpoint", lambda path, device, **more: Segmenter(Spread(), **more)
        )
        given = ["--data", record, "--checkpoint", "FCN8s.ckpt", "--device", "CPU"]
        given += ["--report", folder / "new" / "index.html", "--output", folder / "scores.json"]
        eval.main([str(one) for one in [*given, "--per-image", folder / "images.csv"]])
    return folder


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A report whose names are code; returns its page and the names of its images."""
    folder = tmp_path_factory.mktemp("odd") / "a#b 天"
    names = [
        "</h3><script>alert(1)</script>",
        "天空",
        "b\udc80",
        "&lt;",
        '" onload="alert(1)',
        "long" * 60,
    ]
    html_report.write(folder / "index.html", *made(names))
    return folder / "index.html", names


# --- content -------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_json(report):
    page, expected = report / "new" / "index.html", read_strict(report / "scores.json")
    (totals,) = values(page, "scores")
    assert list(totals)[:2] == ["mean IoU", "pixel accuracy"]
    assert totals == {
        name: (value, f"{value:.4f}") for name, value in expected.items() if type(value) is float
    }
    rows = re.findall(r"<tr>(.*?)</tr>", section(page, "classes"))
    heads = re.findall(r'<th scope="col">([^<]*)</th>', rows[0])
    assert heads[:3] == ["class", "id", "IoU"] and "boundary IoU" in heads and "images" in heads
    assert len(rows) == 22
    for label, (row, name) in enumerate(zip(rows[1:], voc.CLASSES, strict=True)):
        cells = re.findall(r'<data value="([^"]*)">([^<]*)</data>', row)
        assert f"<bdi>{name}</bdi>" in row and cells[0][0] == str(label)
        for head, (value, shown) in zip(heads[2:], cells[1:], strict=True):
            there = expected["per class"][name][head]
            assert (json.loads(value) if value else None) == there, (name, head)
            if there is None:
                assert shown == "–"
            else:
                assert shown == (f"{there:,}" if "." not in value else f"{there:.4f}")


def test_images_have_the_scores_of_their_table(report):
    page = report / "new" / "index.html"
    with open(report / "images.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows.sort(key=lambda row: float(row["mean IoU"]))
    cards = list(values(page, "numbers"))
    assert len(cards) == len(rows) == 5
    for card, row in zip(cards, rows):
        assert {name: value for name, (value, _) in card.items()} == {
            name: float(value)
            for name, value in row.items()
            if name not in ("image", "width", "height")
        }
    shown = re.findall(r"<li [^>]*><h3><bdi>([^<]*)</bdi></h3>", page.read_text(encoding="utf-8"))
    assert shown == [row["image"] for row in rows]


def test_ious_of_an_images_classes():
    """Of class 0: 3 of 3 + 4 - 3 pixels; class 2 is predicted nowhere."""
    result, _, images, thumbnails = made(["a"])
    text = html_sections.card(images.rows[0], [[0, 3, 4, 3], [2, 0, 1, 0]], thumbnails.panels[0])
    assert 'data-classes="0:0.75 2:0"' in text


def test_pictures_show_the_predictions():
    """Prediction, truth and wrong pixels of each image; of the worst the image, too, and larger."""
    classes, palette = ("background", "thing"), voc.palette()
    thumbnails = Thumbnails(classes, palette, worst=1)
    image = np.full((720, 960, 3), 90, np.uint8)
    for name, wrong in (("good", 10), ("bad", 400), ("fair", 200)):
        label = np.zeros((720, 960), np.uint8)
        label[:, 480:] = 1
        ids = label.copy()
        ids[:wrong, 480:] = 0
        counts = confusion.ConfusionMatrix(2)
        counts.update(label, ids)
        thumbnails.add(Prediction(name, image, label, ids), counts)
    ((iou, name, panels),) = thumbnails.worst()
    assert name == "bad" and [one.heading for one in panels][:3] == ["image", "truth", "prediction"]
    right, wrong = 320 * 480, 400 * 480
    expected = (480 * 720 / (480 * 720 + wrong) + right / (480 * 720)) / 2
    assert iou == pytest.approx(expected, abs=1e-12)
    assert {(one.width, one.height) for one in panels} == {(480, 360)}
    small = thumbnails.panels[1]
    assert [one.heading for one in small] == ["prediction", "truth", "wrong pixels (red)"]
    assert {(one.width, one.height) for one in small} == {(128, 96)}
    prediction, truth, errors = (
        cv2.imdecode(np.frombuffer(one.content, np.uint8), 1)[:, :, ::-1].astype(int)
        for one in small
    )
    thing = 0.4 * 90 + 0.6 * palette[1].astype(int)
    assert np.abs(truth[20, 120] - thing).max() < 12 and np.abs(truth[20, 20] - 90).max() < 12
    assert np.abs(prediction[20, 120] - 90).max() < 12
    assert np.abs(prediction[90, 120] - thing).max() < 12
    assert errors[20, 120, 0] > 200 and errors[20, 120, 1:].max() < 40
    assert np.abs(errors[[20, 90], [20, 120]] - 45).max() < 12


def test_a_page_needs_nothing_else(report):
    path = report / "new" / "index.html"
    page = Page(path)
    assert [one.name for one in path.parent.iterdir()] == ["index.html"]
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "poster", "srcset"):
            assert re.match(r"data:image/(webp|png);base64,|#\w+$", attributes.get(name, "#x"))
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {one["href"][1:] for one in page.all("a")} <= ids
    assert {one["for"] for one in page.all("label")} <= ids
    assert all(one["alt"] and int(one["width"]) and int(one["height"]) for one in page.all("img"))
    assert "link" not in {tag for tag, _ in page.tags}
    (style,), (script,) = page.texts_in("style"), page.texts_in("script")
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"fetch|XMLHttp|import\b|https?:", script)
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_are_text(odd):
    path, names = odd
    page = Page(path)
    shown = page.texts_in("bdi")
    for name in (*CLASSES, *names, "<b>.ckpt", "天空&.mindrecord"):
        assert name.encode("utf-8", "backslashreplace").decode() in shown
    assert page.texts_in("option").count(CLASSES[3]) == 1
    assert len(page.all("script")) == 1 and not page.all("b")
    assert all(one["src"].startswith("data:") for one in page.all("img"))
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]


def test_corruptions_are_a_table():
    assert html_sections.robustness({}) == ""
    rows = [{"strength": 1, "mean IoU": 0.5}, {"strength": 3, "mean IoU": 0.25}]
    text = html_sections.robustness({"mean IoU": 0.75, "corruptions": {"noise": rows}})
    cells = re.findall(r"<(?:th|td)[^>]*>([^<]*)</", text)
    assert cells[:5] == ["mean IoU by strength", "none", "1", "3", "mean"]
    assert cells[5:] == ["noise", "0.7500", "0.5000", "0.2500", "0.3750"]


def test_confused_classes_are_a_table(report):
    """As the JSON has them."""
    pairs = read_strict(report / "scores.json")["most confused"]
    rows = re.findall(r'<tr><th scope="row">.*', section(report / "new" / "index.html", "confused"))
    assert len(rows) == len(pairs) > 3
    for row, pair in zip(rows, pairs):
        assert re.findall("<bdi>(.*?)</bdi>", row) == [pair["class"], pair["predicted as"]]
        found = [json.loads(value) for value in re.findall('<data value="(.*?)"', row)]
        assert found == [pair["pixels"], pair["share"]]
    assert html_sections.confused({}, voc.palette()) == ""


def test_random_crops_have_no_images(tmp_path):
    """As of --protocol tutorial."""
    result, palette, images, thumbnails = made(["a"])
    result["per image"] = []
    nothing = evaluation.PerImage(), Thumbnails(CLASSES, palette)
    html_report.write(tmp_path / "a.html", result, palette, *nothing)
    page = Page(tmp_path / "a.html")
    assert page.texts_in("h2") == ["Scores", "Protocol", "Classes", "Pictures"]
    assert [one["href"] for one in page.all("a")][1:] == [
        "#scores", "#protocol", "#classes", "#pictures"
    ]  # fmt: skip


# --- size and pages ------------------------------------------------------------------------------


@pytest.fixture
def no_pictures(monkeypatch):
    """Leaves out the pictures of the scores, which take time."""
    monkeypatch.setattr(html_report.pictures, "draw_scores", lambda folder, result: [])


@pytest.mark.parametrize("noise", [False, True])
def test_two_thousand_images(tmp_path, no_pictures, noise):
    """On one page, or if they cannot be made small enough, on several of less than 20 MB."""
    drawn = made([*"abcde"], size=(108, 144), noise=noise, copies=400)
    pages = html_report.write(tmp_path / "index.html", *drawn)
    assert (len(pages) > 1) == noise and pages[0] == tmp_path / "index.html"
    assert sorted(tmp_path.iterdir()) == sorted(pages)
    shown = []
    for page in pages:
        assert 100_000 < page.stat().st_size < 20_000_000
        text = page.read_text(encoding="utf-8")
        shown += re.findall(r"<li [^>]*><h3><bdi>([^<]*)</bdi></h3>", text)
    assert len(shown) == 2000 and set(shown) == {row["image"] for row in drawn[2].rows}


def test_pages_lead_to_one_another_and_go_with_their_report(tmp_path, no_pictures, monkeypatch):
    path = tmp_path / "a#b.html"
    other = tmp_path / "a#b-images-of-mine.html"
    other.write_text("mine")
    largest = html_report.LARGEST_PAGE
    monkeypatch.setattr(html_report, "LARGEST_PAGE", 1)
    html_report.write(path, *made(["a", "b", "c"]))
    further = [tmp_path / f"a#b-images-{number}.html" for number in (2, 3)]
    assert sorted(tmp_path.iterdir()) == sorted([path, other, *further])
    ious = []
    for number, page in enumerate([path, *further]):
        links = [one["href"] for one in Page(page).all("a") if one["href"].startswith("./")]
        expected = ["./a%23b.html#images"]
        expected += [f"./a%23b-images-{one}.html#images" for one in (2, 3)]
        del expected[number]
        assert links == expected * 2  # above and below the images
        ious += [card["mean IoU"][0] for card in values(page, "numbers")]
    assert len(ious) == 3 and ious == sorted(ious)
    assert "Image 2 of 3" in further[0].read_text(encoding="utf-8")
    html_report.check(path)
    monkeypatch.setattr(html_report, "LARGEST_PAGE", largest)
    html_report.write(path, *made(["a"]))
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


# --- files ---------------------------------------------------------------------------------------


def refused(capfd, *given):
    """What the program says before it has looked for a checkpoint."""
    return error_line_of(eval.main, ["--checkpoint", "none.ckpt", "--data", "none", *given], capfd)


def test_other_files_stay(tmp_path, capfd):
    path = tmp_path / "index.html"
    path.write_text("<html>mine</html>")
    said = refused(capfd, "--report", path)
    assert f"--report {path} would replace {path}, which is not of such a report" in said
    assert path.read_text() == "<html>mine</html>"
    path.unlink()
    further = tmp_path / "index-images-2.html"
    further.mkdir()
    assert f"would replace {further}" in refused(capfd, "--report", path)
    further.rmdir()
    assert "index.html" in refused(capfd, "--report", tmp_path) and not [*tmp_path.iterdir()]
    assert "leave out --report" in refused(capfd, "--report", path, "--compare", "a", "b")
    path.mkdir()
    assert f"--report {path} is a folder; name a file" in refused(capfd, "--report", path)


def test_folders_that_cannot_be_written(tmp_path, capfd):
    tmp_path.chmod(0o555)
    with ordinary_user():
        said = refused(capfd, "--report", tmp_path / "new" / "index.html")
    assert "not writable" in said or "Permission denied" in said
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_page_is_whole_or_as_before(tmp_path, no_pictures, monkeypatch, error):
    path = tmp_path / "index.html"
    html_report.write(path, *made(["a"]))
    before, calls, card = path.read_bytes(), [], html_sections.card

    def fails(*given):
        calls.append(given)
        if len(calls) == 3:  # the first page has begun
            assert len([*tmp_path.iterdir()]) == 2
            raise error
        return card(*given)

    monkeypatch.setattr(html_sections, "card", fails)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
        html_report.write(path, *made(["a", "b"]))
    assert [*tmp_path.iterdir()] == [path] and path.read_bytes() == before


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture
def opened(browser, odd):
    """Opens the page of odd names; fails on what it asks of the network, and on errors."""
    pages, faults = [], []

    def open_page(width=1280, scheme="light", path=odd[0]):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        asked = []
        page.goto(path.as_uri())
        assert [one for one in asked if not one.startswith("data:")] == [path.as_uri()]
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert faults == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen(opened, width, scheme):
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    background, text = page.evaluate(
        "['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name])"
    )
    light = [sum(map(int, re.findall(r"\d+", one)[:3])) for one in (background, text)]
    assert (light[0] > 700 and light[1] < 120) == (scheme == "light")
    assert (light[0] < 120 and light[1] > 600) == (scheme == "dark")
    pictures = "[...document.images].every((one) => one.complete && one.naturalWidth)"
    page.wait_for_function(pictures)


def test_classes_are_sorted_with_the_keyboard(opened, odd):
    page = opened()
    found = "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[2].innerText)"
    page.get_by_role("button", name="IoU", exact=True).focus()
    page.keyboard.press("Enter")
    *falling, missing = page.evaluate(found)
    assert falling == sorted(falling, reverse=True) and len(set(falling)) > 1
    assert missing == "–"  # last, whatever the order
    assert page.get_attribute("thead th:nth-child(3)", "aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert page.evaluate(found) == [*falling[::-1], missing]
    assert page.inner_text("#classes tbody").count(CLASSES[0]) == 1


def test_images_are_sorted_and_chosen(opened, odd):
    page, names = opened(390), odd[1]
    shown = "[...document.querySelectorAll('.cards li')].filter((one) => one.offsetParent)"
    titles = f"{shown}.map((one) => one.querySelector('h3').textContent)"
    ious = f"{shown}.map((one) => Number(one.querySelector('data').value))"
    rising = page.evaluate(ious)
    assert rising == sorted(rising) and len(rising) == len(names)
    page.click("#order")
    assert page.evaluate(ious) == rising[::-1]
    page.select_option("#by", label="name")
    assert page.evaluate(titles)[0] == "天空" and page.inner_text("#order") == "Z to A ▼"
    page.fill("#search", "SCRIPT")
    assert page.evaluate(titles) == [names[0]]
    assert page.inner_text("#said") == f"1 of {len(names)} images shown"
    page.fill("#search", "")
    page.select_option("#of", "4")
    assert page.evaluate(titles) == []
    page.select_option("#of", "3")
    card = page.locator(".cards li:visible").first
    assert card.locator(".chosen").text_content().startswith(f"IoU of {CLASSES[3]}: 0.")


def test_paper_has_the_first_images(browser, tmp_path, no_pictures):
    html_report.write(tmp_path / "index.html", *made([*"abcde"], copies=6))
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    assert page.locator(".cards li:visible").count() == 30
    page.emulate_media(media="print")
    assert page.locator(".cards li:visible").count() == 24
    assert page.is_visible("text=Of 30 images the first 24 are printed.")
    assert not page.is_visible("#by") and not page.is_visible("nav")
    page.close()


def test_without_scripts_everything_is_there(browser, odd):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(odd[0].as_uri())
    assert page.locator(".cards li").count() == len(odd[1]) and not page.is_visible("#by")
    context.close()
