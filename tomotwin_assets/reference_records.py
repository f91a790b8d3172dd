"""What the UI shows of references: what was combined, which were refused, and what rivals took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tomotwin_assets import metadata
from tomotwin_lib.competition import DROPPED, dropped_by_kind
from tomotwin_lib.drift import REFINEMENT, refused_walks
from tomotwin_lib.products import ReferenceEmbedding
from tomotwin_lib.references import COMBINED, NEGATIVES, doubtful_references


def about_references(given: ReferenceEmbedding, attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Metadata of a similarity map, from the references as embedded and the map's attributes.

    Empty where references are neither combined nor refined and there is no negative.
    """
    told: dict[str, Any] = {}
    if combined := attributes.get(COMBINED):
        doubtful = doubtful_references(given)
        rows = [
            {"reference": name, "combined_of": file, "resembles_more": doubtful.get(file, "")}
            for name, files in combined.items()
            for file in files
        ]
        told["combined_references"] = metadata.table(pd.DataFrame(rows))
    if refinement := attributes.get(REFINEMENT):
        walks = [{"reference": name, **walk} for name, walk in refinement.items()]
        told["refinement"] = metadata.table(pd.DataFrame(walks))
        told["refinements_refused"] = len(refused_walks(attributes))
    if negatives := attributes.get(NEGATIVES):
        told["negatives"] = ", ".join(negatives)
    return told


def about_rivals(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Metadata of picks: what negatives and other rivals took; empty where there were none."""
    if DROPPED not in attributes:
        return {}
    rows = dropped_by_kind(attributes[DROPPED])
    table = pd.DataFrame(rows, columns=["reference", "rival", "dropped"])
    return {"dropped": int(table["dropped"].sum()), "dropped_by_rival": metadata.table(table)}
