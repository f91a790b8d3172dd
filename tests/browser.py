"""A browser for tests and screenshots: the system's Chromium, or Playwright's own where there is none.

Run as a program, it says whether one starts.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

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
    if found := _of_the_system():
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def _of_the_system() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def _launch(playwright: Playwright) -> Browser:
    # Without a path Playwright takes its own.
    return playwright.chromium.launch(executable_path=_of_the_system(), args=list(_ARGUMENTS))


@contextmanager
def open_browser(playwright: Playwright, size: tuple[int, int] = SIZE) -> Iterator[Page]:
    """A page of a headless browser that is closed when the block ends."""
    browser = _launch(playwright)
    try:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.set_default_timeout(SECONDS * 1000)
        yield page
    finally:
        browser.close()


def main() -> int:
    """Start it and leave again; the exit code says whether it could be done."""
    try:
        with sync_playwright() as playwright:
            _launch(playwright).close()
    except Error as error:
        print(f"No browser starts: {error.message.strip().splitlines()[0]}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
