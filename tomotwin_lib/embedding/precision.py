"""In which precision a network computes: half where it is fast and proven right here, else float32."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal, get_args

import torch
from torch.nn import functional

from tomotwin_lib.errors import InputError

logger = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "float16", "bfloat16"]

#: Vectors in half precision must have at least this cosine to those in float32.
LEAST_COSINE = 0.999


def low_precision(device: torch.device) -> torch.dtype | None:
    """The 16-bit floats that a device multiplies faster than float32; ``None`` where there are none."""
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu":
        # Other CPUs would emulate bfloat16, more slowly than they compute in float32.
        told: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        if told.get("avx512_bf16") or told.get("amx_bf16"):
            return torch.bfloat16
    return None


def training_precision(device: torch.device, *, scaled: bool = True) -> torch.autocast:
    """The context in which a network in training is evaluated: with 16-bit products where they are fast.

    Parameters
    ----------
    scaled : whether a scaler keeps the small gradients that float16 would lose; it is not used without.
    """
    dtype = low_precision(device)
    if dtype == torch.float16 and not scaled:
        dtype = None
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def wanted_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The precision to try on a device: the one asked for, or with ``auto`` the fastest.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if precision not in get_args(Precision):
        raise InputError(
            "precision", f"{precision!r} is none", f"Use one of {', '.join(get_args(Precision))}"
        )
    if precision == "auto":
        return low_precision(device) or torch.float32
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def checked_precision(
    low: torch.dtype, device: torch.device, compute: Callable[[torch.dtype], torch.Tensor], name: str
) -> torch.dtype:
    """The precision for a network on a device, after a trial against float32.

    cuDNN's convolutions in three dimensions have been wrong in half precision, and slow, for some shapes.

    Parameters
    ----------
    low : the precision that is wanted; float32 needs no trial.
    compute : gives the vectors (row, channel) of a few windows in the precision given.
    name : of the network, for messages.
    """
    if low == torch.float32:
        return low
    reference, seconds = timed(compute, torch.float32, device)
    try:
        vectors, low_seconds = timed(compute, low, device)
    except (RuntimeError, NotImplementedError) as error:
        problem = f"it fails: {str(error).splitlines()[0]}"
    else:
        cosine = float(functional.cosine_similarity(vectors.double(), reference.double(), dim=1).min())
        if not cosine >= LEAST_COSINE:  # not a number is no agreement either
            problem = f"its cosine to float32 is down to {cosine:.4f}"
        elif low_seconds > seconds:
            problem = f"it takes {low_seconds / seconds:.1f} times as long as float32"
        else:
            return low
    logger.warning("%s computes in float32 and not in %s on %s: %s", name, _name(low), device, problem)
    return torch.float32


@contextmanager
def computing_in(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Precision of a network for the length of a block; float32 is that and not its short form of GPUs."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if device.type == "cuda":
            # All tiles and nearly all batches have one shape: the algorithm for it is worth a search.
            wanted = {"benchmark": True, "allow_tf32": False}
            for flag, value in wanted.items():
                stack.callback(setattr, torch.backends.cudnn, flag, getattr(torch.backends.cudnn, flag))
                setattr(torch.backends.cudnn, flag, value)
        if dtype != torch.float32:
            stack.enter_context(torch.autocast(device.type, dtype=dtype))
        yield


def timed(
    compute: Callable[[torch.dtype], torch.Tensor], dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, float]:
    """Vectors in a precision, and seconds for them once everything is warm."""
    vectors = compute(dtype)
    if device.type != "cuda":
        return vectors, 0.0
    return vectors, seconds_of(lambda: compute(dtype), device)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """What something takes on a device, the best of three."""
    seconds = []
    for _ in range(3):
        _finish(device)
        started = time.perf_counter()
        run()
        _finish(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _finish(device: torch.device) -> None:
    """Wait for what is under way on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
