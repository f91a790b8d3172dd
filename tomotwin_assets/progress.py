"""What the shell shows of a run: one line an asset, instead of Dagster's log."""

from __future__ import annotations

import logging
import sys
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape

# Where the output goes to a file or a pipe, lines and tables must not be broken at 80 columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)

NAME = "shell"
"""What the logger is called in a run's configuration."""

_WIDTH = 21
_PARTITION_WIDTH = 26
_LONG = {"trained_model", "tomogram_embeddings"}
"""Steps that take long enough for people to wonder: their start is shown too."""


def line(mark: str, asset: str, partition: str, text: str) -> None:
    """Print one line: a mark, the asset, its partition, and what there is to say."""
    console.print(
        f" {mark} [bold]{asset:<{_WIDTH}}[/] {escape(partition):<{_PARTITION_WIDTH}} {text}", soft_wrap=True
    )


def show_bars() -> bool:
    """Whether a step shows progress bars: only where somebody sees them move."""
    return sys.stderr.isatty()


def partition_text(key: str | None) -> str:
    """A partition as it is written in the lines: ``model · tomogram``, or the one key."""
    return "" if key is None else key.replace("|", " · ")


class _Lines(logging.Handler):
    """Turns the events of a run into lines."""

    def __init__(self) -> None:
        super().__init__()
        self._summaries: dict[str, tuple[str, str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        told: dict[str, Any] = getattr(record, "dagster_meta", {})
        event: dg.DagsterEvent | None = told.get("dagster_event")
        if event is None or event.step_key is None:
            return
        if event.event_type is dg.DagsterEventType.STEP_START and event.step_key in _LONG:
            partition = (told.get("job_tags") or {}).get("dagster/partition")
            line("[cyan]▸[/]", event.step_key, partition_text(partition), "[dim]…[/]")
        elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            summary: Any = made.metadata.get("summary")
            self._summaries[event.step_key] = (
                partition_text(made.partition),
                summary.value if summary else "",
            )
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed and not found.blocking:
                asset, partition = found.asset_key.to_user_string(), partition_text(found.partition)
                line(
                    "[yellow]![/]", asset, partition, f"{found.check_name}: {escape(found.description or '')}"
                )
        elif event.is_step_success and event.step_key in self._summaries:
            partition, text = self._summaries.pop(event.step_key)
            seconds = event.step_success_data.duration_ms / 1000
            line("[green]✓[/]", event.step_key, partition, f"{seconds:7.1f} s  {escape(text)}")


@dg.logger(config_schema={}, description="One line for each finished asset, for people at a shell.")
def shell_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """The logger that ``tomotwin-platform`` runs with."""
    logger = logging.Logger(NAME, logging.DEBUG)
    logger.addHandler(_Lines())
    return logger
