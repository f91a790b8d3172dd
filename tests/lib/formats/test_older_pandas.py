"""What is written here, read by the pandas and NumPy that TomoTwin and napari plugins still run on."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.formats import frames
from tomotwin_lib.products import Grid, ReferenceEmbedding, SimilarityMap, TomogramEmbedding

# The oldest pair that has wheels for Python 3.11, and the one that TomoTwin 0.9 is installed with.
OLD = {"pandas 1.5": ("numpy==1.24.4", "pandas==1.5.3"), "pandas 2.1": ("numpy==1.26.4", "pandas==2.1.4")}

GRID = Grid((0, 0, 0), (4, 4, 4), (2, 3, 5))
LINEAGE = {
    "window_size": 37,
    "tomogram_input_shape": (44, 48, 56),
    "padding": True,
    "tomotwin_config": {"identifier": "SiameseNet", "distance": "COSINE", "network_config": {"dropout": 0.2}},
    "modelpth": "/m/latest.pth",
    "modelmd5": "0123",
    "filepath": "/t/tomo.mrc",
}

# Runs in the old environment: says what it reads, in plain JSON.
READER = """
import json, sys
import numpy, pandas
told = {}
for path in sys.argv[1:]:
    frame = pandas.read_pickle(path)
    numeric = frame.select_dtypes("number").astype("float64")
    told[path] = {
        "columns": list(frame.columns),
        "types": [str(kind) for kind in frame.dtypes],
        "sum": numeric.to_numpy().sum(),
        "rows": len(frame),
        "attrs": json.loads(json.dumps(frame.attrs)),
        "text": frame.select_dtypes("object").to_numpy().tolist(),
    }
    # What TomoTwin's map, locate and pick and the napari plugins do with such frames.
    frame.copy(deep=True).drop(columns=[frame.columns[0]])
    frame[frame[frame.columns[-1]] == frame[frame.columns[-1]].iloc[0]].reset_index(drop=True)
    pandas.concat([frame, frame], ignore_index=True)
print(json.dumps({"versions": [numpy.__version__, pandas.__version__], "files": told}))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(GRID.size, 32)).astype(np.float32)
    paths = {kind: folder / name for kind, name in (
        ("tomogram", "t.temb"), ("references", "r.temb"), ("map", "m.tmap"), ("picks", "p.tloc"),
    )}  # fmt: skip
    frames.write_tomogram_embedding(paths["tomogram"], TomogramEmbedding(vectors, GRID, None, dict(LINEAGE)))
    references = ReferenceEmbedding(vectors[:2], ["/r/a.mrc", "/r/ü.mrc"], dict(LINEAGE))
    frames.write_reference_embedding(paths["references"], references)
    similarity = SimilarityMap(vectors[:, :2], ["a.mrc", "ü.mrc"], GRID, None, dict(LINEAGE))
    frames.write_similarity_map(paths["map"], similarity)
    columns = ["X", "Y", "Z", "size", "metric_best", "predicted_class", "width", "height", "depth"]
    picks = pd.DataFrame(
        [[5000.5, 20, 30, 7, 0.9, 1, 37, 37, 37], [1, 2, 3, 4, 0.5, 0, 9, 9, 9]], columns=columns
    )
    picks.attrs = {**LINEAGE, "references": ["a.mrc", "ü.mrc"]}
    frames.write_picks(paths["picks"], picks)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("packages", OLD.values(), ids=OLD)
def test_older_pandas_reads_every_file(
    packages: tuple[str, str], written: dict[str, Path], tmp_path: Path
) -> None:
    if sys.version_info >= (3, 12):
        pytest.skip("pandas 1.5 and 2.1 with NumPy below 2 have no wheels for this Python")
    venv.create(tmp_path / "old", with_pip=True)
    python = tmp_path / "old" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *packages]
    if (failed := subprocess.run(install, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"{' and '.join(packages)} cannot be installed here: {failed.stderr.strip()[-200:]}")
    result = subprocess.run(
        [str(python), "-c", READER, *map(str, written.values())], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["versions"] == [package.split("==")[1] for package in packages]
    for kind, path in written.items():
        file, here = told["files"][str(path)], pd.read_pickle(path)
        assert file["columns"] == list(here.columns), kind
        assert file["rows"] == len(here), kind
        assert file["types"] == ["object" if kind_ == "str" else str(kind_) for kind_ in here.dtypes], kind
        numbers = here.select_dtypes("number").astype("float64").to_numpy()
        assert file["sum"] == pytest.approx(numbers.sum()), kind
        assert file["attrs"] == json.loads(json.dumps(here.attrs)), kind
        assert file["attrs"]["modelmd5"] == "0123", kind
    assert told["files"][str(written["references"])]["text"] == [["/r/a.mrc"], ["/r/ü.mrc"]]
    assert told["files"][str(written["map"])]["attrs"]["references"] == ["a.mrc", "ü.mrc"]
    picks = told["files"][str(written["picks"])]
    assert dict(zip(picks["columns"], picks["types"], strict=True))["X"] == "float32"
