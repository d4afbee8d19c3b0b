"""Adam over parameter sets side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.trajopt.policies import Policy


class Adam:
    """Adam, its step size annealed to a tenth by a cosine.

    Args:
        policy: optimised in place; its gradients are in its parameters.
        learning_rate: step size at first.
        iterations: steps that there will be.
    """

    def __init__(self, policy: Policy, learning_rate: float, iterations: int) -> None:
        self.adam = torch.optim.Adam(policy.parameters(), lr=learning_rate)
        self.annealing = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.adam, iterations, eta_min=learning_rate / 10
        )

    def step(self, losses: Tensor, usable: Tensor) -> None:
        """One step of every set that is `usable`, bool (S,); the others stay as they are."""
        parameters = [p for group in self.adam.param_groups for p in group["params"]]
        held = [p.detach()[~usable].clone() for p in parameters]
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad[~usable] = 0.0
        self.adam.step()
        with torch.no_grad():
            for parameter, values in zip(parameters, held, strict=True):
                parameter[~usable] = values
        self.annealing.step()

    def restart(self) -> None:
        """The objective has changed; Adam's averages serve on."""
