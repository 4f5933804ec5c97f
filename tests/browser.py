"""A headless Chromium for the tests of pages; where there is none, they are skipped.

`apt-get install chromium`, `playwright install chromium` and Google Chrome all serve, or any other
one whose path the variable CHROMIUM holds.
"""

import contextlib
import os
import shutil

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextlib.contextmanager
def chromium():
    """Yields the browser, driven by Playwright (a `playwright.sync_api.Browser`).

    Without Playwright or a browser the test is skipped. While it is open, nothing else in the
    process may run an event loop; so it is for one module of tests, not for all.
    """
    api = pytest.importorskip(
        "playwright.sync_api", reason='Playwright is not installed (pip install -e ".[test]")'
    )
    with api.sync_playwright() as playwright:
        path = _path(playwright.chromium.executable_path)
        if path is None:
            pytest.skip("Chromium is not installed (apt-get install chromium)")
        # As root it starts without its sandbox only; the pages are the tests' own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def _path(of_playwright):
    """Path of a Chromium: the one in CHROMIUM, Playwright's own, or one on PATH; None if none."""
    if "CHROMIUM" in os.environ:
        return os.environ["CHROMIUM"]
    found = [of_playwright] if os.path.exists(of_playwright) else map(shutil.which, _NAMES)
    return next((path for path in found if path), None)
