"""A scripted environment whose every transition is told apart by its observation."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

HORIZON, TOP = 4, 5.0
MODES = list(AutoresetMode)


class Ladder(gymnasium.Env[Any, Any]):
    """Climb by the action (in [-1, 3]) from a random start; terminates above the top.

    Observation: (episode, step, start, position), the costs are the effort. Some episodes
    terminate, some are truncated, some are both at once, and their lengths differ.
    """

    observation_space = gymnasium.spaces.Box(-100.0, 100.0, (4,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 3.0, (1,), np.float32)

    def __init__(self, *, costs: bool = True) -> None:
        self.costs, self.episode = costs, -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        shift = 0.0 if options is None else options.get("shift", 0.0)
        self.start = self.position = float(self.np_random.integers(0, 8)) / 4 + shift
        return self._seen(), {"cost": 0.0, "success": False} if self.costs else {}

    def step(self, action: Any) -> Any:
        self.position += float(action[0])
        self.steps += 1
        terminated = self.position > TOP
        about = {"cost": abs(float(action[0])), "success": self.position > TOP + 1}
        reward = 10 * self.position + self.steps
        info = about if self.costs else {}
        return self._seen(), reward, terminated, self.steps >= HORIZON, info

    def _seen(self) -> np.ndarray:
        return np.array([self.episode, self.steps, self.start, self.position], np.float32)


def ladders(num_envs: int, mode: AutoresetMode, **options: Any) -> SyncVectorEnv:
    """Several of them in Gymnasium's own vector environment."""
    return SyncVectorEnv([lambda: Ladder(**options)] * num_envs, autoreset_mode=mode)


def policy(observations: np.ndarray) -> np.ndarray:
    """Actions (N, 1) that depend on the observation alone: multiples of a quarter, all exact."""
    episode, step, start, _ = observations.T
    return ((7 * episode + 5 * step + 4 * start) % 16 / 4 - 1)[:, None].astype(np.float32)
