"""What happens by the clock: all models are evaluated again."""

from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.tags import PRIORITY_TAG

from tomotwin_assets.configs import ReevaluationConfig, resolve
from tomotwin_assets.jobs import reevaluate
from tomotwin_assets.launching import range_tags
from tomotwin_assets.partitions import pair_key
from tomotwin_assets.reevaluation import Evaluation, evaluations
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import read_settings
from tomotwin_assets.stages import COMPARE
from tomotwin_lib.errors import InputError

NAME = "reevaluate_models"
TAG = "tomotwin/reevaluation"
"""Tag of the runs that the schedule starts: the time for which it did."""
_EVALUATE, _COMPARE = "-7", "-8"  # Behind all daily work, and the comparison behind all evaluations.


def _cron() -> str:
    config = resolve(NAME, read_settings())
    assert isinstance(config, ReevaluationConfig)
    return config.cron


@dg.schedule(
    name=NAME,
    job=reevaluate,
    cron_schedule=_cron(),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Evaluates every trained model on every tomogram with ground truth again, at the time that "
    "[reevaluation] cron says (UTC): a new report, whatever is out of date before it, then the leaderboard.",
)
def reevaluate_models(
    context: dg.ScheduleEvaluationContext, data_folder: DataFolder
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for the runs, several tomograms of a model in each, and for the comparison behind them."""
    try:
        wanted = evaluations(data_folder, context.instance)
    except InputError as error:
        yield dg.SkipReason(str(error))
        return
    if not wanted:
        yield dg.SkipReason("There is no trained model, or no checked tomogram with ground truth")
        return
    time = context.scheduled_execution_time.isoformat()
    for evaluation in wanted:
        yield _request(evaluation, time)
    yield dg.RunRequest(
        run_key=f"{time} compare",
        asset_selection=[dg.AssetKey(asset) for asset in COMPARE.assets],
        tags={TAG: time, PRIORITY_TAG: _COMPARE},
    )


def _request(evaluation: Evaluation, time: str) -> dg.RunRequest:
    first, last = (pair_key(evaluation.model, evaluation.tomograms[index]) for index in (0, -1))
    one = first == last
    tags = {TAG: time, PRIORITY_TAG: _EVALUATE}
    if not one:
        tags |= range_tags(first, last)
    return dg.RunRequest(
        run_key=f"{time} {first} {last}",
        partition_key=first if one else None,
        asset_selection=[dg.AssetKey(asset) for asset in evaluation.assets],
        tags=tags,
    )
