"""Half precision, in which embeddings and similarities are stored."""

from __future__ import annotations

import numpy as np

from tomotwin_lib.products import FloatArray

_WITHOUT_SIGN, _INFINITE = 0x7FFF, 0x7C00  # bits of a 16-bit float


def halved(values: FloatArray) -> FloatArray:
    """16-bit floats, or 32-bit ones where a value is beyond them (some distances have no bound)."""
    if values.dtype == np.float16:
        return values
    import torch  # slow to import, and ten times as fast as NumPy at this

    given = torch.from_numpy(np.require(values, requirements=("C", "ALIGNED", "WRITEABLE")))
    half: FloatArray = given.half().numpy()
    overflow = not all_finite(half) and np.isinf(half).any() and not np.isinf(values).any()
    return values.astype(np.float32) if overflow else half


def all_finite(values: FloatArray) -> bool:
    """Whether every value is a finite number."""
    if values.dtype == np.float16:
        # By their bits: NumPy would convert each to 32 bits first.
        magnitudes = values.view(np.uint16) & np.uint16(_WITHOUT_SIGN)
        return int(magnitudes.max(initial=0)) < _INFINITE
    return bool(np.isfinite(values).all())
