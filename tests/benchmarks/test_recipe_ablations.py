"""Variants of the recipe can be trained, differ from it in what they say, and come into one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import recipe_ablations
from benchmarks.recipe_ablations import VARIANTS, averaged, main, merged, table
from tomotwin_lib.networks.configuration import check_configuration, read_configuration
from tomotwin_lib.training.recipe import Recipe


def windows(recipe: Recipe) -> int:
    shares = recipe.shares
    return shares.particles + shares.off_centre + shares.distractors + shares.background + shares.hard


def test_every_variant_is_a_configuration_of_its_own_with_as_many_windows() -> None:
    base = read_configuration("on_tomograms", Recipe.from_configuration)
    made = {name: merged(base, change) for name, change in VARIANTS.items()}
    for name, configuration in made.items():
        check_configuration(configuration, name, Recipe.from_configuration)
        recipe = Recipe.from_configuration(configuration, name)
        assert windows(recipe) == windows(Recipe()), name
    kinds = [{key: one[key] for key in ("identifier", "network_config")} for one in made.values()]
    recipes = [
        (kind, Recipe.from_configuration(made[name], name)) for kind, name in zip(kinds, made, strict=True)
    ]
    assert all(one not in recipes[:number] for number, one in enumerate(recipes))
    assert made["base"] == base


def test_changes_reach_deep_and_leave_the_rest() -> None:
    base = {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "f": 4}
    assert merged(base, {"a": {"c": {"d": 9}}, "g": {"h": 5}}) == {
        "a": {"b": 1, "c": {"d": 9, "e": 3}},
        "f": 4,
        "g": {"h": 5},
    }
    assert base == {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "f": 4}


def test_the_table_holds_means_and_every_seed() -> None:
    assert averaged([{"made_up": 0.2}, {"made_up": 0.4}])["made_up"] == pytest.approx(0.3)
    told = table({"base": [{"made_up": 0.25}, {"made_up": 0.75}], "width 8": [{"made_up": 0.5}]}, [0, 1])
    assert told.splitlines() == [
        "| variant | made_up mean | made_up seed 0 | made_up seed 1 |",
        "| --- | --- | --- | --- |",
        "| base | 0.500 | 0.250 | 0.750 |",
        "| width 8 | 0.500 | 0.500 | – |",
    ]


def test_what_was_trained_is_not_trained_again_and_budgets_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[float, int]] = []

    def train(configuration: object, pool: object, place: Path, **options: object) -> None:
        trained.append((configuration["network_config"]["width"], options["seed"]))  # type: ignore[index,arg-type]

    monkeypatch.setattr(recipe_ablations, "make_pool", lambda *args, **options: [])
    monkeypatch.setattr(recipe_ablations, "make_validation_set", lambda folder, *args, **options: folder)
    monkeypatch.setattr(recipe_ablations, "train_on_tomograms", train)
    monkeypatch.setattr(recipe_ablations, "load_network", lambda *args: None)
    monkeypatch.setattr(recipe_ablations, "best_case", lambda loaded, folder: {"made_up": 0.5})
    arguments = ["-o", str(tmp_path), "--steps", "3", "--seeds", "0", "1", "--variants", "base", "width 8"]
    assert main(arguments) == 0
    assert trained == [(16, 0), (8, 0), (16, 1), (8, 1)]
    assert "| width 8 | 0.500 | 0.500 | 0.500 |" in (tmp_path / "ablations.md").read_text()
    assert main([*arguments, "width 24"]) == 0
    assert trained[4:] == [(24, 0), (24, 1)]
    assert main(["-o", str(tmp_path), "--steps", "4", "--variants", "base"]) == 2
