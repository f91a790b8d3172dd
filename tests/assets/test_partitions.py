"""Keys of partitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tomotwin_assets.partitions import check_key, pair_key, split_key
from tomotwin_assets.resources import DataFolder
from tomotwin_lib.errors import InputError


@pytest.mark.parametrize("key", ["a", "TS_001", "tomo-1.rec2", "0", "_x", "a" * 128])
def test_usable_keys(key: str) -> None:
    assert check_key(key, "here") == key


@pytest.mark.parametrize(
    "key", ["", ".", "..", ".hidden", "-flag", "a b", "a/b", "a\\b", "a|b", "ä", "a\n", "a" * 129]
)
def test_keys_that_could_leave_the_folder_or_confuse_dagster(key: str) -> None:
    with pytest.raises(InputError, match="cannot name a partition"):
        check_key(key, "here")


def test_a_pair_is_split_by_dimension_whatever_its_text_looks_like() -> None:
    key = pair_key("zeta", "alpha")
    assert split_key(key) == ("zeta", "alpha")
    assert split_key("zeta") == ("zeta",)


def test_products_lie_where_people_find_them(tmp_path: Path) -> None:
    folder = DataFolder(root=str(tmp_path))
    products = tmp_path / "products"
    assert folder.product("leaderboard") == products / "leaderboard.csv"
    assert folder.product("trained_model", "net") == products / "trained_model" / "net.pth"
    embeddings = products / "tomogram_embeddings" / "net" / "one.temb"
    assert folder.product("tomogram_embeddings", "net", "one") == embeddings
    coordinates = products / "picked_coordinates" / "net" / "one"
    assert folder.product("picked_coordinates", "net", "one") == coordinates


def test_a_product_never_lies_outside(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        DataFolder(root=str(tmp_path)).product("located_picks", "..", "one")


def test_two_files_of_one_name_are_no_partition(tmp_path: Path) -> None:
    folder = DataFolder(root=str(tmp_path))
    (tmp_path / "models").mkdir()
    for suffix in (".json", ".pth"):
        (tmp_path / "models" / f"net{suffix}").touch()
    with pytest.raises(InputError, match=r"net.json and net.pth have one name"):
        folder.model_file("net")
    with pytest.raises(InputError, match=r"there is no other.json or other.pth"):
        folder.model_file("other")
