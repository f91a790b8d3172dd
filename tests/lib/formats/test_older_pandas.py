"""What the commands here write, read as TomoTwin's next command and the napari plugins read it.

With the pandas and NumPy that those still run on, and with ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tomotwin_lib.cli import main as commands
from tomotwin_lib.formats import frames
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.networks.checkpoint import save_checkpoint
from tomotwin_lib.networks.registry import build_network

# The oldest pair that has wheels for Python 3.11, and the one that TomoTwin 0.9 is installed with.
OLD = {"pandas 1.5": ("numpy==1.24.4", "pandas==1.5.3"), "pandas 2.1": ("numpy==1.26.4", "pandas==2.1.4")}

CONFIGURATION = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2, "output_channels": 8},
    "train_config": {},
    "distance": "COSINE",
}
SHAPE = (42, 46, 58)
# Centres (z, y, x) of the references in the tomogram, on the grid of stride 4. Not all names are ASCII.
CENTRES = {"tomo_1abc_0.mrc": (20, 20, 20), "tomo_2xyz_ü.mrc": (20, 24, 36)}

# Runs in the other environment, by itself: what each program takes from a file, said in plain JSON.
READER = """
import json, os, sys
import numpy as np
import pandas as pd

folder = sys.argv[1]
told = {"versions": [np.__version__, pd.__version__]}


def read(name):
    frame = pd.read_pickle(os.path.join(folder, name))
    told[name] = {"columns": list(frame.columns), "types": [str(kind) for kind in frame.dtypes]}
    return frame


def as_map_reads(name):
    # All numbers to 16-bit floats, whatever else there is as it is, and the attributes put back on.
    frame = read(name)
    numeric = pd.api.types.is_numeric_dtype
    kinds = dict(zip(frame.columns, frame.dtypes))
    cast = frame.astype({column: np.float16 if numeric(kind) else kind for column, kind in kinds.items()})
    cast.attrs = frame.attrs
    return cast


# map: of references and tomogram the vectors, of the tomogram the distance; names from the paths.
references, tomogram = as_map_reads("embeddings.temb"), as_map_reads("tomo_embeddings.temb")
ours = ["index", "filepath", "X", "Y", "Z"]
a, b = (frame.drop(columns=ours, errors="ignore").to_numpy() for frame in (references, tomogram))
unit = [m.astype(np.float32) / np.linalg.norm(m.astype(np.float32), axis=1, keepdims=True) for m in (a, b)]
table = pd.DataFrame({axis: tomogram[axis] for axis in "XYZ"})
for number, row in enumerate(unit[0] @ unit[1].T):
    table["d_class_%d" % number] = row
for key in tomogram.attrs:
    table.attrs[key] = tomogram.attrs[key]
table.to_pickle(os.path.join(sys.argv[2], "map.tmap"))
again = pd.read_pickle(os.path.join(sys.argv[2], "map.tmap"))
told["map"] = {
    "distance": tomogram.attrs["tomotwin_config"]["distance"],
    "vectors": [str(b.dtype), *b.shape],
    "references": [os.path.basename(path) for path in references["filepath"]],
    "positions": table[["Z", "Y", "X"]].to_numpy().astype(float).tolist(),
    "similarities": table.filter(like="d_class_").to_numpy().astype(float).tolist(),
    "attributes": sorted(again.attrs),
}

# umap: a number for each position in a volume as large as what was embedded.
labels = np.zeros([tomogram.attrs["tomogram_input_shape"][axis] for axis in range(3)], dtype=np.float32)
places = tuple(np.array(tomogram[axis], dtype=int) for axis in "ZYX")
for shift in range(tomogram.attrs["stride"][0]):
    labels[tuple(place + shift for place in places)] = range(1, len(tomogram) + 1)
told["umap"] = {"shape": list(labels.shape), "labels": len(np.unique(labels)) - 1}

# locate: stride (x, y, z) and window size, and a frame for each reference, made a volume of.
similarities = read("map.tmap")
stride = similarities.attrs["stride"]
told["locate"] = {"stride": stride, "window_size": similarities.attrs["window_size"], "highest": []}
stride = stride * 3 if len(stride) == 1 else stride
for number in range(len(similarities.attrs["references"])):
    part = similarities[["X", "Y", "Z", "d_class_%d" % number]]
    part.attrs["ref_name"] = similarities.attrs["references"][number]
    index = [((part[axis].values - part[axis].min()) / step).astype(int) for axis, step in zip("XYZ", stride)]
    volume = np.zeros([place.max() + 1 for place in index])
    volume[tuple(index)] = part["d_class_%d" % number].values
    volume = volume.astype(np.float16)
    top = np.unravel_index(volume.argmax(), volume.shape)
    place = [int(i) * int(step) + float(part[axis].min()) for i, axis, step in zip(top, "XYZ", stride)]
    told["locate"]["highest"].append([part.attrs["ref_name"], place, float(volume.max())])

