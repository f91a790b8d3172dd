"""The model that does the daily work, and the picks that it is trusted with."""

import time
from typing import Any

import dagster as dg
import pandas as pd

from tomotwin_assets import metadata, provenance
from tomotwin_assets.batches import SEVERAL_A_RUN, each_partition
from tomotwin_assets.benchmark import read_benchmark
from tomotwin_assets.configs import ProductionConfig, ProductionPicksConfig, PromotionConfig, recorded
from tomotwin_assets.coordinates import picks_by_reference, write_coordinates
from tomotwin_assets.partitions import tomograms
from tomotwin_assets.production import (
    Promotion,
    mark_on_leaderboard,
    require_promotion,
    write_promotion,
)
from tomotwin_assets.promoting import Decision, decide
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.retries import with_second_tries
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures import leaderboard_chart, orthoslices_with_picks
from tomotwin_lib.files import ensure_writable_folder, locked
from tomotwin_lib.formats.frames import read_picks
from tomotwin_lib.formats.volumes import read_volume
from tomotwin_lib.leaderboard import leaderboard as board_of
from tomotwin_lib.thresholds import keep_above


@dg.asset(deps=["leaderboard", "trained_model"], kinds={"json"}, code_version="1")
@with_second_tries
def production_model(
    context: dg.AssetExecutionContext, config: PromotionConfig, data_folder: DataFolder
) -> dg.MaterializeResult[None]:
    """Which model does the daily work, since when, by whose word and why, and with which thresholds.

    Name a model in the launchpad to promote it, or ask for `roll_back`. With neither, the first model is
    chosen by rule; later ones too if `promotion` is `rule`, and else the rule only recommends. The thresholds
    are the best ones on all benchmark tomograms together. `products/production_model.json` keeps all earlier
    promotions.
    """
    started = time.perf_counter()
    products = ensure_writable_folder(data_folder.path / "products")
    with locked(products / ".production_model.lock", "another run is deciding about the production model"):
        decision = decide(data_folder, config)
        path = write_promotion(data_folder, decision.promotion, decision.outcome)
        promoted = decision.promotion
        mark_on_leaderboard(data_folder, promoted.model if promoted is not None else None)
    if decision.recommendation:
        context.log.warning(decision.recommendation)
    benchmark = read_benchmark(data_folder)
    board = board_of(benchmark.scores, benchmark.evaluated)
    # Only the rule's settings: what a person asked for once does not make it out of date afterwards.
    settings = {
        name: value for name, value in recorded(config).items() if name in ProductionConfig.model_fields
    }
    return dg.MaterializeResult(
        metadata={
            "summary": _summary(decision),
            "changed": decision.changed,
            "recommendation": decision.recommendation or "none",
            **(_told(decision.promotion) if decision.promotion is not None else {}),
            "chart": metadata.picture(leaderboard_chart(board, promoted.model if promoted else None)),
            "settings": dg.MetadataValue.json(settings),
            **provenance.about(context, started),
            **metadata.file_metadata(path),
        },
        data_version=dg.DataVersion(promoted.version if promoted is not None else "none"),
    )


