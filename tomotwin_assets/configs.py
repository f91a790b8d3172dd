"""The settings of the steps, as the launchpad of the UI shows them.

Defaults are those below unless ``tomotwin.toml`` has others, so that UI and shell start from the same ones.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, Optional, TypeVar

import dagster as dg
from dagster._utils.schedules import is_valid_cron_string
from pydantic import Field, ValidationError, field_validator

from tomotwin_assets.explaining import explained, unit
from tomotwin_assets.settings import FILE, Settings, read_settings
from tomotwin_lib.errors import InputError
from tomotwin_lib.exporting import DEFAULT_FORMATS, FORMATS

C = TypeVar("C", bound=dg.Config)

# Dagster reads annotations of configurations itself and knows Optional[...] in all versions.
# ruff: noqa: UP045

CONFIGS: dict[str, tuple[str, type[dg.Config]]] = {}
"""Asset, or schedule, → (section of the settings file, class of its settings)."""

SECTION_CONFIGS: dict[str, type[dg.Config]] = {}
"""Section of the settings file → class of its settings, for those that are no step's."""


def settings_of(asset: str, section: str) -> Callable[[type[C]], type[C]]:
    """Class decorator: the settings of ``asset``, with the defaults that ``[section]`` of the files gives.

    Each description tells unit, range and default as well (:mod:`tomotwin_assets.explaining`).
    """

    def apply(config: type[C]) -> type[C]:
        CONFIGS[asset] = (section, config)
        given = resolve(asset, read_settings())
        for name in type(given).model_fields:
            config.model_fields[name].default = getattr(given, name)
        return explained(config)

    return apply


def settings_in(section: str) -> list[str]:
    """The settings of a section; one that several assets share has those of all."""
    configs = [config for name, config in [*CONFIGS.values(), *SECTION_CONFIGS.items()] if name == section]
    return list(dict.fromkeys(name for config in configs for name in config.model_fields))


def resolve(asset: str, settings: Settings) -> dg.Config:
    """The settings that a run of ``asset`` has by default.

    Raises
    ------
    InputError
        If the settings file has an unknown name or a value out of range.
    """
    section, config = CONFIGS[asset]
    return resolve_section(section, config, settings)


def resolve_section(section: str, config: type[C], settings: Settings) -> C:
    """The values of a section of the settings file, with the defaults where it says nothing.

    Raises
    ------
    InputError
        If the settings file has an unknown name or a value out of range.
    """
    given = settings.section(section)
    source = " or ".join(str(path) for path in settings.files) or FILE
    known = settings_in(section)
    if unknown := [name for name in given if name not in known]:
        raise InputError(
            source,
            f"[{section}] has unknown settings: {', '.join(unknown)}",
            f"There are {', '.join(known)}",
        )
    own = {name: value for name, value in given.items() if name in config.model_fields}
    try:
        return config(**own)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(source, f"[{section}] {name} is {first['input']!r}", first["msg"]) from error


def recorded(config: dg.Config) -> dict[str, Any]:
    """The settings as plain JSON, kept with the product that they made."""
    return config.model_dump(mode="json")


def op_config(assets: Iterable[str], settings: Settings) -> dict[str, Any]:
    """The configuration of a run's steps, by their assets; those without settings have none.

    Raises
    ------
    InputError
        If a settings file has an unknown name or a value out of range.
    """
    return {asset: {"config": recorded(resolve(asset, settings))} for asset in assets if asset in CONFIGS}


@settings_of("simulated_tomograms", "simulation")
class SimulationConfig(dg.Config):
    """What to simulate for training; ranges are the least and the most, drawn from for every tomogram."""

    enabled: bool = Field(default=False, description="Whether to simulate at all. If not, nothing is made.")
    structures: list[str] = Field(
        default=[],
        description="Density maps (MRC), atomic models (PDB, mmCIF), or folders of them, in the data folder "
        "or with whole paths; each file's name tells the label.",
    )
    made_up: int = Field(
        default=20,
        ge=0,
        le=1000,
        json_schema_extra=unit("molecules"),
        description="Made-up molecules of random shape, mass and symmetry beside them. With neither, the "
        "five built-in shapes.",
    )
    tomograms: int = Field(
        default=2,
        ge=0,
        json_schema_extra=unit("tomograms"),
        description="Whole tomograms with ground truth and class masks, kept in simulated/.",
    )
    tomogram_size: list[int] = Field(
        default=[200, 200, 80],
        min_length=3,
        max_length=3,
        json_schema_extra=unit("voxels"),
        description="Of each of them along X, Y and Z; at least 37.",
    )
    subvolumes_per_class: int = Field(
        default=80,
        ge=1,
        json_schema_extra=unit("subvolumes"),
        description="To train on, of each molecule; a quarter as many are made to validate with.",
    )
    crowding: float = Field(
        default=0.05,
        gt=0,
        le=0.3,
        json_schema_extra=unit("share of the volume"),
        description="What particles take up in the tomograms: 0.02 is dilute, 0.1 crowded.",
    )
    distractors: bool = Field(
        default=True,
        description="Membranes, gold, filaments, microtubules, carbon and ice crystals beside the molecules.",
    )
    method: Literal["fourier", "tilt_series"] = Field(
        default="fourier",
        description="The tilt series as one filter, or image by image, which takes about ten times as long.",
    )
    snr: list[float] = Field(
        default=[0.05, 0.5],
        min_length=2,
        max_length=2,
        json_schema_extra=unit("variance ratio"),
        description="Range of the signal inside particles over the noise.",
    )
    defocus_in_micrometres: list[float] = Field(
        default=[2.0, 5.0],
        min_length=2,
        max_length=2,
        json_schema_extra=unit("µm"),
        description="Range of the underfocus.",
    )
    voxel_size_in_angstrom: list[float] = Field(
        default=[10.0, 10.0],
        min_length=2,
        max_length=2,
        json_schema_extra=unit("Å"),
        description="Range of the voxel size of tomograms and subvolumes.",
    )
    thickness_in_nanometres: list[float] = Field(
        default=[],
        max_length=2,
        json_schema_extra=unit("nm"),
        description="Range of the thickness of the ice. Empty: the whole depth of the tomogram.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Where chance begins: the same seed gives the same data.",
        json_schema_extra=unit("none"),
    )


