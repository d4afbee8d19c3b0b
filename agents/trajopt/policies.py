"""What trajectory optimisation optimises: S parameter sets side by side, one per environment.

Each maps an observation (N, O) and a time step to actions (N, A) in (-1, 1). S is N, or 1 to let
all environments share one set.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from simenv.envs.task import Task

INITIAL_SCALE = 0.1
"""Standard deviation of the initial parameters: muscles start almost slack."""


class Policy(nn.Module, ABC):
    """S parameter sets; `pick` cuts out one."""

    @abstractmethod
    def forward(self, observation: Tensor, t: int) -> Tensor:
        """Actions (N, A)."""

    @torch.no_grad()
    def pick(self, index: int) -> dict[str, Tensor]:
        """Set `index` alone, as the state of a policy with S = 1."""
        return {name: value[index : index + 1].clone() for name, value in self.state_dict().items()}


def _parameter(shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(INITIAL_SCALE * torch.randn(shape, generator=generator))


class OpenLoop(Policy):
    """One free action per step: a_t = tanh(u_t)."""

    def __init__(self, task: Task, sets: int, generator: torch.Generator) -> None:
        super().__init__()
        self.actions = _parameter((sets, task.horizon, task.num_actions), generator)

    def forward(self, observation: Tensor, t: int) -> Tensor:
        """Actions of step t, the last one held beyond the horizon."""
        row = self.actions[:, min(t, self.actions.shape[1] - 1)]
        return torch.tanh(row).expand(len(observation), -1)


class Gait(Policy):
    """Periodic: a_t = tanh(W s_t + b) on eight phase-shifted sines of one period.

    The sines of ChainQueen's crawler (Hu et al., ICRA 2019), with a period of ten steps.
    """

    sines = 8
    period = 10

    def __init__(self, task: Task, sets: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = _parameter((sets, self.sines, task.num_actions), generator)
        self.bias = nn.Parameter(torch.zeros(sets, task.num_actions))

    def forward(self, observation: Tensor, t: int) -> Tensor:
        """Actions of step t."""
        shifts = torch.arange(self.sines, dtype=self.weight.dtype, device=self.weight.device)
        phase = torch.sin(2 * math.pi * (t / self.period + shifts / self.sines))
        action = torch.tanh(torch.einsum("k,ska->sa", phase, self.weight) + self.bias)
        return action.expand(len(observation), -1)


class Feedback(Policy):
    """Linear state feedback: a = tanh(W o + b)."""

    def __init__(self, task: Task, sets: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = _parameter((sets, task.num_features, task.num_actions), generator)
        self.bias = nn.Parameter(torch.zeros(sets, task.num_actions))

    def forward(self, observation: Tensor, t: int) -> Tensor:
        """Actions for the present observations."""
        product = torch.matmul(observation[:, None, :], self.weight)[:, 0]
        return torch.tanh(product + self.bias)


POLICIES: dict[str, type[OpenLoop] | type[Gait] | type[Feedback]] = {
    "gait": Gait,
    "open-loop": OpenLoop,
    "feedback": Feedback,
}


def make_policy(kind: str, task: Task, sets: int, seed: int = 0) -> Policy:
    """A policy of a kind in `POLICIES` with random parameters."""
    return POLICIES[kind](task, sets, torch.Generator().manual_seed(seed))