@dg.asset(
    partitions_def=tomograms,
    # The picks of all models, as Dagster sees it: which of them is in production, the record says.
    deps=[production_model, "located_picks"],
    kinds={"file"},
    backfill_policy=SEVERAL_A_RUN,
    code_version="1",
)
@each_partition
def production_picks(
    context: dg.AssetExecutionContext, config: ProductionPicksConfig, data_folder: DataFolder
) -> dg.MaterializeResult[None]:
    """Coordinates of the production model's picks above the promoted thresholds, for other programs.

    The thresholds come from the benchmark, not from this tomogram. One file a reference and format, as
    `[coordinates]` says, in `products/production_picks/<tomogram>/`.
    """
    started = time.perf_counter()
    tomogram = context.partition_key
    promotion = require_promotion(data_folder)
    located = _located(data_folder, promotion, tomogram)
    picks = keep_above(located, promotion.thresholds)
    file = data_folder.tomogram_file(tomogram)
    folder = data_folder.product("production_picks", tomogram)
    written = write_coordinates(folder, picks, file, config)
    data_folder.keep(folder)
    volume = read_volume(file)
    slices = orthoslices_with_picks(
        volume.data,
        picks,
        voxel_size_in_angstrom=volume.voxel_size_in_angstrom,
        title=f"{tomogram}, production picks of {promotion.model}",
    )
    numbers, before = picks_by_reference(picks), picks_by_reference(located)
    source = f"benchmark: {', '.join(promotion.tomograms)}"
    rows = [
        {
            "reference": reference,
            "threshold": promotion.thresholds.get(reference),
            "threshold_from": source if reference in promotion.thresholds else "none: all as located",
            "picks": number,
            "located": before[reference],
        }
        for reference, number in numbers.items()
    ]
    without = [reference for reference in numbers if reference not in promotion.thresholds]
    return dg.MaterializeResult(
        metadata={
            "summary": f"{len(picks):,} of {len(located):,} picks of {promotion.model}"
            + (f"; no benchmark, so all as located: {', '.join(without)}" if without else ""),
            "dagster/row_count": len(picks),
            "located": len(located),
            "picks_by_reference": metadata.table(pd.DataFrame(rows)),
            "references_without_threshold": len(without),
            "picks_on_slices": metadata.picture(slices),
            "model": promotion.model,
            "model_md5": promotion.md5,
            "promoted": f"{promotion.when} by {promotion.by}",
            "path": dg.MetadataValue.path(folder),
            "files": dg.MetadataValue.json([path.name for path in written]),
            "settings": dg.MetadataValue.json(recorded(config)),
            **provenance.about(context, started),
        },
        data_version=provenance.data_version(context, config),
    )


def _located(folder: DataFolder, promotion: Promotion, tomogram: str) -> pd.DataFrame:
    """The located picks of the production model, made with the weights that were promoted."""
    path = folder.fetch(folder.product("located_picks", promotion.model, tomogram))
    if not path.is_file():
        raise InputError(
            path,
            f"located_picks of the production model, {promotion.model}, on {tomogram} has not been made yet",
            f"Materialise located_picks of {promotion.model}|{tomogram} first",
        )
    picks = read_picks(path)
    made_with = picks.attrs.get("modelmd5")
    if made_with != promotion.md5:
        raise InputError(
            path,
            f"it was made with other weights of {promotion.model} (MD5 {made_with}) than those that were "
            f"promoted ({promotion.md5})",
            "Materialise located_picks again, or promote the model as it is now: "
            f"tomotwin-platform promote {promotion.model} --why …",
        )
    return picks


def _summary(decision: Decision) -> str:
    promotion = decision.promotion
    told = [decision.outcome]
    if promotion is not None and not decision.changed:
        told.insert(0, f"{promotion.model}, promoted by {promotion.by} on {promotion.when[:10]}")
    return "; ".join([*told, *([decision.recommendation] if decision.recommendation else [])])


def _told(promotion: Promotion) -> dict[str, Any]:
    """The record as the UI shows it."""
    history = pd.DataFrame(
        [*promotion.history, promotion.record],
        columns=["when", "model", "by", "why", "replaced", "mean_honest_f1", "mean_best_case_f1", "md5"],
    )
    scores = {
        name: value
        for name in ("mean_honest_f1", "mean_best_case_f1")
        if (value := getattr(promotion, name)) is not None
    }
    thresholds = pd.DataFrame(
        {"reference": list(promotion.thresholds), "threshold": list(promotion.thresholds.values())}
    )
    return {
        "model": promotion.model,
        "model_md5": promotion.md5,
        "promoted_by": promotion.by,
        "promoted_when": promotion.when,
        "why": promotion.why,
        "replaced": promotion.replaced or "none",
        "thresholds": metadata.table(thresholds),
        "thresholds_from": ", ".join(promotion.tomograms) or "no benchmark: all picks as located",
        **scores,
        "promotions": metadata.table(history[::-1]),
    }
