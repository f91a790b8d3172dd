"""Dagster's pages as the browser test and the screenshots go through them."""

from __future__ import annotations

import re
from urllib.parse import quote

from live_platform import LOCATION
from playwright.sync_api import Page


def open_graph(page: Page, url: str) -> None:
    """The graph of all assets, in its groups."""
    page.goto(f"{url}/asset-groups")
    page.get_by_text("evaluation", exact=True).last.wait_for()


def open_group(page: Page, url: str, group: str, asset: str) -> None:
    """The graph of one group, once ``asset`` is drawn in it."""
    page.goto(f"{url}/locations/{LOCATION}/asset-groups/{group}/lineage")
    page.get_by_text(asset, exact=True).last.wait_for()


def open_partition(page: Page, url: str, asset: str, partition: str | None = None) -> None:
    """The partitions of an asset; those of ``partition`` with what is known about it."""
    chosen = "" if partition is None else f"&partition={quote(partition)}"
    page.goto(f"{url}/assets/{asset}?view=partitions{chosen}")
    page.get_by_text(re.compile("Partitions? Selected")).wait_for()


def open_lineage(page: Page, url: str, asset: str, scope: str = "upstream") -> None:
    """What an asset is made from, all the way back."""
    page.goto(f"{url}/assets/{asset}?view=lineage&lineageScope={scope}&lineageDepth=10")
    page.get_by_text(asset, exact=True).last.wait_for()


def choose_in_dialog(page: Page, url: str, job: str, *keys: str) -> None:
    """Open the dialog of "Materialize all" of a job and choose one partition in each of its dimensions."""
    page.goto(f"{url}/locations/{LOCATION}/jobs/{job}")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    for key in keys:  # the next dimension that nothing is chosen in yet
        page.get_by_text("Select a partition or create one").first.click()
        page.get_by_placeholder("Filter partitions").fill(key)
        page.locator("[class*=enu]").get_by_text(key, exact=True).first.click()
        page.keyboard.press("Escape")


def open_launchpad(page: Page, url: str, job: str) -> None:
    """Open the launchpad of a job, once its settings are there."""
    page.goto(f"{url}/locations/{LOCATION}/jobs/{job}")
    page.get_by_role("button", name=re.compile("Materialize")).first.wait_for()
    page.locator("button:has([aria-label=arrow_drop_down])").first.click()
    page.get_by_text("Open launchpad").first.click()
    page.get_by_text("ops:").first.wait_for()


def launch(page: Page) -> None:
    """Launch what the open dialog holds."""
    page.get_by_role("button", name="Launch 1 run").click()
    page.get_by_text("Launch runs to materialize").wait_for(state="detached")


def show_picture(page: Page, label: str) -> str:
    """Open the picture of one row of the metadata; its source."""
    row = page.get_by_role("row").filter(has=page.get_by_text(label, exact=True))
    row.get_by_text("[Show Markdown]").click()
    picture = page.locator("img[alt=picture]").last
    picture.wait_for()
    return str(picture.get_attribute("src"))
