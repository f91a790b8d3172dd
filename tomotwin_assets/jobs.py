"""What can be launched as a whole: one job a stage, and the look into the data folder."""

import dagster as dg

from tomotwin_assets.registration import apply, scan
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.stages import STAGES

asset_jobs = [
    dg.define_asset_job(stage.job, selection=list(stage.assets), description=stage.description)
    for stage in STAGES
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
