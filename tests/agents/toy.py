"""A point on a plane, pushed by its action: a task whose gradients are known in closed form."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from simenv.mpm import State

DIM = 2


class Toy:
    """Stands in for `Functional`: v' = v + a, x' = x + v', one particle per environment.

    Args:
        num_envs: N.
        horizon: steps.
        weights: reward w_n (x' + y') for environment n; None rewards closeness to `goal`.
        bad_step: environment 0's reward of this step has a gradient that is not finite.
    """

    device = "cpu"
    goal = (0.5, -0.3)

    def __init__(
        self,
        num_envs: int = 2,
        horizon: int = 6,
        weights: tuple[float, ...] | None = None,
        bad_step: int | None = None,
    ) -> None:
        self.num_envs, self.bad_step = num_envs, bad_step
        self.weights = None if weights is None else torch.tensor(weights)
        self.task = SimpleNamespace(
            horizon=horizon, num_actions=DIM, num_features=2 * DIM, features=self.observation
        )

    def initial(self, seed: int = 0) -> State:
        """At rest at the origin, whatever the seed."""
        n = self.num_envs
        x, C, time = torch.zeros(n, 1, DIM), torch.zeros(n, 1, DIM, DIM), torch.zeros(n)
        return State(x, x.clone(), C, C.clone(), time=time, fault=time.to(torch.int32))

    def observation(self, state: State) -> Tensor:
        """Position and velocity (N, 4)."""
        return torch.cat([state.x[:, 0], state.v[:, 0]], dim=1)

    def transition(self, state: State, action: Tensor) -> State:
        """One step."""
        v = state.v + action[:, None]
        return state.replace(x=state.x + v, v=v, time=state.time + 1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """(N,)."""
        x = after.x[:, 0]
        if self.bad_step is not None and int(state.time[0]) == self.bad_step:
            # Environment 0 has slope 0 * infinity, the others have none.
            return torch.cat([torch.sqrt(0.0 * x[:1]), 0.0 * x[1:]]).sum(dim=1)
        if self.weights is not None:
            return self.weights * x.sum(dim=1)
        return -(x - torch.tensor(self.goal)).square().sum(dim=1)

    def terminal(self, state: State) -> Tensor:
        """Never."""
        return torch.zeros(self.num_envs, dtype=torch.bool)

    def success(self, state: State) -> Tensor:
        """Closer than 0.2 to the goal."""
        return (state.x[:, 0] - torch.tensor(self.goal)).norm(dim=1) < 0.2
