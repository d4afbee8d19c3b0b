"""Whole episodes of rollouts, cut into pieces through which gradients flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.physics.adjoints import Watch
from agents.physics.windows import Drawn, Stage
from simenv.envs.start import Start
from simenv.mpm import State


class Episode(NamedTuple):
    """T steps of N environments, begun together.

    Attributes:
        matched: (T, N, M), what was measured of the states after each step.
        actions: (T, N, A).
        entropies: (T, N), of the policy before each step.
        rewards: (T, N), without gradients.
        counted: bool (T, N), False from the first step that broke, and after a terminal state.
    """

    matched: Tensor
    actions: Tensor
    entropies: Tensor
    rewards: Tensor
    counted: Tensor

    def entropy(self) -> Tensor:
        """Mean (N,) of the entropies before steps that count."""
        kept = torch.where(self.counted, self.entropies, 0.0)
        return kept.sum(dim=0) / self.counted.sum(dim=0).clamp(min=1)


class Episodes(Stage):
    """N environments at the start of their episodes.

    The graph of a rollout keeps one state per step, and of that what was measured; no more.

    Args:
        functional: the task.
        seed: of the start states; every episode draws new ones.
        start: what is drawn of them and what is given; None: as the task starts.
    """

    def __init__(self, functional: Any, seed: int = 0, start: Start | None = None) -> None:
        self.start = start
        super().__init__(functional, seed)

    def play(
        self,
        policy: Callable[[Tensor], Drawn],
        measure: Callable[[State], Tensor],
        steps: int,
        truncation: int = 0,
        watch: Watch | None = None,
    ) -> Episode:
        """One episode of every environment.

        Args:
            policy: of observations (N, O).
            measure: (N, M) of a state.
            steps: T.
            truncation: gradients flow through so many steps, and end where these begin; 0: through
                all.
            watch: of the adjoints; None: they are left alone.
        """
        watch, state, rows = watch or Watch(), self.state, []
        alive = torch.ones(state.num_envs, dtype=torch.bool, device=state.x.device)
        for t in range(steps):
            state = state.detach() if truncation and t % truncation == 0 else state
            state, row = self._advance(policy, measure, state, t, watch)
            counted = alive & row.counted
            rows.append(row._replace(counted=counted))
            alive = counted & ~self.functional.terminal(state.detach())
        self.episodes += state.num_envs
        self.state = self._fresh()
        return Episode(*(torch.stack(column) for column in zip(*rows, strict=True)))

    def _advance(
        self,
        policy: Callable[[Tensor], Drawn],
        measure: Callable[[State], Tensor],
        state: State,
        t: int,
        watch: Watch,
    ) -> tuple[State, Episode]:
        """One step of all; it counts where it did not break."""
        state = watch.state(state, t)
        drawn = policy(self.functional.task.features(state))
        action = watch.action(drawn.actions, t)
        after = self.functional.transition(state, action)
        with torch.no_grad():
            reward = self.functional.reward(state, action, after)
        row = Episode(measure(after), drawn.actions, drawn.entropies, reward, ~after.failed)
        return after, row

    def _fresh(self) -> State:
        if self.start is None:
            return super()._fresh()
        self._starts += 1
        count = self.functional.num_envs
        return self.functional.initial(self.seed + (self._starts - 1) * count, self.start)
