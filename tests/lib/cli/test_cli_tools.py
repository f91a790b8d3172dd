"""``tomotwin tools`` and ``tomotwin_tools.py``, each subcommand by the flags that TomoTwin gave it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.formats.coordinates import read_coords
from tomotwin_lib.formats.frames import read_reference_embedding, read_tomogram_embedding
from tomotwin_lib.formats.volumes import read_volume

# Fixtures of conftest.py, which tests cannot import by name.
Lab = Any
Run = Callable[..., Any]


@pytest.fixture
def embedded(lab: Lab, tmp_path: Path, run: Run) -> Path:
    """A folder with the embeddings of tomogram and references, and their map."""
    for command in (
        ("embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", tmp_path, "-s", "4"),
        ("embed_main", "subvolumes", "-m", lab.model, "-v", lab.references, "-o", tmp_path),
        (
            "map_main", "distance", "-r", tmp_path / "embeddings.temb",
            "-v", tmp_path / "tomo_embeddings.temb", "-o", tmp_path,
        ),
    ):  # fmt: skip
        assert run(*command).code == 0
    return tmp_path


def test_extractref_cuts_what_the_references_were_cut_from(lab: Lab, tmp_path: Path, run: Run) -> None:
    rows = [(x, y, z) for z, y, x in lab.centres.values()]
    (tmp_path / "p.coords").write_text("".join(f"{x} {y} {z}\n" for x, y, z in [*rows, (3, 3, 3)]))
    outcome = run(
        "tools_main", "extractref", "--tomo", lab.tomogram, "--coords", tmp_path / "p.coords",
        "--out", tmp_path / "out", "--filename", "cut.mrc",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "1 of 3 positions" in outcome.err and "row 2" in outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cut_0.mrc", "cut_1.mrc"]
    for number, name in enumerate(lab.centres):
        cut, reference = (
            read_volume(tmp_path / "out" / f"cut_{number}.mrc"),
            read_volume(lab.references / name),
        )
        np.testing.assert_array_equal(cut.data, reference.data)
        assert cut.voxel_size_in_angstrom == pytest.approx(10.0)


def test_masks_serve_the_embedding(lab: Lab, tmp_path: Path, run: Run) -> None:
    for way, options in (
        ("intensity", ()),
        ("median", ("-m", lab.model, "-s", "8", "-t", "1.1", "-b", "16", "-d", "0", "--no-progress")),
    ):
        folder = tmp_path / way
        outcome = run("main", "tools", "embedding_mask", way, "-i", lab.tomogram, "-o", folder, *options)
        assert outcome.code == 0, outcome.err
        assert "% masked out" in outcome.out
        assert read_volume(folder / "tomo_mask.mrc").data.shape == lab.shape
        outcome = run(
            "embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", folder, "-s", "6",
            "--mask", folder / "tomo_mask.mrc",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err


def test_filter_embedding(embedded: Path, run: Run) -> None:
    common = ("-i", embedded / "tomo_embeddings.temb", "-m", embedded / "map.tmap", "-o", embedded)
    frame = pd.read_pickle(embedded / "map.tmap")
    threshold = float(frame["d_class_0"].astype(float).quantile(0.75))
    assert run("tools_main", "filter_embedding", *common, "-t", str(threshold), "--lower").code == 0
    for index, stem in enumerate(("tomo_1abc_0", "tomo_2xyz_0")):
        kept = read_tomogram_embedding(embedded / f"tomo_embeddings_filtered_{stem}.temb")
        chosen = frame[frame[f"d_class_{index}"].astype(np.float32) >= threshold]
        np.testing.assert_array_equal(kept.positions(), chosen[["Z", "Y", "X"]])
    assert run("tools_main", "filter_embedding", *common, "-t", str(threshold), "--concat").code == 0
    kept = read_tomogram_embedding(embedded / "tomo_embeddings_filtered_allrefs.temb")
    below = (frame[["d_class_0", "d_class_1"]].astype(np.float32) < threshold).any(axis=1)
    assert len(kept.vectors) == below.sum()
    # What is kept can be mapped again.
    outcome = run(
        "map_main", "distance", "-r", embedded / "embeddings.temb",
        "-v", embedded / "tomo_embeddings_filtered_allrefs.temb", "-o", embedded / "again",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_median_embedding_is_a_reference(embedded: Path, run: Run) -> None:
    source = embedded / "tomo_embeddings.temb"
    assert run("tools_main", "median_embedding", "-i", source, "-o", embedded).code == 0
    frame = pd.read_pickle(source)
    median = read_reference_embedding(embedded / "tomo_embeddings_med.temb")
    channels = frame.drop(columns=["X", "Y", "Z"]).astype(np.float32)
    np.testing.assert_allclose(median.vectors[0], channels.median(), atol=1e-6)
    outcome = run(
        "map_main",
        "distance",
        "-r",
        embedded / "tomo_embeddings_med.temb",
        "-v",
        source,
        "-o",
        embedded / "m",
    )
    assert outcome.code == 0, outcome.err


def test_make_target_takes_the_rows_as_they_stand(embedded: Path, run: Run) -> None:
    frame = pd.read_pickle(embedded / "tomo_embeddings.temb")
    clusters = np.zeros(len(frame), dtype=int)
    clusters[[5, 9]], clusters[[40]] = 1, 3
    # A file in another order of rows, as a plotting tool may write it.
    shuffled = frame.sample(frac=1, random_state=0)
    shuffled.attrs = frame.attrs
    pd.to_pickle(shuffled, embedded / "shuffled.temb")
    table = pd.DataFrame({"MANUAL_CLUSTER_ID": clusters[shuffled.index]})
    table.to_csv(embedded / "clusters.csv")
    outcome = run(
        "tools_main", "make_target", "-i", embedded / "shuffled.temb", "-c", embedded / "clusters.csv",
        "-o", embedded,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    targets = read_reference_embedding(embedded / "cluster.temb")
    assert targets.names == ["cluster_1", "cluster_3"]
    channels = frame.drop(columns=["X", "Y", "Z"]).astype(np.float32).to_numpy()
    np.testing.assert_allclose(targets.vectors, [channels[[5, 9]].mean(axis=0), channels[40]], atol=1e-6)

    table[:-1].to_csv(embedded / "clusters.csv")
    outcome = run(
        "tools_main", "make_target", "-i", embedded / "shuffled.temb", "-c", embedded / "clusters.csv",
        "-o", embedded,
    )  # fmt: skip
    assert outcome.code == 2 and "clusters.csv" in outcome.err


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "MANUAL_CLUSTER_ID\n1\nx\n", "MANUAL_CLUSTER_ID\n0.5\n"])
def test_clusters_that_are_none(text: str, embedded: Path, run: Run) -> None:
    path = embedded / "clusters.csv"
    path.write_text(text)
    outcome = run(
        "tools_main", "make_target", "-i", embedded / "tomo_embeddings.temb", "-c", path, "-o", embedded / "o"
    )
    assert outcome.code == 2 and "clusters.csv" in outcome.err and "Traceback" not in outcome.err


def test_scale_coordinates(tmp_path: Path, run: Run) -> None:
    (tmp_path / "p.coords").write_text("1 2 3\n10 20.5 30\n")
    common = ("tools_main", "scale_coordinates", "--coords", tmp_path / "p.coords")
    sizes = ("--tomotwin_pixel_size", "10", "--extraction_pixel_size", "2.5")
    assert run(*common, *sizes, "--out", tmp_path / "folder").code == 0
    np.testing.assert_allclose(read_coords(tmp_path / "folder" / "p.coords"), [[4, 8, 12], [40, 82, 120]])
    assert run(*common, *sizes).code == 0
    assert (tmp_path / "p_scaled.coords").is_file()
    for bad in (("--out", tmp_path / "p.coords"), ("--tomotwin_pixel_size", "0")):
        outcome = run(*common, *sizes, *bad)
        assert outcome.code == 2 and outcome.err.startswith("error: ")
    assert (tmp_path / "p.coords").read_text() == "1 2 3\n10 20.5 30\n"


def test_info_is_the_same_under_both_names(lab: Lab, run: Run) -> None:
    assert run("tools_main", "info", "-i", lab.tomogram).out == run("main", "info", lab.tomogram).out
