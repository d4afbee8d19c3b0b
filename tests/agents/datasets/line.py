"""A point on a line, with everything that a dataset can hold, learnt in a second."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

HORIZON, GOAL, STRIDE = 12, 1.0, 0.1
LINE = "toy/Line-v1"


class Line(gymnasium.Env[np.ndarray, np.ndarray]):
    """Reward is ten times the way to the right; x ≥ 1 ends it; the cost is |action|."""

    action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Near 0."""
        super().reset(seed=seed)
        self.x, self.count = float(self.np_random.uniform(-0.1, 0.1)), 0
        return self._show(), {"cost": 0.0}

    def step(self, action: np.ndarray) -> Any:
        """By a tenth of the action."""
        way = STRIDE * float(action[0])
        self.x, self.count = self.x + way, self.count + 1
        done = self.x >= GOAL
        return (
            self._show(),
            10 * way,
            done,
            False,
            {"cost": abs(float(action[0])), "is_success": done},
        )

    def _show(self) -> np.ndarray:
        return np.array([self.x, self.count / HORIZON])


def register() -> None:
    """Make `LINE` known to Gymnasium; safe to call again."""
    if LINE not in gymnasium.registry:
        gymnasium.register(LINE, entry_point=f"{__name__}:Line", max_episode_steps=HORIZON)
