"""What the commands of ``tomotwin-platform`` do."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from rich.markup import escape
from rich.table import Table

from tomotwin_assets import registration
from tomotwin_assets.configs import PromotionConfig, recorded, resolve
from tomotwin_assets.currency import Currency
from tomotwin_assets.definitions import defs
from tomotwin_assets.instance import HOME_VARIABLE, home, open_instance
from tomotwin_assets.production import PRODUCTION_MODEL, read_promotion
from tomotwin_assets.progress import console
from tomotwin_assets.promoting import decide
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.runner import Runner, overview
from tomotwin_assets.settings import DATA_VARIABLE, project_folder, read_settings
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder


@contextmanager
def _opened() -> Iterator[tuple[Currency, registration.Scan]]:
    """The data folder with its instance, everything in it registered."""
    settings = read_settings()
    data = settings.data_folder()
    folder = DataFolder(root=str(data))
    with open_instance(data) as instance:
        yield Currency(defs, instance, folder, settings), registration.register(folder, instance)


def register() -> int:
    """Register what is new in the data folder and say what there is."""
    with _opened() as (currency, found):
        _say_found(currency.folder.path, found)
        return 0


def run(models: Sequence[str] | None, tomograms: Sequence[str] | None, *, force: bool = False) -> int:
    """Make what is not up to date; all models and tomograms where none is named."""
    started = time.perf_counter()
    with _opened() as (currency, found):
        chosen_models = _chosen("--model", models, found.models)
        chosen_tomograms = _chosen("--tomogram", tomograms, found.tomograms)
        ensure_writable_folder(currency.folder.path / "products")
        _say_found(currency.folder.path, found)
        # Steps find the data folder as the UI's do: by the environment.
        os.environ[DATA_VARIABLE] = str(currency.folder.path)
        runner = Runner(currency, force)
        success = runner.run(chosen_models, chosen_tomograms)
        seconds = time.perf_counter() - started
        console.print(
            f"{runner.made} products made in {seconds:.0f} s, in {currency.folder.path / 'products'}"
        )
        if not success:
            console.print(f"[red]{len(runner.failed)} products could not be made.[/]")
        return 0 if success else 1


def status() -> int:
    """Show what is up to date, and the leaderboard."""
    with _opened() as (currency, found):
        _say_found(currency.folder.path, found)
        table = Table("product", "up to date", "of")
        for asset, (current, possible) in overview(currency, found.models, found.tomograms).items():
            table.add_row(asset, str(current), str(possible))
        console.print(table)
        show_leaderboard(currency.folder)
        return 0


def promote(model: str, why: str, by: str, *, roll_back: bool) -> int:
    """Put a model into production, or go back to the one before."""
    if bool(model) == roll_back:
        raise InputError(
            "promote",
            f"{model!r} is named together with --roll-back" if roll_back else "no model is named",
            "Name a model, or give --roll-back",
        )
    with _opened() as (currency, _):
        config = PromotionConfig(
            **recorded(resolve(PRODUCTION_MODEL, currency.settings)),
            model=model,
            why=why,
            by=by,
            roll_back=roll_back,
        )
        decide(currency.folder, config)  # what cannot be done is said before a run begins
        os.environ[DATA_VARIABLE] = str(currency.folder.path)
        if not Runner(currency).promote(config):
            return 1
        _say_production(currency.folder)
        console.print("[dim]Its picks: tomotwin-platform run[/]")
        return 0


def ui(host: str, port: int) -> NoReturn:
    """Replace this process by Dagster's web server and daemon.

    Raises
    ------
    InputError
        If there is no data folder, or something else listens on the port.
    """
    data = read_settings().data_folder()
    _require_free(host, port)
    os.environ[HOME_VARIABLE] = str(home(data))
    os.environ[DATA_VARIABLE] = str(data)
    workspace = project_folder() / "workspace.yaml"
    target = ["-w", str(workspace)] if workspace.is_file() else ["-m", "tomotwin_assets.definitions"]
    console.print(
        f"{escape(str(data))} on http://{host}:{port}; Ctrl+C ends it. "
        f"History: {escape(os.environ[HOME_VARIABLE])}",
        soft_wrap=True,
    )
    arguments = [sys.executable, "-m", "dagster", "dev", *target, "-h", host, "-p", str(port)]
    os.execv(sys.executable, arguments)


def _require_free(host: str, port: int) -> None:
    """Dagster's own complaint comes late and leaves its daemon running."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"--port {port}",
                f"the web server cannot listen on {host} there ({getattr(error, 'strerror', None) or error})",
                "Choose another one, or stop what uses it",
            ) from error


