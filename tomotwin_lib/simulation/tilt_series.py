from __future__ import annotations


def image_by_tilt_series(density, imaging, scheme, rng, device):
    raise NotImplementedError
