"""Which network should do the work: a rule over the scores of the benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

_ROUNDING = 1e-9  # A difference of exactly the margin must not hang on how sums were rounded.
_KINDS = {
    "honest_f1": "mean F1 at honest thresholds",
    "best_case_f1": "mean best-case F1 (too few tomograms for honest thresholds)",
}


@dataclass(frozen=True)
class Verdict:
    """What the rule says.

    Attributes
    ----------
    model : the network to promote; ``None`` to leave things as they are.
    why : in words, with the numbers.
    """

    model: str | None
    why: str


@dataclass(frozen=True)
class Comparison:
    """One network beside the one in production, on the tomograms of the latter.

    Attributes
    ----------
    model : the network's name.
    gain : its mean score minus that of production; ``None`` where they cannot be compared.
    obstacle : why it is not to be promoted, empty where nothing speaks against it.
    told : the two means, in words.
    """

    model: str
    gain: float | None
    obstacle: str
    told: str = ""


def first_choice(scores: pd.DataFrame, models: Iterable[str]) -> Verdict:
    """The network to begin with: of those that were scored on most tomograms, the best.

    Parameters
    ----------
    scores : what :func:`~tomotwin_lib.leaderboard.benchmark_scores` returned, empty without a benchmark.
    models : networks that can be used. Where none has scores, the only one there is is taken.
    """
    models = list(models)
    own = scores[scores["model"].isin(models)]
    if not len(own):
        if len(models) == 1:
            return Verdict(models[0], "the only network, without scores on a benchmark")
        number = f"{len(models)} networks" if models else "no network is trained or imported yet"
        return Verdict(None, f"{number}, none of them scored on a benchmark" if models else number)
    tomograms = own.groupby("model")["tomogram"].nunique()
    widest = own[own["model"].isin(tomograms.index[tomograms == tomograms.max()])]
    kind = "honest_f1" if _complete(widest) else "best_case_f1"
    means = _mean_by_model(widest, kind)
    best = str(means.idxmax())
    return Verdict(
        best,
        f"the first: best of {len(means)} with {_KINDS[kind]} {means[best]:.3f} on "
        f"{tomograms.max()} benchmark tomogram{'s' * bool(tomograms.max() != 1)}",
    )


def better_choice(
    scores: pd.DataFrame, current: str, models: Iterable[str], *, margin: float, worst_class_drop: float
) -> Verdict:
    """Whether another network should replace the current one.

    It should if on all tomograms that the current one was scored on its mean score is better by ``margin`` or
    more, and that of no class lower by more than ``worst_class_drop``. Honest scores are compared where both
    have them, else best cases. Of several such networks the best is taken.

    Parameters
    ----------
    scores : what :func:`~tomotwin_lib.leaderboard.benchmark_scores` returned.
    current : the network in production.
    models : networks that can be used.
    margin, worst_class_drop : differences of F1, 0 to 1.
    """
    others = [model for model in models if model != current]
    if not others:
        return Verdict(None, f"{current} is the only network")
    found = [
        compare_networks(scores, model, current, margin=margin, worst_class_drop=worst_class_drop)
        for model in others
    ]
    # The greatest gain first, those that cannot be compared last.
    found.sort(key=lambda one: (one.gain is not None, one.gain or 0.0), reverse=True)
    for one in found:
        if not one.obstacle:
            return Verdict(one.model, f"{one.told}, no class worse by more than {worst_class_drop:g}")
    more = f"; {len(found) - 1} other{'s' * (len(found) > 2)} neither" if len(found) > 1 else ""
    first = found[0]
    told = f"{first.told}: {first.obstacle}" if first.told else f"{first.model}: {first.obstacle}"
    return Verdict(None, f"{current} stays; {told}{more}")


def compare_networks(
    scores: pd.DataFrame, model: str, current: str, *, margin: float, worst_class_drop: float
) -> Comparison:
    """One network beside the current one; parameters as for :func:`better_choice`."""
    keys = ["tomogram", "reference"]
    new, old = (scores[scores["model"] == name].set_index(keys) for name in (model, current))
    if not len(old):
        return Comparison(model, None, f"{current}, in production, has no scores to compare with")
    missing = sorted(set(old.index.get_level_values(0)) - set(new.index.get_level_values(0)))
    if missing:
        return Comparison(
            model, None, f"it has no scores on {', '.join(missing[:3])}{' …' * (len(missing) > 3)}"
        )
    if absent := sorted(set(old.index.get_level_values(1)) - set(new.index.get_level_values(1))):
        return Comparison(model, None, f"it has no scores of {', '.join(absent)}")
    shared = old.index.intersection(new.index)
    new, old = new.loc[shared], old.loc[shared]
    kind = "best_case_f1"
    honest = new["honest_f1"].notna() & old["honest_f1"].notna()
    if honest.groupby("tomogram").any().all():
        new, old, kind = new[honest], old[honest], "honest_f1"
    ours, theirs = (float(side.groupby("tomogram")[kind].mean().mean()) for side in (new, old))
    gain = ours - theirs
    told = f"{model} has {_KINDS[kind]} {ours:.3f}, {current} {theirs:.3f}"
    drops = (old.groupby("class")[kind].mean() - new.groupby("class")[kind].mean()).sort_values()
    if gain < margin - _ROUNDING:
        obstacle = f"that is not better by {margin:g}"
    elif drops.iloc[-1] > worst_class_drop + _ROUNDING:
        obstacle = f"class {drops.index[-1]} is worse by {drops.iloc[-1]:.3f}, more than {worst_class_drop:g}"
    else:
        obstacle = ""
    return Comparison(model, gain, obstacle, told)


def _complete(scores: pd.DataFrame) -> bool:
    """Whether honest scores can stand for all tomograms: one each at least."""
    return bool(scores.groupby(["model", "tomogram"])["honest_f1"].count().min() > 0)


def _mean_by_model(scores: pd.DataFrame, kind: str) -> pd.Series:
    return scores.groupby(["model", "tomogram"])[kind].mean().groupby("model").mean()
