"""Normalisation layers as configurations name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from tomotwin_lib.errors import InputError

SOURCE = "network_config"

#: Makes the normalisation of a layer with the given number of channels.
NormalisationFactory = Callable[[int], nn.Module]

# Identifier → the layer's class and its argument for the number of channels.
_LAYERS: dict[str, tuple[type[nn.Module], str]] = {
    "GroupNorm": (nn.GroupNorm, "num_channels"),
    "BatchNorm": (nn.BatchNorm3d, "num_features"),
}


def normalisation_factory(
    norm_name: str | None, norm_kwargs: Mapping[str, Any] | None, groups: int | None = None
) -> NormalisationFactory:
    """What makes the normalisation layers of a network.

    Parameters
    ----------
    norm_name : ``GroupNorm`` or ``BatchNorm``.
    norm_kwargs : arguments of PyTorch's layer, e.g. ``{"num_groups": 64}``. The number of channels is each
        layer's own: one that is given here is passed over, and the mapping itself is left as it is.
    groups : how older configurations ask for a GroupNorm, in place of the other two.

    Raises
    ------
    InputError
        If neither way or both are used, the name is unknown, or the arguments do not suit the layer.
    """
    if groups is not None:
        if norm_name is not None or norm_kwargs is not None:
            raise InputError(
                f"{SOURCE}.groups",
                f"groups = {groups!r} stands beside norm_name or norm_kwargs, another way to say it",
                "Keep norm_name and norm_kwargs, and remove groups",
            )
        norm_name, norm_kwargs = "GroupNorm", {"num_groups": groups}
    if norm_name not in tuple(_LAYERS):
        raise InputError(
            f"{SOURCE}.norm_name",
            "no normalisation is named" if norm_name is None else f"{norm_name!r} is no known normalisation",
            f"Use one of {', '.join(_LAYERS)}",
        )
    layer, channels_argument = _LAYERS[str(norm_name)]
    if norm_kwargs is not None and not isinstance(norm_kwargs, Mapping):
        raise InputError(
            f"{SOURCE}.norm_kwargs", f"{norm_kwargs!r} is no object", 'Write e.g. {"num_groups": 32}'
        )
    arguments = {key: value for key, value in (norm_kwargs or {}).items() if key != channels_argument}

    def make(channels: int) -> nn.Module:
        try:
            return layer(**{channels_argument: channels}, **arguments)
        except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
            raise InputError(
                f"{SOURCE}.norm_kwargs",
                f"{arguments} does not make a {norm_name} over {channels} channels ({error})",
                f"Give the arguments of PyTorch's {layer.__name__}; a number of groups must divide "
                "the number of channels of every layer",
            ) from error

    return make
