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
from tomotwin_lib.formats.volumes import read_volume, write_volume

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
    assert outcome.err.startswith("note: left out, too close to the border: 1 of 3 positions")
    assert "row 2" in outcome.err and "2 references" in outcome.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cut_0.mrc", "cut_1.mrc"]
    for number, name in enumerate(lab.centres):
        cut, reference = (
            read_volume(tmp_path / "out" / f"cut_{number}.mrc"),
            read_volume(lab.references / name),
        )
        np.testing.assert_array_equal(cut.data, reference.data)
        assert cut.voxel_size_in_angstrom == pytest.approx(10.0)


def test_extractref_says_nothing_where_nothing_is_left_out(lab: Lab, tmp_path: Path, run: Run) -> None:
    (tmp_path / "p.coords").write_text("20 20 20\n")
    outcome = run(
        "tools_main",
        "extractref",
        "--tomo",
        lab.tomogram,
        "--coords",
        tmp_path / "p.coords",
        "--out",
        tmp_path,
    )
    assert (outcome.code, outcome.err) == (0, "")


def test_extractref_of_a_file_without_positions_names_it(lab: Lab, tmp_path: Path, run: Run) -> None:
    (tmp_path / "p.star").write_text("data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n")
    outcome = run(
        "tools_main", "extractref", "--tomo", lab.tomogram, "--coords", tmp_path / "p.star", "--out", tmp_path
    )
    assert outcome.code == 2 and f"{tmp_path / 'p.star'}: there is no position in it" in outcome.err


RELION5 = """\
data_optics

loop_
_rlnOpticsGroup #1
_rlnTomoTiltSeriesPixelSize #2
1 {pixel}

data_particles

loop_
_rlnOpticsGroup #1
_rlnCenteredCoordinateXAngst #2
_rlnCenteredCoordinateYAngst #3
_rlnCenteredCoordinateZAngst #4
_rlnTomoSizeX #5
_rlnTomoSizeY #6
_rlnTomoSizeZ #7
"""
# The tomogram has 58 × 46 × 42 voxels (x, y, z) of 10 Å, so 116 × 92 × 84 of 5 Å, with the centre at
# (58, 46, 42). The reference at (20, 20, 20) is at (40, 40, 40) there: 18, 6 and 2 voxels of 5 Å before the
# centre. That at (36, 24, 20) is at (72, 48, 40): 14 and 2 behind it, 2 before.
FINE = RELION5.format(pixel=5) + "1 -90 -30 -10 116 92 84\n1 70 10 -10 116 92 84\n"


def test_extractref_counts_in_the_voxels_that_the_file_tells(lab: Lab, tmp_path: Path, run: Run) -> None:
    (tmp_path / "p.star").write_text(FINE)
    common = ("tools_main", "extractref", "--coords", tmp_path / "p.star", "--size", "9")
    outcome = run(*common, "--tomo", lab.tomogram, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    (note,) = outcome.err.splitlines()
    assert all(word in note for word in ("p.star", "5 Å", "tomo.mrc", "10 Å", "multiplied by 0.5"))
    for number, name in enumerate(lab.centres):
        cut = read_volume(tmp_path / "out" / f"reference_{number}.mrc").data
        np.testing.assert_array_equal(cut, read_volume(lab.references / name).data[14:23, 14:23, 14:23])

    # A header that does not tell leaves nothing to compare with.
    write_volume(tmp_path / "unknown.mrc", np.zeros((100, 100, 100), dtype=np.float32), None)
    outcome = run(*common, "--tomo", tmp_path / "unknown.mrc", "--out", tmp_path / "o")
    assert outcome.code == 0 and "unknown.mrc does not tell the size" in outcome.err


def test_coordinates_of_two_voxel_sizes_are_refused(lab: Lab, tmp_path: Path, run: Run) -> None:
    text = RELION5.format(pixel="5\n2 10") + "1 -90 -30 -10 116 92 84\n2 70 10 -10 58 46 42\n"
    (tmp_path / "p.star").write_text(text)
    scale = ("scale_coordinates", "--tomotwin_pixel_size", "10", "--extraction_pixel_size", "5")
    for command in (("extractref", "--tomo", lab.tomogram), scale):
        outcome = run("tools_main", *command, "--coords", tmp_path / "p.star", "--out", tmp_path / "out")
        assert outcome.code == 2 and "p.star" in outcome.err and "5 Å, 10 Å" in outcome.err
    assert not list((tmp_path / "out").glob("*"))
    outcome = run("main", "info", tmp_path / "p.star")
    assert outcome.code == 0 and "5 Å, 10 Å" in outcome.out


def test_masks_serve_the_embedding(lab: Lab, tmp_path: Path, run: Run) -> None:
    for way, options in (
        ("intensity", ()),
        ("median", ("-m", lab.model, "-s", "8", "-t", "1.1", "-b", "16", "-d", "0", "--no-progress")),
    ):
        folder = tmp_path / way
        outcome = run("main", "tools", "embedding_mask", way, "-i", lab.tomogram, "-o", folder, *options)
        assert outcome.code == 0, outcome.err
        assert "% masked out" in outcome.out
        # TomoTwin's also writes mask.mrc, which the next tomogram's would replace.
        assert [path.name for path in folder.iterdir()] == ["tomo_mask.mrc"]
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


def test_scale_coordinates_believes_the_file(tmp_path: Path, run: Run) -> None:
    source, out = tmp_path / "p.star", tmp_path / "out.coords"
    source.write_text(FINE)
    common = ("tools_main", "scale_coordinates", "--coords", source, "--out", out)
    outcome = run(*common, "--tomotwin_pixel_size", "10", "--extraction_pixel_size", "2.5")
    assert outcome.code == 2 and not out.exists()
    assert "p.star" in outcome.err and "Give --tomotwin_pixel_size 5" in outcome.err
    # (40, 40, 40) and (72, 48, 40) voxels of 5 Å; 5.002 is 5, calibrated.
    for told in ("5", "5.002"):
        outcome = run(*common, "--tomotwin_pixel_size", told, "--extraction_pixel_size", "2.5")
        assert outcome.code == 0, outcome.err
        np.testing.assert_allclose(read_coords(out), [[80, 80, 80], [144, 96, 80]], rtol=1e-3)


def test_info_is_the_same_under_both_names(lab: Lab, run: Run) -> None:
    assert run("tools_main", "info", "-i", lab.tomogram).out == run("main", "info", lab.tomogram).out
