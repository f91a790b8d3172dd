"""The optimizer of a run, and its state as checkpoints hold it: the network's part apart from the loss's.

TomoTwin's optimizer is one over the network's parameters alone. What a checkpoint calls
``optimizer_state_dict`` is therefore the state of such a one, and what belongs to the weights of the loss
(ArcFaceLoss and SphereFaceLoss learn a direction for each class) lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tomotwin_lib.training.settings import TrainSettings

# What each optimizer keeps of a parameter, in its shape.
_MOMENTS = {
    "Adam": ("exp_avg", "exp_avg_sq"),
    "AdamW": ("exp_avg", "exp_avg_sq"),
    "SGD": ("momentum_buffer",),
}


def build_optimizer(settings: TrainSettings, network: nn.Module, loss: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the settings: one group for the network, and one for the loss if it has weights."""
    optimizer_class = getattr(torch.optim, settings.optimizer)
    momentum = {"momentum": 0.9} if settings.optimizer == "SGD" else {}
    groups = [{"params": list(part.parameters())} for part in (network, loss)]
    return optimizer_class(  # type: ignore[no-any-return]
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        **momentum,
    )


def split_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state of the network's group, as an optimizer over it alone would have it, and the rest."""
    state = optimizer.state_dict()
    own = set(state["param_groups"][0]["params"])
    return (
        {
            "state": {number: entry for number, entry in state["state"].items() if number in own},
            "param_groups": state["param_groups"][:1],
        },
        {
            "state": {number: entry for number, entry in state["state"].items() if number not in own},
            "param_groups": state["param_groups"][1:],
        },
    )


def load_state(optimizer: torch.optim.Optimizer, network: Mapping[str, Any], loss: Mapping[str, Any]) -> None:
    """Load what :func:`split_state` has split.

    Raises
    ------
    ValueError
        If there are other groups, or groups of another size.
    """
    optimizer.load_state_dict(
        {
            "state": {**network["state"], **loss["state"]},
            "param_groups": [*network["param_groups"], *loss["param_groups"]],
        }
    )


def take_over(optimizer: torch.optim.Optimizer, state: Any) -> bool:
    """Go on with the moments and the learning rate that another program's optimizer had for the network.

    What the settings say (decay, momentum) stays as they say it. The loss's group takes the rate only.

    Parameters
    ----------
    state : of an optimizer over the network's parameters; whatever a file holds.

    Returns
    -------
    Whether it fits; the optimizer is as it was if not.
    """
    group = optimizer.param_groups[0]
    moments = _MOMENTS[type(optimizer).__name__]
    try:
        (theirs,) = state["param_groups"]
        rate = float(theirs["lr"])
        found = [state["state"].get(number) for number in theirs["params"]]
        taken = {
            number: {
                **({"step": torch.tensor(float(entry["step"]))} if "exp_avg" in moments else {}),
                **{name: entry[name] for name in moments},
            }
            for number, entry in enumerate(found)
            if entry
        }
        fits = len(found) == len(group["params"]) and all(
            entry[name].shape == group["params"][number].shape
            for number, entry in taken.items()
            for name in moments
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    if fits:
        own = optimizer.state_dict()
        groups = [{**kept, "lr": rate} for kept in own["param_groups"]]
        optimizer.load_state_dict({"state": {**own["state"], **taken}, "param_groups": groups})
    return fits
