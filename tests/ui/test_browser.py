"""What a user does in the browser, with the real web server, daemon and Chromium."""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_data import live_data
from live_platform import LivePlatform, live_platform, wait_for
from PIL import Image
from tiny_platform import TRUTH, write_tomogram

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make install-ui")

from browser import chromium, open_browser
from playwright.sync_api import Page, sync_playwright
from ui_pages import (
    choose_in_dialog,
    launch,
    open_graph,
    open_group,
    open_lineage,
    open_partition,
    show_picture,
)

pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(chromium() is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    """A live platform with one trained network, on which the sensors start no runs by themselves."""
    root = tmp_path_factory.mktemp("ui")
    with live_platform(live_data(root, by_hand=True), root / "home") as live:
        wait_for("the partitions", lambda: live.partitions("models") == ["net"], 120)
        first = [live.launch("prepare_data"), live.launch("train_model", model="net")]
        assert {live.finished(run) for run in first[:1]} == {"SUCCESS"}
        status = live.finished(first[1])
        if status != "SUCCESS":  # it came before the references
            assert live.finished(live.launch("train_model", model="net")) == "SUCCESS"
        yield live


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a headless browser."""
    with sync_playwright() as playwright, open_browser(playwright) as opened:
        yield opened


def test_from_a_dropped_file_to_its_picks_and_their_model(platform: LivePlatform, page: Page) -> None:
    url = platform.url
    open_graph(page, url)
    for group in ("sources", "training", "embedding", "picking"):
        assert page.get_by_text(group, exact=True).count() > 0
    open_group(page, url, "picking", "located_picks")

    drop_tomogram(platform.data, "dropped")
    wait_for("the dropped tomogram", lambda: "dropped" in platform.partitions("tomograms"), 150)
    open_partition(page, url, "tomogram")
    page.get_by_text("dropped", exact=True).first.wait_for()

    for job, keys in (("check_tomogram", ("dropped",)), ("pick_tomogram", ("net", "dropped"))):
        known = {run["runId"] for run in platform.runs()}
        choose_in_dialog(page, url, job, *keys)
        launch(page)
        run = wait_for("the run", lambda known=known: {r["runId"] for r in platform.runs()} - known, 60)
        assert platform.finished(run.pop()) == "SUCCESS"

    open_partition(page, url, "located_picks", "net|dropped")
    picture = show_picture(page, "picks_on_slices")
    kind, _, content = picture.partition(";base64,")
    assert kind == "data:image/png"
    assert min(Image.open(io.BytesIO(base64.b64decode(content))).size) > 100

    open_partition(page, url, "evaluation_report", "net|dropped")
    row = page.get_by_role("row").filter(has=page.get_by_text("mean_f1", exact=True))
    row.wait_for()
    made = platform.materialization("evaluation_report", "net|dropped")
    assert made is not None
    shown = float(row.get_by_role("cell").nth(1).inner_text().split()[0])
    assert shown == pytest.approx(made["metadata"]["mean_f1"]["floatValue"], abs=1e-6)
    assert 0 <= shown <= 1

    open_lineage(page, url, "evaluation_report")
    page.get_by_text("trained_model", exact=True).last.dblclick()
    page.wait_for_url("**/assets/trained_model**")


def drop_tomogram(data: Path, name: str) -> None:
    """A tomogram with ground truth, copied completely some minutes ago."""
    path = write_tomogram(data, name, seed=7)
    (data / "ground_truth" / f"{name}.txt").write_text(TRUTH, encoding="utf-8")
    os.utime(path, (time.time() - 300,) * 2)
