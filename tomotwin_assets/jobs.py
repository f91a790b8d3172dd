"""What can be launched as a whole: one job a stage, the fetching of published data, and the look into the
data folder.

The launchpad of each opens with all its settings filled in, and tells beside each what it does.
"""

from typing import Any

import dagster as dg

from tomotwin_assets.batches import PARTITIONS_PER_RUN
from tomotwin_assets.configs import CONFIGS, recorded
from tomotwin_assets.registration import apply, scan
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.stages import STAGES, Stage

HOW_MANY = (
    f"Choose one partition, or several: up to {PARTITIONS_PER_RUN} share a run that loads the network once."
)


def settings(*assets: str) -> dict[str, Any]:
    """The run configuration of these assets with all their settings as they are by default."""
    ops = {asset: {"config": recorded(CONFIGS[asset][1]())} for asset in assets if asset in CONFIGS}
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
]


@dg.op
def register_new_files(context: dg.OpExecutionContext, data_folder: DataFolder) -> None:
    """Add a partition for each new model and tomogram, and report new and changed files."""
    found = scan(data_folder, context.instance)
    apply(found, context.instance, context.log_event)
    context.log.info(f"{data_folder.path}: {found.summary}")
    for problem in found.problems:
        context.log.warning(str(problem))
    for gone in found.gone:
        context.log.warning(f"The file of {gone} is no longer there")


@dg.job(description="Looks into the data folder for new models and tomograms and makes them selectable.")
def register_data_folder() -> None:
    """See :func:`register_new_files`."""
    register_new_files()
