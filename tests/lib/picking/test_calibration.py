"""Shares of false picks: by hand, and within sampling error where background and particles are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.calibration import (
    EXPECTED,
    SHARE,
    Background,
    Calibration,
    calibrated,
    calibration_table,
    keep_expected,
    least_shares,
    measure_background,
)
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.calibration import read_calibration, write_calibration
from tomotwin_lib.locating import LOCATING

NAME = "m_1abc_0.mrc"
SHAPE = (100, 100, 100)


def picks_of(
    metric: list[float], x: list[float] | None = None, references: tuple[str, ...] = (NAME,), number: int = 0
) -> pd.DataFrame:
    frame = pd.DataFrame({"X": x or [0.0] * len(metric), "Y": 50.0, "Z": 50.0, "size": 9})
    frame = frame.assign(metric_best=np.float32(metric), predicted_class=number)
    frame.attrs.update(references=list(references), tomogram_input_shape=SHAPE, modelmd5="a")
    return frame


def truth_of(*rows: tuple[str, float]) -> pd.DataFrame:
    return pd.DataFrame([(name, x, 50.0, 50.0) for name, x in rows], columns=["class", "X", "Y", "Z"])


def calibration(similarities: list[float], voxels: float = 2e6, lowest: float = 0.5) -> Calibration:
    return Calibration({NAME: Background(np.array(similarities), voxels, 2, lowest)}, "a")


def test_by_hand() -> None:
    # Ten times the volume: a tenth of the false picks, and of the one that is reckoned with besides.
    background = calibration([0.5, 0.6, 0.6, 0.6, 0.6, 0.75, 0.85], voxels=1e7)
    found = calibrated(picks_of([0.9, 0.8, 0.7, 0.55, 0.45]), background, "c.json")
    assert found[EXPECTED].to_numpy()[:4] == pytest.approx([0.1, 0.2, 0.3, 0.7])
    assert np.isnan(found[EXPECTED].iloc[4])  # below what is known
    # Three picks count as 1.367, four as 2.086: Gehrels (1986), table 2, one deviation.
    three, four = 0.3 / 1.367, 0.7 / 2.086
    assert found[SHARE].to_numpy() == pytest.approx([three, three, three, four, 1.0], rel=1e-3)
    assert found.attrs["references"] == [NAME]


def test_a_better_pick_has_no_larger_share() -> None:
    # Alone the best pick promises nothing; the next two add nothing false, the fourth three times as much.
    found = calibrated(picks_of([0.9, 0.89, 0.88, 0.6]), calibration([0.55, 0.7, 0.7, 0.7]), "c.json")
    share = 0.5 / 1.367
    assert found[SHARE].to_numpy() == pytest.approx([share, share, share, 2 / 2.086], rel=1e-3)
    assert len(keep_expected(found, 0.37, "c")) == 3 and len(keep_expected(found, 0.36, "c")) == 0
    found.attrs["references"] = [NAME, "m_2xyz_0.mrc"]
    least = least_shares(found)
    assert least["picks"].tolist() == [4, 0]
    assert least[SHARE].to_numpy() == pytest.approx([share, np.nan], rel=1e-3, nan_ok=True)


def test_all_that_is_no_match_is_background() -> None:
    both = (NAME, "m_2xyz_0.mrc")
    first = pd.concat([picks_of([0.9, 0.8, 0.7], [10, 11, 60]), picks_of([0.6], [10], number=1)])
    first.attrs = picks_of([], references=both).attrs
    second = picks_of([0.85, 0.5], [30, 80], references=both)
    measured = measure_background([(first, truth_of(("1abc", 10))), (second, truth_of(("1abc", 90)))], 20)
    own = measured.backgrounds[NAME]
    # The second pick on a particle is false too; both tomograms count, nothing is known below 0.6.
    assert own.similarities == pytest.approx([0.5, 0.7, 0.8, 0.85])
    assert (own.voxels, own.tomograms, own.lowest) == (2e6, 2, pytest.approx(0.6))
    assert list(measured.backgrounds) == [NAME]  # nobody knows where 2xyz is


def test_a_class_that_a_tomogram_lacks_is_background_there() -> None:
    pairs = [
        (picks_of([0.9], [10]), truth_of(("1abc", 10))),
        (picks_of([0.8], [10], references=(NAME, "m_2xyz.mrc")), truth_of(("2xyz", 10))),
    ]
    assert measure_background(pairs, 20).backgrounds[NAME].similarities == pytest.approx([0.8])


def drawn(rng: np.random.Generator, particles: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A tomogram with noise and look-alikes that nothing but the truth tells from the particles."""
    noise, alike = rng.normal(0.6, 0.08, rng.poisson(150)), rng.normal(0.78, 0.05, rng.poisson(12))
    metric = np.concatenate([rng.normal(0.86, 0.05, particles), noise, alike])
    x = np.arange(len(metric)) * 40.0
    kept = metric > 0.5
    picks = picks_of(metric[kept].tolist(), x[kept].tolist())
    return picks, truth_of(*(("1abc", place) for place in x[:particles]))


