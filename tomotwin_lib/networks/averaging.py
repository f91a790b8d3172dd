"""One network from several: the mean of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.checkpoint import load_network, save_made_of

AVERAGE_OF = "average_of"
"""The entry of a checkpoint that names, by MD5, those whose weights it is the mean of."""

_SAME = ("identifier", "network_config", "distance")


def average_checkpoints(paths: Sequence[str | Path], output: str | Path) -> None:
    """Write a checkpoint whose weights are the mean of those of several networks.

    Where trainings went different ways from one network, the mean of their weights can be better than each
    (Wortsman et al., Model soups, ICML 2022), and costs no more than one. Networks that began apart have
    nothing in common: the mean of theirs finds nothing.

    Parameters
    ----------
    paths : checkpoints of equal networks, or names of networks that ship.
    output : the checkpoint, written whole or not at all. Its configuration is that of the first.

    Raises
    ------
    InputError
        If a checkpoint cannot be read, there are fewer than two, two are one and the same, or their networks
        or distances differ.
    """
    if len(paths) < 2:
        raise InputError(paths[0] if paths else "--modelpth", "one network has no mean", "Give two or more")
    loaded = [load_network(path, "cpu") for path in paths]
    first = loaded[0]
    md5s = [one.md5 for one in loaded]
    for place, path in enumerate(paths):
        if (earlier := md5s.index(md5s[place])) < place:
            raise InputError(path, f"it is the same network as {paths[earlier]}", "Give each network once")
    for path, other in zip(paths[1:], loaded[1:], strict=True):
        for key in _SAME:
            ours, theirs = first.configuration.get(key), other.configuration.get(key)
            if ours != theirs:
                raise InputError(
                    path, f"its {key} is {theirs}, that of {paths[0]} is {ours}", "Average equal networks"
                )
    states = [one.network.state_dict() for one in loaded]
    mean = {
        # Counters of batches are whole numbers, and nothing is computed with them.
        name: torch.stack([state[name] for state in states]).mean(dim=0) if own.is_floating_point() else own
        for name, own in states[0].items()
    }
    first.network.load_state_dict(mean)
    save_made_of(output, first.network, first.configuration, loaded, {AVERAGE_OF: md5s})
