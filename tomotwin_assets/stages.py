"""The graph in the order in which it is run: stages whose assets share their partitions, one job each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Assets that one run makes for one partition, in the order in which they need each other."""

    job: str
    assets: tuple[str, ...]
    description: str


PREPARE = Stage(
    "prepare_data",
    ("training_data", "reference_volumes"),
    "Checks the references and the subvolumes to train on.",
)
CHECK = Stage("check_tomogram", ("tomogram",), "Checks a tomogram's header and voxels.")
TRAIN = Stage(
    "train_model",
    ("trained_model", "reference_embeddings"),
    "Trains or imports a network and embeds the references with it.",
)
PICK = Stage(
    "pick_tomogram",
    ("tomogram_embeddings", "similarity_map", "located_picks", "picked_coordinates", "evaluation_report"),
    "Picks one tomogram with one network: embeds it, compares it with the references, finds the particles, "
    "writes coordinates, and scores them where there is ground truth.",
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
)
STAGES = (PREPARE, CHECK, TRAIN, PICK, COMPARE, PRODUCE)
