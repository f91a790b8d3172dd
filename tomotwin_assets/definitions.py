"""Everything that Dagster loads: ``dagster dev -m tomotwin_assets.definitions``."""

from typing import Any

import dagster as dg

from tomotwin_assets import checks, jobs, lost_runs, progress, schedules, sensors
from tomotwin_assets.assets import (
    embeddings,
    evaluation,
    picking,
    production,
    published,
    simulated,
    sources,
    training,
)
from tomotwin_assets.executors import step_executor
from tomotwin_assets.io_managers import ProductStore
from tomotwin_assets.resources import ComputeDevice, DataFolder

OWNERS = ["team:picking"]

_made_by: dict[str, list[Any]] = {
    folder.key.to_user_string(): [published.published_data] for folder in sources.folders
}
_made_by[sources.SUBVOLUMES].append(simulated.simulated_tomograms)

_assets: list[Any] = [
    *dg.load_assets_from_modules([published, simulated], group_name="sources"),
    # Through the folders it is before everything, yet only what changes in them makes products out of date.
    *(
        folder.replace_attributes(group_name="sources", deps=_made_by[folder.key.to_user_string()])
        for folder in sources.folders
    ),
    *dg.load_assets_from_modules([training], group_name="training"),
    *dg.load_assets_from_modules([embeddings], group_name="embedding"),
    *dg.load_assets_from_modules([picking], group_name="picking"),
    *dg.load_assets_from_modules([evaluation], group_name="evaluation"),
    *dg.load_assets_from_modules([production], group_name="production"),
]
_data_folder = DataFolder()

defs = dg.Definitions(
    # What holds for all of them is said once.
    assets=dg.map_asset_specs(lambda spec: spec.replace_attributes(owners=OWNERS), _assets),
    asset_checks=checks.definitions,
    jobs=[*jobs.asset_jobs, jobs.promote_model, jobs.reevaluate, jobs.register_data_folder],
    schedules=[schedules.reevaluate_models],
    sensors=[sensors.new_data, sensors.work, lost_runs.lost_runs],
    resources={
        "data_folder": _data_folder,
        "device": ComputeDevice(),
        "io_manager": ProductStore(data_folder=_data_folder),
    },
    loggers={"console": dg.colored_console_logger, progress.NAME: progress.shell_logger},
    executor=step_executor(),
)
