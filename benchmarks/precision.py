"""Which precisions there are here to compute in."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


def in_float32(embed: Callable[..., Any]) -> dict[str, Any]:
    """The option of a function that embeds which keeps it from computing in less than float32."""
    return {"precision": "float32"} if takes_precision(embed) else {}


def takes_precision(embed: Callable[..., Any]) -> bool:
    """Whether this version of the library lets the caller choose."""
    return "precision" in inspect.signature(embed).parameters


def why_no_bfloat16(embed: Callable[..., Any]) -> str:
    """Why bfloat16 is not measured here; empty where it is."""
    # Other processors emulate it, more slowly than they compute in float32.
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    if not (able.get("avx512_bf16") or able.get("amx_bf16")):
        return "not on this CPU"
    return "" if takes_precision(embed) else "not in this version of the library"
