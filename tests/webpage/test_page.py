"""The page as people see it, in a headless Chromium."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from fcn8s_ms.inference.certainty import heat_colours
from fcn8s_ms.webpage import Answerer, bind, serving

from .pictures import (
    BLUE,
    CERTAINTY,
    CLASSES,
    GREEN,
    PALETTE,
    RED,
    halves,
    segmenter,
    write_bad_files,
)

WAIT = 20_000  # milliseconds, on a busy machine
CHOOSER = ".demo-picture input[type=file]"


@pytest.fixture(scope="module")
def url():
    """Address of a page that is served."""
    pytest.importorskip("gradio", reason='Gradio is not installed (pip install -e ".[demo]")')
    answerer = Answerer(segmenter(), max_pixels=50_000_000)
    with serving(answerer, bind("127.0.0.1", 0), title="network.ckpt") as served:
        yield served.url


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A picture whose left half is of class 2, and whose right half is of class 1."""
    return halves(tmp_path_factory.mktemp("pictures") / "field.png", RED, GREEN)


def opened(browser, url, width=1280, height=800, scheme="light"):
    """The page in a browser of its own, and the addresses that it asks for."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.wait_for_selector(CHOOSER, state="attached")
    page.wait_for_selector(".viewer-message")
    return page, requests


@pytest.fixture(scope="module")
def page(browser, url, field):
    """The page with the answer to the field."""
    page, requests = opened(browser, url)
    give(page, field)
    yield page
    assert {re.match(r"\w+://[^/]+|\w+:", one)[0] for one in requests} <= {url, "data:", "blob:"}
    page.context.close()


def clear(page):
    """Takes the picture away that stands in the chooser's place, if one does."""
    if page.locator(CHOOSER).count() == 0:
        page.get_by_label("Clear").click()
        page.wait_for_selector("[data-state=waiting]")
        page.wait_for_selector(CHOOSER, state="attached")


def give(page, path):
    """Gives a picture and waits for what is said."""
    clear(page)
    page.evaluate("document.querySelector('[data-state]').dataset.state = 'asked'")
    page.set_input_files(CHOOSER, path)
    page.wait_for_selector("[data-state=answered], [data-state=error]")


