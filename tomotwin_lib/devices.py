"""Which device to compute on."""

from __future__ import annotations

import torch

from tomotwin_lib.errors import InputError


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The device called ``name``: ``auto`` takes a GPU where there is one, ``cpu``, ``cuda``, ``cuda:1``, …

    Raises
    ------
    InputError
        If the name means no device, or one that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            "--device", f"{name!r} names no device", "Use auto, cpu, cuda or cuda:<number>"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            "--device",
            f"{name!r} was asked for but PyTorch sees {torch.cuda.device_count()} GPUs",
            "Use --device cpu, or install the PyTorch build that fits the driver",
        )
    return device
