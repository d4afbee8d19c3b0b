"""Receding horizon: at every step a search for a plan, of which the first action is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.trajopt.samplers import Sampler
from simenv.errors import require_count
from simenv.mpm import State

Costs = Callable[[State, Tensor], Tensor]
"""(one state (1, …), plans (N, T, A)) -> costs (N,)."""


class Episode(NamedTuple):
    """What a receding horizon did.

    Attributes:
        actions: (T, A).
        rewards: (T,).
        evaluations: plans that were tried.
    """

    actions: Tensor
    rewards: Tensor
    evaluations: int


class PlanCosts:
    """Costs of plans in the simulator, minus their returns.

    Args:
        functional: the task, with as many environments as are to be tried at a time.
        value: of the state after a plan, (N,), for what follows; None: nothing does.
    """

    def __init__(self, functional: Any, value: Callable[[State], Tensor] | None = None) -> None:
        self.functional, self.value = functional, value

    @torch.no_grad()
    def __call__(self, state: State, plans: Tensor) -> Tensor:
        """Costs (N,) of plans (N, T, A), all from the one environment of `state`.

        They are tried in batches of the task's environments, the last one filled up.
        """
        count = self.functional.num_envs
        found = [self._batch(state, part) for part in plans.split(count)]
        return torch.cat(found)

    def _batch(self, state: State, plans: Tensor) -> Tensor:
        count = self.functional.num_envs
        rows = torch.arange(count, device=plans.device).clamp(max=len(plans) - 1)
        filled, now = plans[rows], state[torch.zeros_like(rows)]
        total = torch.zeros(count, device=plans.device, dtype=plans.dtype)
        alive = torch.ones_like(total)
        for t in range(plans.shape[1]):
            after = self.functional.transition(now, filled[:, t])
            total += alive * self.functional.reward(now, filled[:, t], after)
            alive = alive * (~self.functional.terminal(after)).to(alive.dtype)
            now = after
        if self.value is not None:
            total += alive * self.value(now)
        return -total[: len(plans)]


def search(sampler: Sampler, costs: Costs, state: State, iterations: int) -> int:
    """Improve a sampler's plan from a state; how many plans were tried."""
    require_count("iterations", iterations)
    tried = 0
    for _ in range(iterations):
        plans = sampler.ask()
        sampler.tell(costs(state, plans))
        tried += len(plans)
    return tried


@torch.no_grad()
def recede(
    functional: Any,
    sampler: Sampler,
    costs: Costs,
    start: State,
    *,
    iterations: int,
    steps: int | None = None,
) -> Episode:
    """Play an episode by searching before every step, from where the last search ended.

    Args:
        functional: the task with one environment.
        sampler: its plans are as long as the horizon that is looked ahead.
        costs: of plans, such as `PlanCosts` of the same task with many environments.
        start: one environment.
        iterations: of each search.
        steps: T; None: the task's horizon.
    """
    state, actions, rewards, tried = start, [], [], 0
    for _ in range(steps or functional.task.horizon):
        tried += search(sampler, costs, state, iterations)
        action = sampler.plan[0].clamp(sampler.low, sampler.high)
        after = functional.transition(state, action[None])
        actions.append(action)
        rewards.append(functional.reward(state, action[None], after)[0])
        if bool(functional.terminal(after)[0]):
            break
        state = after
        sampler.shift()
    return Episode(torch.stack(actions), torch.stack(rewards), tried)
