"""State of an Adam optimiser as plain tensors, by the order of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def get_adam_state(optimizer: torch.optim.Adam) -> dict[str, Any]:
    """Copies of step counts and moments, by number of the parameter; empty before a first step."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        str(i): {name: optimizer.state[p][name].clone() for name in MOMENTS}
        for i, p in enumerate(parameters)
        if optimizer.state[p]
    }


def set_adam_state(optimizer: torch.optim.Adam, state: Mapping[str, Any]) -> None:
    """Go on from what `get_adam_state` gave."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.state.clear()
    for i, moments in state.items():
        # Copies, since the steps to come change them in place.
        optimizer.state[parameters[int(i)]] = {
            name: torch.as_tensor(moments[name]).clone() for name in MOMENTS
        }
