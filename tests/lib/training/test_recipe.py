"""The recipe's values have names and ranges, and travel through a configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.configuration import read_configuration
from tomotwin_lib.training.recipe import Recipe


def read(**given: Any) -> Recipe:
    return Recipe.from_configuration({"train_config": given}, "c.json")


def test_a_recipe_survives_json() -> None:
    recipe = read(pairs=0.5, looks=10, shares={"hard": 3, "distance": [4, 9]})
    assert (recipe.pairs, recipe.looks, recipe.shares.hard, recipe.shares.distance) == (
        0.5,
        10,
        3,
        (4.0, 9.0),
    )
    assert (
        Recipe.from_configuration({"train_config": json.loads(json.dumps(recipe.as_configuration()))}, "c")
        == recipe
    )
    assert Recipe.from_configuration({}, "c") == Recipe()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"pair": 1}, "unknown keys: pair"),
        ({"hard": 3}, "unknown keys: hard. hard belongs into its shares"),
        ({"pairs": -1}, "pairs is -1"),
        ({"pairs": True}, "pairs is True"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"looks": 2.5}, "looks is 2.5"),
        ({"averaging": 1.0}, "averaging is 1.0"),
        ({"shares": {"per_class": 1}}, "shares.per_class is 1"),
        ({"shares": {"gold": 1}}, "shares has unknown keys: gold"),
        ({"shares": 3}, "shares is 3"),
        ({"shares": {"distance": [5, 3]}}, "distance is"),
        ({"shares": {"distance": "ab"}}, "distance is"),
        ({"pairs": 0, "proxies": 0}, "both 0"),
    ],
)
def test_bad_values_are_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read(**given)


@pytest.mark.parametrize("name", ["on_tomograms", "on_tomograms_wide"])
def test_the_shipped_configurations_are_of_this_training_too(name: str) -> None:
    configuration = read_configuration(name, Recipe.from_configuration)
    assert configuration["identifier"] == "FullyConvolutional"


def test_the_wide_configuration_goes_on_with_a_network_of_the_other() -> None:
    narrow, wide = (
        read_configuration(name, Recipe.from_configuration)["network_config"]
        for name in ("on_tomograms", "on_tomograms_wide")
    )
    assert wide == {**narrow, "width": 2 * narrow["width"]}
