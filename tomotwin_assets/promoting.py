"""Which model goes into production next: a person's word, the step back, or the rule.

Reads the data folder and writes nothing: the asset ``production_model`` keeps what is decided here.
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tomotwin_assets.benchmark import Benchmark, read_benchmark
from tomotwin_assets.configs import PromotionConfig
from tomotwin_assets.production import BY_RULE, Promotion, read_promotion
from tomotwin_assets.registration import keyed
from tomotwin_assets.resources import DataFolder
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.leaderboard import leaderboard
from tomotwin_lib.networks.shipped_networks import shipped_network
from tomotwin_lib.promotion import better_choice, first_choice
from tomotwin_lib.thresholds import pooled_thresholds


@dataclass(frozen=True)
class Decision:
    """What is in production after this.

    Attributes
    ----------
    promotion : the record to keep, ``None`` where nothing can be promoted.
    changed : whether it is another one than before.
    outcome : what was decided and why, in words.
    recommendation : what a person might do now; empty where there is nothing.
    """

    promotion: Promotion | None
    changed: bool
    outcome: str
    recommendation: str = ""


def decide(folder: DataFolder, config: PromotionConfig) -> Decision:
    """Decide about production: what the configuration asks for, else what the rule says.

    Raises
    ------
    InputError
        If the model that is asked for is not trained, there is nothing to roll back to, its weights are no
        longer those that were promoted, or both are asked for.
    """
    current, weights = read_promotion(folder), trained_models(folder)
    if config.model and config.roll_back:
        raise InputError("roll_back", f"model is {config.model!r} as well", "Ask for one of the two")
    if config.roll_back:
        restored = _rolled_back(current, weights, config)
        return Decision(restored, True, f"{restored.model} again: {restored.why}")

    benchmark = read_benchmark(folder, weights)
    files = keyed(folder.model_files(), [])
    own = frozenset(key for key, path in files.items() if path != shipped_network(key))
    case = _Case(current, weights, benchmark, own)
    if config.model:
        if config.model not in weights:
            raise InputError(
                "model",
                f"{config.model!r} is not trained",
                f"There are {', '.join(weights)}" if weights else "Materialise trained_model first",
            )
        return case.promote(config.model, _person(config), config.why or "no reason was given")
    if current is None:
        return case.begin()
    now = weights.get(current.model)
    if now is None:
        return case.replace_lost(config)
    if now != current.md5:
        return case.take_new_weights(current, config)
    return case.apply_rule(current, config)


def trained_models(folder: DataFolder) -> dict[str, str]:
    """The models that are in the data folder and trained or imported, with the MD5 of their checkpoints."""
    folder = DataFolder(root=str(folder.path))  # settings are read once, not for every file
    names = dict.fromkeys(path.stem for path in folder.model_files())
    paths = {name: folder.fetch(folder.product("trained_model", name)) for name in names}
    return {name: md5_of_file(path) for name, path in paths.items() if path.is_file()}


@dataclass(frozen=True)
class _Case:
    """What is to be decided on: the promotion that holds, the checkpoints, their scores.

    ``own`` are the models whose files are in the data folder, trained or not; the others ship.
    """

    current: Promotion | None
    weights: dict[str, str]
    benchmark: Benchmark
    own: frozenset[str] = frozenset()

    def promote(self, model: str, by: str, why: str) -> Decision:
        """Put a model into production, with the thresholds of its own benchmark."""
        promotion = self._promotion(model, by, why)
        return Decision(promotion, True, f"{model} is promoted by {by}: {why}")

    def begin(self) -> Decision:
        """Nothing is in production yet: the best, or the only one.

        Networks that ship are there for those who have none. They wait for the lab's own to be trained, and
        where nothing has been scored the lab's own goes first.
        """
        eligible = self._eligible()
        scored = self.benchmark.scores["model"].isin(eligible).any()
        waiting = sorted(self.own - self.weights.keys())
        if waiting or (self.own and not scored):
            eligible = [name for name in eligible if name in self.own]
        verdict = first_choice(self.benchmark.scores, eligible)
        if verdict.model is None:
            remedy = "Promote one: tomotwin-platform promote NAME --why …" if self.weights else ""
            waits = f"; {', '.join(waiting)} to be trained first" if waiting and self.weights else ""
            return Decision(None, False, f"nothing is promoted: {verdict.why}{waits}", remedy)
        return self.promote(verdict.model, BY_RULE, verdict.why)

    def replace_lost(self, config: PromotionConfig) -> Decision:
        """The model in production is no longer there."""
        assert self.current is not None
        lost = f"{self.current.model}, which is in production, is no longer there"
        verdict = first_choice(self.benchmark.scores, self._eligible())
        if config.promotion == "rule" and verdict.model is not None:
            return self.promote(verdict.model, BY_RULE, f"{lost}; {verdict.why}")
        return Decision(self.current, False, lost, f"Put it back, or promote another one ({verdict.why})")

    def take_new_weights(self, current: Promotion, config: PromotionConfig) -> Decision:
        """The model in production was trained or imported anew: the old weights cannot be had any more."""
        new = self._promotion(current.model, BY_RULE, "")
        changed = f"the weights of {current.model} are no longer those that were promoted"
        if self.benchmark.tomograms and new.mean_best_case_f1 is None:
            return Decision(current, False, f"{changed}, and the new ones have no scores yet")
        for now, then in (
            (new.mean_honest_f1, current.mean_honest_f1),
            (new.mean_best_case_f1, current.mean_best_case_f1),
        ):
            if now is not None and then is not None:
                if now < then - config.worst_class_drop:
                    told = f"{changed}, and the new ones are worse: mean F1 {now:.3f}, not {then:.3f}"
                    return Decision(current, False, told, "Promote a model, or put the old file back")
                break
        # The old weights are gone: a step back leads to what was before them.
        new = replace(new, why=changed, replaced=current.replaced, before=current.before)
        return Decision(new, True, f"{current.model} is promoted again: {changed}")

    def apply_rule(self, current: Promotion, config: PromotionConfig) -> Decision:
        """All is well with the model in production: is another one better?"""
        verdict = better_choice(
            self.benchmark.scores,
            current.model,
            self._eligible(),
            margin=config.margin,
            worst_class_drop=config.worst_class_drop,
        )
        if verdict.model is not None and config.promotion == "rule":
            return self.promote(verdict.model, BY_RULE, verdict.why)
        advice = "" if verdict.model is None else f"Promote {verdict.model}: {verdict.why}"
        fresh = self._promotion(
            current.model, current.by, "the benchmark has changed, and the thresholds with it"
        )
        if fresh.thresholds and (fresh.thresholds, fresh.tomograms) != (
            current.thresholds,
            current.tomograms,
        ):
            if current.by == BY_RULE:
                # Not a step that anybody would want to go back: that leads to the model before.
                fresh = replace(fresh, replaced=current.replaced, before=current.before)
                return Decision(fresh, True, f"{current.model} stays; {fresh.why}", advice)
            moved = (
                f"{current.model} has other thresholds on today's benchmark: promote it again to take them"
            )
            advice = f"{advice}; {moved}" if advice else moved
        outcome = verdict.why if verdict.model is None else f"{current.model} stays until a person decides"
        return Decision(current, False, outcome, advice)

    def _eligible(self) -> list[str]:
        """Models that may be promoted by rule."""
        no = self.current.turned_down if self.current is not None else []
        return [model for model, md5 in self.weights.items() if md5 not in no]

    def _promotion(self, model: str, by: str, why: str) -> Promotion:
        own = [one for one in self.benchmark.evaluated if one.model == model]
        scores = self.benchmark.scores
        board = leaderboard(scores[scores["model"] == model], own)
        means = [
            float(board[name][0]) if len(board) and board[name].notna()[0] else None
            for name in ("mean_honest_f1", "mean_best_case_f1")
        ]
        counted = [one for one in own if one.curves]
        current, md5 = self.current, self.weights[model]
        return Promotion(
            model=model,
            md5=md5,
            by=by,
            when=_now(),
            why=why,
            replaced=None if current is None else current.model,
            thresholds=pooled_thresholds((one.curves for one in counted), fbeta=self.benchmark.fbeta),
            tomograms=sorted(one.tomogram for one in counted),
            mean_honest_f1=means[0],
            mean_best_case_f1=means[1],
            history=_history(current),
            before=None if current is None else len(current.history),
            turned_down=[] if current is None else [old for old in current.turned_down if old != md5],
        )


def _rolled_back(current: Promotion | None, weights: dict[str, str], config: PromotionConfig) -> Promotion:
    """The promotion before the current one, with its thresholds, as a promotion of now."""
    if current is None or current.before is None:
        raise InputError(
            "roll_back", "there is no earlier promotion to go back to", "Promote a model by name"
        )
    target = Promotion(**current.history[current.before])
    if weights.get(target.model) != target.md5:
        raise InputError(
            "roll_back",
            f"the weights of {target.model} are no longer those that were promoted on {target.when}",
            f"Put them back (MD5 {target.md5}), or promote a model by name",
        )
    return replace(
        target,
        by=_person(config),
        when=_now(),
        why=config.why or f"rolled back from {current.model}",
        replaced=current.model,
        history=_history(current),
        turned_down=sorted({*current.turned_down, current.md5} - {target.md5}),
    )


def _history(current: Promotion | None) -> list[dict[str, object]]:
    return [] if current is None else [*current.history, current.record]


def _person(config: PromotionConfig) -> str:
    """Who asks: the name that was given, else the user that the process belongs to."""
    if config.by:
        return config.by
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