# pick: the picks of a reference, by its place in the list, between limits; their coordinates as text.
picks = read("located.tloc")
told["pick"] = {}
for name in picks.attrs["references"]:
    chosen = picks[picks.attrs["references"].index(name) == picks["predicted_class"]]
    chosen = chosen[chosen["metric_best"] >= 0.6]
    chosen = chosen[chosen["size"] <= 1000]
    text = chosen[["X", "Y", "Z"]].to_csv(index=False, header=None, sep=" ")
    told["pick"][name] = [text, int(np.unique(chosen["width"])[0])]

# napari-boxmanager: axes swapped, one layer for each reference, written again as it was read.
boxes = pd.DataFrame(columns=["x", "y", "z", "metric", "size", "boxsize", "grp_idx"])
swapped = ["Z", "Y", "X", "metric_best", "size", "predicted_class"]
for new, old in zip(["x", "y", "z", "metric", "size", "grp_idx"], swapped):
    boxes[new] = picks[old]
boxes["boxsize"] = picks[["height", "width", "depth"]].mean(axis=1)
told["boxmanager"] = [
    [picks.attrs["references"][group], len(rows), float(rows["metric"].max()), float(rows["boxsize"].mean())]
    for group, rows in boxes.groupby("grp_idx", sort=False)
]
told["slices"] = int(round(boxes[["x", "y", "z"]].max().max(), 0)) + 1
picks.to_pickle(os.path.join(sys.argv[2], "located.tloc"))
told["same"] = bool(pd.read_pickle(os.path.join(sys.argv[2], "located.tloc")).equals(picks))

