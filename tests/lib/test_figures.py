"""Figures hold what they should show, whatever the data, and leave nothing behind."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from PIL import Image

from tomotwin_lib import figures
from tomotwin_lib.errors import InputError
from tomotwin_lib.products import Grid, SimilarityMap

SHAPE = (30, 50, 70)


def volume() -> np.ndarray:
    """Noise, shape (z, y, x)."""
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def picks(positions: list[tuple[float, float, float]], classes: list[int], names: list[str]) -> pd.DataFrame:
    """Picks at (x, y, z), boxes of 10 voxels."""
    frame = pd.DataFrame(positions, columns=["X", "Y", "Z"])
    frame["predicted_class"] = classes
    frame["width"] = 10
    frame.attrs["references"] = names
    return frame


def circles(figure: Figure, panel: int) -> list[tuple[float, float, float]]:
    """Middle and diameter of the circles in a panel: 0 xy, 1 zy, 2 xz."""
    found = []
    for collection in figure.axes[panel].collections:
        assert isinstance(collection, EllipseCollection)
        offsets = np.asarray(collection.get_offsets())
        found += [(x, y, d) for (x, y), d in zip(offsets, np.ravel(collection.get_widths()), strict=True)]
    return sorted(found)


def legend(figure: Figure) -> list[str]:
    """The texts of the figure's legend."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def similarity(references: int = 3, masked: bool = False) -> SimilarityMap:
    """A map with one peak for each reference."""
    grid = Grid((0, 4, 6), (2, 2, 2), (5, 8, 9))
    values = np.random.default_rng(0).normal(0.1, 0.1, size=(grid.size, references)).astype(np.float32)
    for index in range(references):
        values[100 + index, index] = 0.9
    names = [f"reference_{index}abc.mrc" for index in range(references)]
    if masked:
        sites = np.arange(50, 150)
        return SimilarityMap(values[sites], names, grid, sites)
    return SimilarityMap(values, names, grid)


def test_circles_are_where_the_slices_cut_the_spheres() -> None:
    frame = picks([(20, 25, 15), (60, 10, 18), (40, 40, 29)], [0, 1, 1], ["1abc.mrc", "2xyz.mrc"])
    figure = figures.orthoslices_with_picks(volume(), frame, centre=(15, 25, 20))
    xy, zy, xz = circles(figure, 0), circles(figure, 1), circles(figure, 2)
    # Sphere of radius 5: in the middle the full circle, three voxels away one of radius 4, further none.
    assert xy == [(20, 25, 10), (60, 10, 8)]
    assert zy == [(15, 25, 10)]
    assert xz == [(20, 15, 10)]
    assert legend(figure) == ["1abc (1)", "2xyz (2)"]


def test_slices_go_where_the_picks_are() -> None:
    frame = picks([(20, 25, 22), (60, 10, 22), (40, 40, 5)], [0, 0, 0], ["1abc.mrc"])
    texts = [
        text.get_text()
        for axes in figures.orthoslices_with_picks(volume(), frame).axes
        for text in axes.texts
    ]
    assert any("z = 22" in text for text in texts)
    texts = [text.get_text() for axes in figures.orthoslices_with_picks(volume()).axes for text in axes.texts]
    assert "x = 35\ny = 25\nz = 15" in texts


def test_box_sizes_and_classes_of_ground_truth() -> None:
    truth = pd.DataFrame({"class": ["1abc", "vesicle"], "X": [20, 50], "Y": [25, 25], "Z": [15, 15]})
    figure = figures.orthoslices_with_picks(
        volume(), truth, box_sizes={"1ABC": 20, "vesicle": 12}, centre=(15, 25, 20)
    )
    assert circles(figure, 0) == [(20, 25, 20), (50, 25, 12)]
    assert legend(figure) == ["1abc (1)", "vesicle (1)"]
    assert (
        circles(figures.orthoslices_with_picks(volume(), truth, box_sizes=8, centre=(15, 25, 20)), 0)[0][2]
        == 8
    )


