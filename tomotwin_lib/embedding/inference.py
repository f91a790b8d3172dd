"""The form in which a network computes: where, in which precision, compiled or not."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.embedding.precision import computing_in
from tomotwin_lib.networks.winograd import with_winograd

logger = logging.getLogger(__name__)

#: Seconds of work on a GPU from which on compiling, which takes up to a minute itself, is worth it. On CPUs
#: it is not: the convolutions are the libraries' own either way, and what lies between takes one percent.
COMPILE_FROM_SECONDS = 300


@dataclass(frozen=True)
class Form:
    """How a network computes.

    Attributes
    ----------
    dtype : precision of its convolutions.
    compiled : whether ``torch.compile`` translates it first.
    """

    dtype: torch.dtype = torch.float32
    compiled: bool = False


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of a block, in which a window's vector depends on that window alone."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


class Inference:
    """A copy of a network on a device, ready to compute.

    Parameters
    ----------
    network : its weights are copied and it stays as it is.
    device, form : where and how.
    """

    def __init__(self, network: nn.Module, device: torch.device, form: Form) -> None:
        self.device, self.form = device, form
        module = copy.deepcopy(network).requires_grad_(False).eval().to(device)
        module = module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        if device.type == "cpu" and form.dtype == torch.float32:
            module = with_winograd(module)
        self._plain = module
        self._module: Any = torch.compile(module) if form.compiled else module

    def __call__(self, volumes: torch.Tensor) -> torch.Tensor:
        """From (b, 1, d, h, w), float32, to (b, channel, …), float32, of unit norm along the channels."""
        volumes = volumes.to(memory_format=torch.channels_last_3d)
        with computing_in(self.form.dtype, self.device):
            return functional.normalize(self._run(volumes).float(), dim=1)

    def _run(self, volumes: torch.Tensor) -> torch.Tensor:
        if self._module is not self._plain:
            try:
                return self._module(volumes)
            except Exception as error:  # whatever a compiler may raise
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                logger.warning("torch.compile does not work here, the plain network computes: %s", reason)
                self._module = self._plain
        return self._plain(volumes)