def colours(page):
    """Colours on the screen, RGB: in the middle of the left and of the right half."""
    content = page.locator(".viewer-stage").screenshot()
    with Image.open(io.BytesIO(content)) as shot:
        pixels = np.asarray(shot.convert("RGB")).astype(int)
    height, width, _ = pixels.shape
    assert abs(width / height - 80 / 60) < 0.02
    return [pixels[height // 4, width // 4], pixels[height // 4, 3 * width // 4]]


def assert_colours(page, left, right):
    for _ in range(20):  # Gradio's veil over what is being computed takes a moment to fade
        found = colours(page)
        if np.abs(np.array(found) - np.array([left, right])).max() <= 4:  # JPEG's loss
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{found}, not {left} and {right}")


def mixed(one, other, share):
    return np.array(one) * (1 - share) + np.array(other) * share


def set_opacity(page, percent):
    page.locator(".viewer-opacity input").fill(str(percent))


def test_the_overlay(page):
    assert_colours(page, mixed(RED, PALETTE[2], 0.5), mixed(GREEN, PALETTE[1], 0.5))


def test_the_opacity(page):
    set_opacity(page, 100)
    assert_colours(page, PALETTE[2], PALETTE[1])
    set_opacity(page, 0)
    assert_colours(page, RED, GREEN)
    set_opacity(page, 50)


def test_a_switch_for_each_class(page):
    rows = page.locator(".viewer-classes li")
    # Names are text, whatever they hold.
    assert sorted(rows.all_inner_texts()) == [f"{CLASSES[2]}\n50 %", f"{CLASSES[1]}\n50 %"]
    page.get_by_label(CLASSES[1]).uncheck()
    assert_colours(page, mixed(RED, PALETTE[2], 0.5), GREEN)
    page.get_by_role("button", name="none").click()
    assert_colours(page, RED, GREEN)
    page.get_by_role("button", name="all").click()
    assert_colours(page, mixed(RED, PALETTE[2], 0.5), mixed(GREEN, PALETTE[1], 0.5))


def test_the_class_under_the_pointer(page):
    stage = page.locator(".viewer-stage")
    box = stage.bounding_box()
    stage.hover(position={"x": box["width"] * 60.5 / 80, "y": box["height"] * 30.5 / 60})
    line = page.locator(".viewer-pointer")
    assert line.inner_text() == f"meadow {100 * CERTAINTY:.0f} % at column 60, row 30"
    page.mouse.move(0, 0)
    stage.press("Shift+ArrowLeft")
    stage.press("ArrowUp")
    assert line.inner_text() == f"meadow {100 * CERTAINTY:.0f} % at column 50, row 29"
    for _ in range(2):
        stage.press("Shift+ArrowLeft")
    assert line.inner_text().startswith(CLASSES[2])
    page.mouse.move(box["x"] + 1, box["y"] + 1)


def test_the_certainty(page):
    page.get_by_label("Certainty", exact=True).check()
    set_opacity(page, 100)
    heat = heat_colours()[round(255 * CERTAINTY)]
    assert_colours(page, heat, heat)
    assert page.locator(".viewer-heat").is_visible()
    page.get_by_label("Picture", exact=True).check()
    assert_colours(page, RED, GREEN)
    page.get_by_label("Classes", exact=True).check()
    set_opacity(page, 50)
    assert not page.locator(".viewer-heat").is_visible()


def test_the_facts(page):
    facts = page.locator(".viewer-facts").inner_text()
    assert re.fullmatch(
        r"field\.png · 80×60 pixels · [\d.]+ s, of which the network took [\d.]+ s", facts
    )
    assert page.locator(".demo-title h1").inner_text() == "network.ckpt"


def saved(page, title, folder):
    with page.expect_download() as download:
        page.get_by_role("link", name=title).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_the_downloads(page, tmp_path):
    mask = saved(page, "Mask", tmp_path)
    assert mask.name == "field_mask.png"
    with Image.open(mask) as image:
        ids = np.asarray(image)
    assert (ids[:, :40] == 2).all() and (ids[:, 40:] == 1).all()
    page.get_by_label(CLASSES[1]).uncheck()
    set_opacity(page, 100)
    overlay = saved(page, "Overlay as shown", tmp_path)
    with Image.open(overlay) as image:
        pixels = np.asarray(image)
    assert pixels[30, 5].tolist() == list(PALETTE[2])
    assert pixels[30, 75].tolist() == list(GREEN)
    assert saved(page, "Certainty", tmp_path).name == "field_certainty.png"
    assert saved(page, "Polygons for labelme", tmp_path).name == "field.json"
    set_opacity(page, 50)
    page.get_by_label(CLASSES[1]).check()


def test_bad_files_get_a_sentence(page, field, tmp_path):
    for name, message in write_bad_files(tmp_path).items():
        give(page, tmp_path / name)
        said = page.get_by_role("alert").filter(has_text=name)
        assert message in said.first.inner_text()
        assert not page.locator(".viewer-answer").is_visible()
    (tmp_path / "notes.txt").write_text("milk")
    clear(page)
    page.set_input_files(CHOOSER, tmp_path / "notes.txt")
    page.get_by_text("Invalid file type: notes.txt").first.wait_for()
    give(page, field)
    assert_colours(page, mixed(RED, PALETTE[2], 0.5), mixed(GREEN, PALETTE[1], 0.5))


HAND_OVER = """([kind, content]) => {
    const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
    const options = { bubbles: true, cancelable: true };
    document.querySelector(".viewer").dispatchEvent(kind === "paste"
        ? new ClipboardEvent("paste", { ...options, clipboardData: data })
        : new DragEvent("drop", { ...options, dataTransfer: data }));
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_pictures_are_pasted_and_dropped(page, kind, tmp_path):
    """Anywhere, and in place of the one that is there."""
    content = halves(tmp_path / "a.png", GREEN, RED).read_bytes()
    page.evaluate(HAND_OVER, [kind, base64.b64encode(content).decode()])
    page.locator(".viewer-facts").filter(has_text=f"{kind}.png").wait_for()
    assert_colours(page, mixed(GREEN, PALETTE[1], 0.5), mixed(RED, PALETTE[2], 0.5))


def test_two_users_at_once(browser, url, page, field, tmp_path):
    """Each sees the answer to the own picture."""
    other, _ = opened(browser, url)
    path = halves(tmp_path / "sea.png", BLUE, RED)
    for one in (page, other):
        clear(one)
    page.set_input_files(CHOOSER, field)
    other.set_input_files(CHOOSER, path)
    for one in (page, other):
        one.wait_for_selector("[data-state=answered]")
    # The background has no colour until somebody asks for it.
    assert_colours(other, BLUE, mixed(RED, PALETTE[2], 0.5))
    other.get_by_label(CLASSES[0]).check()
    assert_colours(other, mixed(BLUE, PALETTE[0], 0.5), mixed(RED, PALETTE[2], 0.5))
    assert_colours(page, mixed(RED, PALETTE[2], 0.5), mixed(GREEN, PALETTE[1], 0.5))
    other.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(browser, url, scheme):
    """An example is taken, everything fits the width, and the answer comes into view."""
    page, _ = opened(browser, url, 390, 844, scheme)
    page.locator(".gallery-item").first.click()
    page.wait_for_selector("[data-state=answered]")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.wait_for_function(
        "document.querySelector('.viewer-stage').getBoundingClientRect().top < 500"
    )
    text, ground = (
        page.evaluate(f"getComputedStyle(document.querySelector('{part}')).{name}")
        for part, name in ((".viewer", "color"), ("body", "backgroundColor"))
    )
    text, ground = (sum(map(int, re.findall(r"\d+", one)[:3])) for one in (text, ground))
    assert (text > 600 > 100 > ground) if scheme == "dark" else (text < 200 < 600 < ground)
    page.context.close()