def test_references_of_one_particle_share_a_class() -> None:
    frame = picks(
        [(20, 25, 15), (40, 25, 15), (60, 25, 15)], [0, 1, 2], ["a_1abc_0.mrc", "a_1abc_1.mrc", "rod.mrc"]
    )
    assert legend(figures.orthoslices_with_picks(volume(), frame)) == ["1abc (2)", "rod (1)"]


@pytest.mark.parametrize(
    ("voxel_size", "expected"), [(10.0, "10 nm"), (2.0, "2 nm"), (0.9, "1 nm"), (None, None)]
)
def test_scale_bar(voxel_size: float | None, expected: str | None) -> None:
    figure = figures.orthoslices_with_picks(volume(), voxel_size_in_angstrom=voxel_size)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ([expected] if expected else [])


@pytest.mark.parametrize("shape", [(1, 30, 40), (40, 7, 90), (90, 40, 7)])
def test_volumes_of_any_shape_are_drawn(shape: tuple[int, int, int]) -> None:
    z, y, x = shape
    frame = picks([(x / 2, y / 2, z / 2)], [0], ["a_very_long_name_that_nobody_would_want_in_a_legend.mrc"])
    assert figures.png_bytes(figures.orthoslices_with_picks(np.zeros(shape, np.int8), frame, title="t"))


def test_training_curve_marks_the_best_epochs() -> None:
    history = pd.DataFrame(
        {"epoch": [0, 1, 2], "train_loss": [3, 2, 1], "valid_loss": [3, 1.5, 2], "valid_f1": [0.1, 0.5, 0.9]}
    )
    figure = figures.training_curve(history)
    labels = [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]  # type: ignore[union-attr]
    assert "best: 1.5 (epoch 1)" in labels and "best: 0.9 (epoch 2)" in labels
    history["valid_f1"] = np.nan
    assert figures.png_bytes(figures.training_curve(history))
    assert figures.png_bytes(figures.training_curve(history.head(1)))
    assert figures.png_bytes(figures.training_curve(history.head(0)))


@pytest.mark.parametrize("masked", [False, True])
def test_similarity_figures(masked: bool) -> None:
    figure = figures.similarity_slices(similarity(masked=masked))
    site = np.unravel_index(100, (5, 8, 9))
    ring = figure.axes[0].lines[0]
    assert ring.get_xydata().tolist() == [[6 + 2 * site[2], 4 + 2 * site[1]]]  # type: ignore[union-attr]
    assert f"z = {2 * site[0]}" in figure.axes[0].get_title()
    assert "0.90" in figure.axes[0].get_title()
    figure = figures.similarity_histogram(similarity(masked=masked), 0.5)
    assert legend(figure) == ["reference_0abc", "reference_1abc", "reference_2abc"]
    counts = sum(np.nansum(line.get_ydata()) for line in figure.axes[0].lines[:3])
    assert counts == 3 * (100 if masked else 360)


def test_negatives_are_one_line_of_the_histogram_the_best_of_them_at_each_position() -> None:
    known = similarity(4)
    values = np.asarray(known.values)
    against = replace(
        known, references=["negative_gold.mrc", "0abc.mrc", "carbon.mrc", "1abc.mrc"],
        attributes={"negatives": ["carbon.mrc"]},
    )  # fmt: skip
    figure = figures.similarity_histogram(against)
    assert legend(figure) == ["0abc", "1abc", "the most similar of 2 negatives"]
    *_, line = figure.axes[0].lines
    best = np.maximum(values[:, 0], values[:, 2])
    x, counts = (np.asarray(values, dtype=float) for values in line.get_data())
    counts = np.nan_to_num(counts)
    # By hand from the same values, within the width of a bin.
    width = x[1] - x[0]
    assert counts.sum() == len(best)
    assert float(np.dot(x, counts) / counts.sum()) == pytest.approx(best.mean(), abs=width)
    assert x[counts > 0].max() == pytest.approx(0.9, abs=width)


def test_more_references_than_panels() -> None:
    figure = figures.similarity_slices(similarity(7), most=4)
    assert "3 more" in figure._supxlabel.get_text()  # type: ignore[attr-defined]
    assert figures.png_bytes(figures.similarity_histogram(similarity(20)))


