"""A browser for tests and screenshots: the system's Chromium, as Playwright's own is not needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, Playwright

SIZE = (1500, 950)
SECONDS = 90
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Where Chromium is, ``None`` where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def open_browser(playwright: Playwright, size: tuple[int, int] = SIZE) -> Iterator[Page]:
    """A page of a headless browser that is closed when the block ends."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=list(_ARGUMENTS))
    try:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.set_default_timeout(SECONDS * 1000)
        yield page
    finally:
        browser.close()
