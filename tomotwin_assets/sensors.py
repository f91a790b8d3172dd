"""Keeps the UI's lists of models and tomograms up to date; starts no work."""

import dagster as dg

from tomotwin_assets.partitions import models, tomograms
from tomotwin_assets.registration import scan
from tomotwin_assets.resources import DataFolder
from tomotwin_lib.errors import InputError


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every half minute: new files in the data folder become partitions that can be materialised.",
)
def new_data(context: dg.SensorEvaluationContext, data_folder: DataFolder) -> dg.SensorResult:
    """Look into the data folder; add partitions and report sources, launch nothing."""
    try:
        found = scan(data_folder, context.instance)
    except InputError as error:
        return dg.SensorResult(skip_reason=str(error))
    requests = [
        partitions.build_add_request(keys)
        for partitions, keys in ((models, found.new_models), (tomograms, found.new_tomograms))
        if keys
    ]
    problems = "".join(f"\n{problem}" for problem in found.problems)
    return dg.SensorResult(
        dynamic_partitions_requests=requests,
        asset_events=found.events,
        skip_reason=f"{data_folder.path}: {found.summary}{problems}",
    )
