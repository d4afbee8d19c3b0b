"""What trajectory optimisation optimises: S parameter sets side by side, one per environment.

Each maps an observation (N, O) and a time step to actions (N, A) in [-1, 1]. S is N, or 1 to let
all environments share one set. A set is also a table of numbers (R, A), by which samplers know it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from copy import deepcopy
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from simenv.envs.task import Task
from simenv.errors import ConfigurationError

INITIAL_SCALE = 0.1
"""Standard deviation of the initial parameters: muscles start almost slack."""


class Policy(nn.Module, ABC):
    """S parameter sets; `pick` cuts out one.

    Attributes:
        bound: samplers search parameters in [-bound, bound]; tanh of 3 is 0.995.
        limit: parameters mean nothing outside of [-limit, limit].
    """

    bound: ClassVar[float] = 3.0
    limit: float = math.inf

    @abstractmethod
    def forward(self, observation: Tensor, t: int) -> Tensor:
        """Actions (N, A)."""

    @property
    def by_step(self) -> bool:
        """Whether row t of the table is the action of step t and of no other."""
        return False

    @property
    def table(self) -> Tensor:
        """A copy of all parameters, (S, R, A)."""
        return torch.cat([self._rows(p) for p in self.parameters()], dim=1).detach().clone()

    @torch.no_grad()
    def set_table(self, table: Tensor) -> None:
        """Take parameters (S, R, A)."""
        heights = [self._rows(p).shape[1] for p in self.parameters()]
        for parameter, part in zip(self.parameters(), table.split(heights, dim=1), strict=True):
            parameter.copy_(part.reshape(parameter.shape))

    def require_sets(self, num_envs: int) -> None:
        """Raise ConfigurationError unless there is a set for every environment."""
        if len(self.table) != num_envs:
            raise ConfigurationError(
                f"the policy has {len(self.table)} sets for {num_envs} environments; make it with "
                f"make_policy(…, sets={num_envs})"
            )

    @staticmethod
    def _rows(parameter: Tensor) -> Tensor:
        return parameter.reshape(len(parameter), -1, parameter.shape[-1])

    @torch.no_grad()
    def project(self) -> None:
        """Bring parameters that an update took out of their limits back."""
        if math.isfinite(self.limit):
            for parameter in self.parameters():
                parameter.clamp_(-self.limit, self.limit)

    @torch.no_grad()
    def copies(self, count: int) -> Self:
        """A policy of the same kind with so many sets, each as the first one here."""
        other = deepcopy(self)
        for parameter in other.parameters():
            parameter.data = parameter[torch.zeros(count, dtype=torch.long)]
        return other

    @torch.no_grad()
    def pick(self, index: int) -> dict[str, Tensor]:
        """Set `index` alone, as the state of a policy with S = 1."""
        return {name: value[index : index + 1].clone() for name, value in self.state_dict().items()}


def _parameter(shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(INITIAL_SCALE * torch.randn(shape, generator=generator))


class OpenLoop(Policy):
    """Free actions in time: a_t = tanh(u_t), the last one held beyond the horizon.

    Args:
        task: whose actions they are.
        sets: S.
        generator: of the initial parameters.
        steps: T; None: the task's horizon.
        knots: K rows evenly spaced in time, between which u is linear; 0: one row per step.
    """

    def __init__(
        self,
        task: Task,
        sets: int,
        generator: torch.Generator,
        *,
        steps: int | None = None,
        knots: int = 0,
    ) -> None:
        super().__init__()
        self.steps = steps or task.horizon
        self.actions = _parameter((sets, knots or self.steps, task.num_actions), generator)

    @property
    def by_step(self) -> bool:
        """With a row per step."""
        return self.actions.shape[1] == self.steps

    def forward(self, observation: Tensor, t: int) -> Tensor:
        """Actions of step t."""
        return torch.tanh(self._at(t)).expand(len(observation), -1)

    def _at(self, t: int) -> Tensor:
        """Parameters (S, A) of step t."""
        last = self.actions.shape[1] - 1
        # In whole numbers, so that with a row per step nothing is mixed.
        row, part = divmod(min(t, self.steps - 1) * last, max(1, self.steps - 1))
        share = part / max(1, self.steps - 1)
        if share == 0.0:
            return self.actions[:, row]
        return (1.0 - share) * self.actions[:, row] + share * self.actions[:, row + 1]


class Plan(OpenLoop):
    """Free actions in time without a tanh: a_t = u_t, brought back to [-1, 1] after every update.

    What samplers search, and FluidLab's gradients (Xian et al., ICLR 2023).
    """

    bound = limit = 1.0

    def forward(self, observation: Tensor, t: int) -> Tensor:
        """Actions of step t."""
        return self._at(t).expand(len(observation), -1)


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
    "plan": Plan,
    "feedback": Feedback,
}


def make_policy(kind: str, task: Task, sets: int, seed: int = 0, knots: int = 0) -> Policy:
    """A policy of a kind in `POLICIES` with random parameters.

    Args:
        kind: its name.
        task: whose actions it gives.
        sets: S.
        seed: of the parameters.
        knots: of "open-loop" and "plan" (see `OpenLoop`).

    Raises:
        ConfigurationError: knots of another kind, or more of them than steps.
    """
    generator = torch.Generator().manual_seed(seed)
    if not knots:
        return POLICIES[kind](task, sets, generator)
    make = POLICIES[kind]
    if not issubclass(make, OpenLoop):
        raise ConfigurationError(f"knots = {knots}: a {kind} has none; use 0")
    if not 0 < knots <= task.horizon:
        raise ConfigurationError(f"knots = {knots} must lie in 0 … {task.horizon} (the horizon)")
    return make(task, sets, generator, knots=knots)