@settings_of("trained_model", "training")
class TrainingConfig(dg.Config):
    """How long to train and what to keep; how to train stands in the model's JSON file."""

    epochs: int = Field(
        default=10,
        ge=1,
        description="Passes through the training subvolumes.",
        json_schema_extra=unit("epochs"),
    )
    max_minutes: Optional[float] = Field(
        default=None,
        gt=0,
        json_schema_extra=unit("minutes"),
        description="Stop after this many minutes even if epochs are left. Empty: no limit.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Where chance begins: weights, batches and augmentation.",
        json_schema_extra=unit("none"),
    )
    keep: Literal["best_f1", "best_loss", "final"] = Field(
        default="best_loss",
        description="The network to keep: lowest validation loss, best validation F1 (coarse: it soon is 1 "
        "on few subvolumes), or the last.",
    )
    resume: bool = Field(
        default=False,
        description="Go on from an interrupted training of this model, if any; its configuration must "
        "be the same.",
    )


@settings_of("tomogram_embeddings", "embedding")
class EmbeddingConfig(dg.Config):
    """How densely a tomogram is embedded."""

    stride: int = Field(
        default=2,
        ge=1,
        json_schema_extra=unit("voxels"),
        description="Distance of neighbouring windows. 2 is as dense as TomoTwin's default.",
    )
    batch_size: int = Field(
        default=64,
        ge=1,
        json_schema_extra=unit("windows"),
        description="Windows in a batch, for networks that are evaluated window by window.",
    )
    padding: bool = Field(
        default=True,
        description="Reflect the tomogram at its borders, so that particles there are found as well.",
    )
    store: bool = Field(
        default=True,
        description="Keep the vectors in a file. If not, only how to make them is recorded, and "
        "similarity_map makes them tile by tile, compares them and forgets them: the same picks, no file of "
        "gigabytes, but no refinement.",
    )


@settings_of("similarity_map", "similarity")
class SimilarityConfig(dg.Config):
    """What is made of the references before they are compared."""

    refine: bool = Field(
        default=False,
        description="Move each reference to the centre of the embeddings nearest to it, in up to 7 rounds. "
        "One that walks to another protein or to background stays as it is, and is told.",
    )
    combine: bool = Field(
        default=False,
        description="Make one reference of all those of a protein, the mean of their directions: those whose "
        "names hold one label, or differ only in a number at the end.",
    )
    negatives: list[str] = Field(
        default=[],
        description="References that are examples of what is not looked for (membrane, gold, carbon, ice), "
        "beside those called negative_…: what is more similar to one of them is no pick.",
    )


@settings_of("located_picks", "picking")
class PickingConfig(dg.Config):
    """What counts as a particle."""

    lowest_similarity: float = Field(
        default=0.5,
        ge=-1,
        le=1,
        json_schema_extra=unit("cosine similarity"),
        description="A pick's similarity to its reference is at least this.",
    )
    tolerance: float = Field(
        default=0.2,
        gt=0,
        json_schema_extra=unit("similarity"),
        description="A pick's region reaches down to its maximum minus this similarity.",
    )
    overlap: float = Field(
        default=0.6,
        gt=0,
        le=1,
        json_schema_extra=unit("intersection over union"),
        description="Of two picks whose boxes' IoU exceeds this, the better one stays.",
    )
    compete: bool = Field(
        default=False,
        description="Where another protein's reference is more similar there is no pick either, as where a "
        "negative is.",
    )
    max_false_picks: Optional[float] = Field(
        default=None,
        gt=0,
        le=1,
        json_schema_extra=unit("share"),
        description="Keep of each reference its best picks, of which at most this share is to be expected "
        "false; needs ground_truth/calibration.json, which `tomotwin evaluate tomograms` writes. Empty: keep "
        "all.",
    )


