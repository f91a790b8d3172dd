"""What the stages compute with: networks, tomograms, maps and picks, made from fixed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage
from torch import nn

from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.products import Grid, ReferenceEmbedding, SimilarityMap, TomogramEmbedding

CHANNELS = 32
BOX_SIZE = 37
#: Blobs of a similarity map a voxel: 200 in 190 × 190 × 100.
BLOBS_PER_VOXEL = 200 / (190 * 190 * 100)
#: Deviation in voxels of the Gaussian that blurs the noise of tomograms and maps.
BLUR = 1.5


def fully_convolutional(width: int) -> LoadedNetwork:
    """The library's own network with fresh weights, whose vectors of noise spread over the sphere.

    The normalisations and the last constants are those of noise, as training would leave them. Without that
    all vectors are alike, and no comparison of two ways to compute them would mean anything.
    """
    torch.manual_seed(1)
    configuration: dict[str, Any] = {
        "identifier": "FullyConvolutional",
        "network_config": {"width": width, "output_channels": CHANNELS},
        "distance": "COSINE",
    }
    network = build_network(configuration)
    noise = torch.from_numpy(np.stack([blurred_noise((45, 45, 45), seed) for seed in range(4)]))[:, None]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum = None  # The mean over all passes, and there is one.
    outputs: list[torch.Tensor] = []
    last = [module for module in network.modules() if isinstance(module, nn.Conv3d)][-1]
    assert last.bias is not None
    with torch.no_grad():
        # The dense evaluation of a small volume gives the statistics of 125 windows at the cost of a few.
        network.train()(noise)
        hook = last.register_forward_hook(lambda module, arguments, output: outputs.append(output))
        network.eval()(noise)
        hook.remove()
        last.bias -= outputs[0].mean(dim=(0, 2, 3, 4))
    for norm in norms:
        norm.momentum = 0.1
    network.requires_grad_(False)
    return LoadedNetwork(network, configuration, Path("synthetic.pth"), "0" * 32)


def blurred_noise(shape: Sequence[int], seed: int, blur: float = BLUR) -> npt.NDArray[np.float32]:
    """Noise (z, y, x) of mean 0 and deviation 1, blurred by a Gaussian of that deviation in voxels."""
    noise = np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, blur, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def tomogram(shape: Sequence[int], seed: int = 3) -> Volume:
    """A tomogram (z, y, x) of noise, in memory."""
    return Volume(blurred_noise(shape, seed), 10.0, Path("synthetic.mrc"))


def embedding(positions: int, seed: int = 4) -> TomogramEmbedding:
    """Vectors of unit norm in all directions, (position, 32)."""
    vectors = np.random.default_rng(seed).standard_normal((positions, CHANNELS), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TomogramEmbedding(vectors, Grid((0, 0, 0), (2, 2, 2), (1, 1, positions)))


def reference_embedding(count: int, seed: int = 5) -> ReferenceEmbedding:
    """Vectors of unit norm for ``count`` references, named after classes ``1aaa``, ``1aab``, …"""
    vectors = np.random.default_rng(seed).standard_normal((count, CHANNELS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ReferenceEmbedding(vectors, _names(count))


def drifting_references(positions: int, count: int) -> tuple[TomogramEmbedding, ReferenceEmbedding]:
    """An embedding in which references keep moving when they are refined, and the references.

    To each reference belongs an arc on the sphere along which vectors lie denser and denser, a fortieth of
    all positions. The medoid of what is near lies always a little further along, so that nobody stops early.
    """
    everything = embedding(positions)
    vectors = everything.vectors
    rng = np.random.default_rng(6)
    own = positions // 40
    starts = []
    for number in range(count):
        plane = np.linalg.qr(rng.standard_normal((CHANNELS, 2)))[0].T
        # Density grows with exp(5 x) along an arc of 1.5 rad, and the reference begins in its middle.
        along = 1.5 * np.log1p(rng.random(own) * np.expm1(5)) / 5
        arc = np.stack([np.cos(along), np.sin(along)], axis=1) @ plane
        arc += 0.003 * rng.standard_normal(arc.shape)
        arc /= np.linalg.norm(arc, axis=1, keepdims=True)
        vectors[number * own : (number + 1) * own] = arc
        starts.append(plane[0] * np.cos(0.75) + plane[1] * np.sin(0.75))
    rng.shuffle(vectors)
    return everything, ReferenceEmbedding(np.array(starts, dtype=np.float32), _names(count))


def similarity_map(shape: Sequence[int], seed: int = 7) -> SimilarityMap:
    """A map (z, y, x) of one reference: blobs 0.65 to 0.95 high that lie apart, on smooth noise.

    There are 200 blobs in 190 × 190 × 100 voxels and as many a voxel in other shapes.
    """
    rng = np.random.default_rng(seed)
    shape = (int(shape[0]), int(shape[1]), int(shape[2]))
    volume = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), BLUR)
    volume *= 0.06 / volume.std()
    reach, deviation = 10, 2.5
    offsets = np.arange(-reach, reach + 1)
    squares = offsets[:, None, None] ** 2 + offsets[None, :, None] ** 2 + offsets[None, None, :] ** 2
    blob = np.exp(-squares / (2 * deviation**2)).astype(np.float32)
    for z, y, x in _apart(shape, max(round(float(np.prod(shape)) * BLOBS_PER_VOXEL), 2), reach, rng):
        around = np.s_[z - reach : z + reach + 1, y - reach : y + reach + 1, x - reach : x + reach + 1]
        volume[around] += rng.uniform(0.65, 0.95) * blob
    return SimilarityMap(volume.reshape(-1, 1), _names(1), Grid((0, 0, 0), (2, 2, 2), shape))


def _apart(
    shape: tuple[int, int, int], count: int, distance: int, rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Random voxels, each in a cell of its own of a lattice, so that neighbours are a ``distance`` apart."""
    # Twice the distance a cell, of which the voxel takes the middle.
    cells = [np.arange(distance, edge - distance, 2 * distance) for edge in shape]
    corners = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = corners[rng.permutation(len(corners))[:count]]
    shifted = chosen + rng.integers(0, distance, chosen.shape)
    shifted = np.minimum(shifted, np.array(shape) - distance - 1)
    return [(int(z), int(y), int(x)) for z, y, x in shifted]


