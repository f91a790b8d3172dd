"""``make screenshots``: take the pictures of docs/walk_through.md again, from the running platform.

Simulates a data set like the demo's in ``data/walk_through`` (kept for the next time), lets the platform make
all its products, and goes through the pages with Chromium. PYTHONPATH: tests, tests/assets and tests/ui.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from browser import open_browser
from live_data import start_no_runs
from live_platform import LivePlatform, wait_for
from PIL import Image
from playwright.sync_api import Error, Page, sync_playwright
from ui_pages import (
    choose_in_dialog,
    open_graph,
    open_group,
    open_launchpad,
    open_lineage,
    open_partition,
    show_picture,
)

from tomotwin_assets.demo import CONFIGURATION, DATASET, MODEL, SETTINGS
from tomotwin_lib.simulation.dataset import simulate_dataset

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).resolve().parent / "walk_through"
DATA = ROOT / "data" / "walk_through"
SIZE = (1400, 900)
LARGE = (1700, 1400)
"""Of the window, for pages whose tables lie below and are wide."""
MOST_BYTES = 200_000
SHOWN_FOLDER = "/cryo/facility"
"""What the pictures show in place of the path of the data folder on this machine."""
TOMOGRAM = "simulated_02"
PAIR = f"{MODEL}|{TOMOGRAM}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data, start the platform, take the pictures."""
    options = _parser().parse_args(arguments)
    prepare(options.data)
    platform = LivePlatform(options.data, options.data / ".dagster_home")
    try:
        platform.start()
        make_everything(platform, options.minutes * 60)
        FOLDER.mkdir(exist_ok=True)
        with sync_playwright() as playwright, open_browser(playwright, SIZE) as page:
            wanted = options.only or [*SHOTS, *OUT_OF_DATE]
            for name in (name for name in SHOTS if name in wanted):
                take(page, platform, name, SHOTS[name])
            if not OUT_OF_DATE.keys() & set(wanted):
                return 0
            with out_of_date(platform):
                for name in (name for name in OUT_OF_DATE if name in wanted):
                    take(page, platform, name, OUT_OF_DATE[name])
    finally:
        platform.stop()
    return 0


def prepare(folder: Path) -> None:
    """Three simulated tomograms with ground truth, the demo's network, and a second one to import."""
    dataset = simulate_dataset(
        folder, **DATASET, tomograms=3, model_name=MODEL, model_configuration=CONFIGURATION
    )
    if not (folder / "tomotwin.toml").exists():
        (dataset.folder / "tomotwin.toml").write_text(SETTINGS, encoding="utf-8")


def make_everything(platform: LivePlatform, seconds: float) -> None:
    """Let the sensors ask for all that is missing, add a second network, promote the first one."""
    products = platform.data / "products"
    wait_for("the first network and its picks", lambda: _scored(platform, MODEL), seconds, pause=5)
    second = platform.data / "models" / "second.pth"
    if not second.exists():
        shutil.copyfile(products / "trained_model" / MODEL / "best_f1.pth", second)
    wait_for("the second network's picks", lambda: _scored(platform, "second"), seconds, pause=5)
    if not (products / "production_model.json").exists():
        settings = {"production_model": {"model": MODEL, "why": "best of its kind", "by": "picking team"}}
        assert platform.finished(platform.launch("promote_model", settings=settings), seconds) == "SUCCESS"
    wait_for("the production picks", lambda: (products / "production_picks" / TOMOGRAM).is_dir(), seconds, 5)
    wait_for("quiet", lambda: _quiet(platform), seconds, pause=5)


@contextmanager
def out_of_date(platform: LivePlatform) -> Iterator[None]:
    """One of the references changes, and no sensor makes anew what is made from it while the block runs."""

    def reported() -> str | None:
        event = platform.materialization("references")
        return None if event is None else str(event["timestamp"])

    settings = platform.data / "tomotwin.toml"
    text = settings.read_text(encoding="utf-8")
    reference = min((platform.data / "references").glob("*.mrc"))
    status = reference.stat()
    start_no_runs(platform.data)
    try:
        time.sleep(30)  # the sensor reads the settings again
        before = reported()
        os.utime(reference, (time.time() - 3600,) * 2)
        wait_for("the change to be reported", lambda: reported() != before, 150)
        yield
    finally:
        os.utime(reference, ns=(status.st_atime_ns, status.st_mtime_ns))
        settings.write_text(text, encoding="utf-8")


def take(page: Page, platform: LivePlatform, name: str, steps: Callable[[Page, str], None]) -> None:
    """One picture: go there, wait until the page is still, hide this machine's paths, save it small."""
    width, height = SIZES.get(name, SIZE)
    page.set_viewport_size({"width": width, "height": height})
    steps(page, platform.url)
    with suppress(Error):
        page.wait_for_load_state("networkidle", timeout=15_000)
    time.sleep(1.5)  # the graph glides to its place
    page.evaluate(_REPLACE, [str(platform.data), SHOWN_FOLDER])
    path = FOLDER / f"{name}.png"
    path.write_bytes(small_png(page.screenshot()))
    print(f"{path.relative_to(ROOT)} {path.stat().st_size / 1e3:.0f} kB", flush=True)