class CoordinateFilesConfig(dg.Config):
    """Which files to write for other programs, and in which voxels."""

    formats: list[str] = Field(
        default=list(DEFAULT_FORMATS),
        description=f"Which files to write for each kind of particle: {', '.join(FORMATS)}.",
    )
    output_voxel_size_in_angstrom: Optional[float] = Field(
        default=None,
        gt=0,
        json_schema_extra=unit("Å"),
        description="Write coordinates in voxels of this size, such as those of the tilt series. relion4 and "
        "relion5 need it. Empty: in those of the tomogram.",
    )
    tomogram_size: Optional[list[int]] = Field(
        default=None,
        json_schema_extra=unit("voxels"),
        description="x, y, z of the tomogram in voxels of that size, for relion5. Empty: scaled and rounded.",
    )


@settings_of("picked_coordinates", "coordinates")
class CoordinatesConfig(CoordinateFilesConfig):
    """Which of the located picks are written for other programs."""

    minimum_metric: Optional[float] = Field(
        default=None,
        ge=-1,
        json_schema_extra=unit("similarity"),
        description="Leave out picks that are not more similar than this. Empty: keep all.",
    )
    minimum_size: Optional[int] = Field(
        default=None,
        ge=0,
        json_schema_extra=unit("positions of the map"),
        description="Leave out picks whose region has no more positions than this. Empty: keep all.",
    )


# Its thresholds are those of the promoted model: only what concerns the files is to be set.
@settings_of("production_picks", "coordinates")
class ProductionPicksConfig(CoordinateFilesConfig):
    """How the production picks are written for other programs."""


@settings_of("evaluation_report", "evaluation")
class EvaluationConfig(dg.Config):
    """How picks are compared with ground truth."""

    fbeta: float = Field(
        default=1.0,
        gt=0,
        json_schema_extra=unit("none"),
        description="Above 1 recall weighs more, below 1 precision; 1 is F1.",
    )
    optimise_step: float = Field(
        default=0.01,
        gt=0,
        le=0.5,
        json_schema_extra=unit("similarity"),
        description="Step of the similarity thresholds that the best case tries.",
    )


@settings_of("production_model", "production")
class ProductionConfig(dg.Config):
    """How the model that does the daily work is chosen."""

    promotion: Literal["person", "rule"] = Field(
        default="person",
        description="Who decides after the first promotion: a person, to whom the rule only recommends, or "
        "the rule itself.",
    )
    margin: float = Field(
        default=0.01,
        ge=0,
        le=1,
        json_schema_extra=unit("F1"),
        description="Rule: a model must be better than the one in production by this mean F1 on the "
        "benchmark or more.",
    )
    worst_class_drop: float = Field(
        default=0.05,
        ge=0,
        le=1,
        json_schema_extra=unit("F1"),
        description="Rule: and no class may be worse by more than this.",
    )


@explained
class PromotionConfig(ProductionConfig):
    """A person's word about production. With neither a model nor roll_back, the rule is asked."""

    model: str = Field(
        default="", description="Promote this model, whatever the rule says. Empty: ask the rule."
    )
    why: str = Field(default="", description="Why; it is kept with the promotion.")
    by: str = Field(default="", description="Who promotes. Empty: the user that the platform runs as.")
    roll_back: bool = Field(
        default=False,
        description="Go back to the promotion before the current one, with its thresholds.",
    )


@settings_of("reevaluate_models", "reevaluation")
class ReevaluationConfig(dg.Config):
    """When all models are evaluated again."""

    cron: str = Field(
        default="0 3 * * 1",
        description="When, as a cron expression in UTC: minute, hour, day of the month, month, weekday.",
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str) -> str:
        if not is_valid_cron_string(cron):
            raise ValueError('Write five fields, such as "0 3 * * 1" for Mondays at three')
        return cron


@explained
class ArrivalsConfig(dg.Config):
    """What happens by itself when files arrive; read at every look of the sensors."""

    enabled: bool = Field(
        default=True, description="Run what is new. If not, files become partitions and wait for a person."
    )
    settle_seconds: float = Field(
        default=20.0,
        ge=0,
        json_schema_extra=unit("seconds"),
        description="A file is taken for complete when it has not changed for so long.",
    )
    queue_ahead: int = Field(
        default=10,
        ge=1,
        json_schema_extra=unit("runs"),
        description="Runs that are queued or at work at a time because of arrivals.",
    )
    tomograms_per_run: int = Field(
        default=8,
        ge=1,
        json_schema_extra=unit("tomograms"),
        description="Tomograms of one model in one run, which loads the network once.",
    )
    retire_after_minutes: float = Field(
        default=10.0,
        ge=0,
        json_schema_extra=unit("minutes"),
        description="A tomogram whose file has been gone for so long is no partition any more; its "
        "products are kept.",
    )


SECTION_CONFIGS["arrivals"] = ArrivalsConfig
