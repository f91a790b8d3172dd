"""What can be launched as a whole: one job a stage, the fetching or simulating of data, and the look into the
data folder.

The launchpad of each opens with all its settings filled in, and tells beside each what it does.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from tomotwin_assets.batches import PARTITIONS_PER_RUN
from tomotwin_assets.configs import PromotionConfig, op_config, recorded
from tomotwin_assets.explaining import explained
from tomotwin_assets.partitions import tomograms
from tomotwin_assets.registration import apply, retired, scan
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import read_settings
from tomotwin_assets.stages import COMPARE, PICK, STAGES, Stage

HOW_MANY = (
    f"Choose one partition, or several: up to {PARTITIONS_PER_RUN} share a run that loads the network once."
)


def settings(*assets: str) -> dict[str, Any]:
    """The run configuration of these assets with all their settings as they are by default."""
    ops = op_config(assets, read_settings())
    return {"ops": ops} if ops else {}


def _job(stage: Stage) -> Any:
    several = f" {HOW_MANY}" if stage.several_a_run else ""
    return dg.define_asset_job(
        stage.job,
        selection=list(stage.assets),
        description=f"{stage.description}{several}",
        config=settings(*stage.assets),
    )


asset_jobs = [
    *(_job(stage) for stage in STAGES),
    dg.define_asset_job(
        "fetch_published_data",
        selection=["published_data"],
        description="Fetches what TomoTwin's authors have published into the data folder: say what in the "
        "launchpad.",
        config={"ops": {"published_data": {"config": {"names": []}}}},
    ),
    dg.define_asset_job(
        "simulate_training_data",
        selection=["simulated_tomograms"],
        description="Simulates tomograms and cuts subvolumes to train on into the data folder: set enabled, "
        "in the launchpad or in [simulation] of tomotwin.toml, and say what.",
        config=settings("simulated_tomograms"),
    ),
]


promote_model = dg.define_asset_job(
    "promote_model",
    selection=["production_model"],
    config={"ops": {"production_model": {"config": recorded(PromotionConfig())}}},
    description="Puts a model into production. Write its name and why into the launchpad; roll_back goes "
    "back to the one before; with neither, the rule is asked.",
)

_evaluated = [*(asset for asset in PICK.assets if asset != "picked_coordinates"), *COMPARE.assets]
reevaluate = dg.define_asset_job(
    "reevaluate",
    selection=_evaluated,
    config=settings(*_evaluated),
    description="Evaluates a model on a tomogram again, and compares all models. The schedule "
    "reevaluate_models runs it for all of them, and only what is out of date before the report.",
)


@explained
class RegisterConfig(dg.Config):
    """What to do about tomograms whose files are gone."""

    retire_missing: bool = Field(
        default=False,
        description="Remove the partitions of all tomograms whose files are gone, however many. Their "
        "products are kept. The sensor does so by itself, but not if most of them vanish at once.",
    )


@dg.op
def register_new_files(
    context: dg.OpExecutionContext, config: RegisterConfig, data_folder: DataFolder
) -> None:
    """Add a partition for each new model and tomogram, and report new and changed files."""
    found = scan(data_folder, context.instance)
    apply(found, context.instance, context.log_event)
    context.log.info(f"{data_folder.path}: {found.summary}")
    for problem in found.problems:
        context.log.warning(str(problem))
    for gone in found.gone:
        context.log.warning(f"The file of {gone} is no longer there")
    for key in found.gone_tomograms if config.retire_missing else ():
        context.instance.delete_dynamic_partition(str(tomograms.name), key)
        context.log_event(retired(key, "a person asked for it"))


@dg.job(description="Looks into the data folder for new models and tomograms and makes them selectable.")
def register_data_folder() -> None:
    """See :func:`register_new_files`."""
    register_new_files()
