"""Which devices to compute on."""

from __future__ import annotations

from collections.abc import Sequence

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


def resolve_devices(
    names: str | torch.device | Sequence[str | torch.device], home: torch.device
) -> tuple[torch.device, ...]:
    """The devices to share a tomogram.

    Parameters
    ----------
    names : those of :func:`resolve_device`, one or several; ``cuda`` without a number means all GPUs.
    home : where the network is, which ``auto`` follows; if that is a GPU, all GPUs.

    Raises
    ------
    InputError
        As :func:`resolve_device`, or if no name is given.
    """
    if isinstance(names, str | torch.device):
        device = home if names == "auto" else resolve_device(names)
        everywhere = device.type == "cuda" and (names == "auto" or device.index is None)
        if everywhere and torch.cuda.device_count() > 1:
            return tuple(torch.device("cuda", index) for index in range(torch.cuda.device_count()))
        return (device,)
    if not names:
        raise InputError("--device", "no device is named", "Use auto, cpu, cuda or cuda:<number>")
    return tuple(resolve_device(name) for name in names)