def small_png(content: bytes, most: int = MOST_BYTES) -> bytes:
    """A PNG with at most 256 colours, made narrower until it has at most ``most`` bytes."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    while True:
        stream = io.BytesIO()
        picture.quantize(256, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
        if stream.tell() <= most:
            return stream.getvalue()
        smaller = (picture.width * 9 // 10, picture.height * 9 // 10)
        picture = picture.resize(smaller, Image.Resampling.LANCZOS)


def _scored(platform: LivePlatform, model: str) -> bool:
    return len(list((platform.data / "products" / "evaluation_report" / model).glob("[!.]*.json"))) == 3


def _quiet(platform: LivePlatform) -> bool:
    """Whether nothing is made or asked for, for longer than the sensors take between two looks."""
    for _ in range(4):
        if platform.runs("QUEUED", "STARTING", "STARTED"):
            return False
        time.sleep(12)
    return True


def _group(group: str, asset: str) -> Callable[[Page, str], None]:
    return lambda page, url: open_group(page, url, group, asset)


def _partition(asset: str, partition: str | None) -> Callable[[Page, str], None]:
    return lambda page, url: open_partition(page, url, asset, partition)


def _picture(asset: str, partition: str | None, label: str) -> Callable[[Page, str], None]:
    def steps(page: Page, url: str) -> None:
        open_partition(page, url, asset, partition)
        show_picture(page, label)

    return steps


def _asset(asset: str, query: str = "") -> Callable[[Page, str], None]:
    def steps(page: Page, url: str) -> None:
        page.goto(f"{url}/assets/{asset}{query}")
        page.get_by_text(asset, exact=True).first.wait_for()

    return steps


def _asset_picture(asset: str, label: str) -> Callable[[Page, str], None]:
    def steps(page: Page, url: str) -> None:
        page.goto(f"{url}/assets/{asset}")
        show_picture(page, label)

    return steps


def _graph(page: Page, url: str) -> None:
    open_graph(page, url)
    page.keyboard.press("Alt+e")  # all groups opened
    page.get_by_text("leaderboard", exact=True).last.wait_for()


def _dialog(page: Page, url: str) -> None:
    choose_in_dialog(page, url, "pick_tomogram", MODEL, TOMOGRAM)


def _launchpad(page: Page, url: str) -> None:
    open_launchpad(page, url, "pick_tomogram")
    page.get_by_text("lowest_similarity").first.click()


def _plots(page: Page, url: str) -> None:
    page.goto(f"{url}/assets/leaderboard")
    page.get_by_role("button", name="Plots").click()


def _why_out_of_date(page: Page, url: str) -> None:
    open_group(page, url, "embedding", "reference_volumes")
    page.get_by_text("Unsynced").first.hover()


def _page(path: str, text: str) -> Callable[[Page, str], None]:
    def steps(page: Page, url: str) -> None:
        page.goto(url + path)
        page.get_by_text(text).first.wait_for()

    return steps


SHOTS: dict[str, Callable[[Page, str], None]] = {
    "graph": _graph,
    "picking": _group("picking", "located_picks"),
    "tomograms": _partition("tomogram", TOMOGRAM),
    "tomogram_checks": _asset("tomogram", "?view=checks"),
    "automation": _page("/automation", "new_data"),
    "materialise": _dialog,
    "launchpad": _launchpad,
    "runs": _page("/runs", "Success"),
    "picks": _partition("located_picks", PAIR),
    "picks_on_slices": _picture("located_picks", PAIR, "picks_on_slices"),
    "scores": _partition("evaluation_report", PAIR),
    "lineage": lambda page, url: open_lineage(page, url, "evaluation_report"),
    "training": _partition("trained_model", MODEL),
    "training_curve": _picture("trained_model", MODEL, "training_curve"),
    "leaderboard": _asset("leaderboard"),
    "leaderboard_chart": _asset_picture("leaderboard", "chart"),
    "production_model": _asset("production_model"),
    "production_picks": _partition("production_picks", TOMOGRAM),
    "plots": _plots,
}
OUT_OF_DATE: dict[str, Callable[[Page, str], None]] = {"out_of_date": _why_out_of_date}
"""Those that are taken after a change."""
SIZES = {
    **dict.fromkeys(("scores", "picks", "production_picks", "training", "training_curve", "plots"), LARGE),
    "leaderboard_chart": LARGE,
    "leaderboard": (2100, 1400),
    "production_model": (1700, 1650),
    "picks_on_slices": (1400, 1150),
    "lineage": (1400, 1150),
}
"""Of the window, where it is another than :data:`SIZE`."""

_REPLACE = """
([old, shown]) => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.nodeValue.includes(old)) node.nodeValue = node.nodeValue.replaceAll(old, shown);
  }
}
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python docs/screenshots.py", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="data folder (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=[*SHOTS, *OUT_OF_DATE], help="only these pictures")
    parser.add_argument("--minutes", type=float, default=60, help="most time for each step (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
