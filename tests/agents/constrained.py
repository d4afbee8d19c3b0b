"""Tiny environments with costs, whose values and best actions are known in closed form."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.replay import Batch

TINY = {
    "learning_starts": 10,
    "buffer_size": 1000,
    "batch_size": 16,
    "policy_kwargs": {"net_arch": [16]},
    "seed": 0,
}
"""Options of an agent that is quick to build and to step."""


class Bandit(gymnasium.Env):
    """One step: reward a, cost a². Under a budget D the best action is √D, at λ = 1/(2 √D)."""

    observation_space = Box(-1.0, 1.0, (1,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start over."""
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {"cost": 0.0}

    def step(self, action: np.ndarray) -> Any:
        """The only step."""
        a = float(action[0])
        return np.zeros(1, np.float32), a, True, False, {"cost": a * a}


class Chain(gymnasium.Env):
    """Two states, costs 1 and 3: the first leads to the second, the second to itself.

    An episode has two steps. It ends by its own rules (`terminates`) or by a time limit.
    """

    observation_space = Box(0.0, 1.0, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)
    costs = (1.0, 3.0)

    def __init__(self, terminates: bool) -> None:
        self.terminates = terminates

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Go to the first state."""
        super().reset(seed=seed)
        self._place = 0
        return np.eye(2, dtype=np.float32)[0], {"cost": 0.0}

    def step(self, action: np.ndarray) -> Any:
        """Go on to the second state."""
        over, cost = self._place == 1, self.costs[self._place]
        self._place = 1
        ends = (over and self.terminates, over and not self.terminates)
        return np.eye(2, dtype=np.float32)[1], 0.0, *ends, {"cost": cost}


def bandits(count: int = 8) -> DummyVecEnv:
    """Bandits side by side."""
    return DummyVecEnv([Bandit] * count)


def settle(cls: type, steps: int, **options: Any) -> tuple[float, float]:
    """Action and multiplier of an agent after so many steps of bandits with D = 0.09."""
    model = cls(
        "MlpPolicy",
        bandits(),
        cost_limit=0.09,
        horizon=1,
        seed=0,
        ent_coef=0.003,
        learning_rate=3e-3,
        learning_starts=64,
        batch_size=64,
        tau=0.05,
        cost_critics=2,
        policy_kwargs={"net_arch": [32]},
        **options,
    ).learn(steps)
    action, _ = model.predict(np.zeros(1, np.float32), deterministic=True)
    return float(action[0]), model.multiplier.item()


def random_batch(size: int = 6, features: int = 1, seed: int = 3) -> Batch:
    """Transitions with made-up numbers, for agents of one action."""
    draw = torch.Generator().manual_seed(seed)
    observations = torch.randn(2, size, features, generator=draw)
    return Batch(
        observations=observations[0],
        actions=torch.rand(size, 1, generator=draw) * 2 - 1,
        next_observations=observations[1],
        dones=(torch.arange(size)[:, None] % 2).float(),
        rewards=torch.randn(size, 1, generator=draw),
        costs=torch.rand(size, 1, generator=draw),
    )
