"""What the checks find: each looks at one small thing of one product and says what to do about it.

Products are read by their path, and of large ones only what is needed, so that a check can run with the
product it checks, alone, or for many partitions in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from tomotwin_assets import metadata
from tomotwin_assets.coordinates import picks_by_reference
from tomotwin_assets.io_managers import FORMATS
from tomotwin_assets.production import read_promotion
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.values import EvaluationReport, UnstoredEmbedding, read_report
from tomotwin_lib.contrast import contrast_of
from tomotwin_lib.distances import distance_named
from tomotwin_lib.embedding.quality import VectorQuality, vector_quality
from tomotwin_lib.formats.volumes import VOLUME_SUFFIXES, read_volume
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.plausibility import background, filled_share, most_alike
from tomotwin_lib.products import ReferenceEmbedding
from tomotwin_lib.references import negatives_among
from tomotwin_lib.similarity import distance_of
from tomotwin_lib.thresholds import keep_above
from tomotwin_lib.voxel_sizes import differing_voxel_sizes

NORM_TOLERANCE = 0.01  # vectors are kept as 16-bit floats, whose norm may be off by a thousandth
SMALLEST_ANGLE_IN_DEGREES = 1.0
MOST_ALIKE = 0.98
HIGHEST_BACKGROUND = 0.8
WORSE_BY = 0.05
"""How much lower a mean F1 may be than the one that it is compared with."""


MANY_TIMES = 10
"""Located picks are candidates, kept so that nothing is lost: they may exceed the room so many times."""


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes
    ----------
    passed : whether all is well.
    found : one sentence, without a full stop.
    remedy : what to do if it has not passed.
    numbers : what the UI shows, and plots over time.
    serious : an error rather than a warning if it has not passed.
    """

    passed: bool
    found: str
    remedy: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    serious: bool = False

    @property
    def text(self) -> str:
        """What was found and, where something is wrong, what to do."""
        return f"{self.found}." if self.passed else f"{self.found}. {self.remedy}."


@dataclass(frozen=True)
class Subject:
    """One product of one partition, and its record.

    Attributes
    ----------
    keys : (model, tomogram), the one there is, or none.
    told : metadata of its latest materialisation; empty without one.
    told_before : of the one before.
    """

    folder: DataFolder
    asset: str
    keys: tuple[str, ...]
    told: dict[str, Any] = field(default_factory=dict)
    told_before: dict[str, Any] = field(default_factory=dict)

    @property
    def tomogram(self) -> str:
        """The tomogram of the partition."""
        return self.keys[-1]

    def value(self, asset: str | None = None, *keys: str) -> Any:
        """The product, or another one, as assets get it: large ones lie in their files."""
        name = asset or self.asset
        path = self.folder.fetch(self.folder.product(name, *(keys if asset else self.keys)))
        return FORMATS[name].read(self.folder, path)


def readable(subject: Subject) -> Verdict:
    """The tomogram's file is MRC and as long as its header says (``read_volume`` says what is wrong)."""
    volume = read_volume(subject.folder.tomogram_file(subject.tomogram))
    return Verdict(True, metadata.shape_text(volume.data.shape, volume.voxel_size_in_angstrom))


def has_density(subject: Subject) -> Verdict:
    """The asset itself refuses voxels that are no numbers or all alike: here it is told that none was."""
    deviation = float(subject.told.get("standard_deviation") or 0.0)
    return Verdict(
        deviation > 0,
        f"every voxel is a number, their standard deviation is {deviation:.4g}"
        if deviation > 0
        else "the tomogram has not been looked through",
        "Materialise the tomogram again",
        {"standard_deviation": deviation},
        serious=True,
    )


def large_enough(subject: Subject) -> Verdict:
    """A window that hardly has room shows its own mirror image."""
    shape = read_volume(subject.folder.tomogram_file(subject.tomogram)).data.shape
    window = EmbeddingNetwork.window_size
    return Verdict(
        min(shape) >= window,
        f"{metadata.shape_text(shape)}, windows of {window}³",
        "Particles are seen beside their mirror images: give a tomogram that is at least one window thick, "
        "or look at the picks with care",
        {"smallest_edge_in_voxels": int(min(shape))},
    )


