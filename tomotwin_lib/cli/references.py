"""What the commands tell of references: what was combined, what was refined, who took picks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tomotwin_lib.cli.output import number, print_table, say, warn

if TYPE_CHECKING:
    from tomotwin_lib.products import ReferenceEmbedding


def say_what_was_combined(given: ReferenceEmbedding, references: ReferenceEmbedding) -> None:
    """Say which references are now one, and which of them may be none of their protein."""
    from tomotwin_lib.references import COMBINED, doubtful_references

    for name, members in references.attributes.get(COMBINED, {}).items():
        say(f"{name}: combined of {len(members)}: {', '.join(members)}")
    if doubtful := doubtful_references(given):
        told = ", ".join(f"{name} ({protein})" for name, protein in doubtful.items())
        warn(f"{len(doubtful)} references resemble another protein more than the others of their own: {told}")


def print_refinement(references: ReferenceEmbedding) -> None:
    """Print how each reference was refined, and which were not."""
    from tomotwin_lib.drift import REFINEMENT

    rows = [
        (name, number(walk["similarity"]), f"no: {walk['refused']}" if walk["refused"] else "yes")
        for name, walk in references.attributes.get(REFINEMENT, {}).items()
    ]
    print_table("Refinement", ("reference", "similarity to its start", "moved"), rows)


def print_dropped(attributes: Mapping[Any, Any]) -> None:
    """Print how many maxima rivals took of each reference; nothing where there was no rival."""
    from tomotwin_lib.competition import DROPPED, dropped_by_kind

    if DROPPED not in attributes:
        return
    rows = dropped_by_kind(attributes[DROPPED])
    shown = [(reference, kind, f"{count:,}") for reference, kind, count in rows]
    footer = ("all", "", f"{sum(count for *_, count in rows):,}")
    print_table(
        "Maxima that are no picks, being more similar to", ("reference", "rival", "dropped"), shown, footer
    )
