"""What is compared: networks and template matching, each from a tomogram and references to picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch

from benchmarks.comparison.samples import Sample
from benchmarks.comparison.template_matching import (
    Matcher,
    Template,
    locate_peaks,
    orientations,
    template_of_reference,
)
from tomotwin_lib.embedding.subvolumes import embed_subvolumes
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import read_subvolume, read_volume
from tomotwin_lib.locating import locate
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork, load_network
from tomotwin_lib.networks.half_turns import average_half_turns
from tomotwin_lib.products import ReferenceEmbedding
from tomotwin_lib.references import ready_references
from tomotwin_lib.similarity import similarity_map
from tomotwin_lib.simulation.molecules import Molecule

STRIDE = 2
"""Distance in voxels of the positions at which networks are evaluated densely."""

LOWEST = 0.3
"""Similarity above which a network's maxima are picks: below any threshold that would be chosen."""

TEMPLATES = ("reference", "clean")
"""Templates to match with: the single noisy reference of a protein that networks get, or its density."""

HALF_TURNS = "+half_turns"
"""Behind a network's name: its embeddings are means over half turns."""


class Method(Protocol):
    """A way to pick.

    Attributes
    ----------
    name : of its folder and its line in the table.
    note : what else to know.
    settings : what its picks depend on beside tomogram and references; stored picks of others are not used.
    """

    @property
    def name(self) -> str: ...
    @property
    def note(self) -> str: ...
    @property
    def settings(self) -> dict[str, Any]: ...

    def pick(self, sample: Sample, box_sizes: Mapping[str, int]) -> pd.DataFrame:
        """Picks without limits, as :func:`~tomotwin_lib.locating.locate` gives them."""
        ...


@dataclass(frozen=True)
class NetworkMethod:
    """Picks by a network's similarity to the references.

    Attributes
    ----------
    window_stride : distance in voxels of the positions, for networks that are evaluated window by window.
    count : of references of each protein, whose mean direction is compared.
    compete : whether a place that resembles another protein's reference more is no pick.
    """

    name: str
    loaded: LoadedNetwork
    window_stride: int
    count: int = 1
    compete: bool = False

    @property
    def _stride(self) -> int:
        return STRIDE if isinstance(self.loaded.network, DenseNetwork) else self.window_stride

    @property
    def note(self) -> str:
        """How it is evaluated."""
        way = "densely" if isinstance(self.loaded.network, DenseNetwork) else "window by window"
        kind = type(self.loaded.network).__name__
        compared = "one reference" if self.count == 1 else f"the mean of {self.count} references"
        competing = ", which compete" if self.compete else ""
        return f"{kind}, evaluated {way} at every {self._stride} voxels; {compared} a protein{competing}"

    @property
    def settings(self) -> dict[str, Any]:
        """The network's fingerprint, and where it is evaluated."""
        return {
            "md5": self.loaded.md5, "half_turns": self.loaded.half_turns, "stride": self._stride,
            "lowest": LOWEST, "references": self.count, "compete": self.compete,
        }  # fmt: skip

    def references(self, sample: Sample) -> ReferenceEmbedding:
        """One a protein."""
        files = [path for some in sample.references[: self.count] for path in some.values()]
        return ready_references(embed_subvolumes(self.loaded, files, progress=False), combine=True)

    def pick(self, sample: Sample, box_sizes: Mapping[str, int]) -> pd.DataFrame:
        """Embed references and tomogram, compare, locate."""
        embedding = embed_tomogram(
            self.loaded, read_volume(sample.tomogram), stride=self._stride, progress=False
        )
        similarity = similarity_map(embedding, self.references(sample), progress=False)
        return locate(
            similarity, global_min=LOWEST, box_sizes=box_sizes, compete=self.compete, progress=False
        )


@dataclass(frozen=True)
class MatchingMethod:
    """Picks by the correlation with templates in all orientations.

    Attributes
    ----------
    molecules : by class; their densities are the templates, or only their radii are used.
    clean : whether templates are the noise-free densities, or the same references that networks get.
    angular_step : distance of neighbouring orientations in degrees.
    """

    molecules: Sequence[Molecule]
    clean: bool
    angular_step: float
    device: str = "cpu"
    name: str = field(init=False)

    def __post_init__(self) -> None:
        kind = "clean" if self.clean else "reference"
        object.__setattr__(self, "name", f"template_matching_{kind}")

    @property
    def note(self) -> str:
        """What the templates are."""
        what = (
            "the noise-free density with the tomogram's own contrast transfer"
            if self.clean
            else "the same single noisy reference as networks get, cut to the particle's sphere"
        )
        count = len(orientations(self.angular_step))
        return (
            f"normalised cross-correlation at every voxel; templates: {what}, in {count} "
            f"orientations (about {self.angular_step:g}° apart), with the tomogram's missing wedge"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Orientations and templates."""
        return {"clean": self.clean, "angular_step": self.angular_step}

    def pick(self, sample: Sample, box_sizes: Mapping[str, int]) -> pd.DataFrame:
        """Search for each template in turn."""
        matcher = Matcher(sample.data(), sample.imaging, self.device)
        rotations = orientations(self.angular_step)
        tables = []
        for number, molecule in enumerate(self.molecules):
            scores, _ = matcher.search(self._template(molecule, sample), rotations)
            tables.append(locate_peaks(scores, number, box_sizes[molecule.code]))
        picks = pd.concat(tables, ignore_index=True)
        picks.attrs["references"] = [sample.references[0][one.code].name for one in self.molecules]
        return picks

    def _template(self, molecule: Molecule, sample: Sample) -> Template:
        if self.clean:
            return Template(molecule, contrast_transfer=True)
        reference = read_subvolume(sample.references[0][molecule.code])
        return template_of_reference(
            molecule.code, reference, molecule.radius, molecule.voxel_size_in_angstrom
        )


def load_named(network: str, device: str) -> LoadedNetwork:
    """A checkpoint or shipped network; its vectors are averaged where the name ends in :data:`HALF_TURNS`."""
    path = network.removesuffix(HALF_TURNS)
    loaded = load_network(path, device)
    return loaded if path == network else average_half_turns(loaded)


def network_methods(
    networks: Sequence[str],
    window_stride: int,
    device: str,
    references: Sequence[int] = (1,),
    *,
    compete: bool = False,
) -> list[Method]:
    """One method a network and number of references, or two: with ``compete`` one more, whose references do.

    A network's name may end in :data:`HALF_TURNS`.

    Raises
    ------
    InputError
        If a network cannot be loaded, two have one name, or the stride is not above 0.
    """
    if window_stride < 1:
        raise InputError("window stride", f"{window_stride} is no distance", "Give 1 or more voxels")
    methods: list[Method] = []
    for network in networks:
        path = network.removesuffix(HALF_TURNS)
        name = Path(path).stem + network[len(path) :]
        loaded = load_named(network, device)
        for count in references:
            named = name if count == 1 else f"{name}_{count}_references"
            methods.append(NetworkMethod(named, loaded, window_stride, count))
            if compete:
                methods.append(
                    NetworkMethod(f"{named}_competing", loaded, window_stride, count, compete=True)
                )
    names = [method.name for method in methods]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise InputError("networks", f"two are called {double}", "Give their files different names")
    return methods


def matching_methods(
    molecules: Sequence[Molecule], templates: Sequence[str], angular_step: float, device: str
) -> list[Method]:
    """Template matching with each kind of ``TEMPLATES`` that is named."""
    orientations(angular_step)  # refuses what cannot be used, before long work
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return [MatchingMethod(molecules, kind == "clean", angular_step, chosen) for kind in templates]
