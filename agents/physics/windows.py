"""Windows of rollouts: a few steps with a graph, from where the last window ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.physics.adjoints import Watch
from simenv.mpm import State


class Drawn(NamedTuple):
    """What a policy does in N states.

    Attributes:
        actions: (N, A) in [-1, 1].
        entropies: (N,), estimates of the policy's entropy there.
    """

    actions: Tensor
    entropies: Tensor


class Window(NamedTuple):
    """H steps of N environments, each restarted where its episode ends.

    Attributes:
        observations: (H, N, O) before each step.
        after: (H, N, O) after it, of an episode that ends its last one.
        rewards: (H, N).
        entropies: (H, N), of the policy before each step.
        ended: bool (H, N), where an episode ended.
        terminated: bool (H, N), where it ended by the task's own rules or by a fault, so that
            nothing follows.
    """

    observations: Tensor
    after: Tensor
    rewards: Tensor
    entropies: Tensor
    ended: Tensor
    terminated: Tensor

    def bounded(self) -> Tensor:
        """Where a sum of rewards breaks off and is bootstrapped: ends, and the last step."""
        last = torch.zeros_like(self.ended)
        last[-1] = True
        return self.ended | last

    def discounts(self, gamma: float) -> Tensor:
        """γˡ (H, N), l counted from the last restart or the start of the window."""
        rows = [torch.ones_like(self.rewards[0])]
        for ended in self.ended[:-1]:
            rows.append(torch.where(ended, 1.0, gamma * rows[-1]))
        return torch.stack(rows)


class Stage:
    """N environments in the middle of their episodes.

    Their first episodes are cut short, the earlier ones at the earlier times, so that a window has
    steps from all over the episode. In step with each other, every window would be of the same few
    times, and values and policy would forget the rest of the episode in between.

    Args:
        functional: the task.
        seed: of the start states; every restart draws new ones.

    Attributes:
        state: where they are.
        episodes: how many have ended so far.
        limits: int (N,), steps after which the present ones end.
    """

    def __init__(self, functional: Any, seed: int = 0) -> None:
        self.functional, self.seed = functional, seed
        self.episodes, self._starts = 0, 0
        self.state = self._fresh()
        count, horizon = functional.num_envs, functional.task.horizon
        parts = torch.arange(1, count + 1, device=self.state.x.device)
        self.limits = -(-parts * horizon // count)

    def window(
        self, policy: Callable[[Tensor], Drawn], steps: int, watch: Watch | None = None
    ) -> Window:
        """Take H steps more; gradients flow through all of them and end where the window begins.

        Args:
            policy: of observations (N, O).
            steps: H.
            watch: of the adjoints; None: they are left alone.
        """
        state, rows = self.state.detach(), []
        for t in range(steps):
            state, row = self._step(policy, state, t, watch or Watch())
            rows.append(row)
        self.state = state.detach()
        return Window(*(torch.stack(column) for column in zip(*rows, strict=True)))

    def _step(
        self, policy: Callable[[Tensor], Drawn], state: State, t: int, watch: Watch
    ) -> tuple[State, Window]:
        task = self.functional.task
        state = watch.state(state, t)
        seen = task.features(state)
        drawn = policy(seen)
        action = watch.action(drawn.actions, t)
        after = self.functional.transition(state, action)
        # A step that broke was undone: it earned nothing.
        reward = self.functional.reward(state, action, after)
        reward = torch.where(after.failed, torch.zeros_like(reward), reward)
        terminated = self.functional.terminal(after.detach()) | after.failed
        ended = terminated | (after.time >= self.limits)
        row = Window(seen, task.features(after), reward, drawn.entropies, ended, terminated)
        return self._restarted(after, ended), row

    def _restarted(self, state: State, ended: Tensor) -> State:
        """The state with ended episodes begun anew."""
        if not bool(ended.any()):
            return state
        self.episodes += int(ended.sum())
        self.limits = self.limits.masked_fill(ended, self.functional.task.horizon)
        return self._fresh().where(ended, state)

    def _fresh(self) -> State:
        """Start states for all environments, others at every call."""
        count = self.functional.num_envs
        self._starts += 1
        return self.functional.initial(self.seed + (self._starts - 1) * count)

    def get_state(self) -> dict[str, Any]:
        """What the coming windows depend on."""
        return {
            "state": dict(self.state.clone().items()),
            "episodes": self.episodes,
            "seed": self.seed,
            "starts": self._starts,
            "limits": self.limits.clone(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        like = self.state.x.device
        self.state = State(**{name: value.to(like) for name, value in state["state"].items()})
        self.seed, self._starts = state["seed"], state["starts"]
        self.episodes = state["episodes"]
        self.limits = state["limits"].to(like)
