"""Trials: what plans, or parameters of policies, come to in the simulator, the batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.schemes import Schemes
from agents.trajopt.policies import Policy
from agents.trajopt.rollout import Controller, repeated, rollout
from simenv.mpm import State


class Tried(NamedTuple):
    """What M trials came to.

    Attributes:
        gains: (M,), what is maximised; NaN where a step broke.
        returns: (M,), undiscounted; NaN there too.
        success: bool (M,), whether the task was done at any step.
    """

    gains: Tensor
    returns: Tensor
    success: Tensor


def by_plan(plans: Tensor) -> Controller:
    """The controller that does in step t what plans (N, T, A) say for it."""
    return lambda observation, t: plans[:, t]


def by_table(policy: Policy) -> Callable[[Tensor], Controller]:
    """From tables of parameters (N, R, A) to the policy that has them; it has N sets."""

    def make(tables: Tensor) -> Controller:
        policy.set_table(tables)
        return policy

    return make


class Trials:
    """Tries any number of candidates, in batches of the functional's environments.

    Args:
        functional: the task, with as many environments as are to be stepped together.
        controller: of a batch of candidates (N, …): `by_plan`, or what `by_table` gives.
        schemes: what is gained by a step; None: the reward.
        steps: of a trial; None: the task's horizon.
        value: of the state after a trial, (N,), for what follows in the episode; None: nothing
            does.

    Attributes:
        simulated: environment steps so far.
    """

    def __init__(
        self,
        functional: Any,
        controller: Callable[[Tensor], Controller] = by_plan,
        *,
        schemes: Schemes | None = None,
        steps: int | None = None,
        value: Callable[[State], Tensor] | None = None,
    ) -> None:
        self.functional, self.controller, self.schemes = functional, controller, schemes
        self.steps, self.value = steps or functional.task.horizon, value
        self.simulated = 0

    @torch.no_grad()
    def __call__(self, start: State, candidates: Tensor, steps: int | None = None) -> Tried:
        """Try candidates (M, …), all from the one environment of `start`, for so many steps."""
        parts = candidates.split(self.functional.num_envs)
        batches = [self._batch(start, part, steps or self.steps) for part in parts]
        return Tried(*(torch.cat(column) for column in zip(*batches, strict=True)))

    def _batch(self, start: State, candidates: Tensor, steps: int) -> Tried:
        """One batch, filled up with copies of the last candidate."""
        count = self.functional.num_envs
        rows = torch.arange(count, device=candidates.device).clamp(max=len(candidates) - 1)
        run = rollout(
            self.functional,
            self.controller(candidates[rows]),
            repeated(start, count),
            schemes=self.schemes,
            steps=steps,
        )
        self.simulated += count * steps
        gains = run.gains.sum(dim=0)
        # Nothing counts beyond the end of the episode.
        if self.value is not None and start.time + steps < self.functional.task.horizon:
            gains = gains + torch.where(run.alive, self.value(run.final), 0.0)
        sums = [s.masked_fill(run.failed, torch.nan) for s in (gains, run.rewards.sum(dim=0))]
        return Tried(*(column[: len(candidates)] for column in (*sums, run.success)))
