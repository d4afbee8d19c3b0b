"""How often an agent reaches goals, on a fixed set of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

EVALUATION_SEED = 1_000_000
"""First seed of the episodes, far from those of training."""


class Rates(NamedTuple):
    """Shares of the episodes.

    Attributes:
        any_step: with success at one step at least.
        last_step: with success at the last step.
        near: within the goal's tolerance at the last step, at whatever speed.
    """

    any_step: float
    last_step: float
    near: float


def success_rates(model: Any, env: VecEnv, seed: int = EVALUATION_SEED) -> Rates:
    """One episode in each environment, whose goal the task draws from seed + i; no exploration.

    Args:
        model: any agent with Stable-Baselines3's `predict`.
        env: environments of a -Goal id with sparse rewards, for this purpose alone, whose episodes
            all last as long.
        seed: of the first environment; the same seed gives the same goals and starts.
    """
    env.seed(seed)
    observation: Any = env.reset()
    ever = np.zeros(env.num_envs, dtype=bool)
    done = np.zeros(env.num_envs, dtype=bool)
    while not done.any():
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, done, infos = env.step(action)
        now = np.array([info["success"] for info in infos])
        ever |= now
    return Rates(float(ever.mean()), float(now.mean()), float((reward == 0.0).mean()))
