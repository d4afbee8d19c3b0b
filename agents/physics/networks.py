"""Networks of the agents that learn through the physics: smooth, and normalised in between."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agents.offline.networks import Squashed, mean_and_std


def smooth_mlp(
    inputs: int, outputs: int, widths: Sequence[int], activation: type[nn.Module]
) -> nn.Sequential:
    """(B, inputs) to (B, outputs) through hidden layers: linear, activation, LayerNorm (SHAC's)."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), activation(), nn.LayerNorm(width)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class SmoothActor(Squashed):
    """A squashed Gaussian whose draws are differentiable in s.

    Args:
        inputs: O.
        actions: A.
        widths: of the hidden layers.
        activation: of the hidden layers.
        initial_std: σ at first, the same in every state; None: σ(s) is an output of the network.
    """

    def __init__(
        self,
        inputs: int,
        actions: int,
        widths: Sequence[int],
        *,
        activation: type[nn.Module] = nn.ELU,
        initial_std: float | None = math.exp(-1.0),
    ) -> None:
        super().__init__()
        self.log_std: nn.Parameter | None = None
        if initial_std is not None:
            self.log_std = nn.Parameter(torch.full((actions,), math.log(initial_std)))
        outputs = actions if initial_std is not None else 2 * actions
        self.network = smooth_mlp(inputs, outputs, widths, activation)

    def parameters_of(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ of u, (B, A) each."""
        found = self.network(observations)
        if self.log_std is not None:
            return found, self.log_std.exp().expand_as(found)
        return mean_and_std(found)


class Values(nn.Module):
    """N value functions of states side by side."""

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        count: int = 1,
        activation: type[nn.Module] = nn.ELU,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            smooth_mlp(inputs, 1, widths, activation) for _ in range(count)
        )

    def forward(self, observations: Tensor) -> Tensor:
        """Values (…, N) of observations (…, O)."""
        return torch.cat([member(observations) for member in self.members], dim=-1)
