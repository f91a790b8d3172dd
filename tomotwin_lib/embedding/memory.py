"""How much memory is to be had, on the host and on a device."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_ROOT = Path("/")


def available_memory(device: torch.device) -> int:
    """Bytes that can be taken on a device without anything being pushed out of it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What PyTorch keeps for itself but does not use is to be had as well.
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return available_host_memory()


def available_host_memory(root: Path = _ROOT) -> int:
    """Bytes that can be taken in main memory, of the machine and within the limits of containers and jobs.

    Parameters
    ----------
    root : where ``proc`` and ``sys`` are looked for.
    """
    return min([_free_on_machine(root), *_free_in_groups(root)])


def _free_on_machine(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # no Linux


def _free_in_groups(root: Path) -> list[int]:
    """What each control group leaves that this process is in; none where there is no limit."""
    left = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        if controllers == "":
            base, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base, limit, used = (
                root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
            )  # fmt: skip
        else:
            continue
        group = base / path.strip("/")
        # In a container the path is the machine's, and only the root of the groups is there.
        for folder in (group, *group.parents):
            numbers = [_number(folder / name) for name in (limit, used)]
            if numbers[0] is not None and numbers[1] is not None:
                # File contents that are only kept because nobody needs their place count as used.
                left.append(max(numbers[0] - numbers[1] + _reclaimable(folder), 0))
            if folder == base:
                break
    return left


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None  # "max": no limit


def _reclaimable(folder: Path) -> int:
    values = dict(line.split() for line in _lines(folder / "memory.stat"))
    # Both: a file that was read twice counts as active, and can be dropped like the other.
    return sum(
        int(values.get(f"total_{kind}", values.get(kind, 0))) for kind in ("inactive_file", "active_file")
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