def test_bars_have_the_scores() -> None:
    scores = pd.DataFrame(
        {"reference": ["a.mrc", "b.mrc"], "F1": [0.5, 1], "Recall": [0.4, 1], "Precision": [0.6, 1]}
    )
    axes = figures.score_bars(scores).axes[0]
    assert sorted(bar.get_width() for bar in axes.patches) == [0.4, 0.5, 0.6, 1, 1, 1]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_leaderboard_shows_both_scores_with_their_intervals() -> None:
    columns = [
        name
        for kind in ("honest", "best_case")
        for name in (f"mean_{kind}_f1", f"{kind}_f1_low", f"{kind}_f1_high")
    ]
    board = pd.DataFrame(
        [("good", 0.7, 0.6, 0.8, 0.9, 0.85, 0.95), ("old", np.nan, np.nan, np.nan, 0.5, np.nan, np.nan)],
        columns=["model", *columns],
    )
    axes = figures.leaderboard_chart(board, production="old").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "old (production)"]
    assert [text.get_text() for text in axes.texts] == ["0.70", "0.90", "0.50"]
    honest, best = axes.containers
    spans = [
        [segment[:, 0].tolist() for segment in container.lines[2][0].get_segments() if len(segment)]  # type: ignore[union-attr]
        for container in (honest, best)
    ]
    assert np.allclose(spans[0], [[0.6, 0.8]]) and np.allclose(spans[1], [[0.85, 0.95], [0.5, 0.5]])
    assert figures.png_bytes(figures.leaderboard_chart(board.head(0)))
    assert "first 1 of 2" in figures.leaderboard_chart(board, most=1)._suptitle.get_text()  # type: ignore[attr-defined]


def test_nothing_to_draw_is_said() -> None:
    empty = SimilarityMap(
        np.zeros((0, 1), np.float32), ["a"], Grid((0, 0, 0), (2, 2, 2), (2, 2, 2)), np.arange(0)
    )
    for figure in (
        figures.similarity_slices(empty),
        figures.similarity_histogram(empty),
        figures.score_bars(pd.DataFrame({"reference": [], "F1": [], "Recall": [], "Precision": []})),
        figures.leaderboard_chart(pd.DataFrame()),
        figures.subvolume_gallery([]),
    ):
        assert any(text.get_text().strip() for axes in figure.axes for text in axes.texts)


def test_gallery_shows_the_first_ones() -> None:
    cubes = [(f"cube_{index}.mrc", np.full((5, 5, 5), index)) for index in range(12)]
    figure = figures.subvolume_gallery(cubes, most=10, columns=4, title="Cubes")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f"cube_{index}" for index in range(10)] + ["", ""]


def test_png_is_held_to_its_size() -> None:
    figure = figures.orthoslices_with_picks(volume())
    full = figures.png_bytes(figure, 10_000_000)
    for limit in (200_000, 50_000):
        small = figures.png_bytes(figure, limit)
        assert len(small) <= limit < len(full)
        assert Image.open(io.BytesIO(small)).format == "PNG"
    with pytest.raises(ValueError, match="does not fit into 100 bytes"):
        figures.png_bytes(figure, 100)


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figures.training_curve(pd.DataFrame())
    path = figures.save_figure(tmp_path / "new" / "curve.png", figure)
    assert path.read_bytes().startswith(b"\x89PNG")
    before = path.read_bytes()

    def disk_full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", disk_full)
    with pytest.raises(OSError, match="No space"):
        figures.save_figure(path, figure)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == ["curve.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        figures.save_figure(tmp_path / "file" / "curve.png", figure)


def test_threads_draw_at_the_same_time() -> None:
    results: list[bytes] = []

    def draw() -> None:
        results.append(figures.png_bytes(figures.similarity_histogram(similarity())))

    threads = [threading.Thread(target=draw) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and len(set(results)) == 1


def test_pyplot_is_not_used() -> None:
    source = "".join(path.read_text() for path in Path(figures.__file__).parent.glob("*.py"))
    assert "matplotlib.pyplot" not in source


def test_palette_has_no_colour_twice() -> None:
    assert len(set(figures.PALETTE)) == len(figures.PALETTE) == 8