# napari-tomotwin: two columns, and a label for each row put before them.
picture = read("tomo_embeddings.tumap")
rows = picture[["umap_1", "umap_0"]].itertuples(index=True, name="Pandas")
picture_labels = pd.DataFrame({"label": np.array([place + 1 for place, _ in enumerate(rows)])})
joined = pd.concat([picture_labels, picture], axis=1)
told["lasso"] = [joined.loc[joined["label"] == 7, ["umap_0", "umap_1"]].values.tolist()[0], picture.attrs]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What embed, map and locate write of a small tomogram with an untrained network; and a ``.tumap``."""
    folder = tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(1)
    tomogram = rng.normal(size=SHAPE).astype(np.float32)
    write_volume(folder / "tomo.mrc", tomogram, 10.0)
    (folder / "refs").mkdir()
    for name, (z, y, x) in CENTRES.items():
        window = -tomogram[z - 18 : z + 19, y - 18 : y + 19, x - 18 : x + 19]
        write_volume(folder / "refs" / name, window, 10.0)
    torch.manual_seed(0)
    network = build_network(CONFIGURATION)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = None  # plain averages over what follows
    with torch.no_grad():
        network.train()(torch.randn(8, 1, 37, 37, 37))
    model = folder / "model.pth"
    save_checkpoint(model, network, CONFIGURATION, epoch=0, loss=1.0, best_loss=1.0, best_f1=0.0)
    for command, *options in (
        ("embed_main", "tomogram", "-m", model, "-v", folder / "tomo.mrc", "-s", 4, "--device", "cpu"),
        ("embed_main", "subvolumes", "-m", model, "-v", folder / "refs", "--device", "cpu"),
        ("map_main", "distance", "-r", folder / "embeddings.temb", "-v", folder / "tomo_embeddings.temb"),
        ("locate_main", "findmax", "-m", folder / "map.tmap", "-t", 0.02, "-b", 17),
    ):
        assert getattr(commands, command)([*map(str, options), "-o", str(folder)]) == 0
    count = len(frames.read_frame(folder / "tomo_embeddings.temb"))
    picture = pd.DataFrame(rng.normal(size=(count, 2)).astype(np.float32), columns=["umap_0", "umap_1"])
    picture.attrs["embeddings_path"] = str(folder / "tomo_embeddings.temb")
    frames.write_frame(folder / "tomo_embeddings.tumap", picture)
    return folder


def told_by(python: str | Path, written: Path, scratch: Path) -> dict[str, Any]:
    result = subprocess.run(
        [str(python), "-c", READER, str(written), str(scratch)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def assert_told_what_was_written(told: Mapping[str, Any], written: Path) -> None:
    """Compare with what this library itself reads and what the tomogram was made of."""
    embedding = frames.read_tomogram_embedding(written / "tomo_embeddings.temb")
    references = frames.read_reference_embedding(written / "embeddings.temb")
    similarity = frames.read_similarity_map(written / "map.tmap")
    picks = frames.read_picks(written / "located.tloc")
    sites, channels = embedding.vectors.shape

    types = {name: dict(zip(told[name]["columns"], told[name]["types"], strict=True)) for name in (
        "tomo_embeddings.temb", "embeddings.temb", "map.tmap", "located.tloc", "tomo_embeddings.tumap",
    )}  # fmt: skip
    numbers = [str(channel) for channel in range(channels)]
    coordinates = dict.fromkeys("XYZ", "float32")
    assert types["tomo_embeddings.temb"] == coordinates | dict.fromkeys(numbers, "float16")
    assert told["tomo_embeddings.temb"]["columns"][:3] == ["Z", "Y", "X"]
    assert types["embeddings.temb"] == {"filepath": "object"} | dict.fromkeys(numbers, "float32")
    assert types["map.tmap"] == coordinates | dict.fromkeys(("d_class_0", "d_class_1"), "float16")
    whole = dict.fromkeys(("size", "predicted_class", "width", "height", "depth"), "int64")
    assert types["located.tloc"] == coordinates | {"metric_best": "float32"} | whole
    assert set(types["tomo_embeddings.tumap"].values()) == {"float32"}

    assert told["map"]["distance"] == "COSINE"
    assert told["map"]["vectors"] == ["float16", sites, channels]
    assert told["map"]["references"] == references.names == list(CENTRES)
    np.testing.assert_array_equal(told["map"]["positions"], embedding.positions())
    np.testing.assert_allclose(told["map"]["similarities"], similarity.values, rtol=0, atol=4e-3)
    needed = {"filepath", "modelpth", "modelmd5", "window_size", "stride", "tomogram_input_shape", "padding"}
    assert needed | {"tomotwin_config"} <= set(told["map"]["attributes"])

    # As large as the tomogram with what padding adds on both sides: half a window.
    assert told["umap"] == {"shape": [edge + 36 for edge in SHAPE], "labels": sites}

    assert told["locate"]["stride"] == [4, 4, 4] and told["locate"]["window_size"] == 37
    for (name, place, highest), (known, (z, y, x)) in zip(
        told["locate"]["highest"], CENTRES.items(), strict=True
    ):
        assert (name, place) == (known, [x, y, z]) and highest > 0.99

    for number, name in enumerate(CENTRES):
        own = picks[(picks["predicted_class"] == number) & (picks["metric_best"] >= 0.6)]
        text, width = told["pick"][name]
        rows = np.array([line.split() for line in text.splitlines()], dtype=np.float32)
        np.testing.assert_allclose(rows, own.loc[own["size"] <= 1000, ["X", "Y", "Z"]], rtol=1e-6)
        assert width == 17 and len(rows) > 0
        layer, count, metric, box_size = told["boxmanager"][number]
        assert (layer, count, box_size) == (name, (picks["predicted_class"] == number).sum(), 17)
        assert metric == pytest.approx(picks.loc[picks["predicted_class"] == number, "metric_best"].max())
    assert told["slices"] == round(picks[["X", "Y", "Z"]].max().max()) + 1
    assert told["same"] is True

    seventh, attributes = told["lasso"]
    picture = frames.read_frame(written / "tomo_embeddings.tumap")
    assert seventh == pytest.approx(picture.iloc[6].tolist())
    assert attributes == {"embeddings_path": str(written / "tomo_embeddings.temb")}


def test_our_pandas_reads_as_tomotwin_does(written: Path, tmp_path: Path) -> None:
    told = told_by(sys.executable, written, tmp_path)
    assert told["versions"] == [np.__version__, pd.__version__]
    assert_told_what_was_written(told, written)


@pytest.mark.slow
@pytest.mark.parametrize("packages", OLD.values(), ids=OLD)
def test_older_pandas_reads_as_tomotwin_does(
    packages: tuple[str, str], written: Path, tmp_path: Path
) -> None:
    if sys.version_info >= (3, 12):
        pytest.skip("pandas 1.5 and 2.1 with NumPy below 2 have no wheels for this Python")
    venv.create(tmp_path / "old", with_pip=True)
    python = tmp_path / "old" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *packages]
    if (failed := subprocess.run(install, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"{' and '.join(packages)} cannot be installed here: {failed.stderr.strip()[-200:]}")
    told = told_by(python, written, tmp_path)
    assert told["versions"] == [package.split("==")[1] for package in packages]
    assert_told_what_was_written(told, written)