def voxel_size_like_the_models(subject: Subject) -> Verdict:
    """References, and the subvolumes that networks were trained on, must be sampled like the tomogram."""
    file = subject.folder.tomogram_file(subject.tomogram)
    compared = [*_volumes(subject.folder.references), *_volumes(subject.folder.training, most=1)]
    size = read_volume(file).voxel_size_in_angstrom
    problem = differing_voxel_sizes(file, compared)
    if size is None:
        return Verdict(
            False,
            f"{file.name} does not say its voxel size",
            "Write it into the header, for example with `alterheader`; until then nobody can tell whether "
            "the references fit",
        )
    return Verdict(
        problem is None,
        problem.partition(": ")[0]
        if problem
        else f"{size:g} Å, as the {len(compared)} references and training subvolumes that say theirs",
        "Rescale the tomogram to the voxel size of references and training, or correct the header that is "
        "wrong",
        {"voxel_size_in_angstrom": size},
    )


def contrast_is_dark(subject: Subject) -> Verdict:
    """Particles are dark in tomograms; the other way round a network sees holes."""
    contrast = contrast_of(read_volume(subject.folder.tomogram_file(subject.tomogram)).data)
    found = {
        "dark": "particles are dark, as they should be",
        "bright": "particles seem to be bright",
        "uncertain": "uncertain: the noise hides whether particles are dark or bright",
    }[contrast.particles]
    return Verdict(
        contrast.particles != "bright",
        f"{found} (skewness {contrast.skewness:.3f} ± {contrast.error:.3f})",
        "Look at the slices; if particles are bright, multiply the tomogram by −1 (for example `newstack "
        "-multadd -1,0`) and copy it into the folder again",
        {
            "contrast": contrast.particles,
            "skewness": contrast.skewness if contrast.blocks else None,
            "blocks": contrast.blocks,
        },
    )


def vectors_are_unit(subject: Subject) -> Verdict:
    """Of embeddings of a tomogram or of references: finite, and of norm 1."""
    quality = _quality(subject)
    if quality is None:
        return _UNSTORED
    passed = quality.not_finite == 0 and quality.largest_norm_error <= NORM_TOLERANCE
    return Verdict(
        passed,
        f"{quality.rows:,} vectors looked at: {quality.not_finite} not finite, norms differ from 1 by up to "
        f"{quality.largest_norm_error:.2g}",
        "The network gives no usable vectors: train it again with a lower learning rate, or import another "
        "checkpoint",
        {"not_finite": quality.not_finite, "largest_norm_error": _number(quality.largest_norm_error)},
        serious=True,
    )


def vectors_differ(subject: Subject) -> Verdict:
    """A network that has learnt nothing gives every window the same vector."""
    quality = _quality(subject)
    if quality is None:
        return _UNSTORED
    angle = quality.typical_angle_in_degrees
    return Verdict(
        angle >= SMALLEST_ANGLE_IN_DEGREES,
        f"vectors lie {angle:.1f}° from their mean",
        "All positions look alike to this network: train it longer or with other settings, or import another "
        "checkpoint",
        {"typical_angle_in_degrees": _number(angle)},
        serious=True,
    )


def references_differ(subject: Subject) -> Verdict:
    """Particles whose references are alike cannot be told apart."""
    references: ReferenceEmbedding = subject.value()
    distance = distance_of(references)
    alike = most_alike(distance.similarity(references.vectors, references.vectors), references.names)
    if alike is None:
        return Verdict(True, "there is one kind of particle")
    first, second, similarity = alike
    return Verdict(
        similarity <= MOST_ALIKE or not distance.bounded,
        f"{first} and {second} are the most alike, with a similarity of {similarity:.3f}",
        "Leave one of them out, or train with subvolumes of both",
        {"highest_similarity_of_two_particles": similarity},
    )


def references_stand_out(subject: Subject) -> Verdict:
    """A reference that background resembles finds background."""
    similarity = subject.value()
    levels = background(similarity)
    # Negatives may resemble much of a tomogram: that is what they are for.
    negatives = negatives_among(similarity.references, similarity.attributes)
    levels = levels[~levels["reference"].isin(negatives)]
    config = similarity.attributes.get("tomotwin_config") or {}
    bounded = distance_named(config.get("distance", "COSINE")).bounded
    high = levels[levels["background"] > HIGHEST_BACKGROUND] if bounded else levels.iloc[:0]
    known = levels.dropna().sort_values("background", ascending=False)
    found = "there is nothing to look at"
    if len(known):
        level, name = known["background"].iloc[0], known["reference"].iloc[0]
        found = f"a tenth of all positions is more similar than {level:.2f} to {name}"
    if len(high):
        found += f", and {len(high)} of {len(levels)} references are above {HIGHEST_BACKGROUND}"
    return Verdict(
        high.empty,
        found,
        f"Do not trust picks of {', '.join(high['reference'])}: take another subvolume as reference, with "
        "one particle in its middle, or train on such particles",
        {
            "by_reference": metadata.table(levels),
            "highest_background": float(known["background"].iloc[0]) if len(known) else None,
        },
    )


