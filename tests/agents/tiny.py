"""Environments small enough to be solved in a second, and whose values are known."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv


class Bandit(gymnasium.Env[np.ndarray, np.ndarray]):
    """Reward −(a − goal − slope·z)²; z in [-1, 1] is drawn anew at every step and shown.

    Args:
        goal: best action at z = 0.
        slope: how much the best action follows z.
        scale: of what is shown, offset + scale·z.
        offset: of what is shown.
        length: steps of an episode, which then terminates.
    """

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(
        self,
        goal: float = 0.0,
        slope: float = 0.8,
        scale: float = 1.0,
        offset: float = 0.0,
        length: int = 1,
    ) -> None:
        self.goal, self.slope, self.length = goal, slope, length
        self.scale, self.offset = scale, offset

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin."""
        super().reset(seed=seed)
        self._count = 0
        return self._show(), {}

    def step(self, action: np.ndarray) -> Any:
        """One draw."""
        reward = -float((action[0] - self.best(self._z)) ** 2)
        self._count += 1
        return self._show(), reward, self._count == self.length, False, {}

    def _show(self) -> np.ndarray:
        self._z = float(self.np_random.uniform(-1, 1))
        return self.observation(self._z)

    def observation(self, z: float) -> np.ndarray:
        """What is shown of z."""
        return np.array([self.offset + self.scale * z], np.float32)

    def best(self, z: float) -> float:
        """The action of reward zero."""
        return self.goal + self.slope * z


class Chain(gymnasium.Env[np.ndarray, np.ndarray]):
    """From state 0 to state 1, which stays; a reward of one at each of two steps, then the end.

    Args:
        truncated: the end is a time limit, not the episode's own.
    """

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)

    def __init__(self, truncated: bool) -> None:
        self.truncated = truncated

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """To state 0."""
        super().reset(seed=seed)
        self._count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> Any:
        """To state 1."""
        self._count += 1
        ended = self._count == 2
        return (
            np.ones(1, np.float32),
            1.0,
            ended and not self.truncated,
            ended and self.truncated,
            {},
        )


def vector(env_class: Any, num_envs: int = 8, **options: Any) -> DummyVecEnv:
    """N of them side by side."""
    return DummyVecEnv([lambda: env_class(**options)] * num_envs)


def regret(model: Any, env: Bandit, deterministic: bool = True) -> float:
    """Mean squared distance of the policy's actions from the best ones, over z in [-1, 1]."""
    grid = np.linspace(-1, 1, 101)
    actions, _ = model.predict(
        np.stack([env.observation(z) for z in grid]), deterministic=deterministic
    )
    return float(np.mean((actions[:, 0] - np.array([env.best(z) for z in grid])) ** 2))
