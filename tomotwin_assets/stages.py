"""The graph in the order in which it is run: stages whose assets share their partitions, one job each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Assets that one run makes, in the order in which they need each other.

    Attributes
    ----------
    several_a_run : whether a run may hold several partitions (:mod:`tomotwin_assets.batches`).
    """

    job: str
    assets: tuple[str, ...]
    description: str
    several_a_run: bool = False


PREPARE = Stage(
    "prepare_data",
    ("training_data", "reference_volumes"),
    "Checks the references and the subvolumes to train on.",
)
CHECK = Stage("check_tomogram", ("tomogram",), "Checks a tomogram's header and voxels.", several_a_run=True)
TRAIN = Stage(
    "train_model",
    ("trained_model", "reference_embeddings"),
    "Trains the network that models/<model>.json describes, or imports models/<model>.pth, and embeds the "
    "references with it.",
)
PICK = Stage(
    "pick_tomogram",
    ("tomogram_embeddings", "similarity_map", "located_picks", "picked_coordinates", "evaluation_report"),
    "Picks one tomogram with one network: embeds it, compares it with the references, finds the particles, "
    "writes coordinates, and scores them where there is ground truth. To score again, or with another "
    "threshold, choose only the assets to be made again.",
    several_a_run=True,
)
COMPARE = Stage(
    "compare_models",
    ("leaderboard", "production_model"),
    "Gathers all scores, and decides which model is in production.",
)
PRODUCE = Stage(
    "produce_picks",
    ("production_picks",),
    "Writes the production model's picks of one tomogram, above the promoted thresholds.",
    several_a_run=True,
)
STAGES = (PREPARE, CHECK, TRAIN, PICK, COMPARE, PRODUCE)