def located_picks(picks: int, classes: int, seed: int = 8) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Picks and the truth that they are scored against, as columns of frames.

    Half as many particles as picks, four fifths of them found more or less well; the picks on particles are
    better than the others, with overlap.

    Returns
    -------
    The picks (attribute ``references``) and the truth.
    """
    rng = np.random.default_rng(seed)
    names = _names(classes)
    frames, truths = [], []
    for number, name in enumerate(names):
        particles = rng.uniform((20, 20, 20), (900, 900, 280), (picks // 2, 3))
        found = particles[: 4 * len(particles) // 5]
        right, wrong = len(found), picks - len(found)
        on_particles = found + rng.normal(0, 2, found.shape)
        elsewhere = rng.uniform((20, 20, 20), (900, 900, 280), (wrong, 3))
        frame = pd.DataFrame(
            np.concatenate([on_particles, elsewhere]).astype(np.float32), columns=list("XYZ")
        )
        metric = np.concatenate([rng.normal(0.75, 0.08, right), rng.normal(0.6, 0.08, wrong)])
        frame["metric_best"] = np.clip(metric, 0.3, 0.99).astype(np.float32)
        # Wrong picks are smaller than particles or, every fifth, larger.
        size_of_wrong = np.where(rng.random(wrong) < 0.2, 110, 30)
        sizes = np.concatenate([rng.normal(60, 12, right), rng.normal(size_of_wrong, 15)])
        frame["size"] = np.clip(sizes, 2, 120).astype(np.int64)
        frame["predicted_class"] = number
        frames.append(frame)
        truth = pd.DataFrame(particles, columns=list("XYZ"))
        truths.append(truth.assign(**{"class": name}))
    table = pd.concat(frames, ignore_index=True)
    table.attrs["references"] = names
    return table, pd.concat(truths, ignore_index=True)


def _names(count: int) -> list[str]:
    return [f"1aa{chr(ord('a') + number)}" for number in range(count)]