def show_leaderboard(folder: DataFolder) -> None:
    """Print how the models compare, and which one is in production; nothing where there is nothing yet."""
    path = folder.fetch(folder.product("leaderboard"))
    if path.is_file():
        board = pd.read_csv(path)
        shown = pd.DataFrame(
            {
                "model": board["model"],
                "production": ["yes" if own else "" for own in board["production"]],
                "tomograms": board["tomograms"],
                **{
                    title: [_with_interval(row, kind) for row in board.to_dict("records")]
                    for title, kind in (("honest F1", "honest"), ("best-case F1", "best_case"))
                },
                "positions/s": [
                    f"{speed:,.0f}" if speed == speed else "" for speed in board["positions_per_second"]
                ],
                "date": [str(date)[:10] if date == date else "" for date in board["date"]],
            }
        )
        show_table("Leaderboard", shown)
    _say_production(folder)


def _with_interval(row: dict[Hashable, Any], kind: str) -> str:
    mean, low, high = row[f"mean_{kind}_f1"], row[f"{kind}_f1_low"], row[f"{kind}_f1_high"]
    if mean != mean:
        return "needs two tomograms"
    return f"{mean:.3f}" + (f" ({low:.3f} – {high:.3f})" if low == low else "")


def _say_production(folder: DataFolder) -> None:
    promotion = read_promotion(folder)
    if promotion is None:
        if folder.is_kept(folder.product(PRODUCTION_MODEL)):
            console.print("No model is in production: tomotwin-platform promote NAME --why …")
        return
    replaced = f", in place of {promotion.replaced}" if promotion.replaced else ""
    console.print(
        f"In production: [bold]{escape(promotion.model)}[/], since {promotion.when} by {escape(promotion.by)}"
        f"{escape(replaced)}: {escape(promotion.why)}",
        soft_wrap=True,
    )


def show_table(title: str, frame: pd.DataFrame) -> None:
    """Print a frame, numbers with three decimals."""
    console.print(f"\n[bold]{escape(title)}[/]")
    table = Table(*frame.columns)
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row))
    console.print(table)


def _say_found(folder: Path, found: registration.Scan) -> None:
    console.print(
        f"[bold]{escape(str(folder))}[/]: "
        f"{_list('model', found.models)}; {_list('tomogram', found.tomograms)}"
    )
    for problem in found.problems:
        console.print(f"[yellow]{escape(str(problem))}[/]", soft_wrap=True)
    for gone in found.gone:
        console.print(f"[yellow]The file of {escape(gone)} is no longer there; its products are kept.[/]")


def _list(noun: str, names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'} ({escape(', '.join(names[:most]))}{more})"


def _chosen(option: str, wanted: Sequence[str] | None, there: list[str]) -> list[str]:
    noun = option.removeprefix("--")
    if not there:
        raise InputError(
            f"{noun}s/", f"there is no {noun}", f"Put at least one into {noun}s/ of the data folder"
        )
    if unknown := [name for name in wanted or () if name not in there]:
        raise InputError(option, f"there is no {noun} {unknown[0]!r}", f"There are {', '.join(there)}")
    return list(wanted) if wanted else there