def candidates_are_plausible(subject: Subject) -> Verdict:
    """Some located picks, and not many times more than there is room for: thresholds are still to come."""
    picks: pd.DataFrame = subject.value()
    if not len(picks):
        return Verdict(
            False,
            "there is no pick",
            "If there are particles, lower lowest_similarity in the launchpad of located_picks, and look at "
            "the histogram of similarity_map: a tail towards 1 is what finds them",
            {"picks": 0, "share_of_the_room": 0.0},
        )
    return _fit(
        subject,
        picks,
        MANY_TIMES,
        "Most of them are background: raise lowest_similarity in the launchpad of located_picks, or correct "
        "the box sizes",
    )


def production_picks_fit(subject: Subject) -> Verdict:
    """No more production picks than there is room for."""
    promotion = read_promotion(subject.folder)
    if promotion is None:
        return Verdict(True, "no model is in production")
    located: pd.DataFrame = subject.value("located_picks", promotion.model, subject.tomogram)
    return _fit(
        subject,
        keep_above(located, promotion.thresholds),
        1,
        "They cannot all be particles: give the tomograms with ground truth more of what this one holds, so "
        "that the thresholds suit it, or correct the box sizes",
    )


def _fit(subject: Subject, picks: pd.DataFrame, times: float, remedy: str) -> Verdict:
    shape = read_volume(subject.folder.tomogram_file(subject.tomogram)).data.shape
    sizes = subject.value("reference_volumes").box_sizes
    share = filled_share(picks_by_reference(picks), shape, sizes)
    return Verdict(
        share <= times,
        f"{len(picks):,} picks would take {share:.1%} of the room in which balls of their size can lie",
        remedy,
        {"picks": len(picks), "share_of_the_room": share},
    )


def f1_is_not_worse(subject: Subject) -> Verdict:
    """Best-case mean F1 against the report before this one, and against the production model's."""
    model, tomogram = subject.keys
    report: EvaluationReport = subject.value()
    now = report.mean("F1", best_case=True)
    if now is None:
        return Verdict(True, f"not scored: there is no ground_truth/{tomogram}.txt")
    compared = {name: value for name, value in _earlier_scores(subject, model, tomogram) if value is not None}
    low = {name: value for name, value in compared.items() if now < value - WORSE_BY}
    against = ", ".join(f"{value:.3f} {name}" for name, value in (low or compared).items())
    return Verdict(
        not low,
        f"mean best-case F1 {now:.3f}" + (f", against {against}" if against else ", the first"),
        "See what has changed (model, references, settings, ground truth: the inputs of this and of the "
        "earlier report); do not promote the model before that is understood",
        {
            "mean_best_case_f1": now,
            **{f"f1_{name.replace(' ', '_')}": value for name, value in compared.items()},
        },
    )


def _earlier_scores(subject: Subject, model: str, tomogram: str) -> Iterator[tuple[str, float | None]]:
    before = subject.told_before.get("mean_best_case_f1")
    yield "before", None if before is None else float(before)
    promotion = read_promotion(subject.folder)
    if promotion is not None and promotion.model != model:
        path = subject.folder.fetch(subject.folder.product("evaluation_report", promotion.model, tomogram))
        if path.is_file():
            yield f"of {promotion.model}", read_report(path).mean("F1", best_case=True)


_UNSTORED = Verdict(True, "the vectors are not stored: nothing to look at")


def _quality(subject: Subject) -> VectorQuality | None:
    value = subject.value()
    return None if isinstance(value, UnstoredEmbedding) else vector_quality(value.vectors)


def _volumes(folder: Path, most: int | None = None) -> list[Path]:
    """The volumes in a folder, the first ones; none where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in VOLUME_SUFFIXES)[:most]


def _number(value: float) -> float | None:
    """A number that JSON has."""
    return value if value == value and abs(value) != float("inf") else None


def told(event: dg.AssetMaterialization | None) -> dict[str, Any]:
    """What a materialisation tells, as plain values."""
    return {} if event is None else {name: value.value for name, value in event.metadata.items()}
