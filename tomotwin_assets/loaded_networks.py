"""The network that this process has loaded: eight tomograms in a run read its checkpoint once."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import torch

from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.checkpoint import load_network as load

_Key = tuple[str, int, int, str]
_kept: dict[_Key, LoadedNetwork] = {}
_lock = Lock()


def load_network(path: str | Path, device: str | torch.device) -> LoadedNetwork:
    """As :func:`tomotwin_lib.networks.checkpoint.load_network`; the same object while the file is the same.

    Only the last one is kept, so that two networks never lie in the device's memory. Nobody may change it:
    embedding works on copies.

    Raises
    ------
    InputError
        If the file is no checkpoint, names an unknown network, or its weights do not fit the network.
    """
    path = Path(path)
    with _lock:
        if not path.is_file():
            return load(path, device)  # says what is wrong
        status = path.stat()
        key = (str(path), status.st_mtime_ns, status.st_size, str(device))
        if key not in _kept:
            _kept.clear()
            _kept[key] = load(path, device)
        return _kept[key]


def forget() -> None:
    """Give the memory back, that of the device as well."""
    with _lock:
        _kept.clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