@pytest.mark.parametrize("asked", [0.05, 0.2])
def test_the_share_that_is_asked_for_is_what_comes(asked: float) -> None:
    rng = np.random.default_rng(0)
    shares, found = [], 0
    for trial in range(60):
        # More particles in the tomogram than in those that the background was measured on, or none at all.
        measured = measure_background([drawn(rng, 10) for _ in range(5)], 20)
        picks, truth = drawn(rng, (40, 15, 0)[trial % 3]) if trial % 3 < 2 else absent(rng)
        kept = keep_expected(calibrated(picks, measured, "c"), asked, "c")
        right = set(truth.loc[truth["class"] == "1abc", "X"]) & set(kept["X"])
        shares.append((len(kept) - len(right)) / len(kept) if len(kept) else 0.0)
        found += len(right)
    error = np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) < asked + 3 * error
    assert found > 300  # of 1100: it is no use to keep nothing


def absent(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    picks, _ = drawn(rng, 0)
    return picks, truth_of(("2xyz", 0.0))


def test_files_keep_all(tmp_path: Path) -> None:
    way = {"tolerance": 0.2, "compete": False}
    before = replace(calibration([0.5, float(np.float16(0.7))]), contents={NAME: "d"}, locating=way)
    write_calibration(tmp_path / "c.json", before)
    after = read_calibration(tmp_path / "c.json")
    assert after.model_md5 == "a" and after.contents == {NAME: "d"} and after.locating == way
    assert after.backgrounds[NAME].lowest == 0.5
    assert after.backgrounds[NAME].similarities.tolist() == before.backgrounds[NAME].similarities.tolist()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"backgrounds": {}, "contents": []}',
        '{"backgrounds": {}, "locating": []}',
        '{"backgrounds": {"a": {}}}',
        '{"backgrounds": {"a": {"similarities": ["x"]}}}',
        '{"backgrounds": {"a": {"similarities": [0.5], "voxels": 0, "tomograms": 1, "lowest": 0}}}',
    ],
)
def test_a_broken_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(InputError, match=r"c\.json"):
        read_calibration(tmp_path / "c.json")


def test_what_cannot_be_used() -> None:
    known = calibration([0.5])
    with pytest.raises(InputError, match="another network"):
        calibrated(picks_of([0.9]), Calibration(known.backgrounds, "b"), "c.json")
    with pytest.raises(InputError, match="none of the references"):
        calibrated(picks_of([0.9], references=("other.mrc",)), known, "c.json")
    with pytest.raises(InputError, match="--calibration"):
        keep_expected(picks_of([0.9]), 0.05, "located.tloc")
    for share in (0, 1.1, float("nan")):
        with pytest.raises(InputError, match="share"):
            keep_expected(calibrated(picks_of([0.9]), known, "c"), share, "c")
    shapeless = picks_of([0.9])
    del shapeless.attrs["tomogram_input_shape"]
    with pytest.raises(InputError, match="shape"):
        calibrated(shapeless, known, "c.json")


def test_without_picks_nothing_is_expected() -> None:
    table = calibration_table(calibrated(picks_of([]), calibration([0.6]), "c"))
    assert table["picks"].tolist() == [0] and table[EXPECTED].tolist() == [0.0]


def test_another_reference_of_the_same_name_is_seen() -> None:
    one, other = (picks_of([0.9, 0.6], [10.0, 90.0]) for _ in range(2))
    truth = truth_of(("1abc", 10.0))
    one.attrs["contents"], other.attrs["contents"] = {NAME: "c"}, {NAME: "d"}
    known = measure_background([(one, truth), (one, truth)], 20)
    assert known.contents == {NAME: "c"}
    calibrated(one, known, "c.json")
    del known.contents[NAME]  # type: ignore[attr-defined]
    calibrated(other, known, "c.json")  # of an earlier version: nothing is known
    with pytest.raises(InputError, match=rf"c\.json.*another {NAME}"):
        calibrated(other, measure_background([(one, truth)], 20), "c.json")
    with pytest.raises(InputError, match="different references"):
        measure_background([(one, truth), (other, truth)], 20)


def test_picks_that_were_located_in_another_way_are_refused() -> None:
    one, other, old = (picks_of([0.9, 0.6], [10.0, 90.0]) for _ in range(3))
    truth = truth_of(("1abc", 10.0))
    one.attrs[LOCATING] = {"tolerance": 0.2, "compete": False}
    other.attrs[LOCATING] = {"tolerance": 0.05, "compete": False}
    known = measure_background([(one, truth), (old, truth)], 20)
    calibrated(one, known, "c.json")
    calibrated(old, known, "c.json")  # of an earlier version: nothing is known
    with pytest.raises(InputError, match=r"c\.json.*other settings.*tolerance 0\.2 and 0\.05"):
        calibrated(other, known, "c.json")
    with pytest.raises(InputError, match=r"different settings: tolerance 0\.2 and 0\.05"):
        measure_background([(one, truth), (other, truth)], 20)
