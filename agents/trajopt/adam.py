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
        # Where the sets last were usable.
        self.place = policy.table
        self.policy = policy
        self.adam = torch.optim.Adam(policy.parameters(), lr=learning_rate)
        self.annealing = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.adam, iterations, eta_min=learning_rate / 10
        )

    def step(self, losses: Tensor, usable: Tensor) -> None:
        """One step of every set that is `usable`, bool (S,); the others go back half of the way.

        They would break again where they are: half of the way to where they last were usable, or
        where they began.
        """
        present = self.policy.table
        for parameter in self.policy.parameters():
            if parameter.grad is not None:
                parameter.grad[~usable] = 0.0
        self.adam.step()
        chosen = usable[:, None, None]
        self.place = torch.where(chosen, present, self.place)
        back = 0.5 * (present + self.place)
        self.policy.set_table(torch.where(chosen, self.policy.table, back))
        self.annealing.step()

    def restart(self) -> None:
        """The objective has changed; Adam's averages serve on."""
